"""What goes on from step to step: cells that are written out, and layers of a few rows beside recurrent ones.

A cell adds up, and with it the roundings of each step. So its gates and sums stay in float, from the products before
them to those behind; only what the products read is rounded.

    c' = f c + i tanh(g), h' = o tanh(c')        an LSTM, in whatever order and spelling of its gates
    h' = z h + (1 - z) tanh(n) = tanh(n) + z (h - tanh(n))        a GRU

The layer as one operator is an island anyhow, and its products take activations that are quantised as they come. A
layer of a few rows beside it is the same work, as it costs what its weights cost: where none but such layers and
arithmetic between floats hang together, they are computed likewise. It takes as long, and has a range of its own for
each step, however loud that is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from narrowcast.dialect.build import dims, scalar_of
from narrowcast.dialect.recurrent import GATES, LAYERS
from narrowcast.model import NARROWCAST, ir
from narrowcast.quantization.members import Member
from narrowcast.targets.groups import activation_of

__all__ = ["cells", "few_rows", "has_layers"]

_MOVES = frozenset({"Concat", "Gather", "Reshape", "Slice", "Split", "Transpose"})
_WITHIN = _MOVES | {"Add", "Mul", "Neg", "Sub", "Tanh"}
"""What cells consist of between their products, besides gates."""

MOST_ROWS = 8
"""Products of more are not bound by their weights: in integers throughout they are faster."""
LEAST_CHANNELS = 8
"""Kernels that quantise as they come take so many channels of a window together, however few there are."""


def cells(graph: ir.Graph) -> set[ir.Node]:
    """The nodes of cells that a sorted graph spells out, without their products; in time linear in the nodes."""
    found = {node for node in graph if _is_update(node)}
    for node in graph:  # the state that a cell hands out is gated once more
        seen = any(_maker(value) in found for value in node.inputs)
        if seen and (node.op_type == "Tanh" or (node.op_type == "Mul" and any(map(_is_gate, node.inputs)))):
            found.add(node)
    for node in reversed(graph):
        readers = (use.node for value in node.outputs for use in value.uses())
        if not found.isdisjoint(readers) and not node.domain and (node.op_type in _WITHIN or _opens(node)):
            found.add(node)
    for node in graph:  # a gate in front of a product, as a GRU has one, comes out of the same sums
        before = [maker for value in node.inputs if (maker := _maker(value)) is not None and maker in found]
        if (before and _opens(node)) or (node.op_type == "Mul" and any(map(_opens, before))):
            found.add(node)
    return found


def has_layers(graph: ir.Graph) -> bool:
    """Whether a graph has recurrent layers as operators."""
    return any(node.op_type in (LAYERS if node.domain == NARROWCAST else GATES) for node in graph)


def few_rows(members: Mapping[ir.Node, Member], *, integer_ports: bool) -> dict[ir.Node, bool]:
    """The anchors that are no better in integers beside recurrent layers; and whether each is a product.

    Those of all that hangs together without a product of many rows, activations in 16 bits, or an integer port.
    """
    parents: dict[ir.Node, ir.Node] = {}

    def root(node: ir.Node) -> ir.Node:
        path = [node]
        while (above := parents.setdefault(path[-1], path[-1])) is not path[-1]:
            path.append(above)
        parents.update(dict.fromkeys(path, path[-1]))
        return path[-1]

    makers = {value: anchor for anchor, member in members.items() for value in member.outputs}
    readers: dict[ir.Value, ir.Node] = {}
    for anchor, member in members.items():
        for value in member.activations:
            parents[root(anchor)] = root(makers.get(value) or readers.setdefault(value, anchor))
    heavy = {root(anchor) for anchor, member in members.items() if _is_better_in_integers(member, integer_ports)}
    return {anchor: member.rule.weights is not None for anchor, member in members.items() if root(anchor) not in heavy}


def _is_better_in_integers(member: Member, integer_ports: bool) -> bool:
    values = (*member.activations, *member.outputs)
    port = integer_ports and any(value.is_graph_input() or value.is_graph_output() for value in values)
    product = member.rule.weights is not None
    return port or member.storage.activations == "int16" or (product and not _has_few_rows(member))


def _has_few_rows(member: Member) -> bool:
    """Whether a product costs what its weights cost, and has a kernel that quantises its rows as they come."""
    place, anchor = member.rule.weights, member.group.anchor
    weights = None if place is None or place[0] in member.data else dims(anchor.inputs[place[0]])
    made = dims(member.group.output)
    if place is None or weights is None or made is None or not member.rule.hybrid:
        return False
    windows = math.prod(weights[2:]) > 1 and weights[1] < LEAST_CHANNELS
    grouped = anchor.attributes.get_int("group", 1) > 1
    return not windows and not grouped and math.prod(made) <= MOST_ROWS * weights[place[1]]


def _is_update(node: ir.Node) -> bool:
    """Whether a node adds what is new to a state, each of them gated."""
    if node.op_type != "Add" or node.domain:
        return False
    terms = [_maker(value) for value in node.inputs]
    gated = [term for term in terms if term is not None and term.op_type == "Mul" and any(map(_is_gate, term.inputs))]
    factors = [_maker(value) for term in gated for value in term.inputs]
    if len(gated) == 2:
        return any(factor is not None and factor.op_type == "Tanh" for factor in factors)
    fresh = next((term for term in terms if term is not None and term.op_type == "Tanh"), None)
    apart = (factor for factor in factors if factor is not None and factor.op_type == "Sub")
    return fresh is not None and any(fresh.outputs[0] in factor.inputs for factor in apart)


def _is_gate(value: ir.Value | None) -> bool:
    """Whether a value is a gate, or what a gate leaves over."""
    node = _maker(value)
    if node is not None and node.op_type == "Sub" and scalar_of(node.inputs[0]) == 1.0:
        node = _maker(node.inputs[1])
    return node is not None and _opens(node)


def _opens(node: ir.Node) -> bool:
    """Whether a node makes numbers from 0 to 1 as gates are made."""
    return not node.domain and (node.op_type in ("HardSigmoid", "Sigmoid") or activation_of(node) == "Clip(0,1)")


def _maker(value: ir.Value | None) -> ir.Node | None:
    return None if value is None else value.producer()
