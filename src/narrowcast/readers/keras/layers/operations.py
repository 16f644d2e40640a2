"""Functions applied to tensors outside of layers: `keras.ops` of Keras 3, TensorFlow's (`TFOpLambda`) of Keras 2.

Keras 3 names a function by its class (`Mean`), Keras 2 by its place in TensorFlow (`math.reduce_mean`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce
from typing import Any

import numpy as np

from narrowcast.errors import ModelFileError
from narrowcast.readers.emit import FILL_LIMIT, Tensor
from narrowcast.readers.keras.activations import ACTIVATIONS, HARD_SIGMOID, Activation, clip, softmax
from narrowcast.readers.keras.arguments import argument, axes_of, dtype_of, integer_of, pair_of, tensor_of
from narrowcast.readers.keras.config import LayerConfig
from narrowcast.readers.keras.emit import Emitter, Weights
from narrowcast.readers.keras.registry import Inputs, operation, unsupported

UNARY: Mapping[str, Sequence[str]] = {
    "Abs": ("Abs", "Absolute", "math.abs"),
    "Acos": ("Arccos", "math.acos"),
    "Asin": ("Arcsin", "math.asin"),
    "Atan": ("Arctan", "math.atan"),
    "Ceil": ("Ceil", "math.ceil"),
    "Cos": ("Cos", "math.cos"),
    "Cosh": ("Cosh", "math.cosh"),
    "Erf": ("Erf", "math.erf"),
    "Exp": ("Exp", "math.exp"),
    "Floor": ("Floor", "math.floor"),
    "Log": ("Log", "math.log"),
    "Neg": ("Negative", "math.negative", "__operators__.neg"),
    "Reciprocal": ("Reciprocal", "math.reciprocal"),
    "Round": ("Round", "math.round"),
    "Sign": ("Sign", "math.sign"),
    "Sin": ("Sin", "math.sin"),
    "Sinh": ("Sinh", "math.sinh"),
    "Sqrt": ("Sqrt", "math.sqrt"),
    "Tan": ("Tan", "math.tan"),
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

COMPARISONS: Mapping[str, Sequence[str]] = {
    "Equal": ("Equal", "math.equal"),
    "Greater": ("Greater", "math.greater", "__operators__.gt"),
    "GreaterOrEqual": ("GreaterEqual", "math.greater_equal", "__operators__.ge"),
    "Less": ("Less", "math.less", "__operators__.lt"),
    "LessOrEqual": ("LessEqual", "math.less_equal", "__operators__.le"),
    "And": ("LogicalAnd", "math.logical_and", "__operators__.and"),
    "Or": ("LogicalOr", "math.logical_or", "__operators__.or"),
    "Xor": ("LogicalXor", "math.logical_xor"),
}
"""Operators that give truth values."""

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


def _unary(op: str) -> Callable[[Emitter, LayerConfig, Weights, Inputs], Tensor]:
    return lambda g, layer, weights, inputs: g.pointwise(op, tensor_of(inputs))


def _binary(op: str) -> Callable[[Emitter, LayerConfig, Weights, Inputs], Tensor]:
    def read(g: Emitter, _layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
        left, right = pair_of(inputs)
        if op in ("Div", "Pow") and isinstance(left, Tensor):
            left = g.floating(left)
        return g.pointwise(op, left, right)

    return read


def _comparison(op: str) -> Callable[[Emitter, LayerConfig, Weights, Inputs], Tensor]:
    def read(g: Emitter, _layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
        sides = pair_of(inputs)
        if op in ("And", "Or", "Xor"):
            sides = [g.cast(side, np.bool_) if isinstance(side, Tensor) else bool(side) for side in sides]
        return g.pointwise(op, *sides, dtype=np.bool_)

    return read


def _reduction(op: str) -> Callable[[Emitter, LayerConfig, Weights, Inputs], Tensor]:
    def read(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
        x = tensor_of(inputs)
        axes = axes_of(argument(layer, inputs, "axis", 1), x)
        return g.reduce(op, x, axes, bool(argument(layer, inputs, "keepdims", 2, False)))

    return read


def _function(activation: Activation) -> Callable[[Emitter, LayerConfig, Weights, Inputs], Tensor]:
    return lambda g, layer, weights, inputs: activation(g, g.floating(tensor_of(inputs)))


for _table, _make in (
    (UNARY, _unary),
    (BINARY, _binary),
    (COMPARISONS, _comparison),
    (REDUCTIONS, _reduction),
):
    for _op, _names in _table.items():
        operation(*_names)(_make(_op))
for _name, _names in FUNCTIONS.items():
    operation(*_names)(_function(ACTIVATIONS[_name]))


@operation("NotEqual", "math.not_equal")
def not_equal(g: Emitter, _layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Whether two numbers differ."""
    return g.pointwise("Not", g.pointwise("Equal", *pair_of(inputs), dtype=np.bool_))


@operation("LogicalNot", "math.logical_not", "__operators__.invert")
def logical_not(g: Emitter, _layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The opposite."""
    return g.pointwise("Not", g.cast(tensor_of(inputs), np.bool_))


@operation("Any", "math.reduce_any")
def reduce_any(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Whether something along some axes is true."""
    return _quantified(g, layer, inputs, "ReduceMax")


@operation("All", "math.reduce_all")
def reduce_all(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Whether everything along some axes is true."""
    return _quantified(g, layer, inputs, "ReduceMin")


def _quantified(g: Emitter, layer: LayerConfig, inputs: Inputs, op: str) -> Tensor:
    x = g.cast(g.cast(tensor_of(inputs), np.bool_), np.float32)
    axes = axes_of(argument(layer, inputs, "axis", 1), x)
    return g.cast(g.reduce(op, x, axes, bool(argument(layer, inputs, "keepdims", 2, False))), np.bool_)


@operation("HardSigmoid")
def hard_sigmoid(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """`relu6(x + 3) / 6`."""
    return HARD_SIGMOID[layer.generation](g, g.floating(tensor_of(inputs)))


@operation("LeakyRelu", "nn.leaky_relu")
def leaky_relu(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """A slope below zero, 0.2 by default."""
    slope = argument(layer, inputs, "negative_slope", 1, argument(layer, inputs, "alpha", 1, 0.2))
    return g.pointwise("LeakyRelu", g.floating(tensor_of(inputs)), alpha=float(slope))


@operation("Gelu", "nn.gelu")
def gelu(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Approximated by tanh by default in Keras 3's function, exact in TensorFlow's."""
    approximate = bool(argument(layer, inputs, "approximate", 1, layer.generation == 3))
    return g.pointwise("Gelu", g.floating(tensor_of(inputs)), approximate="tanh" if approximate else "none")


@operation("ConvertToTensor", "convert_to_tensor", "identity", "stop_gradient", "StopGradient")
def itself(_g: Emitter, _layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Nothing, at inference."""
    return tensor_of(inputs)


@operation("ZerosLike", "zeros_like")
def zeros_like(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Zeros in the shape of a tensor."""
    return _filled(g, layer, inputs, 0)


@operation("OnesLike", "ones_like")
def ones_like(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Ones in the shape of a tensor."""
    return _filled(g, layer, inputs, 1)


def _filled(g: Emitter, layer: LayerConfig, inputs: Inputs, number: int) -> Tensor:
    x = tensor_of(inputs)
    dtype = dtype_of(argument(layer, inputs, "dtype", 1, x.dtype.name))
    shape = [dim for dim in x.shape if isinstance(dim, int)]
    if len(shape) == x.rank and math.prod(shape) <= FILL_LIMIT:
        return Tensor(x.shape, dtype, g.constant(np.full(shape, number, dtype), "filled"))
    real = g.floating(x)
    never = g.pointwise("Less", real, real, dtype=np.bool_)
    return g.cast(g.pointwise("Not", never) if number else never, dtype)


@operation("Square", "math.square")
def square(g: Emitter, _layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """X times itself."""
    x = tensor_of(inputs)
    return g.pointwise("Mul", x, x)


@operation("math.squared_difference")
def squared_difference(g: Emitter, _layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The square of what two numbers differ by."""
    difference = g.pointwise("Sub", *pair_of(inputs))
    return g.pointwise("Mul", difference, difference)


@operation("Log1p", "math.log1p")
def log1p(g: Emitter, _layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The logarithm of x + 1."""
    return g.pointwise("Log", g.pointwise("Add", g.floating(tensor_of(inputs)), 1.0))


@operation("Expm1", "math.expm1")
def expm1(g: Emitter, _layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The exponential less 1."""
    return g.pointwise("Sub", g.pointwise("Exp", g.floating(tensor_of(inputs))), 1.0)


@operation("FloorDivide", "compat.v1.floor_div", "math.floordiv", "__operators__.floordiv")
def floor_divide(g: Emitter, _layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The quotient, rounded down."""
    return _rounded_down(g, *pair_of(inputs))


@operation("Mod", "math.floormod", "math.mod", "__operators__.mod")
def floor_mod(g: Emitter, _layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """What is left of the first number once the second has gone into it, with the second one's sign."""
    left, right = pair_of(inputs)
    return g.pointwise("Sub", left, g.pointwise("Mul", _rounded_down(g, left, right), right))


def _rounded_down(g: Emitter, left: Any, right: Any) -> Tensor:
    if any(isinstance(side, Tensor) and not side.is_float for side in (left, right)):
        raise unsupported("quotients of integers cannot be read", "cast them to float before")
    return g.pointwise("Floor", g.pointwise("Div", left, right))


@operation("math.divide_no_nan")
def divide_no_nan(g: Emitter, _layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The quotient, 0 where the divisor is."""
    left, right = pair_of(inputs)
    if not isinstance(right, Tensor):
        right = Tensor((), np.dtype(np.float32), g.constant(right, "divisor", np.float32))
    nothing = g.pointwise("Equal", right, 0.0, dtype=np.bool_)
    one, zero = (g.constant(np.float32(number), "number") for number in (1, 0))
    divisor = g.pointwise("Where", nothing, one, right, dtype=np.float32)
    return g.pointwise("Where", nothing, zero, g.pointwise("Div", left, divisor), dtype=np.float32)


@operation("math.add_n")
def add_n(g: Emitter, _layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The sum of tensors."""
    if not inputs.tensors:
        raise ModelFileError("called without tensors")
    return reduce(partial(g.pointwise, "Add"), inputs.tensors)


@operation("nn.bias_add")
def bias_add(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """A number added to each channel, the last axis."""
    if str(argument(layer, inputs, "data_format", 2, "NHWC")).startswith("NC"):
        raise unsupported("a bias of channels that come first cannot be read", "use a layer's own bias")
    return g.pointwise("Add", tensor_of(inputs), argument(layer, inputs, "bias", 1))


@operation("Einsum", "einsum")
def einsum(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """A sum of products over the axes whose letters the result lacks."""
    tensors = [g.floating(tensor) for tensor in inputs.tensors]
    equation = argument(layer, inputs, "subscripts", 0, argument(layer, inputs, "equation", 0))
    if not tensors:
        raise unsupported(
            "the file does not say what it is applied to: Keras 2 keeps the arguments behind a first tensor only",
            "rebuild the model with tf.matmul or a Dot layer, which Keras 2 saves whole",
        )
    parts = str(equation).replace(" ", "").split("->")
    terms = parts[0].split(",")
    letters = "".join(terms)
    if len(parts) != 2 or not all(letter.isalpha() for letter in letters + parts[1]):
        raise unsupported(f"the equation {str(equation)[:80]!r} cannot be read", "write it as in 'ab,bc->ac'")
    if [len(term) for term in terms] != [tensor.rank for tensor in tensors] or not set(parts[1]) <= set(letters):
        raise ModelFileError(f"the equation {str(equation)[:80]!r} does not fit its tensors")
    sizes = {
        letter: size for term, x in zip(terms, tensors, strict=True) for letter, size in zip(term, x.shape, strict=True)
    }
    shape = tuple(sizes[letter] for letter in parts[1])
    return g.op("Einsum", *tensors, shape=shape, equation=f"{parts[0]}->{parts[1]}")


@operation("Rsqrt", "math.rsqrt")
def rsqrt(g: Emitter, _layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """1 / sqrt(x)."""
    return g.pointwise("Reciprocal", g.pointwise("Sqrt", g.floating(tensor_of(inputs))))


@operation("Softmax", "nn.softmax")
def softmax_operation(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Softmax over one axis."""
    return softmax(g, g.floating(tensor_of(inputs)), integer_of(argument(layer, inputs, "axis", 1, -1), "axis"))


@operation("LogSoftmax", "nn.log_softmax")
def log_softmax(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The logarithm of softmax over one axis."""
    axis = integer_of(argument(layer, inputs, "axis", 1, -1), "axis")
    return softmax(g, g.floating(tensor_of(inputs)), axis, "LogSoftmax")


@operation("Clip", "clip_by_value")
def clip_operation(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Bounded from below and above."""
    low = argument(layer, inputs, "x_min", 1, inputs.kwargs.get("clip_value_min"))
    high = argument(layer, inputs, "x_max", 2, inputs.kwargs.get("clip_value_max"))
    if not all(isinstance(bound, int | float) for bound in (low, high)):
        raise unsupported("bounds that are computed cannot be expressed", "use maximum and minimum")
    return clip(g, tensor_of(inputs), low, high)


@operation("Cast", "cast")
def cast(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Another type; real numbers of every width are float32."""
    x = tensor_of(inputs)
    made = g.cast(x, dtype_of(argument(layer, inputs, "dtype", 1, "float32")))
    made.sizes = x.sizes if made.dtype.kind == "i" else None
    return made


@operation("Matmul", "linalg.matmul")
def matmul(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The product of matrices in the last two axes, either transposed on request."""
    tensors = [*inputs.tensors, *(item for item in inputs.kwargs.values() if isinstance(item, Tensor))]
    constants = [item for item in (*inputs.args, *inputs.kwargs.values()) if isinstance(item, list)]
    if len(tensors) == 1 and len(constants) == 1 and isinstance(constants[0][0], list):
        matrix = np.asarray(constants[0], np.float32)
        made = Tensor(matrix.shape, matrix.dtype, g.constant(matrix, "matrix"))
        tensors.insert(int(not isinstance(inputs.args[0], list)), made)
    if len(tensors) != 2:
        raise unsupported("a product with a constant cannot be read", "use a Dense layer")
    for index, name in enumerate(("transpose_a", "transpose_b")):
        if argument(layer, inputs, name, 9, False):
            rank = tensors[index].rank
            tensors[index] = g.transpose(tensors[index], (*range(rank - 2), rank - 1, rank - 2))
    left, right = tensors
    return g.matmul(left, right)


@operation("Where", "where")
def where(g: Emitter, _layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """One of two values for each element, by a condition."""
    named = [inputs.kwargs[key] for key in ("condition", "x1", "x", "x2", "y") if key in inputs.kwargs]
    condition, yes, no = [*inputs.operands, *named]
    typed = next((item for item in (yes, no) if isinstance(item, Tensor)), None)
    dtype = typed.dtype if typed is not None else np.dtype(np.float32)
    values = [item if isinstance(item, Tensor) else g.constant(item, "value", dtype) for item in (yes, no)]
    return g.pointwise("Where", g.cast(condition, np.bool_), *values, dtype=dtype)
