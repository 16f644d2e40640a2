"""A recurrent layer as one operator, `narrowcast::LSTM` or `narrowcast::RNN`: ONNX's, with a matrix for each gate.

x is [steps, batch, features]; y [steps, batch, directions * hidden] has the directions side by side, as the next layer
reads them; LSTM's c [directions, batch, hidden], which may be left out, is the last state of its cells. Each direction
adds to the inputs:

    the gates' matrices [hidden, features] in ONNX's order, those of the state [hidden, hidden], their biases [hidden]
    (ONNX's two added up), LSTM's peepholes [hidden] of input, output and forget gate,
    the initial states [batch, hidden]: the hidden one, LSTM's cell,
    and of LSTM what ONNX's has not: the gates' norms [hidden], a projection [outputs, hidden], its bias [outputs]

All peepholes may be left out, and all states: they are zeros then. A projection gives the hidden state and y, which
have `outputs` for `hidden` then. Where the input gate has no matrix, it is what the forget gate leaves over. A norm
brings a gate to mean 0 and variance 1, before it is multiplied by it and the bias is added. Attributes:

    direction, hidden_size: as in ONNX
    layout: 1 where x and y have the batch first; else 0
    activation: of the cells, one of `ACTIVATIONS`
    cell_clip, proj_clip: bounds of the cell and of what is projected; 0 for none
    stateful: 1 where the states, which are none of the inputs then, are those that the inference before has left, and
        zeros in the first one
    asymmetric: 1 where kernels that quantise activations as they come take a zero point for them
    scales, zero_points: of LSTM that was trained or calibrated for integers (`Steps`)

`narrowcast::SVDF` is a layer of filters by their singular values (Nakkiran et al., https://research.google/pubs/pub43813):
x [batch, features] is multiplied by a matrix [filters, features], each result joins those of the inferences before, as
many as a second matrix [filters, memory] has columns, the last one for the newest, and is weighted by that. `rank`
filters each are added up to one of the outputs [batch, units], with a bias [units] that may be left out. It is always
stateful, has `activation` and `asymmetric`, and where it was made for integers `state_scale`, that of its memory in
int16; then its activation is but the range of its output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from narrowcast.model import ir

__all__ = [
    "ACTIVATIONS",
    "BEYOND",
    "GATE",
    "GATES",
    "LAYERS",
    "PEEPHOLES",
    "STATES",
    "Direction",
    "Steps",
    "directions_of",
    "forget_steps",
    "matrices_of",
    "steps_of",
]

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
"""How many an operator has, ONNX's GRU included."""
PEEPHOLES = {"LSTM": 3, "RNN": 0}
STATES = {"LSTM": 2, "RNN": 1}
LAYERS = ("LSTM", "RNN", "SVDF")
"""The operators of the dialect's own domain."""
BEYOND = {"LSTM": 6, "RNN": 0}
"""How many inputs of a direction ONNX has no place for: four norms, a projection and its bias."""
ACTIVATIONS = ("Tanh", "Relu", "Identity", "Clip(-1,1)", "Clip(0,6)")
"""Of cells, by their canonical names; ONNX has the first two."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Direction(Generic[T]):
    """The inputs of one direction: by gate in ONNX's order, and the initial states; None stands for zeros.

    Its items are values of a graph, or their names.
    """

    weights: Sequence[T]
    recurrent: Sequence[T]
    biases: Sequence[T]
    peepholes: Sequence[T]
    states: Sequence[T]
    beyond: Sequence[T] = ()

    @property
    def norms(self) -> Sequence[T]:
        """LSTM's, by gate."""
        return self.beyond[:4]

    @property
    def projection(self) -> Sequence[T]:
        """LSTM's matrix and bias."""
        return self.beyond[4:]


def directions_of(kind: str, inputs: Sequence[T]) -> list[Direction[T]]:
    """The parts of an operator of this kind, by its inputs."""
    gates, rest = GATES[kind], list(inputs[1:])
    sizes = (gates, gates, gates, PEEPHOLES[kind], STATES[kind], BEYOND[kind])
    found = []
    while rest:
        ends = np.cumsum(sizes)
        found.append(Direction(*(rest[end - size : end] for end, size in zip(ends, sizes, strict=True))))
        del rest[: ends[-1]]
    return found


@dataclass(frozen=True, slots=True)
class Steps:
    """The scale and the zero point of what an LSTM of 8-bit integers has inside.

    Attributes:
        cell: in int16; its scale is a power of two.
        hidden: what the output gate lets out, in int8, before a projection.
        state: the hidden state from step to step, in int8.
        gates: of gates with norms, in int16, in ONNX's order: what their two products are rounded to. Others have
            `GATE`.
    """

    cell: tuple[float, int]
    hidden: tuple[float, int]
    state: tuple[float, int]
    gates: tuple[tuple[float, int], ...] = ()

    @property
    def attributes(self) -> dict[str, list[float] | list[int]]:
        """Of a node that has them."""
        rows = (self.cell, self.hidden, self.state, *self.gates)
        return {"scales": [scale for scale, _ in rows], "zero_points": [zero for _, zero in rows]}


GATE = (2.0**-12, 0)
"""What the products of gates without norms are rounded to, in int16."""


def steps_of(node: ir.Node) -> Steps | None:
    """Those of a node; None where it was made for real numbers."""
    scales, zeros = node.attributes.get_floats("scales", ()), node.attributes.get_ints("zero_points", ())
    if not scales:
        return None
    cell, hidden, state, *gates = zip(scales, zeros, strict=True)
    return Steps(cell, hidden, state, tuple(gates))


def forget_steps(node: ir.Node) -> None:
    """Makes one that was made for integers one of real numbers."""
    node.attributes.pop("scales", None)
    node.attributes.pop("zero_points", None)
    node.attributes.pop("state_scale", None)


def matrices_of(node: ir.Node) -> list[int]:
    """Which inputs of a node are matrices or peepholes: what kernels take in 8 bits beside activations in floats."""
    if node.op_type == "SVDF":
        return [1, 2]
    parts = directions_of(node.op_type, range(len(node.inputs)))
    groups = ((*part.weights, *part.recurrent, *part.peepholes, *part.projection[:1]) for part in parts)
    return [index for group in groups for index in group if node.inputs[index] is not None]
