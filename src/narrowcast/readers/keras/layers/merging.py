"""Layers that combine several tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial, reduce

import numpy as np

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


def _fold(g: Emitter, layer: LayerConfig, op: str, inputs: Inputs) -> Tensor:
    tensors = aligned(g, inputs.tensors)
    if not tensors:
        raise ModelFileError("called without tensors")
    made = reduce(partial(g.pointwise, op), tensors)
    if layer.generation == 2 or all(tensor.mask is not None for tensor in inputs.tensors):
        made.mask = _common_mask(g, layer, inputs.tensors)
    return made


def _common_mask(g: Emitter, layer: LayerConfig, tensors: Sequence[Tensor]) -> Tensor | None:
    """The mask of what is made of several tensors: all theirs must agree in Keras 2, one is enough in Keras 3."""
    masks = list(dict.fromkeys(tensor.mask for tensor in tensors if tensor.mask is not None))
    return reduce(partial(g.pointwise, "And" if layer.generation == 2 else "Or"), masks) if masks else None


@layer("Add", masks="use")
def add(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The sum."""
    return _fold(g, layer, "Add", inputs)


@layer("Subtract", masks="use")
def subtract(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The difference of two tensors."""
    return _fold(g, layer, "Sub", inputs)


@layer("Multiply", masks="refuse")
def multiply(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The product, element by element."""
    return _fold(g, layer, "Mul", inputs)


@layer("Maximum", masks="use")
def maximum(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The largest, element by element."""
    return _fold(g, layer, "Max", inputs)


@layer("Minimum", masks="use")
def minimum(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The smallest, element by element."""
    return _fold(g, layer, "Min", inputs)


@layer("Average", masks="use")
def average(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The mean, element by element."""
    total = _fold(g, layer, "Add", inputs)
    made = g.pointwise("Mul", total, 1 / len(inputs.tensors))
    made.mask = total.mask
    return made


@layer("Concatenate", masks="use")
def concatenate(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The tensors joined along an axis."""
    tensors = inputs.tensors
    if not tensors:
        raise ModelFileError("called without tensors")
    axis = tensors[0].axis(layer.integer("axis", -1))
    made = g.concat(tensors, axis)
    masked = [tensor.mask is not None for tensor in tensors]
    if axis == 1 and any(masked):
        made.mask = g.concat([tensor.mask or _all_count(g, tensor) for tensor in tensors], 1)
    elif layer.generation == 2 or all(masked):
        made.mask = _common_mask(g, layer, tensors)
    return made


def _all_count(g: Emitter, tensor: Tensor) -> Tensor:
    """A mask of which every step counts."""
    batch, steps = tensor.dim(0), tensor.dim(1)
    return Tensor((batch, steps), np.dtype(np.bool_), g.constant(np.ones((batch, steps), np.bool_), "all_count"))


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
