"""Operators of StableHLO; most of them beside numpy's, as LiteRT leaves them to delegates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.readers.tflite.cases import Single, T, real, truth, whole
from tests.readers.tflite.single import const

A, B = real(2, 3, 4), real(2, 3, 4, low=0.5)


def _out(*shape: int, dtype: type = np.float32) -> list[T]:
    return [T(np.zeros(shape, dtype))]


def _elements():
    yield Single("STABLEHLO_ADD", [A, B])
    yield Single("STABLEHLO_MULTIPLY", [A, B])
    yield Single("STABLEHLO_MAXIMUM", [A, B])
    yield Single("STABLEHLO_MINIMUM", [A, B])
    yield Single("STABLEHLO_AND", [truth(9), truth(9)], ["bool"])
    yield Single("STABLEHLO_AND", [whole(9), whole(9)], ["int32"], title="integers")
    yield Single("STABLEHLO_OR", [whole(9), whole(9)], ["int32"], reference=np.bitwise_or)
    yield Single("STABLEHLO_SUBTRACT", [A, B], reference=np.subtract)
    yield Single("STABLEHLO_DIVIDE", [A, B], reference=np.divide)
    yield Single("STABLEHLO_POWER", [B, A], reference=np.power)
    yield Single("STABLEHLO_REMAINDER", [A, B], reference=np.fmod)
    for name, function in {
        "ABS": np.abs,
        "EXPONENTIAL": np.exp,
        "LOG": np.log,
        "NEGATE": np.negative,
        "COSINE": np.cos,
        "FLOOR": np.floor,
        "TANH": np.tanh,
        "RSQRT": lambda x: 1 / np.sqrt(x),
        "LOGISTIC": lambda x: 1 / (1 + np.exp(-x)),
    }.items():
        yield Single(f"STABLEHLO_{name}", [B], reference=function)
    yield Single("STABLEHLO_CBRT", [A], reference=np.cbrt)
    yield Single("STABLEHLO_SHIFT_LEFT", [whole(20, low=-99), whole(20, low=0, high=20)], ["int32"])
    yield Single("STABLEHLO_SELECT", [truth(2, 3), real(2, 3), real(2, 3)], reference=np.where)
    yield Single("STABLEHLO_CLAMP", [const(-1.0), A, const(2.0)], reference=lambda x: np.clip(x, -1, 2))
    yield Single("STABLEHLO_CONVERT", [A], ["int32"], reference=lambda x: x.astype(np.int32))
    kind = "StablehloCompareOptions"
    functions = (np.equal, np.not_equal, np.greater_equal, np.greater, np.less_equal, np.less)
    for number, function in enumerate(functions):
        yield Single(
            "STABLEHLO_COMPARE",
            [whole(40), whole(40)],
            ["bool"],
            kind,
            {"comparisonDirection": number},
            title=function.__name__,
            reference=function,
        )


def _moves():
    yield Single("STABLEHLO_RESHAPE", [A], _out(6, 4), reference=lambda x: x.reshape(6, 4))
    yield Single(
        "STABLEHLO_TRANSPOSE",
        [A],
        kind="StablehloTransposeOptions",
        options={"permutation": [2, 0, 1]},
        reference=lambda x: x.transpose(2, 0, 1),
    )
    yield Single(
        "STABLEHLO_CONCATENATE",
        [A, B],
        kind="StablehloConcatenateOptions",
        options={"dimension": 1},
        reference=lambda x, y: np.concatenate([x, y], 1),
    )
    yield Single(
        "STABLEHLO_BROADCAST_IN_DIM",
        [real(3, 1)],
        _out(2, 3, 4),
        "StablehloBroadcastInDimOptions",
        {"broadcastDimensions": [1, 2]},
        reference=lambda x: np.broadcast_to(x[None], (2, 3, 4)),
    )
    options = {"startIndices": [0, 1, 0], "limitIndices": [1, 3, 4], "strides": [1, 1, 2]}
    yield Single(
        "STABLEHLO_SLICE", [A], kind="StablehloSliceOptions", options=options, reference=lambda x: x[:1, 1:3, ::2]
    )
    options = {"edgePaddingLow": [1, 0, -1], "edgePaddingHigh": [0, 2, -1], "interiorPadding": [0, 0, 0]}
    yield Single(
        "STABLEHLO_PAD",
        [A, const(1.5)],
        kind="StablehloPadOptions",
        options=options,
        reference=lambda x: np.pad(x, [(1, 0), (0, 2), (0, 0)], constant_values=1.5)[..., 1:-1],
    )
    yield Single(
        "STABLEHLO_IOTA",
        [],
        _out(2, 3, dtype=np.int32),
        "StablehloIotaOptions",
        {"iotaDimension": 1},
        reference=lambda: np.broadcast_to(np.arange(3, dtype=np.int32), (2, 3)),
    )
    options = {
        "lhsBatchingDimensions": [1],
        "rhsBatchingDimensions": [0],
        "lhsContractingDimensions": [2],
        "rhsContractingDimensions": [1],
    }
    yield Single(
        "STABLEHLO_DOT_GENERAL",
        [A, real(3, 4, 5)],
        kind="StablehloDotGeneralOptions",
        options=options,
        reference=lambda x, y: np.einsum("abc,bcd->bad", x, y),
    )


def _parts():
    """A part of [1, 2, 3] places, from a computed place on; one that would reach beyond the end is moved."""
    for start in ((0, 1, 1), (-4, 1, 9)):
        places = [np.int32(number) for number in start]
        spans = zip(start, (1, 2, 3), A.shape, strict=True)
        part = tuple(slice(at, at + size) for at, size in ((max(0, min(a, b - n)), n) for a, n, b in spans))

        def put(x, update, *_, part=part):
            made = x.copy()
            made[part] = update
            return made

        options, title = {"sliceSizes": [1, 2, 3]}, str(start)
        taken = Single("STABLEHLO_DYNAMIC_SLICE", [A, *places], kind="StablehloDynamicSliceOptions", options=options)
        yield replace(taken, title=title, reference=lambda x, *_, part=part: x[part])
        update = real(1, 2, 3)
        yield Single("STABLEHLO_DYNAMIC_UPDATE_SLICE", [A, update, *places], title=title, reference=put)


CASES = tuple(case for cases in (_elements, _moves, _parts) for case in cases())
