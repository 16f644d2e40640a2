"""Operators that go over whole axes."""

from __future__ import annotations

import numpy as np

from narrowcast.errors import ModelFileError
from narrowcast.readers.emit import Tensor, permuted, to_first
from narrowcast.readers.tflite.registry import Site, reads

_REDUCTIONS = {
    "MEAN": "ReduceMean", "SUM": "ReduceSum", "REDUCE_MAX": "ReduceMax", "REDUCE_MIN": "ReduceMin",
    "REDUCE_PROD": "ReduceProd",
}  # fmt: skip


@reads(*_REDUCTIONS)
def reduce(site: Site) -> Tensor:
    """A reduction over some axes."""
    return site.g.reduce(_REDUCTIONS[site.operator.name], site.input(0), _axes(site), site.flag("keep_dims"))


@reads("REDUCE_ANY", "REDUCE_ALL")
def truths(site: Site) -> Tensor:
    """Whether any or all are true."""
    g = site.g
    op = "ReduceMax" if site.operator.name == "REDUCE_ANY" else "ReduceMin"
    return g.cast(g.reduce(op, g.cast(site.input(0), np.int32), _axes(site), site.flag("keep_dims")), bool)


def _axes(site: Site) -> list[int]:
    """Each axis once."""
    return sorted({site.input(0).axis(axis) for axis in site.ints(1)})


@reads("ARG_MAX", "ARG_MIN")
def arg(site: Site) -> Tensor:
    """The place of the largest or smallest element along an axis; the first of equal ones."""
    g, x = site.g, site.input(0)
    axis = x.axis(site.number(1))
    shape = (*x.shape[:axis], *x.shape[axis + 1 :])
    op = "ArgMax" if site.operator.name == "ARG_MAX" else "ArgMin"
    value, position, first = g.axis_of(x, axis)
    if first and axis != x.rank - 1:
        value, position = g.plain(x), axis
    made = g.raw(op, value, shape=shape, dtype=np.int64, axis=position, keepdims=0)
    return site.typed(Tensor(shape, np.dtype(np.int64), made))


@reads("CUMSUM")
def cumsum(site: Site) -> Tensor:
    """The sum of all elements so far along an axis."""
    g, x = site.g, site.input(0)
    axis = g.tensor(x.axis(site.number(1)), "axis", np.int64)
    return g.op("CumSum", x, axis, shape=x.shape, exclusive=site.option("exclusive"), reverse=site.option("reverse"))


@reads("LOCAL_RESPONSE_NORMALIZATION")
def local_response_normalization(site: Site) -> Tensor:
    """Divided by (bias + alpha * the sum of squares of the channels around) ** beta; ONNX's alpha is of their mean."""
    g, x, radius = site.g, site.input(0), site.option("radius")
    if x.rank != 4 or not 0 <= radius < 1 << 16:
        raise ModelFileError(f"it has a radius of {radius} on a tensor of shape {x.shape}")
    size, alpha = 2 * radius + 1, float(site.option("alpha"))
    numbers = {"alpha": alpha * size, "beta": float(site.option("beta")), "bias": float(site.option("bias"))}
    shape = permuted(x.shape, to_first(4))
    made = g.raw("LRN", g.channels_first(x), shape=shape, size=size, **numbers)
    return Tensor(x.shape, x.dtype, first=made)


@reads("SEGMENT_SUM")
def segment_sum(site: Site) -> Tensor:
    """Sums of the rows of each segment; segments come in order."""
    segments = site.ints(1)
    if segments != sorted(segments) or min(segments, default=0) < 0:
        raise ModelFileError("its segments are in no order")
    return _segments(site, segments[-1] + 1 if segments else 0, "add", 0)


_UNSORTED = {
    "UNSORTED_SEGMENT_SUM": "add",
    "UNSORTED_SEGMENT_PROD": "mul",
    "UNSORTED_SEGMENT_MAX": "max",
    "UNSORTED_SEGMENT_MIN": "min",
}


@reads(*_UNSORTED)
def unsorted_segments(site: Site) -> Tensor:
    """Sums, products or extremes of the rows of each segment; those of a negative one do not count."""
    reduction, dtype = _UNSORTED[site.operator.name], site.input(0).dtype
    info = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    start = {"add": 0, "mul": 1, "max": info.min, "min": info.max}[reduction]
    return _segments(site, site.number(2), reduction, start)


def _segments(site: Site, count: int, reduction: str, filler: float) -> Tensor:
    """Rows gathered by segment; the one behind the last takes those that do not count."""
    g, x, segments = site.g, site.input(0), site.input(1)
    shape = (count, *x.shape[segments.rank :])
    bins = g.expand(g.tensor(filler, "start", x.dtype), [int(dim) for dim in (count + 1, *shape[1:])])
    places = g.cast(segments, np.int64)
    counted = g.pointwise("Less", places, 0, dtype=bool)
    places = g.pointwise("Where", counted, g.tensor(count, dtype=np.int64), places, dtype=np.int64)
    places = g.reshape(places, (*places.shape, 1))
    made = g.op("ScatterND", bins, places, x, shape=bins.shape, reduction=reduction)
    return g.cut(made, {0: range(count)})
