"""Activations, reductions, places, and what stores numbers."""

from __future__ import annotations

import numpy as np

from tests.readers.tflite.cases import Single, int8, out8, real, truth, whole
from tests.readers.tflite.single import const

A = real(2, 3, 4, 5)


def _activations():
    for name in (
        "RELU",
        "RELU6",
        "RELU_N1_TO_1",
        "RELU_0_TO_1",
        "LOGISTIC",
        "TANH",
        "ELU",
        "HARD_SWISH",
        "LOG_SOFTMAX",
    ):
        yield Single(name, [real(3, 20, low=-8, high=8)])
    for name in ("RELU", "RELU6", "HARD_SWISH"):
        yield Single(name, [int8(40)], [out8()], title="int8")
    yield Single("LOGISTIC", [int8(40)], [out8(1 / 256, -128)], title="int8")
    yield Single("TANH", [int8(40)], [out8(1 / 128, 0)], title="int8")
    yield Single("LEAKY_RELU", [A], kind="LeakyReluOptions", options={"alpha": 0.1})
    yield Single("LEAKY_RELU", [int8(40)], [out8(0.04)], "LeakyReluOptions", {"alpha": 0.1}, title="int8")
    yield Single("PRELU", [A, const(real(1, 1, 5))])
    yield Single("PRELU", [int8(2, 3, 4), int8(4, scale=0.01, fed=False)], [out8(0.06)], title="int8")
    for approximate in (False, True):
        yield Single("GELU", [A], kind="GeluOptions", options={"approximate": approximate}, title=str(approximate))
    for beta in (1.0, 0.5):
        yield Single("SOFTMAX", [A], kind="SoftmaxOptions", options={"beta": beta}, title=str(beta))
    yield Single("SOFTMAX", [int8(3, 9)], [out8(1 / 256, -128)], "SoftmaxOptions", {"beta": 1.0}, title="int8")
    yield Single("L2_NORMALIZATION", [A], kind="L2NormOptions")
    yield Single("L2_NORMALIZATION", [int8(3, 4)], [out8(1 / 128, 0)], "L2NormOptions", title="int8")
    options = {"radius": 2, "bias": 1.5, "alpha": 0.3, "beta": 0.75}
    yield Single(
        "LOCAL_RESPONSE_NORMALIZATION", [real(1, 3, 4, 9)], kind="LocalResponseNormalizationOptions", options=options
    )


def _reductions():
    for name in ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD"):
        yield Single(name, [A, const([1, 2])], kind="ReducerOptions", options={"keepDims": True})
        yield Single(name, [A, const([-1, 0, -1])], kind="ReducerOptions", title="negative axes")
        yield Single(name, [whole(3, 4, low=1), const(1)], ["int32"], kind="ReducerOptions", title="integers")
    yield Single("MEAN", [int8(2, 5, 5, 3), const([1, 2])], [out8(0.03)], "ReducerOptions", title="int8")
    yield Single("SUM", [int8(2, 5), const([1])], [out8(0.2)], "ReducerOptions", title="int8")
    yield Single("REDUCE_MAX", [int8(2, 5), const([1])], [out8()], "ReducerOptions", title="int8")
    for name in ("REDUCE_ANY", "REDUCE_ALL"):
        yield Single(name, [truth(9, 2), const([1])], ["bool"], "ReducerOptions")
    for name in ("ARG_MAX", "ARG_MIN"):
        kind = name.title().replace("_", "") + "Options"
        yield Single(name, [A, const(-1)], ["int64"], kind, {"outputType": 4})
        yield Single(name, [whole(4, 9), const(0)], ["int32"], kind, {"outputType": 2}, title="equal ones")
        yield Single(name, [int8(4, 9), const(1)], ["int32"], kind, {"outputType": 2}, title="int8")
    for options in ({}, {"exclusive": True}, {"reverse": True}, {"exclusive": True, "reverse": True}):
        yield Single("CUMSUM", [A, const(-2)], kind="CumsumOptions", options=options, title=" ".join(options))
    yield Single("CUMSUM", [whole(3, 4), const(1)], ["int32"], kind="CumsumOptions", title="integers")
    yield Single("SEGMENT_SUM", [real(5, 3), const([0, 0, 1, 1, 2])], kind="SegmentSumOptions")
    for name in ("SUM", "PROD", "MAX", "MIN"):
        inputs, kind = [real(5, 3), np.int32([1, -1, 0, 3, 1]), const(5)], f"UnsortedSegment{name.title()}Options"
        yield Single(f"UNSORTED_SEGMENT_{name}", inputs, kind=kind)


def _places():
    for axis, shape in ((0, (2, 2)), (1, (4,)), (-1, (3, 1))):
        inputs = [A, whole(*shape, low=0, high=1)]
        yield Single("GATHER", inputs, kind="GatherOptions", options={"axis": axis}, title=f"axis {axis}")
    for axis, batch in ((1, 1), (2, 1), (3, 2), (2, 2)):
        inputs = [A, whole(*A.shape[:batch], 2, low=0, high=2)]
        options = {"axis": axis, "batchDims": batch}
        yield Single("GATHER", inputs, kind="GatherOptions", options=options, title=f"axis {axis} for each of {batch}")
    yield Single("GATHER", [int8(9, 2), const([3, 0, 8])], [out8()], "GatherOptions", title="int8")
    yield Single("GATHER_ND", [A, whole(4, 2, low=0, high=1)], kind="GatherNdOptions")
    yield Single(
        "GATHER_ND", [whole(3, 4), whole(2, 2, 2, low=0, high=2)], ["int32"], "GatherNdOptions", title="integers"
    )
    yield Single("SCATTER_ND", [const([[1], [3], [1]]), real(3, 2), const([5, 2])], kind="ScatterNdOptions")
    yield Single(
        "SCATTER_ND",
        [np.int32([[1, 0], [3, 1]]), whole(2), const([5, 2])],
        ["int32"],
        "ScatterNdOptions",
        title="integers",
    )
    kind = "SparseToDenseOptions"
    yield Single("SPARSE_TO_DENSE", [const([[0, 1], [2, 2]]), const([3, 4]), real(2), np.float32(9)], kind=kind)
    yield Single(
        "SPARSE_TO_DENSE", [const([1, 3]), const([5]), np.float32(2), np.float32(9)], kind=kind, title="one number"
    )
    yield Single("EMBEDDING_LOOKUP", [whole(4, low=0, high=6), const(real(7, 3))])
    yield Single("EMBEDDING_LOOKUP", [whole(4, low=0, high=6), int8(7, 3, zero=0, fed=False)], title="int8")
    for axis in (-1, 0, 1):
        inputs = [np.int32([[0, 2, 5], [-1, 3, 1]]), const(4), const(2.5), const(-1.0)]
        yield Single("ONE_HOT", inputs, kind="OneHotOptions", options={"axis": axis}, title=f"axis {axis}")
    yield Single("TOPK_V2", [A, const(3)], ["float32", "int32"], "TopKV2Options")
    yield Single("TOPK_V2", [whole(4, 9, high=-5), const(4)], ["int32", "int32"], "TopKV2Options", title="equal ones")
    yield Single("BUCKETIZE", [real(20)], ["int32"], "BucketizeOptions", {"boundaries": [-1.0, 0.0, 2.0]})
    yield Single(
        "BUCKETIZE", [whole(20)], ["int32"], "BucketizeOptions", {"boundaries": [-3.0, 0.0, 5.0]}, title="integers"
    )
    yield Single("MATRIX_DIAG", [real(2, 4)], kind="MatrixDiagOptions")
    for shape in ((2, 4, 4), (2, 3, 4), (2, 4, 3)):
        yield Single(
            "MATRIX_SET_DIAG", [real(*shape), real(2, min(shape[1:]))], kind="MatrixSetDiagOptions", title=str(shape)
        )
    yield Single("WHERE", [truth(3, 4)], ["int64"], "WhereOptions")
    yield Single("WHERE", [whole(5, low=0, high=1)], ["int64"], "WhereOptions", title="integers")
    yield Single("UNIQUE", [whole(20, low=0, high=5)], ["int32", "int32"], "UniqueOptions", {"idxOutType": 2})
    yield Single("UNIQUE", [real(20).round()], ["float32", "int64"], "UniqueOptions", {"idxOutType": 4}, title="reals")
    corners = real(30, 2, low=0.0, high=1.0)
    boxes, scores = np.concatenate([corners, corners + real(30, 2, low=0.1, high=0.4)], 1), real(30, low=0.0, high=1.0)
    for most in (5, 40):
        inputs = [boxes, scores, const(most), const(0.4), const(0.2)]
        yield Single(
            "NON_MAX_SUPPRESSION_V4", inputs, ["int32", "int32"], "NonMaxSuppressionV4Options", title=str(most)
        )
        yield Single(
            "NON_MAX_SUPPRESSION_V5",
            [*inputs, const(0.0)],
            ["int32", "float32", "int32"],
            "NonMaxSuppressionV5Options",
            title=str(most),
        )


def _spectra():
    complex64 = np.complex64
    for shape, lengths in (((2, 1, 8), (1, 8)), ((2, 4, 8), (4, 8)), ((3, 2, 5), (4, 8)), ((2, 3, 9), (1, 4))):
        for name in ("COMPLEX_ABS", "REAL", "IMAG"):
            after = [Single(name, [...], ["float32"])]
            yield Single(
                "RFFT2D",
                [real(*shape), const(lengths)],
                [complex64],
                "Rfft2dOptions",
                then=after,
                title=f"{name} {shape} {lengths}",
            )


def _storage():
    yield Single("QUANTIZE", [real(40)], [out8()], "QuantizeOptions")
    yield Single("QUANTIZE", [int8(40)], [out8(0.07, 9)], "QuantizeOptions", title="another scale")
    yield Single("QUANTIZE", [int8(40)], [out8(0.05, 131, np.uint8)], "QuantizeOptions", title="another type")
    yield Single("DEQUANTIZE", [int8(40)], kind="DequantizeOptions")
    yield Single("DEQUANTIZE", [int8(40, dtype=np.uint8)], kind="DequantizeOptions", title="uint8")
    yield Single("DEQUANTIZE", [real(40).astype(np.float16)], kind="DequantizeOptions", title="halves")
    for bits, low, high in ((8, -2.0, 2.5), (4, 0.0, 6.0), (16, -1.0, 3.0)):
        options = {"min": low, "max": high, "numBits": bits}
        yield Single("FAKE_QUANT", [real(50)], kind="FakeQuantOptions", options=options, title=f"{bits} bits")
    matrix = np.where(real(6, 7) > 1, real(6, 7), 0).astype(np.float32)
    yield Single("DENSIFY", [const(matrix, sparse=True)], kind="DensifyOptions")


CASES = tuple(case for cases in (_activations, _reductions, _places, _spectra, _storage) for case in cases())
