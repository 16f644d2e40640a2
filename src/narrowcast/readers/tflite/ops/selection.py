"""Operators whose outputs are as long as the data say."""

from __future__ import annotations

import numpy as np

from narrowcast.errors import ModelFileError, UnsupportedOpError
from narrowcast.model import ir
from narrowcast.readers.emit import Tensor
from narrowcast.readers.tflite.registry import Site, reads

MOST_BOXES = 1 << 20


def _count(site: Site) -> str:
    """The name of an open dimension."""
    return f"{site.g.scope}/count"


@reads("WHERE")
def where(site: Site) -> Tensor:
    """The places of all elements that are not zero, one in each row."""
    g, x = site.g, site.input(0)
    count = _count(site)
    found = g.op("NonZero", x, shape=(x.rank, count), dtype=np.int64)
    return site.typed(g.transpose(found, (1, 0)))


@reads("UNIQUE")
def unique(site: Site) -> list[Tensor]:
    """The different elements in the order in which they come, and for each element which it is."""
    g, x = site.g, site.input(0)
    if x.rank != 1:
        raise ModelFileError(f"it takes a list, not a tensor of shape {x.shape}")
    wide = x if x.is_float else g.cast(x, np.int64)
    values, _, places, _ = g.raw("Unique", g.plain(wide), shape=(_count(site),), dtype=wide.dtype, outputs=4, sorted=0)
    places.shape, places.dtype = ir.Shape(x.shape), ir.DataType.INT64
    found = Tensor(x.shape, np.dtype(np.int64), places)
    return [g.cast(Tensor((_count(site),), wide.dtype, values), x.dtype), g.cast(found, site.output(1).dtype)]


@reads("NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5")
def non_max_suppression(site: Site) -> list[Tensor]:
    """Places of boxes [boxes, 4] that overlap none of a higher score, and how many; V5 gives their scores too.

    As many places are given as are asked for, zeros behind those that were found.
    """
    g, boxes, scores, most = site.g, site.input(0), site.input(1), site.number(2)
    scored = site.operator.name.endswith("V5")
    if boxes.rank != 2 or boxes.dim(1) != 4 or scores.shape != boxes.shape[:1] or not 0 <= most <= MOST_BOXES:
        raise ModelFileError(f"it takes {most} of boxes of shape {boxes.shape} with scores of shape {scores.shape}")
    if scored and float(site.numbers(5).reshape(-1)[0]) > 0:
        raise UnsupportedOpError("it lowers scores of boxes that overlap", hint="use a sigma of 0")
    count, number = _count(site), boxes.dim(0)
    overlap, score = (g.reshape(site.input(index), (1,)) for index in (3, 4))
    if site.known(3) is not None:  # the kernel suppresses at the threshold already, ONNX above it
        overlap = g.tensor(np.nextafter(site.numbers(3).astype(np.float32).reshape(1), np.float32(-1)), "overlap")
    lists = g.reshape(boxes, (1, number, 4)), g.reshape(scores, (1, 1, number))
    found = g.op("NonMaxSuppression", *lists, g.ints([most], "most"), overlap, score, shape=(count, 3), dtype=np.int64)
    places = Tensor(
        (count,),
        np.dtype(np.int64),
        g.raw("Gather", g.plain(found), g.constant(2, "column", np.int64), shape=(count,), axis=1),
    )
    total = g.reshape(g.op("Shape", places, shape=(1,), dtype=np.int64), ())
    outputs = [_filled(site, places, most)]
    if scored:
        outputs.append(_filled(site, g.op("Gather", scores, places, shape=(count,), axis=0), most))
    return [*(g.cast(x, site.output(index).dtype) for index, x in enumerate([*outputs, total]))]


def _filled(site: Site, x: Tensor, most: int) -> Tensor:
    """A list with zeros behind it, up to a length."""
    g = site.g
    joined = g.op("Concat", x, g.tensor(np.zeros(most), "zeros", x.dtype), shape=(f"{_count(site)}+{most}",), axis=0)
    bounds = [g.ints([number], "bound") for number in (0, most, 0, 1)]
    return g.op("Slice", joined, *bounds, shape=(most,))
