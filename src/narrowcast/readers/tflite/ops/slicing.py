"""Operators that cut tensors into parts, and join parts."""

from __future__ import annotations

from collections.abc import Sequence
from types import EllipsisType
from typing import TypeAlias

import numpy as np

from narrowcast.errors import ModelFileError, UnsupportedOpError
from narrowcast.readers.emit import Tensor
from narrowcast.readers.tflite.registry import Site, reads

Selection: TypeAlias = "tuple[int | slice | EllipsisType | None, ...]"


def selection(site: Site) -> Selection:
    """What SLICE or STRIDED_SLICE take of a tensor, as numpy's subscript.

    Masks have a bit for each element of the arguments: a begin or an end that does not count, a place that keeps no
    axis, a new axis, and all axes that no other element is about.
    """
    begins, ends = site.ints(1), site.ints(2)
    if len(begins) != len(ends):
        raise ModelFileError(f"it has {len(begins)} begins and {len(ends)} ends")
    if site.operator.name == "SLICE":
        spans = zip(begins, ends, strict=True)
        return tuple(slice(begin, None if size == -1 else begin + size) for begin, size in spans)
    strides = site.ints(3)
    if len(strides) != len(begins) or 0 in strides:
        raise ModelFileError(f"its strides are {strides}")
    masks = {name: site.option(f"{name}_mask") for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")}
    found: list[int | slice | EllipsisType | None] = []
    for number, (begin, end, stride) in enumerate(zip(begins, ends, strides, strict=True)):
        bits = {name for name, mask in masks.items() if mask >> number & 1}
        if site.flag("offset"):
            end += begin
        if "ellipsis" in bits:
            found.append(...)
        elif "new_axis" in bits:
            found.append(None)
        elif "shrink_axis" in bits:
            found.append(begin)
        else:
            found.append(slice(None if "begin" in bits else begin, None if "end" in bits else end, stride))
    return tuple(found)


@reads("SLICE", "STRIDED_SLICE")
def slice_(site: Site) -> Tensor:
    """Ranges of some axes; a range may be a single place, whose axis goes away."""
    if site.operator.name == "SLICE" and site.known(1) is None:
        begins, sizes = site.g.parts(site.input(1), [1] * site.input(0).rank, 0), site.ints(2)
        if -1 in sizes:
            raise UnsupportedOpError("how much it takes depends on where it begins, which is computed")
        return part(site, site.input(0), begins, sizes)
    x, taken = site.input(0), selection(site)
    given = sum(item is not None and item is not ... for item in taken)
    if taken.count(...) > 1 or given > x.rank:
        raise ModelFileError(f"it takes {given} axes of a tensor of shape {x.shape}")
    rest = [slice(None)] * (x.rank - given)
    place = taken.index(...) if ... in taken else len(taken)
    items = [*taken[:place], *rest, *taken[place + 1 :]]
    ranges: dict[int, range] = {}
    shape: list[int | str] = []
    axis = 0
    for item in items:
        if item is None:
            shape.append(1)
            continue
        if isinstance(item, int):
            ranges[axis] = _place(item, x.dim(axis))
        elif isinstance(item, slice) and not _is_whole(item):
            ranges[axis] = range(*item.indices(x.dim(axis)))
        if not isinstance(item, int):
            shape.append(len(ranges[axis]) if axis in ranges else x.shape[axis])
        axis += 1
    return site.g.reshape(site.g.cut(x, ranges), shape)


def part(site: Site, x: Tensor, starts: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
    """A part of a known size from computed places on, moved to where it fits in.

    Args:
        site: the operator.
        x: any shape.
        starts: for each axis [1], integers.
        sizes: for each axis.

    Raises:
        ModelFileError: it is larger than what it is part of.
    """
    g = site.g
    if len(sizes) != x.rank or len(starts) != x.rank:
        raise ModelFileError(f"a tensor of shape {x.shape} has no part of {list(sizes)}")
    for axis, (start, size) in enumerate(zip(starts, sizes, strict=True)):
        room = x.dim(axis) - size
        if size < 0 or room < 0:
            raise ModelFileError(f"a tensor of shape {x.shape} has no part of {list(sizes)}")
        if room:
            last = g.tensor([room], "last", np.int64)
            begin = g.pointwise("Min", g.pointwise("Max", g.cast(start, np.int64), 0), last)
            places = g.pointwise("Add", begin, g.tensor(np.arange(size), "places", np.int64))
            x = g.op("Gather", x, places, shape=(*x.shape[:axis], size, *x.shape[axis + 1 :]), axis=axis)
    return x


def _is_whole(item: slice) -> bool:
    """Whether a range leaves out nothing, however long the axis is."""
    return item.start in (None, 0) and item.stop is None and item.step in (None, 1)


def _place(index: int, size: int) -> range:
    """A single place, which may be counted from the end."""
    if not -size <= index < size:
        raise ModelFileError(f"it takes place {index} of an axis of {size}")
    return range(index % size, index % size + 1)


@reads("SPLIT")
def split(site: Site) -> list[Tensor]:
    """Equal parts along an axis."""
    x, count = site.input(1), site.option("num_splits")
    size = x.dim(axis := x.axis(site.number(0)))
    if count < 1 or size % count or count != len(site.operator.outputs):
        raise ModelFileError(f"an axis of {size} has no {count} equal parts")
    return site.g.parts(x, [size // count] * count, axis)


@reads("SPLIT_V")
def split_v(site: Site) -> list[Tensor]:
    """Parts of given sizes along an axis; -1 is what is left."""
    x, sizes = site.input(0), site.ints(1)
    axis = x.axis(site.number(2))
    if sizes.count(-1) == 1:
        sizes[sizes.index(-1)] = x.dim(axis) - sum(sizes) - 1
    if sum(sizes) != x.dim(axis) or min(sizes, default=0) < 0 or len(sizes) != len(site.operator.outputs):
        raise ModelFileError(f"an axis of {x.dim(axis)} has no parts of {sizes}")
    return site.g.parts(x, sizes, axis)


@reads("UNPACK")
def unpack(site: Site) -> list[Tensor]:
    """Each place of an axis by itself, without that axis."""
    x = site.input(0)
    axis = x.axis(site.option("axis"))
    if x.dim(axis) != len(site.operator.outputs):
        raise ModelFileError(f"an axis of {x.dim(axis)} does not fit {len(site.operator.outputs)} outputs")
    parts = site.g.parts(x, [1] * x.dim(axis), axis)
    return [site.g.reshape(part, (*x.shape[:axis], *x.shape[axis + 1 :])) for part in parts]


@reads("PACK")
def pack(site: Site) -> Tensor:
    """Tensors of one shape, joined along a new axis."""
    rank = site.input(0).rank + 1
    axis = site.option("axis") % rank
    parts = [site.g.reshape(x, (*x.shape[:axis], 1, *x.shape[axis:])) for x in site.inputs]
    return site.g.concat(parts, axis)


@reads("CONCATENATION")
def concatenation(site: Site) -> Tensor:
    """Tensors joined along an axis, with an activation."""
    inputs = site.inputs
    axis = inputs[0].axis(site.option("axis"))
    if len({(*x.shape[:axis], *x.shape[axis + 1 :]) for x in inputs}) > 1:
        raise ModelFileError(f"tensors of shapes {[x.shape for x in inputs]} cannot be joined along axis {axis}")
    if any(x.first is not None for x in inputs):
        for x in inputs:
            site.g.channels_first(x)
    return site.activated(site.g.concat(inputs, axis))


@reads("REVERSE_V2")
def reverse(site: Site) -> Tensor:
    """Some axes backwards."""
    x = site.input(0)
    axes = {x.axis(axis) for axis in site.ints(1)}
    return site.g.cut(x, {axis: range(x.dim(axis) - 1, -1, -1) for axis in axes})


@reads("REVERSE_SEQUENCE")
def reverse_sequence(site: Site) -> Tensor:
    """The first places of an axis backwards, as many as another input says for each element of the batch."""
    g, x = site.g, site.input(0)
    time, batch = x.axis(site.option("seq_dim")), x.axis(site.option("batch_dim"))
    if time == batch:
        raise ModelFileError(f"its sequences and its batch are both axis {time}")
    order = [batch, time, *(axis for axis in range(x.rank) if axis not in (time, batch))]
    moved = g.transpose(x, order)
    lengths = g.plain(g.cast(site.input(1), np.int64))
    made = g.op("ReverseSequence", moved, lengths, shape=moved.shape, batch_axis=0, time_axis=1)
    return g.transpose(made, [order.index(axis) for axis in range(x.rank)])
