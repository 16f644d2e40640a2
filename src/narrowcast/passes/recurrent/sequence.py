"""A recurrent layer of ONNX as one operator, `narrowcast::LSTM` or `narrowcast::RNN` (`dialect.recurrent`)."""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import constant_of
from narrowcast.dialect.recurrent import BEYOND, GATES, PEEPHOLES, STATES
from narrowcast.model import NARROWCAST, ir
from narrowcast.passes.formula import Formula
from narrowcast.passes.recurrent.cell import DEFAULTS, Cell
from narrowcast.passes.rewrite import Rewriter, dims

__all__ = ["as_sequence", "has_constant_weights", "why_no_sequence"]

_ACTIVATIONS: dict[tuple[str, ...], str] = {
    ("sigmoid", "tanh", "tanh"): "Tanh",
    ("sigmoid", "relu", "relu"): "Relu",
    ("tanh",): "Tanh",
    ("relu",): "Relu",
}
"""What the functions of LSTM's three and RNN's one come to."""
_WEIGHTS = (1, 2, 3, 7)


def has_constant_weights(node: ir.Node) -> bool:
    """Whether all weights of an ONNX LSTM, GRU or RNN are known."""
    weights = [node.inputs[index] for index in _WEIGHTS if index < len(node.inputs)]
    return all(value is None or constant_of(value) is not None for value in weights)


def why_no_sequence(node: ir.Node) -> str:
    """Why an ONNX LSTM or RNN of known weights, with the steps first, cannot be spelled so; "" where it can."""
    if len(node.inputs) > 4 and node.inputs[4] is not None:
        return "its sequences end after steps of their own"
    if node.attributes.get_float("clip", 0.0) or node.attributes.get_int("input_forget", 0) != 0:
        return "its gates are clipped or coupled"
    return "" if _activation(node) else "its gates have other functions"


def _activation(node: ir.Node) -> str | None:
    """The function of the cells, if all gates have those of `_ACTIVATIONS`."""
    default = DEFAULTS[node.op_type]
    names = tuple(name.lower() for name in node.attributes.get_strings("activations", ())) or default
    each = len(default)
    kinds = {_ACTIVATIONS.get(names[start : start + each]) for start in range(0, len(names), each)}
    return kinds.pop() if len(kinds) == 1 else None


def as_sequence(node: ir.Node, rewriter: Rewriter) -> None:
    """Puts the one operator in the place of ONNX's."""
    steps, batch, _ = dims(node.inputs[0]) or ()
    hidden, way = node.attributes.get_int("hidden_size", 0), node.attributes.get_string("direction", "forward")
    count, f = 2 if way == "bidirectional" else 1, Formula(node, rewriter)
    cells = [Cell(node, rewriter, direction, batch, hidden) for direction in range(count)]
    states = [[cell.state(index) for index in (5, 6)[: STATES[node.op_type]]] for cell in cells]
    if any(state is not None for every in states for state in every):
        zeros = rewriter.constant(np.zeros((batch, hidden), np.float32), "zeros")
        states = [[state or zeros for state in every] for every in states]
    beyond = [None] * BEYOND[node.op_type]
    inputs = [item for cell, every in zip(cells, states, strict=True) for item in (*_weights(cell), *every, *beyond)]
    named = {"direction": way, "activation": _activation(node), "hidden_size": hidden}
    outputs = STATES[node.op_type]
    made = rewriter.ops(node.op_type, node.inputs[0], *inputs, outputs=outputs, domain=NARROWCAST, **named)
    for value, shape in zip(made, ((steps, batch, count * hidden), (count, batch, hidden)), strict=False):
        value.shape, value.dtype = ir.Shape(shape), ir.DataType.FLOAT

    def apart() -> ir.Value:
        return f.transpose(f.reshape(made[0], (steps, batch, count, hidden)), (0, 2, 1, 3))

    def last() -> ir.Value:
        ends = [0 if way == "reverse" else steps - 1, 0][:count]
        parts = [f.slice(made[0], 0, end, end + 1) for end in ends]
        return f.concat([f.slice(part, 2, d * hidden, (d + 1) * hidden) for d, part in enumerate(parts)], 0)

    def cell_state() -> ir.Value:
        return made[1]

    for output, spelt in zip(tuple(node.outputs), (apart, last, cell_state), strict=False):
        if output.uses() or output.is_graph_output():
            rewriter.replace(output, spelt())
    rewriter.discard(node)


def _weights(cell: Cell) -> list[ir.Value | None]:
    """Those of one direction, in the order of `Direction`."""
    kind, hidden = cell.node.op_type, cell.hidden
    gates = GATES[kind]
    weights, recurrent, bias, peepholes = (cell.weights(index) for index in _WEIGHTS)

    def each(value: ir.Value | None, count: int) -> list[ir.Value | None]:
        starts = range(0, count * hidden, hidden)
        return [None if value is None else cell.rows(value, start, start + hidden) for start in starts]

    size = gates * hidden
    if bias is None:
        summed = cell.rewriter.constant(np.zeros(size, np.float32), "bias")
    else:
        summed = cell.sum(cell.rows(bias, 0, size), cell.rows(bias, size, 2 * size))
    return [*each(weights, gates), *each(recurrent, gates), *each(summed, gates), *each(peepholes, PEEPHOLES[kind])]
