"""Functions that reduce or rank along axes, of `keras.ops` and of TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np

from narrowcast.errors import ModelFileError
from narrowcast.model import ir
from narrowcast.readers.emit import Tensor
from narrowcast.readers.keras.arguments import argument, axes_of, dtype_of, integer_of, tensor_of
from narrowcast.readers.keras.config import LayerConfig
from narrowcast.readers.keras.emit import Emitter, Weights
from narrowcast.readers.keras.registry import Inputs, operation, unsupported

SMALLEST_NORM = 1e-12
"""TensorFlow's bound of a sum of squares that something is divided by the root of."""


def _reduction(layer: LayerConfig, inputs: Inputs, x: Tensor) -> tuple[list[int], bool]:
    """The axes, and whether they stay as 1."""
    axes = axes_of(argument(layer, inputs, "axis", 1), x)
    return axes, bool(argument(layer, inputs, "keepdims", 2, False))


def _variance(g: Emitter, layer: LayerConfig, inputs: Inputs) -> Tensor:
    x = g.floating(tensor_of(inputs))
    axes, keepdims = _reduction(layer, inputs, x)
    centred = g.pointwise("Sub", x, g.reduce("ReduceMean", x, axes, keepdims=True))
    return g.reduce("ReduceMean", g.pointwise("Mul", centred, centred), axes, keepdims)


@operation("Var", "math.reduce_variance")
def variance(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The mean of squared distances from the mean."""
    return _variance(g, layer, inputs)


@operation("Std", "math.reduce_std")
def deviation(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The root of the variance."""
    return g.pointwise("Sqrt", _variance(g, layer, inputs))


@operation("Logsumexp", "math.reduce_logsumexp")
def log_sum_exp(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The logarithm of the sum of exponentials."""
    x = g.floating(tensor_of(inputs))
    return g.reduce("ReduceLogSumExp", x, *_reduction(layer, inputs, x))


@operation("Norm", "compat.v1.norm", "norm")
def norm(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The sum of magnitudes, or the root of the sum of squares, which is the default."""
    x = g.floating(tensor_of(inputs))
    order = argument(layer, inputs, "ord", 1, "euclidean")
    axes = axes_of(argument(layer, inputs, "axis", 2), x)
    op = {1: "ReduceL1", 2: "ReduceL2", "euclidean": "ReduceL2"}.get(order)
    if op is None or (layer.operation and len(axes) > 1):
        raise unsupported(f"the norm of order {str(order)[:20]!r} cannot be read", "compute it from its parts")
    return g.reduce(op, x, axes, bool(argument(layer, inputs, "keepdims", 3, False)))


@operation("math.l2_normalize", "linalg.l2_normalize")
def l2_normalize(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """X divided by the root of its sum of squares, but at least by the root of `epsilon`."""
    x = g.floating(tensor_of(inputs))
    axes = axes_of(argument(layer, inputs, "axis", 1), x)
    least = float(argument(layer, inputs, "epsilon", 2, SMALLEST_NORM))
    total = g.reduce("ReduceSum", g.pointwise("Mul", x, x), axes, keepdims=True)
    return g.pointwise("Div", x, g.pointwise("Sqrt", g.pointwise("Max", total, least)))


@operation("Argmax", "math.argmax", "compat.v1.argmax")
def argmax(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Where the maximum is, the first one of equals."""
    return _extreme(g, layer, inputs, "ArgMax")


@operation("Argmin", "math.argmin", "compat.v1.argmin")
def argmin(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Where the minimum is, the first one of equals."""
    return _extreme(g, layer, inputs, "ArgMin")


def _extreme(g: Emitter, layer: LayerConfig, inputs: Inputs, op: str) -> Tensor:
    x = tensor_of(inputs)
    default = None if layer.operation else 0
    axis = argument(layer, inputs, "axis", 1, default)
    if axis is None:
        raise unsupported("a place among all elements cannot be read", "name an axis")
    axis = x.axis(integer_of(axis, "axis"))
    keepdims = bool(argument(layer, inputs, "keepdims", 2, False))
    shape = tuple(1 if place == axis else dim for place, dim in enumerate(x.shape) if keepdims or place != axis)
    found = g.op(op, x, shape=shape, dtype=np.int64, axis=axis, keepdims=int(keepdims))
    wanted = argument(layer, inputs, "output_type", 2, "int32" if layer.operation else "int64")
    return g.cast(found, dtype_of(wanted))


@operation("TopK", "math.top_k")
def top_k(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> list[Tensor]:
    """The greatest elements along the last axis, and where they are."""
    x = tensor_of(inputs)
    count = integer_of(argument(layer, inputs, "k", 1, 1), "k")
    if not 1 <= count <= x.dim(-1):
        raise ModelFileError(f"the {count} greatest of {x.dim(-1)} elements are asked for")
    shape = (*x.shape[:-1], count)
    values, places = g.raw("TopK", g.plain(x), g.ints([count], "k"), shape=shape, dtype=x.dtype, outputs=2, axis=-1)
    places.shape, places.dtype = ir.Shape(shape), ir.DataType.INT64
    return [Tensor(shape, x.dtype, values), g.cast(Tensor(shape, np.dtype(np.int64), places), np.int32)]


@operation("Cumsum", "math.cumsum")
def cumulated(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The sum of all elements up to each, along an axis."""
    x = tensor_of(inputs)
    axis = argument(layer, inputs, "axis", 1, None if layer.operation else 0)
    if axis is None:
        raise unsupported("a sum over all elements in a row cannot be read", "name an axis")
    exclusive, reverse = (int(bool(argument(layer, inputs, name, 99, False))) for name in ("exclusive", "reverse"))
    place = g.constant(np.int64(x.axis(integer_of(axis, "axis"))), "axis")
    return g.op("CumSum", x, place, shape=x.shape, exclusive=exclusive, reverse=reverse)


@operation("OneHot", "one_hot")
def one_hot(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """A new axis that is 1 at the index, and 0 elsewhere."""
    x = tensor_of(inputs)
    depth = integer_of(argument(layer, inputs, "num_classes", 1, argument(layer, inputs, "depth", 1)), "depth")
    axis = integer_of(argument(layer, inputs, "axis", 4, -1), "axis") % (x.rank + 1)
    on, off = (
        _number(argument(layer, inputs, name, 99, default)) for name, default in (("on_value", 1), ("off_value", 0))
    )
    dtype = dtype_of(argument(layer, inputs, "dtype", 99, "float32"))
    shape = (*x.shape[:axis], depth, *x.shape[axis:])
    values = g.constant(np.array([off, on]), "values", dtype)
    return g.op("OneHot", g.cast(x, np.int64), g.ints([depth], "depth"), values, shape=shape, dtype=dtype, axis=axis)


def _number(value: Any) -> float:
    if not isinstance(value, int | float):
        raise unsupported("values that are computed cannot be read", "use constants")
    return value
