"""Operators that give tensors another shape, cut, join, surround or repeat them."""

from __future__ import annotations

import numpy as np

from tests.readers.tflite.cases import Single, int8, out8, real, truth, whole
from tests.readers.tflite.single import const

A = real(2, 3, 4, 5)


def _shapes():
    yield Single("RESHAPE", [A, const([6, -1])], kind="ReshapeOptions")
    yield Single("RESHAPE", [A], kind="ReshapeOptions", options={"newShape": [4, 30]}, title="of old files")
    yield Single("RESHAPE", [int8(2, 6), const([3, 4])], [out8()], "ReshapeOptions", title="int8")
    yield Single("SQUEEZE", [real(1, 3, 1, 2)], kind="SqueezeOptions")
    yield Single("SQUEEZE", [real(1, 3, 1, 2)], kind="SqueezeOptions", options={"squeezeDims": [-2]}, title="one axis")
    for axis in (0, 2, -1):
        yield Single("EXPAND_DIMS", [real(3, 4), const([axis])], kind="ExpandDimsOptions", title=f"axis {axis}")
    for order in ((0, 3, 1, 2), (0, 2, 3, 1), (3, 2, 1, 0)):
        yield Single("TRANSPOSE", [A, const(order)], kind="TransposeOptions", title=str(order))
    yield Single("TRANSPOSE", [real(2, 3, 4), const([-1, 0, 1])], kind="TransposeOptions", title="a negative axis")
    yield Single("TRANSPOSE", [int8(2, 3, 4), const([2, 0, 1])], [out8()], "TransposeOptions", title="int8")
    yield Single("SHAPE", [A], ["int64"], "ShapeOptions", {"outType": 4})
    yield Single("SHAPE", [A], ["int32"], "ShapeOptions", {"outType": 2}, title="int32")
    yield Single("RANK", [A], ["int32"], "RankOptions")
    yield Single("ZEROS_LIKE", [A], kind="ZerosLikeOptions")
    yield Single("ZEROS_LIKE", [whole(3)], ["int32"], kind="ZerosLikeOptions", title="integers")
    yield Single("FILL", [const([2, 3]), np.float32(1.5)], kind="FillOptions")
    yield Single("FILL", [const([2, 3], np.int64), np.int32(7)], ["int32"], kind="FillOptions", title="integers")
    yield Single("BROADCAST_TO", [real(3, 1), const([2, 3, 4])], kind="BroadcastToOptions", version=2)
    yield Single(
        "BROADCAST_TO",
        [whole(4), const([3, 4], np.int64)],
        ["int32"],
        "BroadcastToOptions",
        title="integers",
        version=2,
    )
    yield Single("BROADCAST_ARGS", [const([2, 1]), const([3, 1, 4])], ["int32"])
    yield Single("TILE", [A, const([1, 2, 1, 3])], kind="TileOptions")
    yield Single("TILE", [truth(2, 3), const([2, 1], np.int64)], ["bool"], "TileOptions", title="truths")
    yield Single("RANGE", [const(2), const(20), const(3)], ["int32"], "RangeOptions")
    yield Single("RANGE", [const(1.0), const(-2.0), const(-0.5)], ["float32"], "RangeOptions", title="backwards")
    yield Single("RANGE", [np.int32(2), np.int32(9), np.int32(2)], ["int32"], "RangeOptions", title="computed")
    yield Single("BITCAST", [real(3, 4)], ["int32"], "BitcastOptions")
    for start in ([1, 2], [-3, 7]):
        inputs = [real(4, 5), real(2, 3), np.array(start, np.int32)]
        yield Single("DYNAMIC_UPDATE_SLICE", inputs, kind="DynamicUpdateSliceOptions", title=str(start))


def _borders():
    amounts = const([[0, 0], [1, 2], [0, 3], [0, 1]])
    yield Single("PAD", [A, amounts], kind="PadOptions")
    yield Single("PAD", [int8(2, 3), const([[1, 0], [0, 2]], np.int64)], [out8()], "PadOptions", title="int8")
    yield Single("PAD", [whole(2, 3), const([[1, 0], [0, 2]])], ["int32"], "PadOptions", title="integers")
    yield Single("PADV2", [A, amounts, np.array([2.5], np.float32)], kind="PadV2Options")
    yield Single(
        "PADV2",
        [int8(2, 3), const([[1, 0], [0, 2]]), const([-7], np.int8, scale=0.05, zero=3)],
        [out8()],
        "PadV2Options",
        title="int8",
    )
    yield Single("DILATE", [real(2, 3, 4), const([2, 1, 3]), const(1.5)], kind="DilateOptions")
    yield Single("DILATE", [whole(2, 3), const([1, 2]), const(7)], ["int32"], "DilateOptions", title="integers")
    for mode, title in enumerate(("REFLECT", "SYMMETRIC")):
        inputs = [real(2, 3, 4), const([[0, 1], [2, 1], [0, 2]])]
        yield Single("MIRROR_PAD", inputs, kind="MirrorPadOptions", options={"mode": mode}, title=title)


def _slices():
    yield Single("SLICE", [A, const([0, 1, 0, 2]), const([2, 2, -1, 3])], kind="SliceOptions")
    yield Single(
        "SLICE",
        [whole(3, 4), const([1, 0], np.int64), const([1, -1], np.int64)],
        ["int32"],
        "SliceOptions",
        title="integers",
    )
    yield Single("SLICE", [int8(3, 4), const([1, 0]), const([1, -1])], [out8()], "SliceOptions", title="int8")
    for start in ([0, 1, 0, 2], [1, 0, 0, 0]):
        inputs = [A, np.array(start, np.int32), const([1, 2, 4, 3])]
        yield Single("SLICE", inputs, kind="SliceOptions", title=f"from a computed {start} on")
    rows = {
        "plain": ([0, 1, 0, 1], [2, 3, 4, 5], [1, 1, 2, 3], {}),
        "negative": ([0, -2, -1, 4], [2, 3, -4, -6], [1, 1, -1, -2], {}),
        "beyond": ([-9, 0, 0, 0], [9, 99, 2, 5], [1, 2, 1, 1], {}),
        "masks": ([9, 1, 9, 0], [9, 9, 2, 0], [1, 1, 1, 2], {"beginMask": 0b101, "endMask": 0b1011}),
        "an ellipsis": ([0, 0, 1], [1, 0, 3], [1, 1, 1], {"ellipsisMask": 0b010}),
        "a new axis": ([0, 0, 1], [2, 0, 3], [1, 1, 1], {"newAxisMask": 0b010}),
        "an axis less": ([1, 0, -1], [2, 2, 0], [1, 1, 1], {"shrinkAxisMask": 0b101}),
        "all at once": (
            [1, 0, 0, 2],
            [2, 0, 0, 9],
            [1, 1, 1, 1],
            {"shrinkAxisMask": 0b1, "newAxisMask": 0b10, "ellipsisMask": 0b100, "endMask": 0b1000},
        ),
        "offsets": ([0, 1, 1, 0], [1, 2, 3, 4], [1, 1, 1, 1], {"offset": True}),
    }
    for title, (begin, end, stride, options) in rows.items():
        inputs = [A, const(begin), const(end), const(stride)]
        yield Single("STRIDED_SLICE", inputs, kind="StridedSliceOptions", options=options, title=title)
    yield Single(
        "STRIDED_SLICE",
        [int8(5, 6), const([1, 0]), const([4, 6]), const([2, 1])],
        [out8()],
        "StridedSliceOptions",
        title="int8",
    )
    floats = ["float32"]
    yield Single("SPLIT", [const(1), real(2, 6, 3)], floats * 3, "SplitOptions", {"numSplits": 3})
    yield Single("SPLIT", [const(-1), int8(2, 6)], [out8()] * 2, "SplitOptions", {"numSplits": 2}, title="int8")
    yield Single("SPLIT_V", [A, const([1, -1, 2]), const(3)], floats * 3, "SplitVOptions", {"numSplits": 3})
    yield Single("UNPACK", [real(2, 3, 4)], floats * 3, "UnpackOptions", {"num": 3, "axis": 1})
    yield Single("UNPACK", [whole(2, 3)], ["int32"] * 3, "UnpackOptions", {"num": 3, "axis": -1}, title="the last axis")
    yield Single("PACK", [real(2, 3), real(2, 3)], kind="PackOptions", options={"valuesCount": 2, "axis": 1})
    yield Single(
        "PACK", [whole(2), whole(2)], ["int32"], "PackOptions", {"valuesCount": 2, "axis": -1}, title="at the end"
    )
    yield Single("CONCATENATION", [real(2, 3), real(2, 4)], kind="ConcatenationOptions", options={"axis": 1})
    yield Single("CONCATENATION", [A, A], kind="ConcatenationOptions", options={"axis": -2}, title="a negative axis")
    yield Single("CONCATENATION", [int8(2, 3), int8(2, 4)], [out8()], "ConcatenationOptions", {"axis": 1}, title="int8")
    yield Single("REVERSE_V2", [A, const([1])], kind="ReverseV2Options")
    yield Single("REVERSE_V2", [whole(2, 3, 4), const([1, 2])], ["int32"], "ReverseV2Options", title="two axes")
    for batch, time in ((0, 1), (1, 0), (2, 1)):
        lengths = np.array([2, 1, 2, 0], np.int32)[: A.shape[batch]]
        options = {"batchDim": batch, "seqDim": time}
        yield Single(
            "REVERSE_SEQUENCE", [A, lengths], kind="ReverseSequenceOptions", options=options, title=str(options)
        )


CASES = tuple(case for cases in (_shapes, _borders, _slices) for case in cases())
