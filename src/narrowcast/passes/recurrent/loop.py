"""A recurrent operator as a loop over its steps, both directions in it.

Unrolled, every step has its own copy of the recurrent weights, packed for its kernel, and reads them from memory; in a
loop there is one, which stays in the cache, but a step of a loop costs something itself. Which is faster, the target
knows (`targets.rules.Recurrent`). Very many steps are a loop in any case, as they would be very many operators.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from narrowcast.dialect.build import Builder, constant_of
from narrowcast.model import NARROWCAST, Array, Model, ir
from narrowcast.passes.recurrent.cell import Cell
from narrowcast.passes.recurrent.gates import inputs_share, step_of
from narrowcast.passes.rewrite import Rewriter, RuleSet, need, static_shape

__all__ = ["loop_over_steps"]

_INT64 = np.dtype(np.int64)


def loop_over_steps(node: ir.Node, rewriter: Rewriter, block: int) -> None:
    """Puts closed loops, one for every `block` steps, in the place of a recurrent operator with constant weights.

    The backward direction runs over the reversed inputs, so that both take the same steps.
    """
    way = node.attributes.get_string("direction", "forward")
    backwards = [False, True] if way == "bidirectional" else [way == "reverse"]
    source = need(node.inputs[0])
    steps, batch, _ = static_shape(source)
    rewriter.at(node)
    cells = [Cell(node, rewriter, d, batch, node.attributes.get_int("hidden_size", 0)) for d in range(len(backwards))]
    blocks = np.array_split(np.arange(steps), -(-steps // block))
    shares, kept, states = [], [], []
    for cell, back in zip(cells, backwards, strict=True):
        every, bias = inputs_share(cell, _reversed(cell, source) if back else source, steps)
        every = cell.reshape(every, (steps, batch, static_shape(every)[1]))
        shares.append(cell.split_at(every, [len(part) for part in blocks]))
        kept.append(constant_of(bias))
        zeros = rewriter.constant(np.zeros((batch, cell.hidden), np.float32), "zeros")
        states += [cell.state(index) or zeros for index in ((5, 6) if node.op_type == "LSTM" else (5,))]
    rows: list[list[ir.Value]] = []
    for number, part in enumerate(blocks):
        body = _Body(cells, kept, backwards, rows=_is_read(node, 0))
        found = body.run(states, [share[number] for share in shares], int(part[0]), len(part), steps)
        states = found[: len(states)]
        rows.append(found[len(states) :])
    joined = []
    for number, (cell, back) in enumerate(zip(cells, backwards, strict=True)) if rows[0] else ():
        parts = [row[number] for row in rows]
        size = (steps, batch, cell.hidden)
        row = cell.op("Concat", *parts, shape=size, axis=0) if len(parts) > 1 else parts[0]
        joined.append(_reversed(cell, row) if back else row)
    _finish(cells, states, joined)


def _reversed(cell: Cell, value: ir.Value) -> ir.Value:
    """The last step first."""
    shape = static_shape(value)
    places = cell.rewriter.constant(np.arange(shape[0])[::-1], "reversed", _INT64)
    return cell.op("Gather", value, places, shape=shape, axis=0)


def _is_read(node: ir.Node, index: int) -> bool:
    output = node.outputs[index] if index < len(node.outputs) else None
    return output is not None and (bool(output.uses()) or output.is_graph_output())


class _Body:
    """The body in the making: from (step, condition, states, shares, lengths) to (condition, states, rows)."""

    def __init__(
        self, cells: Sequence[Cell], kept: Sequence[Array | None], backwards: Sequence[bool], *, rows: bool
    ) -> None:
        self.cells, self.kept, self.backwards, self.keeps_rows = cells, kept, backwards, rows
        self.outer = cells[0].rewriter
        self.node = cells[0].node
        self.lengths = self.node.inputs[4] if len(self.node.inputs) > 4 else None
        self.build = Builder.new(f"{self.node.name}/step")
        self.rewriter = Rewriter(Model(ir.Model(self.build.graph, ir_version=10)), RuleSet())

    def run(
        self, states: Sequence[ir.Value], shares: Sequence[ir.Value], start: int, count: int, steps: int
    ) -> list[ir.Value]:
        """The loop over `count` of all `steps`, from `start` on: the states after them, and the rows, in new values."""
        step = self._input("step", (), np.int64)
        going = self._input("going", (), np.bool_)
        now = [self._input("state", static_shape(value)) for value in states]
        given = [self._input("share", static_shape(value)) for value in shares]
        lengths = None if self.lengths is None else self._input("lengths", static_shape(self.lengths), np.int32)
        each = len(states) // len(self.cells)
        following, rows = [], []
        for number, (share, back) in enumerate(zip(given, self.backwards, strict=True)):
            place = (steps - 1 - start, -1) if back else (start, 1)
            mask = None if lengths is None else self._lasting(lengths, step, *place)
            gates = self.rewriter.op("Gather", share, step, shape=static_shape(share)[1:], dtype=np.float32, axis=0)
            values, row = self._step(number, gates, now[number * each : (number + 1) * each], mask)
            following += values
            rows.append(row)
        outputs = [going, *following, *(rows if self.keeps_rows else ())]
        for index, value in enumerate(outputs):
            again = value in outputs[:index]
            self.build.graph.outputs.append(self.rewriter.op("Identity", value, like=value) if again else value)
        captured = [*shares, *([] if self.lengths is None else [self.lengths])]
        trips = self.outer.constant(np.array(count), "trips", _INT64)
        made = self.outer.ops(
            "Loop",
            *(trips, None, *states, *captured),
            outputs=len(outputs) - 1,
            domain=NARROWCAST,
            body=self.build.graph,
            states=len(states),
        )
        for index, value in enumerate(made):
            size = static_shape(outputs[1 + index])
            value.shape = ir.Shape(size if index < len(states) else (count, *size))
            value.dtype = ir.DataType.FLOAT
        return list(made)

    def _input(self, name: str, shape: Sequence[int], dtype: Any = np.float32) -> ir.Value:
        return self.build.input(self.build.unique(name), shape, dtype)

    def _step(
        self, number: int, gates: ir.Value, before: Sequence[ir.Value], mask: ir.Value | None
    ) -> tuple[list[ir.Value], ir.Value]:
        """The next states of one direction, and its row."""
        outer, bias = self.cells[number], self.kept[number]
        cell = Cell(self.node, self.rewriter, number, outer.batch, outer.hidden)
        step = step_of(cell, None if bias is None else self.rewriter.constant(bias, "bias"))
        fresh = [value for value in step(gates, *before, *[None] * (2 - len(before))) if value is not None]
        if mask is None:
            return fresh, fresh[0]
        kept = [cell.where(mask, new, old) for new, old in zip(fresh, before, strict=True)]
        return kept, cell.where(mask, fresh[0], 0.0)

    def _lasting(self, lengths: ir.Value, step: ir.Value, first: int, sign: int) -> ir.Value:
        """Which sequences last until the step `first + sign * step` of the source, [batch, 1]."""
        size = (self.cells[0].batch, 1)
        op, constant = self.rewriter.op, self.rewriter.constant
        column = op("Reshape", lengths, constant(np.array(size), "shape", _INT64), shape=size, dtype=np.int32)
        narrow = op("Cast", step, shape=(), dtype=np.int32, to=int(ir.DataType.INT32))
        begin = constant(np.array(first), "first", np.int32)
        place = op("Add" if sign > 0 else "Sub", begin, narrow, shape=(), dtype=np.int32)
        return op("Greater", column, place, shape=size, dtype=np.bool_)


def _finish(cells: Sequence[Cell], states: Sequence[ir.Value], rows: Sequence[ir.Value]) -> None:
    """Y [steps, directions, batch, hidden], Y_h and Y_c [directions, batch, hidden], those that are read."""
    first, count = cells[0], len(cells)
    node, size = first.node, (first.batch, first.hidden)
    each = len(states) // count
    for index, output in enumerate(tuple(node.outputs)):
        if not _is_read(node, index):
            continue
        values = rows if index == 0 else states[index - 1 :: each]
        steps, axis = static_shape(rows[0])[:1] if index == 0 else (), 1 if index == 0 else 0
        parts = [first.reshape(value, (*steps, 1, *size)) for value in values]
        joined = first.op("Concat", *parts, shape=(*steps, count, *size), axis=axis) if count > 1 else parts[0]
        first.rewriter.replace(output, joined)
    first.rewriter.discard(node)
