"""Operators of StableHLO that move elements; those on each element are in `elementwise`.

Source: https://openxla.org/stablehlo/spec. LiteRT itself runs few of them; others are for its delegates.
"""

from __future__ import annotations

import math
import string

import numpy as np

from narrowcast.errors import ModelFileError, UnsupportedOpError
from narrowcast.readers.emit import FILL_LIMIT, Tensor
from narrowcast.readers.tflite.emit import static
from narrowcast.readers.tflite.ops.shape import padded, updated
from narrowcast.readers.tflite.ops.slicing import part
from narrowcast.readers.tflite.registry import Site, reads


def _ints(site: Site, name: str) -> list[int]:
    """A list of the options."""
    return [int(item) for item in site.option(name, ())]


@reads("STABLEHLO_RESHAPE")
def reshape(site: Site) -> Tensor:
    """To the shape of the output."""
    return site.g.reshape(site.input(0), site.output().shape)


@reads("STABLEHLO_TRANSPOSE")
def transpose(site: Site) -> Tensor:
    """With its axes in another order."""
    x, order = site.input(0), _ints(site, "permutation")
    if sorted(order) != list(range(x.rank)):
        raise ModelFileError(f"{order} is no order of the axes of {x.shape}")
    return site.g.transpose(x, order)


@reads("STABLEHLO_CONCATENATE")
def concatenate(site: Site) -> Tensor:
    """Tensors joined along an axis."""
    return site.g.concat(site.inputs, site.option("dimension"))


@reads("STABLEHLO_BROADCAST_IN_DIM")
def broadcast_in_dim(site: Site) -> Tensor:
    """Repeated to the shape of the output, each axis going to a given one."""
    x, axes, shape = site.input(0), _ints(site, "broadcast_dimensions"), site.output().shape
    if len(axes) != x.rank or axes != sorted(set(axes)) or (axes and not 0 <= axes[0] <= axes[-1] < len(shape)):
        raise ModelFileError(f"axes {axes} of {shape} do not fit a tensor of shape {x.shape}")
    spread = [x.shape[axes.index(axis)] if axis in axes else 1 for axis in range(len(shape))]
    return site.g.expand(site.g.reshape(x, spread), shape)


@reads("STABLEHLO_SLICE")
def slice_(site: Site) -> Tensor:
    """A range of each axis."""
    x = site.input(0)
    bounds = [_ints(site, name) for name in ("start_indices", "limit_indices", "strides")]
    if any(len(numbers) != x.rank for numbers in bounds) or min(bounds[2], default=1) < 1:
        raise ModelFileError(f"its bounds {bounds} do not fit a tensor of shape {x.shape}")
    return site.g.cut(x, {axis: range(*row) for axis, row in enumerate(zip(*bounds, strict=True))})


@reads("STABLEHLO_PAD")
def pad(site: Site) -> Tensor:
    """A number around a tensor; negative amounts cut off."""
    g, x = site.g, site.input(0)
    low, high, inside = (_ints(site, name) for name in ("edge_padding_low", "edge_padding_high", "interior_padding"))
    if any(inside):
        raise UnsupportedOpError("it puts numbers between the elements")
    table = [[max(a, 0), max(b, 0)] for a, b in zip(low, high, strict=True)]
    if len(table) != x.rank or max(map(max, table), default=0) > FILL_LIMIT:
        raise ModelFileError(f"its amounts {table} do not fit a tensor of shape {x.shape}")
    made = padded(site, x, table, g.plain(g.reshape(site.input(1), ())))
    rows = zip(low, high, strict=True)
    return g.cut(made, {axis: range(max(-a, 0), made.dim(axis) + min(b, 0)) for axis, (a, b) in enumerate(rows)})


@reads("STABLEHLO_DYNAMIC_SLICE")
def dynamic_slice(site: Site) -> Tensor:
    """A part of a known size from a computed place on, moved to where it fits in."""
    starts = [site.g.reshape(site.input(1 + axis), (1,)) for axis in range(site.input(0).rank)]
    return part(site, site.input(0), starts, _ints(site, "slice_sizes"))


@reads("STABLEHLO_DYNAMIC_UPDATE_SLICE")
def dynamic_update_slice(site: Site) -> Tensor:
    """A tensor with part of it replaced, each coordinate of whose place is an input."""
    starts = [site.g.reshape(site.input(index), (1,)) for index in range(2, len(site.operator.inputs))]
    return updated(site, site.input(0), site.input(1), site.g.concat(starts, 0))


@reads("STABLEHLO_IOTA")
def iota(site: Site) -> Tensor:
    """Numbers from 0 on along an axis."""
    g, shape, axis = site.g, site.output().shape, site.option("iota_dimension")
    if not 0 <= axis < len(shape) or math.prod(shape) > FILL_LIMIT:
        raise ModelFileError(f"it counts along axis {axis} of {shape}")
    along = [-1 if number == axis else 1 for number in range(len(shape))]
    return g.expand(g.tensor(np.arange(shape[axis]).reshape(along), "iota", site.output_dtype), shape)


@reads("STABLEHLO_DOT_GENERAL")
def dot_general(site: Site) -> Tensor:
    """Products summed over pairs of axes, for each element of other pairs: an Einsum."""
    x, y = site.input(0), site.input(1)
    batch, summed = (
        list(zip(_ints(site, f"lhs_{name}_dimensions"), _ints(site, f"rhs_{name}_dimensions"), strict=True))
        for name in ("batching", "contracting")
    )
    left = list(string.ascii_lowercase[: x.rank])
    right = list(string.ascii_uppercase[: y.rank])
    for one, other in (*batch, *summed):
        if x.dim(one) != y.dim(other):
            raise ModelFileError(f"axes {one} of {x.shape} and {other} of {y.shape} differ")
        right[other] = left[one]
    shared = [left[one] for one, _ in batch]
    gone = {left[one] for one, _ in summed} | set(shared)
    result = [*shared, *(letter for letter in (*left, *right) if letter not in gone)]
    sizes = dict(zip((*left, *right), (*static(x.shape), *static(y.shape)), strict=True))
    equation = f"{''.join(left)},{''.join(right)}->{''.join(result)}"
    return site.g.op("Einsum", x, y, shape=tuple(sizes[letter] for letter in result), equation=equation)
