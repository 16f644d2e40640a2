"""Operators that move, cut, join and gather."""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import constant_of
from narrowcast.errors import UnsupportedOpError
from narrowcast.model import ir
from narrowcast.targets.spelling import is_weight
from narrowcast.writers.tflite.ops.conv import as_int32
from narrowcast.writers.tflite.site import Site, lowers
from narrowcast.writers.tflite.tables import TYPES, Tensor


@lowers("Reshape")
def reshape(site: Site) -> None:
    """RESHAPE to a constant shape."""
    site.allow("allowzero")
    shape = list(site.output_shape())
    site.emit("RESHAPE", [site.input(0), site.ints(shape)], [site.output()], "ReshapeOptions", newShape=shape)


@lowers("Transpose")
def transpose(site: Site) -> None:
    """TRANSPOSE."""
    site.allow("perm")
    perm = site.node.attributes.get_ints("perm", tuple(reversed(range(len(site.shape())))))
    site.emit("TRANSPOSE", [site.input(0), site.ints(perm)], [site.output()], "TransposeOptions")


@lowers("Concat")
def concat(site: Site) -> None:
    """CONCATENATION."""
    site.allow("axis")
    inputs = [site.input(index) for index in range(len(site.node.inputs))]
    axis = site.node.attributes.get_int("axis", 0)
    site.emit("CONCATENATION", inputs, [site.output()], "ConcatenationOptions", axis=axis, fusedActivationFunction=0)


@lowers("Split")
def split(site: Site) -> None:
    """SPLIT into equal parts, SPLIT_V into others."""
    site.allow("axis", "num_outputs")
    axis = site.node.attributes.get_int("axis", 0) % len(site.shape())
    sizes = [site.output_shape(index)[axis] for index in range(len(site.node.outputs))]
    outputs = [site.output(index) for index in range(len(sizes))]
    if len(set(sizes)) == 1:
        site.emit("SPLIT", [site.ints(np.array(axis)), site.input(0)], outputs, "SplitOptions", numSplits=len(sizes))
    else:
        inputs = [site.input(0), site.ints(sizes), site.ints(np.array(axis))]
        site.emit("SPLIT_V", inputs, outputs, "SplitVOptions", numSplits=len(sizes))


@lowers("Slice")
def slice_(site: Site) -> None:
    """SLICE, or STRIDED_SLICE where a step is not 1."""
    shape, output = site.shape(), site.output_shape()
    starts, ends, axes, steps = (site.array(index).reshape(-1).tolist() for index in range(1, 5))
    begin, end, stride = [0] * len(shape), list(shape), [1] * len(shape)
    for start, stop, axis, step in zip(starts, ends, axes, steps, strict=True):
        begin[axis], end[axis], stride[axis] = start, stop, step
    if all(step == 1 for step in stride):
        site.emit("SLICE", [site.input(0), site.ints(begin), site.ints(output)], [site.output()], "SliceOptions")
        return
    mask = sum(1 << axis for axis, stop in enumerate(end) if stop < 0)  # up to the end: an open axis, or backwards
    inputs = [site.input(0), site.ints(begin), site.ints(as_int32(np.array(end))), site.ints(stride)]
    site.emit("STRIDED_SLICE", inputs, [site.output()], "StridedSliceOptions", endMask=mask)


@lowers("Pad")
def pad(site: Site) -> None:
    """PAD by zero, PADV2 by a number, MIRROR_PAD; negative amounts are cut off by SLICE."""
    mode = site.node.attributes.get_string("mode", "constant")
    amounts = site.array(1).reshape(2, -1).T
    source = site.input(0)
    table = site.ints(as_int32(amounts))
    if mode == "reflect":
        site.emit("MIRROR_PAD", [source, table], [site.output()], "MirrorPadOptions", mode=0)
        return
    number = (
        float(site.array(2).reshape(-1)[0])
        if site.has(2) and is_weight(site.value(2)) and constant_of(site.value(2)) is not None
        else None
    )
    if number is None and site.has(2):
        site.emit("PADV2", [source, table, site.input(2)], [site.output()], "PadV2Options")
    elif number:
        tensor = site.lowering.container.tensors[source]
        value = np.array([number])
        if tensor.quantization is not None:
            info = np.iinfo(tensor.dtype)
            value = np.clip(
                np.rint(value / tensor.quantization.scale) + tensor.quantization.zero_point, info.min, info.max
            )
        constant = site.lowering.constant(value.astype(tensor.dtype), "padding", tensor.quantization)
        site.emit("PADV2", [source, table, constant], [site.output()], "PadV2Options")
    else:
        site.emit("PAD", [source, table], [site.output()], "PadOptions")


@lowers("Gather")
def gather(site: Site) -> None:
    """GATHER; indices count from the beginning."""
    site.allow("axis")
    axis = site.node.attributes.get_int("axis", 0) % len(site.shape())
    array = constant_of(site.value(1))
    if array is not None:
        size = site.shape()[axis]
        indices = site.ints(as_int32(np.where(array < 0, array + size, array)))
    else:
        indices = site.input(1)
    source = site.input(0) if site.integer or not is_weight(site.value(0)) else site.lowering.floating(site.value(0))
    site.emit("GATHER", [source, indices], [site.output()], "GatherOptions", axis=axis)


@lowers("Expand")
def expand(site: Site) -> None:
    """BROADCAST_TO, or TILE where a dimension is open."""
    before, after = site.shape(), site.output_shape()
    if -1 not in after:
        site.emit("BROADCAST_TO", [site.input(0), site.ints(after)], [site.output()], "BroadcastToOptions")
        return
    if len(before) != len(after) or any(b != a for b, a in zip(before, after, strict=True) if a == -1):
        raise UnsupportedOpError("its operand grows along a dimension that is open", hint="fix the batch: --batch 1")
    times = [1 if b == a else a for b, a in zip(before, after, strict=True)]
    site.emit("TILE", [site.input(0), site.ints(times)], [site.output()], "TileOptions")


@lowers("Tile")
def tile(site: Site) -> None:
    """TILE."""
    site.emit("TILE", [site.input(0), site.ints(as_int32(site.array(1)))], [site.output()], "TileOptions")


@lowers("ScatterND")
def scatter_nd(site: Site) -> None:
    """SCATTER_ND adds up over zeros."""
    site.allow("reduction")
    zeros = site.array(0)
    places = int32(site, 1)
    site.emit("SCATTER_ND", [places, site.input(2), site.ints(zeros.shape)], [site.output()], "ScatterNdOptions")


def int32(site: Site, index: int) -> int:
    """An input of integers as int32: a constant, or behind a CAST."""
    array = constant_of(site.value(index))
    if array is not None:
        return site.ints(as_int32(array))
    wide = site.input(index)
    if site.value(index).dtype is ir.DataType.INT32:
        return wide
    name = site.lowering.unique(f"{site.value(index).name}/int32")
    narrow = site.lowering.container.tensor(Tensor(name, site.shape(index), np.dtype(np.int32)))
    types = [site.lowering.container.tensors[tensor].dtype for tensor in (wide, narrow)]
    site.emit("CAST", [wide], [narrow], "CastOptions", inDataType=TYPES[types[0]], outDataType=TYPES[types[1]])
    return narrow
