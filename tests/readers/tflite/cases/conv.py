"""Convolutions, pools, products of matrices, and what is done to images."""

from __future__ import annotations

import numpy as np

from tests.readers.tflite.cases import Single, T, int8, out8, real, whole
from tests.readers.tflite.single import const

IMAGE = real(2, 7, 8, 4)
SAME, VALID = 0, 1


def _conv2d():
    for padding, title in enumerate(("SAME", "VALID")):
        for stride in (1, 2):
            options = {"padding": padding, "strideH": stride, "strideW": stride, "fusedActivationFunction": stride}
            yield Single(
                "CONV_2D",
                [IMAGE, const(real(6, 3, 2, 4)), const(real(6))],
                kind="Conv2DOptions",
                options=options,
                title=f"{title} by {stride}",
            )
            yield Single(
                "DEPTHWISE_CONV_2D",
                [IMAGE, const(real(1, 3, 2, 8)), const(real(8))],
                kind="DepthwiseConv2DOptions",
                options={**options, "depthMultiplier": 2},
                title=f"{title} by {stride}",
            )
            for outs, size in ((14, (2, 3)), (15, (3, 2))) if stride == 2 else ((7, (2, 3)),):
                height = (
                    (outs - 1 if padding == SAME and outs == 15 else outs) if padding == SAME else 6 * stride + size[0]
                )
                width = 8 * stride if padding == SAME else 7 * stride + size[1]
                shape = const([2, height, width, 3])
                yield Single(
                    "TRANSPOSE_CONV",
                    [shape, const(real(3, *size, 4)), IMAGE, const(real(3))],
                    kind="TransposeConvOptions",
                    title=f"{title} by {stride} to {height}",
                    options={"padding": padding, "strideH": stride, "strideW": stride},
                )
    spread = {"padding": SAME, "strideH": 1, "strideW": 1, "dilationHFactor": 2, "dilationWFactor": 3}
    yield Single(
        "CONV_2D",
        [IMAGE, const(real(6, 3, 2, 4)), const(real(6))],
        kind="Conv2DOptions",
        options=spread,
        title="dilated",
    )
    groups = {"padding": SAME, "strideH": 1, "strideW": 1}
    yield Single(
        "CONV_2D",
        [IMAGE, const(real(6, 3, 2, 2)), const(real(6))],
        kind="Conv2DOptions",
        options=groups,
        title="groups",
    )
    yield Single("CONV_2D", [IMAGE, real(6, 3, 2, 4), real(6)], kind="Conv2DOptions", options=groups, title="computed")
    yield Single(
        "TRANSPOSE_CONV",
        [const([2, 14, 16, 3]), const(real(3, 3, 3, 4)), IMAGE],
        kind="TransposeConvOptions",
        options={"padding": SAME, "strideH": 2, "strideW": 2},
        title="without a bias",
    )
    scales = np.array([0.01, 0.02, 0.003], np.float32)
    kernel = T(whole(3, 3, 3, 4, low=-127, high=127, dtype=np.int8), False, scales)
    depths = T(whole(1, 3, 3, 4, low=-127, high=127, dtype=np.int8), False, np.float32([0.01, 0.02, 0.1, 1]), 0, 3)
    bias = T(whole(3, low=-900, high=900), False, scales * np.float32(0.05))
    options = {"padding": SAME, "strideH": 2, "strideW": 2, "fusedActivationFunction": 3}
    yield Single(
        "CONV_2D", [int8(1, 6, 7, 4), kernel, bias], [out8(0.03, -128)], "Conv2DOptions", options, title="int8"
    )
    yield Single(
        "DEPTHWISE_CONV_2D",
        [int8(1, 6, 7, 4), depths, T(whole(4), False, depths.scale * 0.05)],
        [out8(0.5)],
        "DepthwiseConv2DOptions",
        {**options, "fusedActivationFunction": 0, "depthMultiplier": 1},
        title="int8",
    )
    old = T(whole(3, 3, 3, 4, low=0, high=255, dtype=np.uint8), False, 0.02, 131)
    yield Single(
        "CONV_2D",
        [int8(1, 6, 7, 4, dtype=np.uint8), old, T(bias.array, False, 0.001)],
        [out8(0.4, 120, np.uint8)],
        "Conv2DOptions",
        {**options, "fusedActivationFunction": 0},
        title="uint8",
    )
    wide = int8(1, 6, 7, 4, scale=1e-4, zero=0, dtype=np.int16)
    yield Single(
        "CONV_2D",
        [wide, kernel, T(bias.array.astype(np.int64), False, scales * np.float32(1e-4))],
        [out8(2e-3, 0, np.int16)],
        "Conv2DOptions",
        {**options, "fusedActivationFunction": 0},
        title="int16",
    )
    yield Single(
        "TRANSPOSE_CONV",
        [const([1, 12, 14, 3]), kernel, int8(1, 6, 7, 4)],
        [out8(0.3)],
        "TransposeConvOptions",
        {"padding": SAME, "strideH": 2, "strideW": 2},
        title="int8",
    )


def _of_four_bits():
    scales = np.array([0.1, 0.02, 0.3, 0.05, 0.2], np.float32)
    for shape, scale, title in (((5, 8), scales, "4 bits"), ((5, 7), np.float32([0.1]), "4 bits, an odd number")):
        weights = T(whole(*shape, low=-7, high=7, dtype=np.int8), False, scale, type="INT4")
        bias = T(whole(5, low=-900, high=900), False, scale * np.float32(0.05))
        inputs = [int8(3, shape[1]), weights, bias]
        yield Single("FULLY_CONNECTED", inputs, [out8(0.3)], "FullyConnectedOptions", title=title)
        inputs = [real(3, shape[1]), weights, const(real(5))]
        if scale.size > 1:
            yield Single(
                "FULLY_CONNECTED", inputs, kind="FullyConnectedOptions", title=f"hybrid, {title}", tolerance=0.02
            )
    kernel = T(whole(5, 3, 3, 4, low=-7, high=7, dtype=np.int8), False, scales, type="INT4")
    bias = T(whole(5, low=-900, high=900), False, scales * np.float32(0.05))
    options = {"padding": SAME, "strideH": 1, "strideW": 1}
    yield Single("CONV_2D", [int8(1, 6, 7, 4), kernel, bias], [out8(0.7)], "Conv2DOptions", options, title="4 bits")


def _dilated():
    """Convolutions as old converters spelled them; the last has other crops than its dilation asks for."""
    pairs = (
        ([[2, 3], [3, 4]], [[0, 1], [0, 1]]),
        ([[0, 1], [0, 1]], [[0, 0], [0, 1]]),
        ([[2, 3], [3, 4]], [[1, 2], [3, 0]]),
    )
    for name, shape in (("CONV_2D", (6, 3, 3, 4)), ("DEPTHWISE_CONV_2D", (1, 3, 3, 4))):
        depth = {"depthMultiplier": 1} if shape[0] == 1 else {}
        options = {"padding": VALID, "strideH": 1, "strideW": 1, "fusedActivationFunction": 1, **depth}
        kind = "DepthwiseConv2DOptions" if depth else "Conv2DOptions"
        for pads, crops in pairs:
            inputs = [..., const(real(*shape)), const(real(4 if depth else 6))]
            after = [
                Single(name, inputs, kind=kind, options=options),
                Single("BATCH_TO_SPACE_ND", [..., const([2, 3]), const(crops)]),
            ]
            title = f"around {name} {pads} {crops}"
            yield Single("SPACE_TO_BATCH_ND", [IMAGE, const([2, 3]), const(pads)], then=after, title=title)


def _volumes():
    volume = real(1, 4, 5, 6, 2)
    for padding, title in enumerate(("SAME", "VALID")):
        options = {"padding": padding, "strideD": 1, "strideH": 2, "strideW": 2}
        yield Single(
            "CONV_3D",
            [volume, const(real(2, 3, 3, 2, 5)), const(real(5))],
            kind="Conv3DOptions",
            options=options,
            title=title,
        )
        sizes = [4, 10, 12] if padding == SAME else [5, 11, 13]
        yield Single(
            "CONV_3D_TRANSPOSE",
            [const([1, *sizes, 3]), const(real(2, 3, 3, 3, 2)), volume, const(real(3))],
            kind="Conv3DOptions",
            options=options,
            title=title,
        )


def _pools():
    for name in ("MAX_POOL_2D", "AVERAGE_POOL_2D", "L2_POOL_2D"):
        for padding, title in enumerate(("SAME", "VALID")):
            options = {"padding": padding, "strideH": 2, "strideW": 1, "filterHeight": 3, "filterWidth": 2}
            yield Single(name, [IMAGE], kind="Pool2DOptions", options=options, title=title)
            options["fusedActivationFunction"] = 3
            if name != "L2_POOL_2D":
                yield Single(name, [int8(1, 7, 8, 3)], [out8()], "Pool2DOptions", options, title=f"{title} int8")


def _dense():
    yield Single(
        "FULLY_CONNECTED",
        [real(3, 8), const(real(5, 8)), const(real(5))],
        kind="FullyConnectedOptions",
        options={"fusedActivationFunction": 1},
    )
    yield Single(
        "FULLY_CONNECTED", [real(2, 3, 8), const(real(5, 8)), None], kind="FullyConnectedOptions", title="rows"
    )
    yield Single(
        "FULLY_CONNECTED",
        [real(2, 3, 8), const(real(5, 8))],
        kind="FullyConnectedOptions",
        options={"keepNumDims": True},
        title="all axes",
    )
    yield Single("FULLY_CONNECTED", [real(3, 8), real(5, 8), real(5)], kind="FullyConnectedOptions", title="computed")
    weights = T(whole(5, 8, low=-127, high=127, dtype=np.int8), False, 0.01)
    bias = T(whole(5, low=-900, high=900), False, np.float32(0.05) * np.float32(0.01))
    yield Single("FULLY_CONNECTED", [int8(3, 8), weights, bias], [out8(0.1)], "FullyConnectedOptions", title="int8")
    yield Single(
        "FULLY_CONNECTED",
        [real(3, 8), weights, const(real(5))],
        kind="FullyConnectedOptions",
        title="hybrid",
        tolerance=0.02,
    )
    for x, y, options in (
        (real(2, 3, 4), real(2, 4, 5), {}),
        (real(2, 1, 4, 3), real(3, 5, 4), {"adjX": True, "adjY": True}),
        (real(3, 4), real(2, 5, 4), {"adjY": True}),
    ):
        yield Single(
            "BATCH_MATMUL", [x, y], kind="BatchMatMulOptions", options=options, title=str(options) + str(y.ndim)
        )
    yield Single("BATCH_MATMUL", [int8(2, 3, 4), int8(2, 4, 5)], [out8(0.3)], "BatchMatMulOptions", title="int8")


def _images():
    for name in ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"):
        kind = "ResizeBilinearOptions" if "BILINEAR" in name else "ResizeNearestNeighborOptions"
        for options in ({}, {"alignCorners": True}, {"halfPixelCenters": True}):
            for sizes in ((14, 12), (5, 4), (7, 1)):
                title = f"{' '.join(options)} {sizes}"
                yield Single(name, [IMAGE, const(sizes)], kind=kind, options=options, title=title)
        yield Single(name, [int8(1, 3, 4, 2), const([6, 8])], [out8()], kind, {"halfPixelCenters": True}, title="int8")
    yield Single("DEPTH_TO_SPACE", [IMAGE], kind="DepthToSpaceOptions", options={"blockSize": 2})
    yield Single("SPACE_TO_DEPTH", [real(2, 6, 4, 3)], kind="SpaceToDepthOptions", options={"blockSize": 2})
    yield Single("DEPTH_TO_SPACE", [int8(1, 2, 3, 8)], [out8()], "DepthToSpaceOptions", {"blockSize": 2}, title="int8")
    blocks, pads = const([2, 3]), const([[1, 0], [0, 1]])
    yield Single("SPACE_TO_BATCH_ND", [IMAGE, blocks, pads], kind="SpaceToBatchNDOptions")
    yield Single("SPACE_TO_BATCH_ND", [real(2, 6, 3), const([3]), const([[2, 1]])], title="one axis")
    yield Single("SPACE_TO_BATCH_ND", [int8(1, 7, 5, 2), blocks, pads], [out8()], title="int8")
    yield Single("BATCH_TO_SPACE_ND", [real(12, 4, 3, 5), blocks, pads], kind="BatchToSpaceNDOptions")
    yield Single("BATCH_TO_SPACE_ND", [int8(6, 4, 3, 5), blocks, pads], [out8()], title="int8")


CASES = tuple(
    case for cases in (_conv2d, _of_four_bits, _dilated, _volumes, _pools, _dense, _images) for case in cases()
)
