"""LSTM, GRU and RNN, unrolled over their static number of steps.

The inputs' share of all gates is one product for all steps; each step adds the state's share. Equations as ONNX's
operator specifications give them: LSTM with gates in the order input, output, forget, cell (Hochreiter and Schmidhuber
1997, peepholes of Gers 2002), GRU with update, reset, hidden (Cho et al., https://arxiv.org/abs/1406.1078), RNN with
one. Unrolled, every product is a dense layer and every gate an elementwise operator, which LiteRT can also compute in
integers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from narrowcast.dialect.build import constant_of
from narrowcast.errors import UnsupportedOpError
from narrowcast.model import ir
from narrowcast.passes.cell import Cell
from narrowcast.passes.formula import Formula
from narrowcast.passes.rewrite import Rewriter, RuleSet, dims

RULES = RuleSet()

LONGEST = 4096
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


@RULES.rule("LSTM", "GRU", "RNN")
def steps_first(node: ir.Node, rewriter: Rewriter) -> bool:
    """The batch as the first axis (layout 1) -> the steps first, between transposes."""
    shapes = [dims(output) for output in node.outputs]
    if node.attributes.get_int("layout", 0) == 0 or dims(node.inputs[0]) is None:
        return False
    f = Formula(node, rewriter)
    inputs = list(node.inputs)
    for index in (0, 5, 6):
        value = inputs[index] if index < len(inputs) else None
        if value is not None:
            inputs[index] = f.transpose(value, (1, 0, 2))
    attributes = {name: attribute.value for name, attribute in node.attributes.items() if name != "layout"}
    count = max(len(node.outputs), 2)
    made = rewriter.ops(node.op_type, *inputs, outputs=count, **attributes)
    perms = ((2, 0, 1, 3), (1, 0, 2), (1, 0, 2))
    for value, shape, perm in zip(made, shapes, perms, strict=False):
        if shape is not None:
            value.shape = ir.Shape([shape[perm.index(axis)] for axis in range(len(perm))])
        value.dtype = ir.DataType.FLOAT
    for output, value, perm in zip(tuple(node.outputs), made, perms, strict=False):
        if output.uses() or output.is_graph_output():
            rewriter.replace(output, f.transpose(value, perm))
    return True


@RULES.rule("LSTM", "GRU", "RNN")
def unroll(node: ir.Node, rewriter: Rewriter) -> bool:
    """Both directions, all steps."""
    source = node.inputs[0]
    shape = dims(source)
    if source is None or shape is None:
        raise UnsupportedOpError(
            f"this {node.op_type} has an open number of steps", where=node.name or "", hint="pin it: --input name:shape"
        )
    rewriter.at(node)
    hidden = node.attributes.get_int("hidden_size", 0)
    steps, batch, _ = shape
    if steps > LONGEST:
        raise UnsupportedOpError(
            f"{steps} steps are too many to unroll", where=node.name or "", hint=f"at most {LONGEST}"
        )
    way = node.attributes.get_string("direction", "forward")
    directions = [(0, False), (1, True)] if way == "bidirectional" else [(0, way == "reverse")]
    rows: list[list[ir.Value]] = []
    finals: list[tuple[ir.Value, ...]] = []
    for direction, backwards in directions:
        cell = Cell(node, rewriter, direction, batch, hidden)
        outputs, final = _run(cell, source, steps, backwards)
        rows.append(outputs)
        finals.append(final)
    _finish(Cell(node, rewriter, 0, batch, hidden), rows, finals, steps)
    return True


def _masks(cell: Cell, steps: int) -> list[ir.Value | None]:
    """For each step which sequences last that long, [batch, 1]; None for all."""
    lengths = cell.node.inputs[4] if len(cell.node.inputs) > 4 else None
    if lengths is None:
        return [None] * steps
    array = constant_of(lengths)
    if array is not None and (array < 1).any():
        raise UnsupportedOpError(f"this {cell.node.op_type} has sequences without a step", where=cell.node.name or "")
    if array is not None:
        lasting = array.reshape(1, -1, 1) > np.arange(steps)[:, None, None]
        return [None if mask.all() else cell.rewriter.constant(mask, "mask") for mask in lasting]
    column, size = cell.rewriter.constant(np.array([cell.batch, 1]), "shape"), (cell.batch, 1)
    tall = cell.rewriter.op("Reshape", lengths, column, shape=size, dtype=np.int32)
    numbers = [cell.rewriter.constant(np.array([[step]], np.int32), "step") for step in range(steps)]
    return [cell.rewriter.op("Greater", tall, number, shape=size, dtype=np.bool_) for number in numbers]


def _run(cell: Cell, source: ir.Value, steps: int, backwards: bool) -> tuple[list[ir.Value], tuple[ir.Value, ...]]:
    """All steps of one direction: the outputs in the order of the input, and the final states."""
    kind = cell.node.op_type
    gates = _GATES[kind]
    width = gates * cell.hidden
    weights, recurrent, bias = cell.weights(1), cell.weights(2), cell.weights(3)
    assert weights is not None
    assert recurrent is not None
    rows = steps * cell.batch
    flat = cell.reshape(source, (rows, (dims(source) or ())[2]))
    every = cell.op("MatMul", flat, cell.turned(weights), shape=(rows, width))
    kept_bias = None
    if bias is not None:
        summed, kept_bias = _biases(cell, bias, width)
        array = constant_of(summed)
        if array is None or array.any():
            every = cell.op("Add", every, summed, shape=(rows, width))
    parts = cell.split(every, steps, 0)
    step = {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}[kind](cell, recurrent, kept_bias)
    state: tuple[ir.Value | None, ...] = (cell.state(5), cell.state(6) if kind == "LSTM" else None)
    masks = _masks(cell, steps)
    outputs: list[ir.Value] = []
    for index in range(steps - 1, -1, -1) if backwards else range(steps):
        fresh, mask = step(parts[index], *state), masks[index]
        assert fresh[0] is not None
        if mask is None:
            state = fresh
            outputs.append(fresh[0])
        else:
            pairs = zip(fresh, state, strict=True)
            state = tuple(cell.where(mask, new, old or 0.0) if new is not None else None for new, old in pairs)
            outputs.append(cell.where(mask, fresh[0], 0.0))
    final = tuple(value for value in state if value is not None)
    return outputs[::-1] if backwards else outputs, final


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


_Step = Callable[..., tuple[ir.Value | None, ...]]


def _share(cell: Cell, gates: ir.Value, state: ir.Value | None, matrix: ir.Value) -> ir.Value:
    """The gates with the state's share added."""
    if state is None:
        return gates
    shape = (cell.batch, (dims(matrix) or ())[1])
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

    def candidate(gate: ir.Value, reset: ir.Value, hidden: ir.Value | None) -> ir.Value:
        if kept_bias is None:
            looked = cell.op("Mul", reset, hidden, shape=size) if hidden is not None else None
            return g(_share(cell, gate, looked, last))
        if hidden is None:
            seen = cell.op("Mul", reset, kept_bias, shape=size)
        else:
            product = cell.op("MatMul", hidden, last, shape=size)
            seen = cell.op("Mul", reset, cell.op("Add", product, kept_bias, shape=size), shape=size)
        return g(cell.op("Add", gate, seen, shape=size))

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


def _finish(cell: Cell, rows: list[list[ir.Value]], finals: list[tuple[ir.Value, ...]], steps: int) -> None:
    """Y [steps, directions, batch, hidden], Y_h and Y_c [directions, batch, hidden], those that are read."""
    node, rewriter = cell.node, cell.rewriter
    size, count = (1, cell.batch, cell.hidden), len(rows)
    wanted = [output for output in node.outputs if output.uses() or output.is_graph_output()]
    for index, output in enumerate(node.outputs):
        if output not in wanted:
            continue
        if index == 0:
            parts = [cell.reshape(_joined(cell, row), (steps, *size)) for row in rows]
            made = cell.op("Concat", *parts, shape=(steps, count, *size[1:]), axis=1) if count > 1 else parts[0]
        else:
            ends = [cell.reshape(final[index - 1], size) for final in finals]
            made = cell.op("Concat", *ends, shape=(count, *size[1:]), axis=0) if count > 1 else ends[0]
        rewriter.replace(output, made)
    rewriter.discard(node)


def _joined(cell: Cell, row: list[ir.Value]) -> ir.Value:
    return cell.op("Concat", *row, shape=(len(row) * cell.batch, cell.hidden), axis=0) if len(row) > 1 else row[0]
