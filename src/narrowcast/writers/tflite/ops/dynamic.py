"""Operators whose output is as long as the data make it: its first dimension is open until the file runs."""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import constant_of
from narrowcast.writers.tflite.site import Site, lowers
from narrowcast.writers.tflite.tables import TYPES

OPEN = -1
_INT32, _INT64, _FLOAT = np.dtype(np.int32), np.dtype(np.int64), np.dtype(np.float32)


@lowers("NonZero")
def non_zero(site: Site) -> None:
    """WHERE, whose coordinates stand in rows, transposed."""
    rank = len(site.shape())
    found = site.temporary((OPEN, rank), _INT64)
    site.emit("WHERE", [_truth(site)], [found])
    site.emit("TRANSPOSE", [found, site.ints([1, 0])], [site.output()])


def _truth(site: Site) -> int:
    source = site.input(0)
    dtype = site.lowering.container.tensors[source].dtype
    if dtype == np.bool_:
        return source
    truth = site.temporary(site.shape(), np.dtype(np.bool_))
    zero = site.lowering.constant(np.zeros((), dtype), "zero")
    site.emit("NOT_EQUAL", [source, zero], [truth], "NotEqualOptions")
    return truth


@lowers("Range")
def range_(site: Site) -> None:
    """RANGE."""
    site.emit("RANGE", [site.input(index) for index in range(3)], [site.output()], "RangeOptions")


@lowers("ConstantOfShape")
def filled(site: Site) -> None:
    """FILL."""
    site.allow("value")
    value = site.node.attributes.get("value")
    number = np.zeros((), np.float32) if value is None else value.as_tensor().numpy().reshape(())
    site.emit("FILL", [site.input(0), site.lowering.constant(number, "value")], [site.output()], "FillOptions")


@lowers("NonMaxSuppression")
def non_max_suppression(site: Site) -> None:
    """NON_MAX_SUPPRESSION_V4 for each class of each image; what it selects is gathered into one list at the end.

    ONNX breaks ties by the lower index and suppresses what overlaps by *more* than the threshold; the kernel promises
    no order among equals and suppresses at the threshold already. So boxes are sorted first and their ranks stand for
    their scores, and the threshold is the next larger number.
    """
    site.allow("center_point_box")
    images, classes, count = site.shape(1)
    lists = images * classes
    limit = min(int(site.array(2).reshape(())), count)
    scores, order = site.temporary((images, classes, count), _FLOAT), site.temporary((images, classes, count), _INT32)
    site.emit("TOPK_V2", [site.input(1), site.ints(np.array(count))], [scores, order], "TopKV2Options")
    boxes = _sorted_boxes(site, order, (images, classes, count))
    ranks = _ranks(site, scores, (images, classes, count))
    selected, numbers = [], []
    least, most = site.lowering.constant(np.array(0, np.float32), "score"), site.ints(np.array(limit))
    overlap = _overlap(site)
    for row in range(lists):
        selected.append(site.temporary((limit,), _INT32))
        numbers.append(site.temporary((), _INT32))
        arguments = [boxes[row], ranks[row % len(ranks)], most, overlap, least]
        kind = "NonMaxSuppressionV4Options"
        site.emit("NON_MAX_SUPPRESSION_V4", arguments, [selected[-1], numbers[-1]], kind)
    places = _reshaped(site, order, (lists, count), _INT32)
    chosen = _packed(site, selected, (lists, limit))
    found = site.temporary((lists, limit), _INT32)
    site.emit("GATHER", [places, chosen], [found], "GatherOptions", axis=1, batchDims=1)
    valid = site.temporary((lists, limit), np.dtype(np.bool_))
    lengths = _reshaped(site, _packed(site, numbers, (lists,)), (lists, 1), _INT32)
    site.emit("LESS", [site.ints(np.arange(limit)[None]), lengths], [valid], "LessOptions")
    labels = np.array([(image, number) for image in range(images) for number in range(classes)])
    rows, wide = site.temporary((lists, limit, 3), _INT32), _reshaped(site, found, (lists, limit, 1), _INT32)
    labelled = site.ints(np.repeat(labels[:, None], limit, 1))
    site.emit("CONCATENATION", [labelled, wide], [rows], "ConcatenationOptions", axis=2)
    where, narrow = site.temporary((OPEN, 2), _INT64), site.temporary((OPEN, 3), _INT32)
    site.emit("WHERE", [valid], [where])
    site.emit("GATHER_ND", [rows, where], [narrow], "GatherNdOptions")
    types = {"inDataType": TYPES[_INT32], "outDataType": TYPES[_INT64]}
    site.emit("CAST", [narrow], [site.output()], "CastOptions", **types)


def _sorted_boxes(site: Site, order: int, sizes: tuple[int, int, int]) -> list[int]:
    """The boxes [count, 4] of each list, in its order."""
    images, classes, count = sizes
    flat = _reshaped(site, order, (images, classes * count), _INT32)
    gathered = site.temporary((images, classes * count, 4), _FLOAT)
    site.emit("GATHER", [site.input(0), flat], [gathered], "GatherOptions", axis=1, batchDims=1)
    return _unpacked(
        site, _reshaped(site, gathered, (images * classes, count, 4), _FLOAT), (count, 4), images * classes
    )


def _ranks(site: Site, scores: int, sizes: tuple[int, int, int]) -> list[int]:
    """Falling numbers above zero [count] for each list, or one for all; -1 where the score is at most the threshold."""
    images, classes, count = sizes
    falling = site.lowering.constant(np.arange(count, 0, -1).astype(np.float32), "ranks")
    if not site.has(4):
        return [falling]
    above, kept = site.temporary(sizes, np.dtype(np.bool_)), site.temporary(sizes, _FLOAT)
    site.emit("GREATER", [scores, site.input(4)], [above], "GreaterOptions")
    site.emit(
        "SELECT_V2",
        [above, falling, site.lowering.constant(np.array(-1, np.float32), "none")],
        [kept],
        "SelectV2Options",
    )
    flat = _reshaped(site, kept, (images * classes, count), _FLOAT)
    return _unpacked(site, flat, (count,), images * classes)


def _overlap(site: Site) -> int:
    """The overlap from which on boxes are suppressed: the next number after ONNX's."""
    given = np.zeros(1, np.float32) if not site.has(3) else constant_of(site.value(3))
    if given is not None:
        return site.lowering.constant(np.nextafter(given.reshape(()), np.array(2, np.float32)), "overlap")
    scalar = _reshaped(site, site.input(3), (), _FLOAT)
    raised = site.temporary((), _FLOAT)
    step = site.lowering.constant(np.array(1 + 2**-23, np.float32), "step")
    site.emit("MUL", [scalar, step], [raised], "MulOptions")
    return raised


def _reshaped(site: Site, source: int, shape: tuple[int, ...], dtype: np.dtype) -> int:
    made = site.temporary(shape, dtype)
    site.emit("RESHAPE", [source, site.ints(np.array(shape, np.int32))], [made], "ReshapeOptions", newShape=list(shape))
    return made


def _unpacked(site: Site, source: int, shape: tuple[int, ...], number: int) -> list[int]:
    dtype = site.lowering.container.tensors[source].dtype
    parts = [site.temporary(shape, dtype) for _ in range(number)]
    site.emit("UNPACK", [source], parts, "UnpackOptions", num=number, axis=0)
    return parts


def _packed(site: Site, parts: list[int], shape: tuple[int, ...]) -> int:
    made = site.temporary(shape, site.lowering.container.tensors[parts[0]].dtype)
    site.emit("PACK", parts, [made], "PackOptions", valuesCount=len(parts), axis=0)
    return made
