"""Operators that compute element by element, with broadcasting."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional

from narrowcast.errors import UnsupportedOpError
from narrowcast.training.registry import translates

DTYPES: dict[int, torch.dtype] = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    5: torch.int16,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float16,
    11: torch.float64,
    16: torch.bfloat16,
}
"""By ONNX's numbers of types."""

_PLAIN: dict[str, Callable[..., Tensor]] = {
    "Abs": torch.abs,
    "Acos": torch.acos,
    "Acosh": torch.acosh,
    "Add": torch.add,
    "And": torch.logical_and,
    "Asin": torch.asin,
    "Asinh": torch.asinh,
    "Atan": torch.atan,
    "Atanh": torch.atanh,
    "BitwiseAnd": torch.bitwise_and,
    "BitwiseNot": torch.bitwise_not,
    "BitwiseOr": torch.bitwise_or,
    "BitwiseXor": torch.bitwise_xor,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Cosh": torch.cosh,
    "Equal": torch.eq,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "HardSwish": functional.hardswish,
    "Identity": lambda x: x,
    "IsNaN": torch.isnan,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "Log": torch.log,
    "Mish": functional.mish,
    "Mul": torch.mul,
    "Neg": torch.neg,
    "Not": torch.logical_not,
    "Or": torch.logical_or,
    "PRelu": lambda x, slope: torch.where(x < 0, x * slope, x),
    "Reciprocal": torch.reciprocal,
    "Relu": torch.relu,
    "Round": torch.round,
    "Sigmoid": torch.sigmoid,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Sinh": torch.sinh,
    "Softplus": lambda x: functional.softplus(x, threshold=80.0),
    "Softsign": functional.softsign,
    "Sqrt": torch.sqrt,
    "Sub": torch.sub,
    "Tan": torch.tan,
    "Tanh": torch.tanh,
    "Where": torch.where,
    "Xor": torch.logical_xor,
    "narrowcast::Swish": functional.silu,
}
for _name, _function in _PLAIN.items():
    translates(_name)(_function)


@translates("Div")
def div(x: Tensor, y: Tensor) -> Tensor:
    """Integers are divided towards zero."""
    return torch.div(x, y, rounding_mode=None if x.is_floating_point() else "trunc")


@translates("Mod")
def mod(x: Tensor, y: Tensor, *, fmod: int = 0) -> Tensor:
    """The remainder has the divisor's sign, or with `fmod` the dividend's."""
    return torch.fmod(x, y) if fmod else torch.remainder(x, y)


@translates("Pow")
def power(x: Tensor, y: Tensor) -> Tensor:
    """In the type of the base."""
    return torch.pow(x, y).to(x.dtype)


@translates("Max")
def maximum(*values: Tensor) -> Tensor:
    """Of one operand or more."""
    return reduce(torch.maximum, values)


@translates("Min")
def minimum(*values: Tensor) -> Tensor:
    """Of one operand or more."""
    return reduce(torch.minimum, values)


@translates("Sum")
def total(*values: Tensor) -> Tensor:
    """Of one operand or more."""
    return reduce(torch.add, values)


@translates("Mean")
def mean(*values: Tensor) -> Tensor:
    """Of one operand or more."""
    return total(*values) / len(values)


@translates("Clip", numbers=(1, 2))
def clip(x: Tensor, low: float | None = None, high: float | None = None) -> Tensor:
    """Between bounds, of which either may be missing."""
    return x if low is None and high is None else torch.clamp(x, low, high)


@translates("Cast")
def cast(x: Tensor, *, to: int, saturate: int = 1) -> Tensor:
    """To another type, floats towards zero."""
    if to not in DTYPES:
        raise UnsupportedOpError(f"training has no numbers of ONNX's type {to}")
    return x.to(DTYPES[to])


@translates("CastLike")
def cast_like(x: Tensor, other: Tensor, *, saturate: int = 1) -> Tensor:
    """To the type of another tensor."""
    return x.to(other.dtype)


@translates("Celu")
def celu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """The continuously differentiable exponential unit."""
    return functional.celu(x, alpha)


@translates("Elu")
def elu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """The exponential unit."""
    return functional.elu(x, alpha)


@translates("Gelu")
def gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    """By the error function, or by a hyperbolic tangent."""
    return functional.gelu(x, approximate=approximate)


@translates("HardSigmoid")
def hard_sigmoid(x: Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    """Three straight lines."""
    return torch.clamp(alpha * x + beta, 0.0, 1.0)


@translates("IsInf")
def is_inf(x: Tensor, *, detect_negative: int = 1, detect_positive: int = 1) -> Tensor:
    """Of the signs that are looked for."""
    return torch.isinf(x) & (((x > 0) & bool(detect_positive)) | ((x < 0) & bool(detect_negative)))


@translates("LeakyRelu")
def leaky_relu(x: Tensor, *, alpha: float = 0.01) -> Tensor:
    """Another slope below zero."""
    return functional.leaky_relu(x, alpha)


@translates("Selu")
def selu(x: Tensor, *, alpha: float = 1.67326319217681884765625, gamma: float = 1.05070102214813232421875) -> Tensor:
    """The scaled exponential unit."""
    return gamma * functional.elu(x, alpha)


@translates("Shrink")
def shrink(x: Tensor, *, bias: float = 0.0, lambd: float = 0.5) -> Tensor:
    """Zero between two thresholds, and moved towards it beyond them."""
    return torch.where(x < -lambd, x + bias, torch.where(x > lambd, x - bias, torch.zeros_like(x)))


@translates("ThresholdedRelu")
def thresholded_relu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """Zero up to a threshold."""
    return torch.where(x > alpha, x, torch.zeros_like(x))
