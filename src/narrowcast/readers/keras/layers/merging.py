"""Layers that combine several tensors."""

from __future__ import annotations

import math

from narrowcast.errors import ModelFileError
from narrowcast.readers.emit import Tensor
from narrowcast.readers.keras.config import LayerConfig
from narrowcast.readers.keras.emit import Emitter, Weights
from narrowcast.readers.keras.registry import Inputs, layer


def aligned(g: Emitter, tensors: list[Tensor]) -> list[Tensor]:
    """Tensors of equal rank: as Keras does, axes of 1 are put behind the batch of those that have fewer."""
    rank = max((tensor.rank for tensor in tensors), default=0)
    return [
        tensor
        if tensor.rank == rank
        else g.reshape(tensor, (tensor.shape[0], *(1,) * (rank - tensor.rank), *tensor.shape[1:]))
        for tensor in tensors
    ]


def _fold(g: Emitter, op: str, inputs: Inputs) -> Tensor:
    tensors = aligned(g, inputs.tensors)
    if not tensors:
        raise ModelFileError("called without tensors")
    made = tensors[0]
    for tensor in tensors[1:]:
        made = g.pointwise(op, made, tensor)
    return made


@layer("Add", masks="pass")
def add(g: Emitter, _layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The sum."""
    return _fold(g, "Add", inputs)


@layer("Subtract", masks="pass")
def subtract(g: Emitter, _layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The difference of two tensors."""
    return _fold(g, "Sub", inputs)


@layer("Multiply", masks="use")
def multiply(g: Emitter, _layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The product, element by element."""
    return _fold(g, "Mul", inputs)


@layer("Maximum", masks="pass")
def maximum(g: Emitter, _layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The largest, element by element."""
    return _fold(g, "Max", inputs)


@layer("Minimum", masks="pass")
def minimum(g: Emitter, _layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The smallest, element by element."""
    return _fold(g, "Min", inputs)


@layer("Average", masks="pass")
def average(g: Emitter, _layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The mean, element by element."""
    return g.pointwise("Mul", _fold(g, "Add", inputs), 1 / len(inputs.tensors))


@layer("Concatenate", masks="pass")
def concatenate(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The tensors joined along an axis."""
    tensors = inputs.tensors
    if not tensors:
        raise ModelFileError("called without tensors")
    return g.concat(tensors, layer.integer("axis", -1))


def _dot_axes(layer: LayerConfig, left: Tensor, right: Tensor) -> tuple[int, int]:
    axes = layer.get("axes")
    if isinstance(axes, int):
        axes = [axes, axes]
    if not isinstance(axes, list | tuple) or len(axes) != 2 or not all(isinstance(axis, int) for axis in axes):
        raise ModelFileError(f"axes is {str(axes)[:80]}, not one or two integers")
    return left.axis(axes[0]), right.axis(axes[1])


@layer("Dot")
def dot(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """For each sample, the sums of products along one axis of each of two tensors."""
    if len(inputs.tensors) != 2:
        raise ModelFileError(f"called with {len(inputs.tensors)} tensors, two were expected")
    left, right = inputs.tensors
    left_axis, right_axis = _dot_axes(layer, left, right)
    if layer.flag("normalize", False):
        left = g.op("LpNormalization", left, shape=left.shape, axis=left_axis, p=2)
        right = g.op("LpNormalization", right, shape=right.shape, axis=right_axis, p=2)
    batch, shared = left.shape[0], left.dim(left_axis)
    left_rest = [axis for axis in range(1, left.rank) if axis != left_axis]
    right_rest = [axis for axis in range(1, right.rank) if axis != right_axis]
    rows = [left.dim(axis) for axis in left_rest]
    columns = [right.dim(axis) for axis in right_rest]
    left = g.reshape(g.transpose(left, (0, *left_rest, left_axis)), (batch, math.prod(rows), shared))
    right = g.reshape(g.transpose(right, (0, right_axis, *right_rest)), (batch, shared, math.prod(columns)))
    return g.reshape(g.matmul(left, right), (batch, *(rows + columns or [1])))
