"""Single operators of quantised .tflite files, read and written again: LiteRT gives the same bits."""

from __future__ import annotations

import numpy as np
import pytest

import narrowcast
from narrowcast import runtimes
from narrowcast.evaluation.samples import random_feeds
from tests.readers.tflite.single import Single, T, build, const

IMAGE, ROWS = (1, 6, 6, 4), (3, 8)
CENTRE = {"int8": 3, "uint8": 130, "int16": 0}
RANDOM = np.random.default_rng(0)


def fed(dtype, shape=IMAGE, scale=0.05, zero=None):
    """An activation."""
    return T(np.zeros(shape, dtype), scale=scale, zero=CENTRE[dtype] if zero is None else zero)


def made(dtype, shape=IMAGE, scale=0.05, zero=None):
    return fed(dtype, shape, scale, zero)


def weights(dtype, shape, axis=None, zero=0):
    low, high = (0, 256) if dtype == "uint8" else (-127, 128)
    scale = 0.01 if axis is None else RANDOM.uniform(0.005, 0.02, shape[axis])
    more = {} if axis is None else {"axis": axis}
    return const(RANDOM.integers(low, high, shape), dtype, scale=scale, zero=zero, **more)


def bias(dtype, channels, by=None):
    """By the scale of the products."""
    scale = 0.05 * (np.float64(0.01) if by is None else by.scale)
    return const(RANDOM.integers(-2000, 2000, channels), "int64" if dtype == "int16" else "int32", scale=scale)


def conv(dtype):
    kind, zero = ("uint8", 120) if dtype == "uint8" else ("int8", 0)
    axis = None if dtype == "uint8" else 0
    options = {"padding": 0, "strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    kernel = weights(kind, (5, 3, 3, 4), axis, zero)
    return Single(
        "CONV_2D",
        [fed(dtype), kernel, bias(dtype, 5, kernel)],
        [made(dtype, (1, 6, 6, 5), 0.1)],
        "Conv2DOptions",
        options | {"fusedActivationFunction": 1},
    )


def depthwise(dtype):
    kind, zero = ("uint8", 120) if dtype == "uint8" else ("int8", 0)
    axis = None if dtype == "uint8" else 3
    options = {"padding": 1, "strideH": 2, "strideW": 2, "depthMultiplier": 1}
    options |= {"dilationHFactor": 1, "dilationWFactor": 1}
    kernel = weights(kind, (1, 3, 3, 4), axis, zero)
    return Single(
        "DEPTHWISE_CONV_2D",
        [fed(dtype), kernel, bias(dtype, 4, kernel)],
        [made(dtype, (1, 2, 2, 4), 0.1)],
        "DepthwiseConv2DOptions",
        options,
    )


def dense(dtype):
    kind, zero = ("uint8", 120) if dtype == "uint8" else ("int8", 0)
    inputs = [fed(dtype, ROWS), weights(kind, (5, 8), None, zero), bias(dtype, 5)]
    return Single("FULLY_CONNECTED", inputs, [made(dtype, (3, 5), 0.1)], "FullyConnectedOptions")


def backwards(dtype):
    kind = "uint8" if dtype == "uint8" else "int8"
    zero, axis = (120, None) if dtype == "uint8" else (0, 0)
    inputs = [const([1, 12, 12, 3]), weights(kind, (3, 3, 3, 4), axis, zero), fed(dtype)]
    options = {"padding": 0, "strideH": 2, "strideW": 2}
    return Single("TRANSPOSE_CONV", inputs, [made(dtype, (1, 12, 12, 3), 0.1)], "TransposeConvOptions", options)


def binary(name, kind="", **options):
    def case(dtype):
        return Single(name, [fed(dtype), fed(dtype, scale=0.08)], [made(dtype, scale=0.2)], kind, options)

    return case


def shared(name, shapes=(IMAGE,), output=IMAGE, arguments=(), kind="", **options):
    """All that it reads and writes has one scale."""

    def case(dtype):
        return Single(
            name, [*(fed(dtype, shape) for shape in shapes), *arguments], [made(dtype, output)], kind, options
        )

    return case


def unary(name, kind="", scale=0.03, zero=None, source=0.05, low=False, **options):
    def case(dtype):
        fixed = zero[dtype] if isinstance(zero, dict) else zero
        step = scale[dtype] if isinstance(scale, dict) else scale
        before = fed(dtype, scale=source, zero=np.iinfo(dtype).min if low else None)
        return Single(name, [before], [made(dtype, scale=step, zero=fixed)], kind, options)

    return case


def prelu(dtype):
    return Single("PRELU", [fed(dtype), weights(dtype, (1, 1, 4), zero=CENTRE[dtype])], [made(dtype, scale=0.06)])


def product(dtype):
    return Single(
        "BATCH_MATMUL",
        [fed(dtype, (2, 3, 5)), fed(dtype, (2, 5, 4), 0.03)],
        [made(dtype, (2, 3, 4), 0.1)],
        "BatchMatMulOptions",
    )


def split(dtype):
    halves = [made(dtype, (1, 6, 6, 2)) for _ in range(2)]
    return Single("SPLIT", [const(3), fed(dtype)], halves, "SplitOptions", {"numSplits": 2})


def largest(dtype):
    return Single(
        "ARG_MAX", [fed(dtype), const([3])], [T(np.zeros((1, 6, 6), np.int64))], "ArgMaxOptions", {"outputType": 4}
    )


def compared(dtype):
    return Single("LESS", [fed(dtype), fed(dtype, scale=0.04)], [T(np.zeros(IMAGE, bool))], "LessOptions")


def chosen(dtype):
    return Single("SELECT_V2", [T(np.zeros(IMAGE, bool)), fed(dtype), fed(dtype)], [made(dtype)], "SelectV2Options")


UNIT = {
    "scale": {"int8": 1 / 256, "uint8": 1 / 256, "int16": 1 / 32768},
    "zero": {"int8": -128, "uint8": 0, "int16": 0},
}
SIGNED = {
    "scale": {"int8": 1 / 128, "uint8": 1 / 128, "int16": 1 / 32768},
    "zero": {"int8": 0, "uint8": 128, "int16": 0},
}
LOGARITHM = {"scale": 16 / 256, "zero": {"int8": 127, "uint8": 255}}
POOL = {"padding": 1, "strideH": 2, "strideW": 2, "filterHeight": 2, "filterWidth": 2}
POOLED = (1, 3, 3, 4)
EIGHT, BYTES, ALL = ("int8", "uint8"), ("int8",), ("int8", "uint8", "int16")
OPERATORS = [
    (conv, ALL),
    (depthwise, ALL),
    (dense, ALL),
    (backwards, ALL),
    (binary("ADD", "AddOptions", potScaleInt16=False), ALL),
    (binary("SUB", "SubOptions", potScaleInt16=False), ALL),
    (binary("MUL", "MulOptions"), ALL),
    (binary("SQUARED_DIFFERENCE", "SquaredDifferenceOptions"), BYTES),
    (unary("LOGISTIC", **UNIT), ALL),
    (unary("TANH", **SIGNED), ALL),
    (unary("SOFTMAX", "SoftmaxOptions", beta=1.0, **UNIT), ALL),
    (unary("LOG_SOFTMAX", "LogSoftmaxOptions", **LOGARITHM), EIGHT),
    (unary("L2_NORMALIZATION", "L2NormOptions", **SIGNED), EIGHT),
    (unary("RELU"), ALL),
    (unary("RELU6"), EIGHT),
    (unary("RELU_N1_TO_1"), EIGHT),
    (unary("LEAKY_RELU", "LeakyReluOptions", alpha=0.2), ALL),
    (unary("HARD_SWISH", "HardSwishOptions"), EIGHT),
    (unary("ELU"), BYTES),
    (unary("GELU", "GeluOptions"), EIGHT),
    (unary("ABS"), BYTES),
    (unary("EXP", scale=0.1), BYTES),
    (unary("LOG", source=0.02, scale=0.05, low=True), BYTES),
    (unary("SQRT", source=0.02, low=True), BYTES),
    (unary("RSQRT", source=0.02, zero={"int8": -128}, low=True), BYTES),
    (shared("MAX_POOL_2D", output=POOLED, kind="Pool2DOptions", **POOL), ALL),
    (shared("AVERAGE_POOL_2D", output=POOLED, kind="Pool2DOptions", **POOL), ALL),
    (shared("CONCATENATION", (IMAGE, IMAGE), (1, 6, 6, 8), kind="ConcatenationOptions", axis=3), ALL),
    (shared("MAXIMUM", (IMAGE, IMAGE), kind="MaximumMinimumOptions"), ALL),
    (shared("MINIMUM", (IMAGE, IMAGE), kind="MaximumMinimumOptions"), ALL),
    (shared("RESHAPE", output=(36, 4), arguments=(const([36, 4]),), kind="ReshapeOptions"), ALL),
    (shared("TRANSPOSE", output=(1, 4, 6, 6), arguments=(const([0, 3, 1, 2]),)), ALL),
    (shared("PAD", output=(1, 8, 7, 4), arguments=(const([[0, 0], [1, 1], [0, 1], [0, 0]]),)), ALL),
    (shared("SLICE", output=(1, 3, 6, 2), arguments=(const([0, 1, 0, 1]), const([1, 3, 6, 2]))), ALL),
    (shared("GATHER", output=(1, 2, 6, 4), arguments=(const([3, 1]),), kind="GatherOptions", axis=1), ALL),
    (shared("RESIZE_NEAREST_NEIGHBOR", output=(1, 12, 12, 4), arguments=(const([12, 12]),)), ALL),
    (shared("RESIZE_BILINEAR", output=(1, 12, 12, 4), arguments=(const([12, 12]),)), ALL),
    (shared("DEPTH_TO_SPACE", output=(1, 12, 12, 1), kind="DepthToSpaceOptions", blockSize=2), EIGHT),
    (shared("SPACE_TO_DEPTH", output=(1, 3, 3, 16), kind="SpaceToDepthOptions", blockSize=2), EIGHT),
    (shared("REDUCE_MAX", output=(1, 4), arguments=(const([1, 2]),), kind="ReducerOptions"), ALL),
    (shared("TILE", output=(1, 12, 6, 4), arguments=(const([1, 2, 1, 1]),)), BYTES),
    (
        shared(
            "MIRROR_PAD",
            output=(1, 8, 6, 4),
            arguments=(const([[0, 0], [1, 1], [0, 0], [0, 0]]),),
            kind="MirrorPadOptions",
            mode=0,
        ),
        EIGHT,
    ),
    (shared("REVERSE_V2", arguments=(const([1]),)), EIGHT),
    (shared("PACK", (ROWS, ROWS), (2, 3, 8), kind="PackOptions", axis=0, valuesCount=2), EIGHT),
    (
        shared(
            "STRIDED_SLICE",
            output=(1, 3, 6, 4),
            kind="StridedSliceOptions",
            arguments=(const([0, 0, 0, 0]), const([1, 6, 6, 4]), const([1, 2, 1, 1])),
        ),
        ALL,
    ),
    (prelu, EIGHT),
    (product, BYTES),
    (split, ALL),
    (largest, EIGHT),
    (compared, EIGHT),
    (chosen, EIGHT),
    (shared("MEAN", output=(1, 4), arguments=(const([1, 2]),), kind="ReducerOptions"), ALL),
    (shared("SUM", output=(1, 4), arguments=(const([1, 2]),), kind="ReducerOptions"), BYTES),
    (lambda dtype: Single("QUANTIZE", [fed(dtype)], [made(dtype, scale=0.11)], "QuantizeOptions"), ALL),
]
CASES = [(make(dtype), dtype) for make, dtypes in OPERATORS for dtype in dtypes]


@pytest.mark.parametrize(("case", "dtype"), CASES, ids=[f"{case.name}-{dtype}" for case, dtype in CASES])
def test_the_same_bits(case, dtype, tmp_path):
    source = tmp_path / "source.tflite"
    source.write_bytes(build(case))
    model = narrowcast.load(source)
    path = narrowcast.save(model, tmp_path / "again.tflite", io_layout="source", verify=False).path
    before, after = (runtimes.open(file, "litert") for file in (source, path))
    for feed in random_feeds(model, 16):
        if case.name == "RSQRT":  # of positive numbers only
            feed = {name: np.maximum(array, -127) for name, array in feed.items()}
        for want, have in zip(before.run(feed).values(), after.run(feed).values(), strict=True):
            np.testing.assert_array_equal(have, want)
            assert have.dtype == want.dtype


FLAT, PICTURE = T(np.zeros(ROWS, np.float32)), T(np.zeros(IMAGE, np.float32))
WINDOW = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}


def hybrid_dense(axis, asymmetric):
    inputs = [FLAT, weights("int8", (5, 8), axis), const(np.ones(5))]
    options = {"asymmetricQuantizeInputs": asymmetric}
    title = f"by {'one scale' if axis is None else 'several'}, {'asymmetric' if asymmetric else 'symmetric'}"
    return Single("FULLY_CONNECTED", inputs, [T(np.zeros((3, 5), np.float32))], "FullyConnectedOptions", options, title)


def hybrid_conv(channels, axis):
    source, output = (T(np.zeros((1, 6, 6, count), np.float32)) for count in (channels, 5))
    inputs = [source, weights("int8", (5, 3, 3, channels), axis), const(np.ones(5))]
    title = f"of {channels} channels by {'one scale' if axis is None else 'several'}"
    return Single("CONV_2D", inputs, [output], "Conv2DOptions", WINDOW, title)


def hybrid_depthwise():
    inputs = [PICTURE, weights("int8", (1, 3, 3, 4), 3), const(np.ones(4))]
    return Single("DEPTHWISE_CONV_2D", inputs, [PICTURE], "DepthwiseConv2DOptions", {**WINDOW, "depthMultiplier": 1})


def hybrid_product(asymmetric):
    inputs = [T(np.zeros((2, 3, 5), np.float32)), weights("int8", (2, 5, 4))]
    options = {"asymmetricQuantizeInputs": asymmetric}
    return Single("BATCH_MATMUL", inputs, [T(np.zeros((2, 3, 4), np.float32))], "BatchMatMulOptions", options)


HYBRIDS = [
    *(hybrid_dense(axis, asymmetric) for axis in (None, 0) for asymmetric in (False, True)),
    *(hybrid_conv(channels, axis) for channels in (1, 4) for axis in (None, 0)),
    hybrid_depthwise(),
    *(hybrid_product(asymmetric) for asymmetric in (False, True)),
]


@pytest.mark.parametrize("case", HYBRIDS, ids=str)
def test_the_same_bits_of_floats_that_are_quantised_as_they_come(case, tmp_path):
    test_the_same_bits(case, "float32", tmp_path)
