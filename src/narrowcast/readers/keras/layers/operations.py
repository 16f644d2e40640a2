"""Functions applied to tensors outside of layers: `keras.ops` of Keras 3, TensorFlow's (`TFOpLambda`) of Keras 2.

Keras 3 names a function by its class (`Mean`), Keras 2 by its place in TensorFlow (`math.reduce_mean`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from narrowcast.errors import ModelFileError
from narrowcast.readers.emit import Dim, Tensor
from narrowcast.readers.keras.activations import ACTIVATIONS, HARD_SIGMOID, Activation, clip, softmax
from narrowcast.readers.keras.config import LayerConfig, unwrap
from narrowcast.readers.keras.emit import Emitter, Weights
from narrowcast.readers.keras.layers.reshaping import resolved, sizes_of
from narrowcast.readers.keras.registry import Inputs, operation, unsupported

UNARY: Mapping[str, Sequence[str]] = {
    "Abs": ("Abs", "Absolute", "math.abs"),
    "Ceil": ("Ceil", "math.ceil"),
    "Cos": ("Cos", "math.cos"),
    "Erf": ("Erf", "math.erf"),
    "Exp": ("Exp", "math.exp"),
    "Floor": ("Floor", "math.floor"),
    "Log": ("Log", "math.log"),
    "Neg": ("Negative", "math.negative", "__operators__.neg"),
    "Reciprocal": ("Reciprocal", "math.reciprocal"),
    "Round": ("Round", "math.round"),
    "Sign": ("Sign", "math.sign"),
    "Sin": ("Sin", "math.sin"),
    "Sqrt": ("Sqrt", "math.sqrt"),
}
"""ONNX's operators of one operand, and who means them."""

BINARY: Mapping[str, Sequence[str]] = {
    "Add": ("Add", "math.add", "__operators__.add"),
    "Sub": ("Subtract", "math.subtract", "__operators__.sub"),
    "Mul": ("Multiply", "math.multiply", "__operators__.mul"),
    "Div": ("Divide", "TrueDivide", "math.divide", "math.truediv", "__operators__.truediv"),
    "Pow": ("Power", "math.pow", "__operators__.pow"),
    "Max": ("Maximum", "math.maximum"),
    "Min": ("Minimum", "math.minimum"),
}

REDUCTIONS: Mapping[str, Sequence[str]] = {
    "ReduceMean": ("Mean", "math.reduce_mean"),
    "ReduceSum": ("Sum", "math.reduce_sum"),
    "ReduceMax": ("Max", "math.reduce_max"),
    "ReduceMin": ("Min", "math.reduce_min"),
    "ReduceProd": ("Prod", "math.reduce_prod"),
}

FUNCTIONS: Mapping[str, Sequence[str]] = {
    "relu": ("Relu", "nn.relu"),
    "relu6": ("Relu6", "nn.relu6"),
    "elu": ("Elu", "nn.elu"),
    "selu": ("Selu", "nn.selu"),
    "celu": ("Celu",),
    "sigmoid": ("Sigmoid", "math.sigmoid", "nn.sigmoid"),
    "log_sigmoid": ("LogSigmoid", "math.log_sigmoid"),
    "tanh": ("Tanh", "math.tanh", "nn.tanh"),
    "hard_tanh": ("HardTanh",),
    "tanh_shrink": ("TanhShrink",),
    "softplus": ("Softplus", "math.softplus"),
    "softsign": ("Softsign", "nn.softsign"),
    "silu": ("Silu", "nn.silu", "nn.swish"),
    "hard_silu": ("HardSilu", "HardSwish"),
    "mish": ("Mish",),
}
"""Activations without arguments."""


def _argument(layer: LayerConfig, inputs: Inputs, name: str, place: int, default: Any = None) -> Any:
    """An argument by its keyword, in the function's configuration, or by its place in the call."""
    for source in (inputs.kwargs, layer.config):
        if name in source and source[name] is not None:
            return unwrap(source[name]) if isinstance(source[name], Mapping) else source[name]
    return inputs.args[place] if len(inputs.args) > place and inputs.args[place] is not None else default


def _tensor(inputs: Inputs) -> Tensor:
    """The tensor that a function of one tensor is called with, by place or by keyword."""
    for item in (*inputs.tensors, *inputs.kwargs.values()):
        if isinstance(item, Tensor):
            return item
    raise ModelFileError("not called with a tensor")


def _tensors(inputs: Inputs) -> list[Tensor]:
    """The list of tensors that a function is called with, by place or by keyword."""
    return inputs.tensors or [item for value in inputs.kwargs.values() for item in Inputs.of(value).tensors]


def _axes(value: Any, x: Tensor) -> list[int]:
    if value is None:
        return list(range(x.rank))
    axes = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(axis, int) for axis in axes):
        raise ModelFileError(f"the axes {str(value)[:80]} are no integers")
    return sorted({x.axis(axis) for axis in axes})


def _integer(value: Any, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ModelFileError(f"{what} is {str(value)[:80]}, not an integer")
    return value


def _unary(op: str) -> Callable[[Emitter, LayerConfig, Weights, Inputs], Tensor]:
    return lambda g, layer, weights, inputs: g.pointwise(op, _tensor(inputs))


def _binary(op: str) -> Callable[[Emitter, LayerConfig, Weights, Inputs], Tensor]:
    def read(g: Emitter, _layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
        named = [inputs.kwargs[key] for key in ("x", "x1", "y", "x2") if key in inputs.kwargs]
        left, right = (unwrap(item) if isinstance(item, Mapping) else item for item in [*inputs.operands, *named][:2])
        if op in ("Div", "Pow") and isinstance(left, Tensor):
            left = g.floating(left)
        return g.pointwise(op, left, right)

    return read


def _reduction(op: str) -> Callable[[Emitter, LayerConfig, Weights, Inputs], Tensor]:
    def read(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
        x = _tensor(inputs)
        axes = _axes(_argument(layer, inputs, "axis", 1), x)
        return g.reduce(op, x, axes, bool(_argument(layer, inputs, "keepdims", 2, False)))

    return read


def _function(activation: Activation) -> Callable[[Emitter, LayerConfig, Weights, Inputs], Tensor]:
    return lambda g, layer, weights, inputs: activation(g, g.floating(_tensor(inputs)))


for _table, _make in ((UNARY, _unary), (BINARY, _binary), (REDUCTIONS, _reduction)):
    for _op, _names in _table.items():
        operation(*_names)(_make(_op))
for _name, _names in FUNCTIONS.items():
    operation(*_names)(_function(ACTIVATIONS[_name]))


@operation("HardSigmoid")
def hard_sigmoid(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """`relu6(x + 3) / 6`."""
    return HARD_SIGMOID[layer.generation](g, g.floating(_tensor(inputs)))


@operation("LeakyRelu", "nn.leaky_relu")
def leaky_relu(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """A slope below zero, 0.2 by default."""
    slope = _argument(layer, inputs, "negative_slope", 1, _argument(layer, inputs, "alpha", 1, 0.2))
    return g.pointwise("LeakyRelu", g.floating(_tensor(inputs)), alpha=float(slope))


@operation("Gelu", "nn.gelu")
def gelu(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Approximated by tanh by default in Keras 3's function, exact in TensorFlow's."""
    approximate = bool(_argument(layer, inputs, "approximate", 1, layer.generation == 3))
    return g.pointwise("Gelu", g.floating(_tensor(inputs)), approximate="tanh" if approximate else "none")


@operation("Square", "math.square")
def square(g: Emitter, _layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """X times itself."""
    x = _tensor(inputs)
    return g.pointwise("Mul", x, x)


@operation("Rsqrt", "math.rsqrt")
def rsqrt(g: Emitter, _layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """1 / sqrt(x)."""
    return g.pointwise("Reciprocal", g.pointwise("Sqrt", g.floating(_tensor(inputs))))


@operation("Softmax", "nn.softmax")
def softmax_operation(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Softmax over one axis."""
    return softmax(g, g.floating(_tensor(inputs)), _integer(_argument(layer, inputs, "axis", 1, -1), "axis"))


@operation("LogSoftmax", "nn.log_softmax")
def log_softmax(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The logarithm of softmax over one axis."""
    axis = _integer(_argument(layer, inputs, "axis", 1, -1), "axis")
    return softmax(g, g.floating(_tensor(inputs)), axis, "LogSoftmax")


@operation("Clip", "clip_by_value")
def clip_operation(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Bounded from below and above."""
    low = _argument(layer, inputs, "x_min", 1, inputs.kwargs.get("clip_value_min"))
    high = _argument(layer, inputs, "x_max", 2, inputs.kwargs.get("clip_value_max"))
    if not all(isinstance(bound, int | float) for bound in (low, high)):
        raise unsupported("bounds that are computed cannot be expressed", "use maximum and minimum")
    return clip(g, _tensor(inputs), low, high)


@operation("Cast", "cast")
def cast(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Another type; real numbers of every width are float32."""
    name = str(_argument(layer, inputs, "dtype", 1, "float32"))
    real = name in ("float16", "float64", "bfloat16")
    try:
        return g.cast(_tensor(inputs), np.float32 if real else np.dtype(name))
    except TypeError as error:
        raise ModelFileError(f"the type {name[:40]!r} is unknown") from error


@operation("Matmul", "linalg.matmul")
def matmul(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The product of matrices in the last two axes, either transposed on request."""
    tensors = [*inputs.tensors, *(item for item in inputs.kwargs.values() if isinstance(item, Tensor))]
    if len(tensors) != 2:
        raise unsupported("a product with a constant cannot be read", "use a Dense layer")
    for index, name in enumerate(("transpose_a", "transpose_b")):
        if _argument(layer, inputs, name, 9, False):
            rank = tensors[index].rank
            tensors[index] = g.transpose(tensors[index], (*range(rank - 2), rank - 1, rank - 2))
    left, right = tensors
    return g.matmul(left, right)


@operation("Reshape", "reshape")
def reshape(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Another shape, whose first axis must remain the batch."""
    x = _tensor(inputs)
    target = _argument(layer, inputs, "newshape", 1, _argument(layer, inputs, "shape", 1))
    if not isinstance(target, list | tuple) or not all(dim is None or isinstance(dim, int) for dim in target):
        raise unsupported("a shape that is computed cannot be read", "use a Reshape layer")
    sizes = [-1 if dim is None else dim for dim in target]
    if len(sizes) > 1 and sizes[0] in (-1, x.shape[0]) and -1 not in sizes[1:]:
        rest = math.prod(sizes[1:])
        if rest == math.prod(sizes_of(x)):
            return g.reshape(x, (x.shape[0], *sizes[1:]))
    return g.reshape(x, resolved(sizes, math.prod(x.dim(axis) for axis in range(x.rank))))


@operation("Transpose", "transpose", "compat.v1.transpose")
def transpose(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The axes in another order, reversed by default."""
    x = _tensor(inputs)
    order = _argument(layer, inputs, "axes", 1, _argument(layer, inputs, "perm", 1, list(reversed(range(x.rank)))))
    if sorted(axis % x.rank for axis in order) != list(range(x.rank)):
        raise ModelFileError(f"{order} is no permutation of {x.rank} axes")
    return g.transpose(x, tuple(axis % x.rank for axis in order))


@operation("ExpandDims", "expand_dims")
def expand_dims(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """A new axis of 1, or several."""
    x = _tensor(inputs)
    axis = _argument(layer, inputs, "axis", 1)
    axes = axis if isinstance(axis, list | tuple) else [axis]
    rank = x.rank + len(axes)
    places = {_integer(item, "axis") % rank for item in axes}
    rest = iter(x.shape)
    return g.reshape(x, tuple(1 if place in places else next(rest) for place in range(rank)))


@operation("Squeeze", "squeeze", "compat.v1.squeeze")
def squeeze(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Without the axes of 1, or without some of them."""
    x = _tensor(inputs)
    axis = _argument(layer, inputs, "axis", 1)
    if axis is None:
        raise unsupported("squeezing all axes of 1 would take the batch as well", "name the axes")
    axes = _axes(axis, x)
    if any(x.shape[place] != 1 for place in axes):
        raise ModelFileError(f"the axes {axes} of {x.shape} are not all 1")
    return g.reshape(x, tuple(dim for place, dim in enumerate(x.shape) if place not in axes))


@operation("Concatenate", "concat")
def concatenate(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Tensors joined along an axis."""
    return g.concat(_tensors(inputs), _integer(_argument(layer, inputs, "axis", 1, 0), "axis"))


@operation("Stack", "stack")
def stack(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Tensors joined along a new axis."""
    tensors = _tensors(inputs)
    axis = _integer(_argument(layer, inputs, "axis", 1, 0), "axis") % (tensors[0].rank + 1)
    widened = [g.reshape(x, (*x.shape[:axis], 1, *x.shape[axis:])) for x in tensors]
    return g.concat(widened, axis)


@operation("Split", "split")
def split(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> list[Tensor]:
    """Equal parts, or parts between given places (Keras 3) or of given sizes (TensorFlow), along an axis."""
    x = _tensor(inputs)
    axis = x.axis(_integer(_argument(layer, inputs, "axis", 2, 0), "axis"))
    parts = _argument(layer, inputs, "indices_or_sections", 1, _argument(layer, inputs, "num_or_size_splits", 1))
    size = x.dim(axis)
    if isinstance(parts, int):
        if parts < 1 or size % parts:
            raise ModelFileError(f"{size} elements cannot be split into {parts} equal parts")
        bounds = list(range(0, size + 1, size // parts))
    elif layer.kind == "Split":
        bounds = [0, *parts, size]
    else:
        bounds = np.cumsum([0, *parts]).tolist()
    return [g.slice(x, axis, begin, end) for begin, end in itertools.pairwise(bounds)]


@operation("Where", "where")
def where(g: Emitter, _layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """One of two values for each element, by a condition."""
    named = [inputs.kwargs[key] for key in ("condition", "x1", "x", "x2", "y") if key in inputs.kwargs]
    condition, yes, no = [*inputs.operands, *named]
    typed = next((item for item in (yes, no) if isinstance(item, Tensor)), None)
    dtype = typed.dtype if typed is not None else np.dtype(np.float32)
    values = [item if isinstance(item, Tensor) else g.constant(item, "value", dtype) for item in (yes, no)]
    return g.pointwise("Where", g.cast(condition, np.bool_), *values, dtype=dtype)


@operation("GetItem", "__operators__.getitem")
def get_item(g: Emitter, _layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Basic indexing: ranges, single indices, new axes and an ellipsis."""
    x = _tensor(inputs)
    key = inputs.kwargs.get("slice_spec", inputs.kwargs.get("key"))
    key = key if key is not None else inputs.args[1] if len(inputs.args) > 1 else None
    items = [_index(item) for item in (key if isinstance(key, list | tuple) else [key])]
    used = sum(item is not None and item is not Ellipsis for item in items)
    if Ellipsis not in items:
        items.append(Ellipsis)
    place = items.index(Ellipsis)
    items[place : place + 1] = [slice(None)] * (x.rank - used)
    shape: list[Dim] = []
    axis = 0
    for item in items:
        if item is None:
            shape.append(1)
            continue
        x = _cut(g, x, axis, item)
        if isinstance(item, slice):
            shape.append(x.shape[axis])
        axis += 1
    return g.reshape(x, shape)


def _index(item: Any) -> Any:
    """One part of an index, whichever way it was spelled."""
    if isinstance(item, Mapping):
        if item.get("class_name") == "__ellipsis__":
            return Ellipsis
        item = slice(*(item.get(key) for key in ("start", "stop", "step")))
    parts = (item.start, item.stop, item.step) if isinstance(item, slice) else (item,)
    if item is not Ellipsis and not all(part is None or isinstance(part, int) for part in parts):
        raise unsupported("an index that is computed cannot be expressed", "slice with constants")
    return item


def _cut(g: Emitter, x: Tensor, axis: int, item: int | slice) -> Tensor:
    if item == slice(None):
        return x
    size = x.dim(axis)
    if isinstance(item, int):
        if not -size <= item < size:
            raise ModelFileError(f"the index {item} is beyond the {size} elements of axis {axis}")
        return g.slice(x, axis, item % size, item % size + 1)
    if item.step == 0:
        raise ModelFileError("a slice has the step 0")
    start, stop, step = item.indices(size)
    if not len(range(start, stop, step)):
        raise ModelFileError(f"a slice of axis {axis} of {x.shape} is empty")
    return g.slice(x, axis, start, stop if stop >= 0 else -size - 1, step)
