"""Operators that give tensors another shape, move their axes, surround or repeat them."""

from __future__ import annotations

import math

import numpy as np

from narrowcast.errors import ModelFileError
from narrowcast.model import ir
from narrowcast.readers.emit import FILL_LIMIT, Dim, Shape, Tensor, permuted, to_first
from narrowcast.readers.tflite.emit import static
from narrowcast.readers.tflite.registry import Site, reads


@reads("RESHAPE")
def reshape(site: Site) -> Tensor:
    """To a shape by an input, or by the options of old files; -1 is what is left."""
    x = site.input(0)
    given: list[Dim] = [int(dim) for dim in site.option("new_shape", ())]
    target = site.dims(1) if site.has(1) and (site.known(1) is not None or not given) else given
    computed = target is not given and site.stored(1).content is None  # by the sizes that the input has now
    return site.g.reshape(x, _filled(target, x.shape, () if computed else site.stored(0).shape))


def _filled(target: list[Dim], shape: Shape, stored: tuple[int, ...]) -> tuple[Dim, ...]:
    """A target shape with its -1 worked out, and its first axis as many times as long as that of the input became.

    Args:
        target: as the file has it; open dimensions by their names.
        shape: of the input.
        stored: of the input in the file, where it may be another: the user has asked for another batch; empty where the
            target is of the batch that there is.
    """
    known = [dim for dim in target if isinstance(dim, int)]
    if known.count(-1) > 1 or any(dim < -1 for dim in known):
        raise ModelFileError(f"it has the target shape {target}")
    rest = math.prod(dim for dim in known if dim != -1)
    if len(known) < len(target) or not shape or not stored or shape[0] == stored[0]:
        total = math.prod(dim for dim in shape if isinstance(dim, int))
        return tuple(_quotient(total, rest, target) if dim == -1 else dim for dim in target)
    # A row of the file's batch becomes so many rows of the target; -1 may stand for these or for another axis.
    each = math.prod(dim for dim in shape[1:] if isinstance(dim, int))
    before = math.prod(stored)
    first = known[0] if known[0] != -1 else _quotient(before, rest, target)
    times = _quotient(first, stored[0], target)
    rest = times * math.prod(dim for dim in known[1:] if dim != -1)
    others = [_quotient(each, rest, target) if dim == -1 else dim for dim in known[1:]]
    if isinstance(shape[0], int):
        return (times * shape[0], *others)
    return (shape[0] if times == 1 else f"{shape[0]}*{times}", *others)


def _quotient(total: int, part: int, target: list[Dim]) -> int:
    if part == 0 or total % part:
        raise ModelFileError(f"{total} elements cannot be reshaped to {target}")
    return total // part


@reads("SQUEEZE")
def squeeze(site: Site) -> Tensor:
    """Without axes of size 1: those of the options, or all."""
    x = site.input(0)
    axes = {x.axis(int(axis)) for axis in site.option("squeeze_dims", ())}
    axes = axes or {axis for axis, dim in enumerate(x.shape) if dim == 1}
    if any(x.shape[axis] != 1 for axis in axes):
        raise ModelFileError(f"axes {sorted(axes)} of {x.shape} are not all of size 1")
    return site.g.reshape(x, [dim for axis, dim in enumerate(x.shape) if axis not in axes])


@reads("EXPAND_DIMS")
def expand_dims(site: Site) -> Tensor:
    """With another axis of size 1."""
    x, axis = site.input(0), site.number(1)
    if not -x.rank - 1 <= axis <= x.rank:
        raise ModelFileError(f"a tensor of shape {x.shape} takes no axis at {axis}")
    axis %= x.rank + 1
    return site.g.reshape(x, (*x.shape[:axis], 1, *x.shape[axis:]))


@reads("TRANSPOSE")
def transpose(site: Site) -> Tensor:
    """With its axes in another order."""
    x, order = site.input(0), site.ints(1)
    axes = [x.axis(axis) for axis in order]
    if sorted(axes) != list(range(x.rank)):
        raise ModelFileError(f"{order} is no order of the axes of {x.shape}")
    return site.g.transpose(x, axes)


@reads("PAD", "PADV2")
def pad(site: Site) -> Tensor:
    """Surrounded by zeros, or by a number."""
    x = site.input(0)
    filler = site.g.plain(site.g.reshape(site.input(2), ())) if site.operator.name == "PADV2" else None
    return padded(site, x, _amounts(site, x), filler)


def padded(site: Site, x: Tensor, amounts: list[list[int]], filler: ir.Value | None = None, mode: str = "") -> Tensor:
    """A tensor with something around it, in the form at hand."""
    g = site.g
    if not any(map(any, amounts)):
        return x
    if any(isinstance(dim, str) and any(pair) for dim, pair in zip(x.shape, amounts, strict=True)):
        raise ModelFileError(f"it surrounds the open axis of {x.shape}")
    shape: tuple[Dim, ...] = tuple(
        dim if isinstance(dim, str) else dim + sum(pair) for dim, pair in zip(x.shape, amounts, strict=True)
    )
    value, _, first = g.axis_of(x, 0)
    order = to_first(x.rank) if first else range(x.rank)
    table = np.array(permuted(amounts, order)).T.reshape(-1)
    made = g.raw(
        "Pad", value, g.ints(table.tolist(), "pads"), filler, shape=permuted(shape, order), mode=mode or "constant"
    )
    return g.like(made, shape, x.dtype, first)


def _amounts(site: Site, x: Tensor) -> list[list[int]]:
    """How much is put before and after each axis.

    Raises:
        ModelFileError: they are negative, fit no axes, or make the tensor too large.
    """
    table = site.ints(1)
    if len(table) != 2 * x.rank or min(table, default=0) < 0:
        raise ModelFileError(f"its amounts {table} do not fit a tensor of shape {x.shape}")
    amounts = [table[2 * axis : 2 * axis + 2] for axis in range(x.rank)]
    sizes = [dim for dim in x.shape if isinstance(dim, int)]
    if math.prod(size + sum(pair) for size, pair in zip(sizes, amounts[x.rank - len(sizes) :], strict=True)) > 2**31:
        raise ModelFileError(f"its amounts {table} make it too large")
    return amounts


@reads("MIRROR_PAD")
def mirror_pad(site: Site) -> Tensor:
    """Surrounded by its reflection: REFLECT without the outermost places, SYMMETRIC with them."""
    x = site.input(0)
    amounts = _amounts(site, x)
    if site.word("mode", "REFLECT") == "REFLECT":
        return padded(site, x, amounts, mode="reflect")
    for axis, (before, after) in enumerate(amounts):
        if before or after:
            size = x.dim(axis)
            if max(before, after) > size:
                raise ModelFileError(f"it reflects {max(before, after)} places of an axis of {size}")
            begin = site.g.cut(x, {axis: range(before - 1, -1, -1)}) if before else None
            end = site.g.cut(x, {axis: range(size - 1, size - 1 - after, -1)}) if after else None
            x = site.g.concat([part for part in (begin, x, end) if part is not None], axis)
    return x


@reads("DILATE")
def dilate(site: Site) -> Tensor:
    """Elements of a number between those of a tensor, as many as each axis' factor has beyond 1."""
    g, x, factors = site.g, site.input(0), site.ints(1)
    if len(factors) != x.rank or min(factors, default=1) < 1 or max(factors, default=1) > FILL_LIMIT:
        raise ModelFileError(f"its factors {factors} do not fit a tensor of shape {x.shape}")
    filler = g.plain(g.reshape(site.input(2), ()))
    for axis, factor in enumerate(factors):
        if factor > 1 and x.dim(axis):
            before, size, after = x.shape[:axis], x.dim(axis), x.shape[axis + 1 :]
            apart = g.reshape(x, (*before, size, 1, *after))
            amounts = [[0, factor - 1 if place == axis + 1 else 0] for place in range(apart.rank)]
            spread = g.reshape(padded(site, apart, amounts, filler), (*before, size * factor, *after))
            x = g.cut(spread, {axis: range((size - 1) * factor + 1)})
    return x


@reads("TILE")
def tile(site: Site) -> Tensor:
    """Repeated along each axis."""
    x, times = site.input(0), site.ints(1)
    if len(times) != x.rank or min(times, default=1) < 0:
        raise ModelFileError(f"a tensor of shape {x.shape} is repeated {times} times")
    shape = tuple(dim if times[axis] == 1 else x.dim(axis) * times[axis] for axis, dim in enumerate(x.shape))
    if math.prod(dim for dim in shape if isinstance(dim, int)) > FILL_LIMIT:
        raise ModelFileError(f"repeated, it has the shape {shape}, which is too large")
    return site.g.op("Tile", x, site.g.ints(times, "repeats"), shape=shape)


@reads("BROADCAST_TO")
def broadcast_to(site: Site) -> Tensor:
    """Repeated to a shape."""
    return site.g.expand(site.input(0), site.ints(1))


@reads("SHAPE")
def shape(site: Site) -> Tensor:
    """The sizes of a tensor."""
    g, x = site.g, site.input(0)
    if all(isinstance(dim, int) for dim in x.shape):
        return g.tensor(static(x.shape), "shape", site.output_dtype)
    return site.typed(g.op("Shape", x, shape=(x.rank,), dtype=np.int64))


@reads("RANK")
def rank(site: Site) -> Tensor:
    """How many axes a tensor has."""
    return site.g.tensor(site.input(0).rank, "rank", site.output_dtype)


@reads("ZEROS_LIKE")
def zeros_like(site: Site) -> Tensor:
    """Zeros in the shape of a tensor."""
    return site.g.expand(site.g.tensor(0, "zero", site.output_dtype), static(site.shape(0)))


@reads("FILL")
def fill(site: Site) -> Tensor:
    """A number, in a shape."""
    return site.g.expand(site.input(1), site.ints(0))


@reads("BROADCAST_ARGS")
def broadcast_args(site: Site) -> Tensor:
    """The shape that two shapes have together."""
    return site.g.tensor(np.broadcast_shapes(tuple(site.ints(0)), tuple(site.ints(1))), "shape", site.output_dtype)


@reads("RANGE")
def range_(site: Site) -> Tensor:
    """Numbers from one to another by steps."""
    g = site.g
    given = [site.known(index) for index in range(3)]
    if all(array is not None and array.size == 1 for array in given):
        start, limit, step = (array.reshape(()).item() for array in given if array is not None)
        if not step or not abs((limit - start) / step) < FILL_LIMIT:
            raise ModelFileError(f"it counts from {start} to {limit} by {step}")
        return g.tensor(np.arange(start, limit, step), "range", site.output_dtype)
    size = site.output().signature
    numbers = [g.reshape(x, ()) for x in site.inputs]
    length = f"{g.scope}/count" if len(size) != 1 or -1 in size else size[0]
    return g.op("Range", *numbers, shape=(length,))


@reads("BITCAST")
def bit_cast(site: Site) -> Tensor:
    """The same bits, read as another type."""
    x, dtype = site.input(0), site.output_dtype
    if x.dtype.itemsize != dtype.itemsize:
        raise ModelFileError(f"{x.dtype} has not as many bits as {dtype}")
    to = int(ir.DataType.from_numpy(dtype))
    return site.g.op("BitCast", x, shape=x.shape, dtype=dtype, domain="narrowcast", to=to)


@reads("DYNAMIC_UPDATE_SLICE")
def dynamic_update_slice(site: Site) -> Tensor:
    """A tensor with part of it replaced."""
    return updated(site, site.input(0), site.input(1), site.input(2))


def updated(site: Site, x: Tensor, update: Tensor, start: Tensor) -> Tensor:
    """A tensor with part of it replaced; the part is moved to where it fits in.

    Args:
        site: the operator.
        x: any shape.
        update: as many axes.
        start: [axes], integers.

    Raises:
        ModelFileError: the part is larger.
    """
    g = site.g
    sizes, whole = static(update.shape), static(x.shape)
    if len(sizes) != len(whole) or any(size > dim for size, dim in zip(sizes, whole, strict=False)):
        raise ModelFileError(f"an update of shape {sizes} does not fit into {whole}")
    if math.prod(sizes) * max(len(sizes), 1) > FILL_LIMIT:
        raise ModelFileError(f"an update of shape {sizes} is too large")
    start = g.cast(start, np.int64)
    room = np.subtract(whole, sizes).astype(np.int64)
    start = g.pointwise("Min", g.pointwise("Max", start, 0), g.tensor(room, "room"))
    grid = np.moveaxis(np.indices(sizes, np.int64), 0, -1)
    places = g.pointwise("Add", g.tensor(grid, "places"), g.reshape(start, (1,) * len(sizes) + start.shape))
    return g.op("ScatterND", x, places, update, shape=x.shape)
