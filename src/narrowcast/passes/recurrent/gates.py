"""One step of LSTM, GRU and RNN, as ONNX's operator specifications give their equations.

LSTM with gates in the order input, output, forget, cell (Hochreiter and Schmidhuber 1997, peepholes of Gers 2002), GRU
with update, reset, hidden (Cho et al., https://arxiv.org/abs/1406.1078), RNN with one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from narrowcast.dialect.build import constant_of
from narrowcast.dialect.recurrent import GATES
from narrowcast.model import ir
from narrowcast.passes.recurrent.cell import Cell
from narrowcast.passes.rewrite import need, static_shape

__all__ = ["inputs_share", "step_of"]

_Step = Callable[..., tuple[ir.Value | None, ...]]
"""From the inputs' share of the gates [batch, gates * hidden], the hidden state and the cell state to the next two;
states are [batch, hidden], or None for zeros."""


def inputs_share(cell: Cell, source: ir.Value, steps: int) -> tuple[ir.Value, ir.Value | None]:
    """What the inputs [steps, batch, features] add to the gates of all steps, in one product, and the bias left over.

    Returns:
        [steps * batch, gates * hidden], and what GRU adds to the state's share before the reset gate.
    """
    width, rows = GATES[cell.node.op_type] * cell.hidden, steps * cell.batch
    weights, bias = need(cell.weights(1)), cell.weights(3)
    flat = cell.reshape(source, (rows, static_shape(source)[2]))
    every = cell.op("MatMul", flat, cell.turned(weights), shape=(rows, width))
    if bias is None:
        return every, None
    summed, kept_bias = _biases(cell, bias, width)
    array = constant_of(summed)
    if array is None or array.any():
        every = cell.op("Add", every, summed, shape=(rows, width))
    return every, kept_bias


def step_of(cell: Cell, kept_bias: ir.Value | None) -> _Step:
    """The function that writes one step."""
    recurrent = need(cell.weights(2))
    return {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}[cell.node.op_type](cell, recurrent, kept_bias)


def _biases(cell: Cell, bias: ir.Value, width: int) -> tuple[ir.Value, ir.Value | None]:
    """The bias of the inputs' share, and that which GRU adds to the state's before the reset gate."""
    of_input, of_state = cell.rows(bias, 0, width), cell.rows(bias, width, 2 * width)
    if cell.node.op_type != "GRU" or cell.node.attributes.get_int("linear_before_reset", 0) == 0:
        return cell.sum(of_input, of_state), None
    both, last = 2 * cell.hidden, 3 * cell.hidden
    summed = cell.sum(cell.rows(of_input, 0, both), cell.rows(of_state, 0, both))
    own, kept = cell.rows(of_input, both, last), cell.rows(of_state, both, last)
    arrays = constant_of(summed), constant_of(own)
    if arrays[0] is not None and arrays[1] is not None:
        return cell.rewriter.constant(np.concatenate([arrays[0], arrays[1]]), "bias"), kept
    return cell.op("Concat", summed, own, shape=(width,), axis=0), kept


def _share(cell: Cell, gates: ir.Value, state: ir.Value | None, matrix: ir.Value) -> ir.Value:
    """The gates with the state's share added."""
    if state is None:
        return gates
    shape = (cell.batch, static_shape(matrix)[1])
    product = cell.op("MatMul", state, matrix, shape=shape)
    return cell.op("Add", gates, product, shape=shape)


def _lstm(cell: Cell, recurrent: ir.Value, kept_bias: ir.Value | None) -> _Step:
    size = (cell.batch, cell.hidden)
    f, g, h = (cell.activation(position) for position in range(3))
    peepholes, matrix = cell.weights(7), cell.turned(recurrent)
    couple = cell.node.attributes.get_int("input_forget", 0) != 0

    def peep(gate: ir.Value, state: ir.Value | None, position: int) -> ir.Value:
        if peepholes is None or state is None:
            return gate
        weights = cell.rows(peepholes, position * cell.hidden, (position + 1) * cell.hidden)
        looked = cell.op("Mul", state, weights, shape=size)
        return cell.op("Add", gate, looked, shape=size)

    def step(gates: ir.Value, hidden: ir.Value | None, state: ir.Value | None) -> tuple[ir.Value | None, ...]:
        i, o, forget, c = cell.split(_share(cell, gates, hidden, matrix), 4, 1)
        i = f(peep(i, state, 0))
        fresh = cell.op("Mul", i, g(c), shape=size)
        if state is not None:
            keep = cell.op("Sub", 1.0, i, shape=size) if couple else f(peep(forget, state, 2))
            fresh = cell.op("Add", cell.op("Mul", keep, state, shape=size), fresh, shape=size)
        return cell.op("Mul", f(peep(o, fresh, 1)), h(fresh), shape=size), fresh

    return step


def _gru(cell: Cell, recurrent: ir.Value, kept_bias: ir.Value | None) -> _Step:
    size = (cell.batch, cell.hidden)
    f, g = (cell.activation(position) for position in range(2))
    both = cell.turned(cell.rows(recurrent, 0, 2 * cell.hidden))
    last = cell.turned(cell.rows(recurrent, 2 * cell.hidden, 3 * cell.hidden))

    reset_after = cell.node.attributes.get_int("linear_before_reset", 0) != 0

    def candidate(gate: ir.Value, reset: ir.Value, hidden: ir.Value | None) -> ir.Value:
        if not reset_after:
            looked = cell.op("Mul", reset, hidden, shape=size) if hidden is not None else None
            return g(_share(cell, gate, looked, last))
        seen = cell.op("MatMul", hidden, last, shape=size) if hidden is not None else None
        if kept_bias is not None:
            seen = kept_bias if seen is None else cell.op("Add", seen, kept_bias, shape=size)
        if seen is None:
            return g(gate)
        return g(cell.op("Add", gate, cell.op("Mul", reset, seen, shape=size), shape=size))

    def step(gates: ir.Value, hidden: ir.Value | None, _: ir.Value | None) -> tuple[ir.Value | None, ...]:
        z, r, n = cell.split(gates, 3, 1)
        if hidden is not None:
            looked = cell.op("MatMul", hidden, both, shape=(cell.batch, 2 * cell.hidden))
            look_z, look_r = cell.split(looked, 2, 1)
            z, r = cell.op("Add", z, look_z, shape=size), cell.op("Add", r, look_r, shape=size)
        update, new = f(z), candidate(n, f(r), hidden)
        fresh = cell.op("Mul", cell.op("Sub", 1.0, update, shape=size), new, shape=size)
        if hidden is not None:
            fresh = cell.op("Add", fresh, cell.op("Mul", update, hidden, shape=size), shape=size)
        return fresh, None

    return step


def _rnn(cell: Cell, recurrent: ir.Value, kept_bias: ir.Value | None) -> _Step:
    f, matrix = cell.activation(0), cell.turned(recurrent)

    def step(gates: ir.Value, hidden: ir.Value | None, _: ir.Value | None) -> tuple[ir.Value | None, ...]:
        return f(_share(cell, gates, hidden, matrix)), None

    return step
