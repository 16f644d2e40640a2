"""Operators of TensorFlow that a file has as they are, where they have no attributes and ONNX has an equivalent.

Converters name them "FlexErf" where TensorFlow's own kernels are to run them, and "Erf" where the application is.
"""

from __future__ import annotations

import numpy as np

from narrowcast.readers.emit import Tensor
from narrowcast.readers.tflite.registry import Site, reads_custom

_POINTWISE = {
    "AddV2": "Add", "Sub": "Sub", "Mul": "Mul", "RealDiv": "Div", "Maximum": "Max", "Minimum": "Min", "Pow": "Pow",
    "Erf": "Erf", "Softplus": "Softplus", "Softsign": "Softsign", "Selu": "Selu", "Inv": "Reciprocal",
    "Reciprocal": "Reciprocal", "Rint": "Round", "Tan": "Tan", "Asin": "Asin", "Acos": "Acos", "Atan": "Atan",
    "Sinh": "Sinh", "Cosh": "Cosh", "Asinh": "Asinh", "Acosh": "Acosh", "Atanh": "Atanh", "Invert": "BitwiseNot",
    "BitwiseAnd": "BitwiseAnd", "BitwiseOr": "BitwiseOr", "BitwiseXor": "BitwiseXor",
}  # fmt: skip
_QUESTIONS = {"IsNan": "IsNaN", "IsInf": "IsInf", "LogicalXor": "Xor"}


def _both(*names: str) -> list[str]:
    return [prefix + name for name in names for prefix in ("", "Flex")]


def _name(site: Site) -> str:
    return site.operator.custom.removeprefix("Flex")


@reads_custom(*_both(*_POINTWISE))
def pointwise(site: Site) -> Tensor:
    """A function of each element, or of two."""
    return site.g.pointwise(_POINTWISE[_name(site)], *site.alike)


@reads_custom(*_both(*_QUESTIONS))
def question(site: Site) -> Tensor:
    """What is true of each element."""
    return site.g.pointwise(_QUESTIONS[_name(site)], *site.alike, dtype=bool)


@reads_custom(*_both("Expm1", "Log1p"))
def around_one(site: Site) -> Tensor:
    """exp(x) - 1, and the logarithm of x + 1."""
    g, x = site.g, site.input(0)
    if _name(site) == "Log1p":
        return g.pointwise("Log", g.pointwise("Add", x, 1.0))
    return g.pointwise("Sub", g.pointwise("Exp", x), 1.0)


@reads_custom(*_both("Erfc"))
def erfc(site: Site) -> Tensor:
    """1 - erf(x)."""
    g, x = site.g, site.input(0)
    return g.pointwise("Sub", g.tensor(1.0, dtype=x.dtype), g.pointwise("Erf", x))


@reads_custom(*_both("IsFinite"))
def is_finite(site: Site) -> Tensor:
    """Neither infinite nor no number."""
    g, x = site.g, site.input(0)
    wrong = [g.pointwise(name, x, dtype=bool) for name in ("IsNaN", "IsInf")]
    return g.pointwise("Not", g.pointwise("Or", *wrong))


@reads_custom(*_both("Xlogy", "Xdivy"))
def nothing_times(site: Site) -> Tensor:
    """X * log(y), or x / y; 0 where x is 0."""
    g, (x, y) = site.g, site.alike
    found = g.pointwise("Mul", x, g.pointwise("Log", y)) if _name(site) == "Xlogy" else g.pointwise("Div", x, y)
    nothing = g.pointwise("Equal", x, 0, dtype=bool)
    return g.pointwise("Where", nothing, g.tensor(0, dtype=x.dtype), found, dtype=np.dtype(x.dtype))
