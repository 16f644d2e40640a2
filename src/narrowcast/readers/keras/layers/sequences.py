"""Recurrent cells over sequences; where a step does not count, states and output stay what they were.

ONNX's recurrent operators know lengths only, a mask may have gaps. With one each step is such an operator of its own
within a Scan, behind which the new states are chosen where the step counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from narrowcast.dialect.build import Builder
from narrowcast.model import ir
from narrowcast.readers.emit import Dim, Tensor
from narrowcast.readers.keras.emit import Emitter

__all__ = ["Cell", "run", "run_masked"]


@dataclass(frozen=True, slots=True)
class Cell:
    """A recurrent operator of ONNX but for the sequence.

    Attributes:
        op: its name.
        weights: its constant inputs, from W on, the sequence lengths (none) included.
        attributes: all but the direction.
        states: how many tensors of state it has.
        units: features of each.
    """

    op: str
    weights: tuple[ir.Value | None, ...]
    attributes: Mapping[str, Any]
    states: int
    units: int


def run(
    g: Emitter, cell: Cell, x: Tensor, initial: Sequence[Tensor], *, backwards: bool
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """As `run_masked` without a mask, but that all outputs are [steps, 1, batch, units]."""
    batch, steps, units = x.shape[0], x.dim(1), cell.units
    by_time = g.plain(g.transpose(x, (1, 0, 2)))
    outputs = g.raw(
        cell.op,
        *(by_time, *cell.weights, *(g.plain(g.reshape(state, (1, batch, units))) for state in initial)),
        shape=(steps, 1, batch, units),
        outputs=1 + cell.states,
        direction="reverse" if backwards else "forward",
        **cell.attributes,
    )
    states = [_state(g, output, batch, units) for output in outputs[1:]]
    return states[0], Tensor((steps, 1, batch, units), x.dtype, outputs[0]), states


def _state(g: Emitter, value: ir.Value, batch: Dim, units: int) -> Tensor:
    value.shape = ir.Shape([1, batch, units])
    value.dtype = ir.DataType.FLOAT
    return g.reshape(Tensor((1, batch, units), np.dtype(np.float32), value), (batch, units))


def run_masked(
    g: Emitter, cell: Cell, x: Tensor, mask: Tensor, initial: Sequence[Tensor], *, backwards: bool, zeros: bool
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Runs a cell over a sequence.

    Args:
        g: emits the nodes.
        cell: what each step computes.
        x: the sequence [batch, steps, features].
        mask: True for the steps that count [batch, steps].
        initial: the states before it [batch, units], none for zeros.
        backwards: whether the last step comes first.
        zeros: whether the output of a step that does not count is zero, and not the one before it.

    Returns:
        The last output [batch, units], all outputs in the order of time [steps, batch, units], and the last states.
    """
    batch, steps = x.shape[0], x.dim(1)
    step = _step(g, cell, batch, x.dim(2), zeros)
    shape = (batch, cell.units)
    by_time = g.plain(g.transpose(x, (1, 0, 2)))
    nothing = _nothing(g, x, cell.units)
    start = [g.plain(state) for state in initial] or [nothing] * cell.states
    counts = g.plain(g.reshape(g.transpose(g.cast(mask, np.bool_), (1, 0)), (steps, batch, 1)))
    made = g.raw(
        "Scan",
        *(*start, nothing, by_time, counts),
        shape=shape,
        dtype=np.float32,
        outputs=cell.states + 2,
        num_scan_inputs=2,
        scan_input_directions=[int(backwards)] * 2,
        scan_output_directions=[int(backwards)],
        body=step,
    )
    for value in made:
        value.shape, value.dtype = ir.Shape(shape), ir.DataType.FLOAT
    made[-1].shape = ir.Shape((steps, *shape))
    *states, last = (Tensor(shape, np.dtype(np.float32), value) for value in made[:-1])
    return last, Tensor((steps, *shape), np.dtype(np.float32), made[-1]), states


def _nothing(g: Emitter, x: Tensor, units: int) -> ir.Value:
    """Zeros [batch, units]; where the batch is dynamic, as a product with zeros."""
    batch = x.shape[0]
    if isinstance(batch, int):
        return g.filled(0.0, (batch, units), "nothing")
    first = g.reshape(g.slice(x, 1, 0, 1), (batch, x.dim(2)))
    return g.plain(g.matmul(first, g.filled(0.0, (x.dim(2), units), "nothing")))


def _step(g: Emitter, cell: Cell, batch: Dim, features: int, zeros: bool) -> ir.Graph:
    """From states, the output before, features and whether they count to new states, the output, and the output."""
    name = g.build.unique(g.name("step"))
    body = Builder.new(name)
    shape = (batch, cell.units)

    def reshaped(value: ir.Value, shape: tuple[Dim, ...]) -> ir.Value:
        target = body.constant(np.array([dim if isinstance(dim, int) else -1 for dim in shape]), f"{name}/shape")
        made: ir.Value = body("Reshape", value, target, shape=shape, dtype=np.float32, name=f"{name}/reshaped")
        return made

    states = [body.input(f"{name}/state_{number}", shape) for number in range(cell.states)]
    before = body.input(f"{name}/before", shape)
    x = body.input(f"{name}/x", (batch, features))
    counts = body.input(f"{name}/counts", (batch, 1), np.bool_)
    made = body(
        cell.op,
        *(reshaped(x, (1, batch, features)), *cell.weights, *(reshaped(state, (1, *shape)) for state in states)),
        name=f"{name}/cell",
        outputs=cell.states + 1,
        direction="forward",
        **cell.attributes,
    )
    new = [reshaped(value, shape) for value in made[1:]]
    kept = [
        body("Where", counts, after, state, name=f"{name}/kept", shape=shape, dtype=np.float32)
        for after, state in zip(new, states, strict=True)
    ]
    other = body.constant(np.zeros(1, np.float32), f"{name}/zero") if zeros else before
    output = body("Where", counts, new[0], other, name=f"{name}/output", shape=shape, dtype=np.float32)
    body.graph.outputs.extend([*kept, output, body("Identity", output, name=f"{name}/row", shape=shape)])
    return body.graph
