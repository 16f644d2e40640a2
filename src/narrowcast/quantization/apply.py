"""Writes an assignment into the graph, in its one spelling: QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from narrowcast.model import Model, ir
from narrowcast.quantization.activations import Scales, insert_pairs, requantise_edges
from narrowcast.quantization.assign import Assignment
from narrowcast.quantization.notes import notes_on
from narrowcast.quantization.ports import integer_ports
from narrowcast.quantization.weights import IntegerWeights, Weigher
from narrowcast.targets.rules import Storage
from narrowcast.targets.spelling import Speller, keep_in_float

__all__ = ["Spelling", "apply"]


@dataclass(frozen=True, slots=True)
class Spelling:
    """How an assignment is written.

    Attributes:
        storage: of the scheme, for integer inputs and outputs.
        per_channel: whether weights have a scale for each output channel.
        gridded: whether weights were dequantised.
        port_type: "int8" or "uint8" for integer inputs and outputs, None for float ones.
        weights: ready-made integers, by the name of the constant.
    """

    storage: Storage
    per_channel: bool
    gridded: bool
    port_type: str | None
    weights: Mapping[str, IntegerWeights]


def apply(model: Model, assignment: Assignment, ranges: Mapping[str, tuple[float, float]], how: Spelling) -> list[str]:
    """Quantises a float model in place.

    Args:
        model: the model that the assignment was made for.
        assignment: who is integer.
        ranges: (low, high) by value name.
        how: what the user chose.

    Returns:
        Notes for the user.
    """
    storage, port_type = how.storage, how.port_type
    graph, notes = model.graph, list[str]()
    storages = [storage, *(member.storage for member in assignment.members)]
    by_type = {found.activations: found for found in reversed(storages)}
    scales, speller = Scales(assignment, ranges, by_type), Speller(graph)
    weigher = Weigher(speller, scales, how.per_channel, how.gridded, how.weights, notes)
    weigher.check(assignment.members)
    for member in assignment.members:
        weigher.weigh(member)
    notes += notes_on(weigher.wider)
    ends = (*graph.inputs, *graph.outputs) if port_type is not None else ()
    ports = [(value, storage.activations) for value in ends if value.dtype is ir.DataType.FLOAT]
    made = insert_pairs(graph, assignment, scales, speller, ports)
    requantise_edges(assignment, scales, speller, made)
    if port_type is not None:
        pairs = {value: back for back, (value, dtype) in made.items() if dtype == storage.activations}
        integer_ports(graph, speller, pairs, port_type)
    for island in assignment.islands:
        if island.able:
            keep_in_float(island.node, island.why)
    graph.sort()
    return notes
