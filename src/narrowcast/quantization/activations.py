"""Activations of a quantised graph: the scale of each, and the pairs of QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from narrowcast.dialect.build import Builder
from narrowcast.errors import DataError
from narrowcast.model import Array, ir
from narrowcast.quantization.assign import Assignment
from narrowcast.quantization.members import Member, Stored
from narrowcast.quantization.parameters import activation_parameters, weight_scale
from narrowcast.targets.rules import Storage
from narrowcast.targets.spelling import Parameters, Speller

__all__ = ["Scales", "insert_pairs", "requantise_edges"]


@dataclass(slots=True)
class Scales:
    """The parameters of activations: those of a slot hold the ranges of all that share it.

    Attributes:
        assignment: who shares a scale.
        ranges: (low, high) by value name.
        storages: by type of activations, how they are stored.
    """

    assignment: Assignment
    ranges: Mapping[str, tuple[float, float]]
    storages: Mapping[str, Storage]
    _slots: dict[Stored, tuple[float, float]] = field(default_factory=dict)
    _found: dict[Stored, Parameters] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Unites the ranges of each slot."""
        pinned = self.assignment.pinned
        for member in self.assignment.members:
            for stored in map(member.stored, (*member.activations, *member.outputs)):
                if stored not in pinned:
                    self._widen(stored, self._observed(stored[0]))
            outputs = [member.stored(value) for value in member.outputs[:1]] if member.shares else []
            for array in member.written if outputs and outputs[0] not in pinned else ():
                self._widen(outputs[0], (float(array.min()), float(array.max())))
        for member in self.assignment.members:
            if member.rule.rescale < np.inf and member.activations:
                self._leave_room(member)

    def _leave_room(self, member: Member) -> None:
        """Widens the range of an output that is far smaller than the steps of what makes it."""
        source, output = member.stored(member.activations[0]), member.stored(member.outputs[0])
        storage, weights, factor = member.storage, member.weights, 1.0
        if weights is not None:
            factor = float(
                weight_scale(weights, None, storage.weights, narrow=storage.narrow, powers=storage.powers)[0]
            )
        least = self._compute(source).scale * factor / member.rule.rescale * 1.001
        if output not in self.assignment.pinned and self._compute(output).scale < least:
            levels = np.iinfo(output[1]).max * (1 if self.storages[output[1]].symmetric else 2)
            low = min(self._slots[self.assignment.slot(output)][0], 0.0)
            self._widen(output, (low, low + least * (levels + 1)))

    def _widen(self, stored: Stored, found: tuple[float, float]) -> None:
        slot = self.assignment.slot(stored)
        low, high = self._slots.get(slot, found)
        self._slots[slot] = (min(low, found[0]), max(high, found[1]))

    def _observed(self, value: ir.Value) -> tuple[float, float]:
        found = self.ranges.get(value.name or "")
        if found is None:
            raise DataError(
                f"there is no calibrated range for {value.name!r}",
                hint="calibrate the same model that is quantised",
            )
        return found

    def of(self, stored: Stored) -> Parameters:
        """How an activation is stored."""
        if stored not in self._found:
            self._found[stored] = self._compute(stored)
        return self._found[stored]

    def _compute(self, stored: Stored) -> Parameters:
        fixed = self.assignment.pinned.get(stored)
        if fixed is not None:
            return fixed
        found = self._slots.get(self.assignment.slot(stored)) or self._observed(stored[0])
        return self.within(*found, stored[1])

    def of_constant(self, member: Member, array: Array) -> Parameters:
        """How a constant operand of a group is stored."""
        if member.shares:
            return self.of(member.stored(member.outputs[0]))
        return self.within(float(array.min()), float(array.max()), member.storage.activations)

    def within(self, low: float, high: float, dtype: str) -> Parameters:
        """The parameters of a range."""
        stored = self.storages[dtype]
        return activation_parameters(low, high, dtype, symmetric=stored.symmetric, powers=stored.powers)


def insert_pairs(
    graph: ir.Graph, assignment: Assignment, scales: Scales, speller: Speller, ports: Sequence[Stored]
) -> dict[ir.Value, Stored]:
    """Puts QuantizeLinear and DequantizeLinear after all that integer groups read or write, and after `ports`.

    What a group writes, or a port hands in, is read behind the pair by all; what is computed in float, by integer
    groups alone, behind a pair of each type.

    Returns:
        What comes out of each pair, and what it stands for.
    """
    readers = {node: member.storage.activations for member in assignment.members for node in member.group.nodes}
    written = dict.fromkeys(member.stored(value) for member in assignment.members for value in member.outputs)
    read = dict.fromkeys(member.stored(value) for member in assignment.members for value in member.activations)
    whole = {stored[0]: stored for stored in (*(port for port in ports if port[0].is_graph_input()), *written)}
    parts = [stored for stored in dict.fromkeys((*read, *ports)) if whole.get(stored[0], stored) == stored]
    made: dict[ir.Value, Stored] = {}
    for stored in dict.fromkeys((*(stored for stored in parts if stored not in written), *written)):
        value, dtype = stored
        uses = [use for use in value.uses() if value in whole or readers.get(use.node) == dtype]
        back = speller.pair(value, scales.of(stored))
        for use in uses:
            use.node.replace_input_with(use.idx, back)
        if value.is_graph_output() and value in whole:
            _hand_out(graph, value, back)
        made[back] = stored
    return made


def _hand_out(graph: ir.Graph, value: ir.Value, back: ir.Value) -> None:
    """Lets an output be what comes out of the pair, under the output's name."""
    name = value.name or "value"
    value.name = Builder(graph).unique(f"{name}/float")
    back.name = name
    for index, output in enumerate(graph.outputs):
        if output is value:
            graph.outputs[index] = back


def requantise_edges(assignment: Assignment, scales: Scales, speller: Speller, made: Mapping[ir.Value, Stored]) -> None:
    """Cases 3, 4 and 6 of `assign`: where a group wants what it reads by another scale or type, it is stored anew.

    Args:
        assignment: who is integer.
        scales: of all activations.
        speller: of the graph.
        made: of `insert_pairs`.
    """
    for member in assignment.members:
        shared = scales.of(member.stored(member.outputs[0])) if member.shares and member.outputs else None
        for index in member.data:
            back = member.group.anchor.inputs[index]
            if back is None or back not in made:
                continue
            wanted = shared or scales.of(member.stored(made[back][0]))
            if scales.of(made[back]) != wanted:
                member.group.anchor.replace_input_with(index, speller.pair(back, wanted))
