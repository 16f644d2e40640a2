"""Operators on each element by itself, with numpy's broadcasting."""

from __future__ import annotations

import math

import numpy as np

from narrowcast.errors import ModelFileError
from narrowcast.readers.emit import Tensor
from narrowcast.readers.tflite.registry import Site, reads

_BINARY = {
    "ADD": "Add", "SUB": "Sub", "MUL": "Mul", "DIV": "Div", "MAXIMUM": "Max", "MINIMUM": "Min", "POW": "Pow",
    "STABLEHLO_ADD": "Add", "STABLEHLO_SUBTRACT": "Sub", "STABLEHLO_MULTIPLY": "Mul", "STABLEHLO_DIVIDE": "Div",
    "STABLEHLO_MAXIMUM": "Max", "STABLEHLO_MINIMUM": "Min", "STABLEHLO_POWER": "Pow", "BITWISE_XOR": "BitwiseXor",
}  # fmt: skip
_COMPARISONS = {
    "EQUAL": "Equal", "LESS": "Less", "LESS_EQUAL": "LessOrEqual", "GREATER": "Greater",
    "GREATER_EQUAL": "GreaterOrEqual", "LOGICAL_AND": "And", "LOGICAL_OR": "Or",
}  # fmt: skip
_UNARY = {
    "ABS": "Abs", "EXP": "Exp", "LOG": "Log", "SQRT": "Sqrt", "NEG": "Neg", "SIN": "Sin", "COS": "Cos",
    "FLOOR": "Floor", "CEIL": "Ceil", "ROUND": "Round", "SIGN": "Sign", "LOGICAL_NOT": "Not",
    "STABLEHLO_ABS": "Abs", "STABLEHLO_EXPONENTIAL": "Exp", "STABLEHLO_LOG": "Log", "STABLEHLO_NEGATE": "Neg",
    "STABLEHLO_COSINE": "Cos", "STABLEHLO_FLOOR": "Floor", "STABLEHLO_LOGISTIC": "Sigmoid", "STABLEHLO_TANH": "Tanh",
}  # fmt: skip


@reads(*_BINARY)
def binary(site: Site) -> Tensor:
    """Arithmetic, with an activation."""
    return site.activated(site.g.pointwise(_BINARY[site.operator.name], *site.alike))


@reads(*_COMPARISONS)
def comparison(site: Site) -> Tensor:
    """What is true of two elements."""
    return site.g.pointwise(_COMPARISONS[site.operator.name], *site.alike, dtype=bool)


@reads("NOT_EQUAL")
def not_equal(site: Site) -> Tensor:
    """Whether two elements differ."""
    return site.g.pointwise("Not", site.g.pointwise("Equal", *site.alike, dtype=bool))


@reads("STABLEHLO_AND", "STABLEHLO_OR")
def conjunction(site: Site) -> Tensor:
    """Of truths, or of each bit of integers."""
    name = site.operator.name.removeprefix("STABLEHLO_").title()
    return site.g.pointwise(name if site.input(0).dtype == np.bool_ else f"Bitwise{name}", *site.alike)


@reads("STABLEHLO_COMPARE")
def compare(site: Site) -> Tensor:
    """What is true of two elements, by a direction."""
    direction = site.word("comparison_direction", "").rpartition("_")[2]
    ops = {"EQ": "Equal", "LT": "Less", "LE": "LessOrEqual", "GT": "Greater", "GE": "GreaterOrEqual", "NE": "Equal"}
    if direction not in ops:
        raise ModelFileError("its direction is unknown")
    made = site.g.pointwise(ops[direction], *site.alike, dtype=bool)
    return site.g.pointwise("Not", made) if direction == "NE" else made


@reads(*_UNARY)
def unary(site: Site) -> Tensor:
    """A function of one number."""
    return site.g.pointwise(_UNARY[site.operator.name], site.input(0))


@reads("RSQRT", "STABLEHLO_RSQRT")
def rsqrt(site: Site) -> Tensor:
    """One divided by the square root; in one step where roundings count."""
    if site.network.exact:
        return site.g.pointwise("Pow", site.input(0), -0.5)
    return site.g.pointwise("Reciprocal", site.g.pointwise("Sqrt", site.input(0)))


@reads("SQUARE")
def square(site: Site) -> Tensor:
    """The number times itself."""
    return site.g.pointwise("Mul", site.input(0), site.input(0))


@reads("SQUARED_DIFFERENCE")
def squared_difference(site: Site) -> Tensor:
    """The difference times itself."""
    difference = site.g.pointwise("Sub", *site.alike)
    return site.g.pointwise("Mul", difference, difference)


@reads("ADD_N")
def add_n(site: Site) -> Tensor:
    """The sum of any number of tensors."""
    total, *others = site.inputs
    for other in others:
        total = site.g.pointwise("Add", total, other)
    return total


@reads("FLOOR_DIV")
def floor_div(site: Site) -> Tensor:
    """The quotient, rounded down; ONNX's quotient of integers is cut off towards zero."""
    g, (x, y) = site.g, site.alike
    if x.is_float:
        return g.pointwise("Floor", g.pointwise("Div", x, y))
    remainders = [g.pointwise("Mod", x, y, fmod=fmod) for fmod in (0, 1)]
    up = g.pointwise("Not", g.pointwise("Equal", *remainders, dtype=bool))
    return g.pointwise("Sub", g.pointwise("Div", x, y), g.cast(up, x.dtype))


@reads("FLOOR_MOD")
def floor_mod(site: Site) -> Tensor:
    """The remainder with the divisor's sign; ONNX has only the dividend's for real numbers."""
    g, (x, y) = site.g, site.alike
    if not x.is_float:
        return g.pointwise("Mod", x, y)
    rest = g.pointwise("Mod", x, y, fmod=1)
    negative = [g.pointwise("Less", item, 0, dtype=bool) for item in (rest, y)]
    nonzero = g.pointwise("Not", g.pointwise("Equal", rest, 0, dtype=bool))
    wrong = g.pointwise("And", g.pointwise("Xor", *negative), nonzero)
    return g.pointwise("Where", wrong, g.pointwise("Add", rest, y), rest, dtype=x.dtype)


@reads("STABLEHLO_REMAINDER")
def remainder(site: Site) -> Tensor:
    """The remainder with the dividend's sign."""
    return site.g.pointwise("Mod", *site.alike, fmod=1)


@reads("ATAN2")
def atan2(site: Site) -> Tensor:
    """The angle of a point, between -pi and pi; on the negative x axis pi."""
    g, (y, x) = site.g, site.alike
    angle = g.pointwise("Atan", g.pointwise("Div", y, x))
    left, below = (g.pointwise("Less", item, 0, dtype=bool) for item in (x, y))
    turn = g.pointwise(
        "Where", below, g.tensor(-math.pi, dtype=y.dtype), g.tensor(math.pi, dtype=y.dtype), dtype=y.dtype
    )
    angle = g.pointwise("Where", left, g.pointwise("Add", angle, turn), angle, dtype=y.dtype)
    zero = g.pointwise("Equal", g.pointwise("Max", g.pointwise("Abs", x), g.pointwise("Abs", y)), 0, dtype=bool)
    return g.pointwise("Where", zero, g.tensor(0.0, dtype=y.dtype), angle, dtype=y.dtype)


@reads("STABLEHLO_CBRT")
def cbrt(site: Site) -> Tensor:
    """The cubic root, of negative numbers too."""
    g, x = site.g, site.input(0)
    root = g.pointwise("Pow", g.pointwise("Abs", x), g.tensor(1 / 3, dtype=x.dtype))
    return g.pointwise("Mul", g.pointwise("Sign", x), root)


@reads("STABLEHLO_SHIFT_LEFT")
def left_shift(site: Site) -> Tensor:
    """Bits moved to the left; ONNX shifts unsigned numbers only."""
    g, (x, y) = site.g, site.alike
    unsigned = np.dtype(f"u{x.dtype}") if x.dtype.kind == "i" else x.dtype
    shifted = g.pointwise("BitShift", *(g.cast(item, unsigned) for item in (x, y)), direction="LEFT")
    return g.cast(shifted, x.dtype)


@reads("RIGHT_SHIFT")
def right_shift(site: Site) -> Tensor:
    """Bits moved to the right; the sign goes on. ONNX shifts unsigned numbers only."""
    g, (x, y) = site.g, site.alike
    if x.dtype.kind == "u":
        return g.pointwise("BitShift", x, y, direction="RIGHT")
    wide = g.cast(x, np.int64)
    power = g.pointwise(
        "BitShift", g.tensor(np.ones((1,) * x.rank), dtype=np.uint64), g.cast(y, np.uint64), direction="LEFT"
    )
    power = g.cast(power, np.int64)
    rest = g.pointwise("Mod", wide, power)
    return g.cast(g.pointwise("Div", g.pointwise("Sub", wide, rest), power), x.dtype)


@reads("CAST", "STABLEHLO_CONVERT")
def cast(site: Site) -> Tensor:
    """In another type."""
    return site.g.cast(site.input(0), site.output().dtype)


@reads("SELECT", "SELECT_V2", "STABLEHLO_SELECT")
def select(site: Site) -> Tensor:
    """From one tensor or another. SELECT takes whole rows where its condition has one axis."""
    g, condition = site.g, site.input(0)
    rank = max(x.rank for x in site.inputs)
    if site.operator.name == "SELECT" and condition.rank == 1:
        condition = g.reshape(condition, condition.shape + (1,) * (rank - 1))
    condition = g.reshape(condition, (1,) * (rank - condition.rank) + condition.shape)
    one, other = site.ranked(1, rank), site.ranked(2, rank)
    return g.pointwise("Where", condition, one, other, dtype=one.dtype)


@reads("STABLEHLO_CLAMP")
def clamp(site: Site) -> Tensor:
    """Between two tensors, or numbers."""
    rank = site.input(1).rank
    low, x, high = (site.ranked(index, rank) for index in range(3))
    return site.g.pointwise("Min", site.g.pointwise("Max", low, x), high)
