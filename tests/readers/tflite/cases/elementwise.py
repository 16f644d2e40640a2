"""Operators on each element."""

from __future__ import annotations

import numpy as np

from tests.readers.tflite.cases import Single, T, int8, out8, real, truth, whole
from tests.readers.tflite.single import const

A, B = real(2, 3, 4, 5), real(2, 3, 4, 5, low=0.5)
M, N = whole(2, 3, 4), np.where(whole(2, 3, 4) < 0, -3, 4).astype(np.int32)


def _options(name: str) -> str:
    """The options' name of an operator of two words at most."""
    return "".join(word.title() for word in name.split("_")) + "Options"


def _arithmetic():
    for name in ("ADD", "SUB", "MUL", "DIV"):
        kind = _options(name)
        yield Single(name, [A, B], kind=kind)
        yield Single(name, [A, real(5, low=1.0)], kind=kind, title="a row")
        yield Single(name, [const(real(4, 5)), B], kind=kind, title="a constant of fewer axes")
        for number, title in enumerate(("RELU", "RELU_N1_TO_1", "RELU6"), 1):
            yield Single(name, [A, B], kind=kind, options={"fusedActivationFunction": number}, title=title)
        yield Single(name, [M, N], ["int32"], kind=kind, title="integers")
    for name, scale in (("ADD", 0.1), ("SUB", 0.1), ("MUL", 0.3)):
        yield Single(name, [int8(2, 3, 4), int8(4, scale=0.03)], [out8(scale, -2)], _options(name), title="int8")
        yield Single(
            name,
            [int8(2, 3, dtype=np.uint8, zero=120), int8(2, 3, dtype=np.uint8, zero=99, fed=False)],
            [out8(scale, 130, np.uint8)],
            _options(name),
            title="uint8",
        )
    yield Single(
        "DIV",
        [int8(6, dtype=np.uint8, zero=0), T(whole(6, low=60, high=250, dtype=np.uint8), scale=0.02)],
        [out8(0.1, 5, np.uint8)],
        "DivOptions",
        title="uint8",
    )
    for name in ("MAXIMUM", "MINIMUM"):
        yield Single(name, [A, B], kind="MaximumMinimumOptions")
        yield Single(name, [M, np.int32(2)], ["int32"], "MaximumMinimumOptions", title="a number")
        yield Single(name, [int8(2, 3), int8(2, 3)], [out8()], "MaximumMinimumOptions", title="int8")
    yield Single("POW", [B, A], kind="PowOptions")
    yield Single("POW", [M, np.int32(3)], ["int32"], "PowOptions", title="integers")
    yield Single("SQUARED_DIFFERENCE", [A, B], kind="SquaredDifferenceOptions")
    yield Single(
        "SQUARED_DIFFERENCE", [int8(2, 3), int8(2, 3)], [out8(0.5, -128)], "SquaredDifferenceOptions", title="int8"
    )
    yield Single("ADD_N", [A, B, A], kind="AddNOptions")
    yield Single("ADD_N", [M, N], ["int32"], kind="AddNOptions", title="integers")
    yield Single("FLOOR_DIV", [A, real(5, low=-2.0, high=-0.5)], kind="FloorDivOptions")
    yield Single("FLOOR_DIV", [M, N], ["int32"], "FloorDivOptions", title="integers")
    yield Single("FLOOR_MOD", [A, real(5, low=-2.0, high=-0.5)], kind="FloorModOptions")
    yield Single("FLOOR_MOD", [np.float32([5, -5, 6, -6, 0]), np.float32([3, 3, -3, -3, 2])], title="signs")
    yield Single("FLOOR_MOD", [M, N], ["int32"], "FloorModOptions", title="integers")
    corners = np.array([[0, 1], [0, -1], [1, 0], [-1, 0], [0, 0], [2, -3], [-2, -3]], np.float32).T
    yield Single("ATAN2", [real(40), real(40)], kind="ATan2Options")
    yield Single("ATAN2", list(corners), kind="ATan2Options", title="axes")
    yield Single("BITWISE_XOR", [M, N], ["int32"], "BitwiseXorOptions")
    for dtype in (np.int32, np.uint32, np.int8, np.uint8, np.int16, np.uint16):
        source = whole(40, low=np.iinfo(dtype).min, high=np.iinfo(dtype).max, dtype=dtype)
        yield Single(
            "RIGHT_SHIFT",
            [source, whole(40, low=0, high=7, dtype=dtype)],
            [dtype.__name__],
            "RightShiftOptions",
            title=dtype.__name__,
        )


def _comparisons():
    pairs = real(2, 3, low=0, high=2).round(), real(3, low=0, high=2).round()
    for name in ("EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL"):
        yield Single(name, pairs, ["bool"], _options(name))
        yield Single(name, [whole(4, 5, low=0, high=2), np.int32(1)], ["bool"], _options(name), title="integers")
        yield Single(name, [int8(50), int8(50)], ["bool"], _options(name), title="int8")
    for name in ("LOGICAL_AND", "LOGICAL_OR"):
        yield Single(name, [truth(3, 4), truth(4)], ["bool"], _options(name))
    yield Single("LOGICAL_NOT", [truth(9)], ["bool"], "LogicalNotOptions")


def _functions():
    for name in ("ABS", "EXP", "NEG", "SIN", "COS", "FLOOR", "CEIL", "ROUND", "SIGN", "SQUARE"):
        yield Single(name, [A])
    yield Single("ROUND", [np.arange(-3, 3, 0.5, np.float32)], title="halves")
    for name in ("LOG", "SQRT", "RSQRT"):
        yield Single(name, [B])
    yield Single("ABS", [int8(40, zero=0)], [out8(zero=0)], title="int8")
    yield Single("NEG", [M], ["int32"], title="integers")
    yield Single("SIGN", [M], ["int32"], title="integers")


def _others():
    for source, target in (
        ("float32", "int32"),
        ("int32", "float32"),
        ("bool", "float32"),
        ("float32", "bool"),
        ("int64", "int32"),
        ("uint8", "float32"),
        ("float32", "float16"),
        ("int8", "int64"),
    ):
        array = real(3, 5, low=0.0, high=9.0).round(1).astype(source)
        yield Single("CAST", [array], [target], "CastOptions", title=f"{source} to {target}")
    yield Single("SELECT", [truth(2, 3), real(2, 3), real(2, 3)], kind="SelectOptions")
    yield Single("SELECT", [truth(2), real(2, 3, 4), real(2, 3, 4)], kind="SelectOptions", title="rows")
    yield Single("SELECT_V2", [truth(3), real(2, 1), real(2, 3)], kind="SelectV2Options")
    yield Single("SELECT_V2", [truth(2, 3), whole(3), np.int32(4)], ["int32"], "SelectV2Options", title="integers")
    yield Single("SELECT_V2", [truth(2, 3), int8(2, 3), int8(2, 3)], [out8()], "SelectV2Options", title="int8")


CASES = tuple(case for cases in (_arithmetic, _comparisons, _functions, _others) for case in cases())
