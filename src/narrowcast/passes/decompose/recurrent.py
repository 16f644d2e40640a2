"""LSTM, GRU and RNN: one operator, a loop over their steps, or all of them one after the other.

Which it is, the target's page says by what was measured there (`targets.rules.Recurrent`).

1. `narrowcast::LSTM` or `narrowcast::RNN`, for which targets have kernels (`recurrent.sequence`).
2. A loop (`recurrent.loop`).
3. The others are unrolled: every product is a dense layer and every gate an elementwise operator. The inputs' share of
   all gates is one product for all steps; each step adds the state's share.
4. What a source had as such an operator already is ONNX's where a target lacks it, or a loop (`recurrent.spelled`).
"""

from __future__ import annotations

import math

import numpy as np

from narrowcast.dialect.build import constant_of, input_of
from narrowcast.errors import UnsupportedOpError
from narrowcast.model import ir
from narrowcast.passes.control.bodies import KEEP_LOOPS, KEEP_RECURRENT
from narrowcast.passes.recurrent.cell import Cell
from narrowcast.passes.recurrent.gates import inputs_share, step_of
from narrowcast.passes.recurrent.loop import loop_over_steps
from narrowcast.passes.recurrent.sequence import as_sequence, has_constant_weights, why_no_sequence
from narrowcast.passes.recurrent.spelled import as_filters, as_loop, as_onnx, has_known_weights, is_beyond_onnx
from narrowcast.passes.rewrite import Rewriter, RuleSet, dims, is_read, need

RULES = RuleSet()

LONGEST = 4096


@RULES.rule("LSTM", "GRU", "RNN")
def spell(node: ir.Node, rewriter: Rewriter) -> bool:
    """Cases 1 to 3."""
    shape, states = dims(node.inputs[0]), dims(node.inputs[2])
    if rewriter.graph.meta.get(KEEP_RECURRENT):
        return False
    if shape is None or states is None:
        raise UnsupportedOpError(
            f"this {node.op_type} has an open number of steps", where=node.name or "", hint="pin it: --input name:shape"
        )
    policy, stored = rewriter.storage.recurrent, 1 if rewriter.storage.weights.startswith("int") else 4
    (steps, batch, _), size = shape, stored * math.prod(states[1:])
    whole = rewriter.graph.meta.get(KEEP_LOOPS) and has_constant_weights(node)
    if whole and policy.in_sequence(node.op_type, steps, batch, size) and not why_no_sequence(node):
        as_sequence(node, rewriter)
    elif whole and policy.in_loop(steps, size):
        loop_over_steps(node, rewriter, policy.block)
    else:
        _unroll(node, rewriter, steps, batch)
    return True


@RULES.rule("narrowcast::LSTM", "narrowcast::RNN", "narrowcast::SVDF")
def respell(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 4."""
    if dims(node.inputs[0]) is None:
        raise UnsupportedOpError(
            f"this {node.op_type} has an open batch or number of steps", where=node.name or "", hint="pin it: --batch 1"
        )
    if node.op_type == "SVDF":
        as_filters(node, rewriter)
    else:
        (as_loop if is_beyond_onnx(node) or not has_known_weights(node) else as_onnx)(node, rewriter)
    return True


def _unroll(node: ir.Node, rewriter: Rewriter, steps: int, batch: int) -> None:
    """Both directions, all steps."""
    source, hidden = need(node.inputs[0]), node.attributes.get_int("hidden_size", 0)
    rewriter.at(node)
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


def _masks(cell: Cell, steps: int) -> list[ir.Value | None]:
    """For each step which sequences last that long, [batch, 1]; None for all."""
    lengths = input_of(cell.node, 4)
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
    every, kept_bias = inputs_share(cell, source, steps)
    parts = cell.split(every, steps, 0)
    step = step_of(cell, kept_bias)
    state: tuple[ir.Value | None, ...] = (cell.state(5), cell.state(6) if cell.node.op_type == "LSTM" else None)
    masks = _masks(cell, steps)
    outputs: list[ir.Value] = []
    for index in range(steps - 1, -1, -1) if backwards else range(steps):
        fresh, mask = step(parts[index], *state), masks[index]
        output = need(fresh[0])
        if mask is None:
            state = fresh
            outputs.append(output)
        else:
            pairs = zip(fresh, state, strict=True)
            state = tuple(cell.where(mask, new, old or 0.0) if new is not None else None for new, old in pairs)
            outputs.append(cell.where(mask, output, 0.0))
    final = tuple(value for value in state if value is not None)
    return outputs[::-1] if backwards else outputs, final


def _finish(cell: Cell, rows: list[list[ir.Value]], finals: list[tuple[ir.Value, ...]], steps: int) -> None:
    """Y [steps, directions, batch, hidden], Y_h and Y_c [directions, batch, hidden], those that are read."""
    node, rewriter = cell.node, cell.rewriter
    size, count = (1, cell.batch, cell.hidden), len(rows)
    wanted = [(index, output) for index, output in enumerate(node.outputs) if is_read(output)]
    for index, output in wanted:
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
