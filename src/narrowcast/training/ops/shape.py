"""Operators that move, pick or repeat elements."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from narrowcast.errors import UnsupportedOpError, shown
from narrowcast.training.ops.conv import padded
from narrowcast.training.registry import translates


@translates("Reshape", numbers=(1,))
def reshape(x: Tensor, shape: Sequence[int], *, allowzero: int = 0) -> Tensor:
    """Of more samples than the graph says, each is laid out by itself."""
    wanted = [x.shape[axis] if dim == 0 and not allowzero else dim for axis, dim in enumerate(shape)]
    count = math.prod(wanted)
    if count > 0 and x.numel() != count and x.numel() % count == 0 and wanted:
        wanted[0] *= x.numel() // count
    return x.reshape(wanted)


@translates("Transpose")
def transpose(x: Tensor, *, perm: Sequence[int] = ()) -> Tensor:
    """Backwards where no order is given."""
    return x.permute(tuple(perm) or tuple(reversed(range(x.dim()))))


@translates("Concat")
def concat(*values: Tensor, axis: int) -> Tensor:
    """What does not depend on the input is repeated for each sample."""
    batch = max(value.shape[0] for value in values)
    if axis % values[0].dim():
        values = tuple(
            value.expand(batch, *value.shape[1:]) if value.shape[0] == 1 < batch else value for value in values
        )
    return torch.cat(values, axis)


@translates("Split", numbers=(1,))
def split(x: Tensor, sizes: Sequence[int] | None = None, *, axis: int = 0, num_outputs: int = 0) -> tuple[Tensor, ...]:
    """By sizes, or into equal parts of which the last may be smaller."""
    return torch.split(x, list(sizes) if sizes else -(-x.shape[axis] // num_outputs), axis)


@translates("Slice", numbers=(1, 2, 3, 4))
def cut(
    x: Tensor,
    starts: Sequence[int],
    ends: Sequence[int],
    axes: Sequence[int] | None = None,
    steps: Sequence[int] | None = None,
) -> Tensor:
    """Along some axes, backwards too."""
    axes, steps = axes or range(len(starts)), steps or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = x.shape[axis]
        if step > 0:
            first, last, _ = slice(start, end, step).indices(size)
            x = x.narrow(axis, first, max(last - first, 0))
            x = x if step == 1 else x.index_select(axis, torch.arange(0, x.shape[axis], step, device=x.device))
        else:
            first = min(start + size if start < 0 else start, size - 1)
            last = max(end + size if end < 0 else end, -1)
            x = x.index_select(axis, torch.arange(first, min(last, first), step, device=x.device))
    return x


_PADDINGS = ("edge", "reflect", "wrap")


@translates("Pad", numbers=(1, 2, 3))
def pad(
    x: Tensor,
    pads: Sequence[int],
    value: float | None = None,
    axes: Sequence[int] | None = None,
    *,
    mode: str = "constant",
) -> Tensor:
    """With a number, or with the elements that a mode takes from within."""
    axes = axes or range(x.dim())
    before, after = [0] * x.dim(), [0] * x.dim()
    for index, axis in enumerate(axes):
        before[axis], after[axis] = pads[index], pads[index + len(axes)]
    if mode == "constant":
        return padded(x, before, after, float(value or 0.0))
    if mode not in _PADDINGS:
        raise UnsupportedOpError(f"training has no padding by {shown(mode)}")
    for axis, (low, high) in enumerate(zip(before, after, strict=True)):
        if low or high:
            places = np.pad(np.arange(x.shape[axis]), (max(low, 0), max(high, 0)), mode=mode)  # type: ignore[call-overload]
            kept = places[max(-low, 0) : len(places) - max(-high, 0)]
            x = x.index_select(axis, torch.from_numpy(kept).to(x.device))
    return x


@translates("Tile", numbers=(1,))
def tile(x: Tensor, repeats: Sequence[int]) -> Tensor:
    """Repeated along each axis."""
    return x.repeat(*repeats) if repeats else x


@translates("Expand", numbers=(1,))
def expand(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Broadcast with a shape."""
    return x.expand(np.broadcast_shapes(tuple(x.shape), tuple(shape)))


def _wrapped(indices: Tensor, size: int) -> Tensor:
    return torch.where(indices < 0, indices + size, indices).to(torch.int64)


@translates("Gather")
def gather(x: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    """Slices by index, which may count from the end."""
    axis %= x.dim()
    picked = x.index_select(axis, _wrapped(indices, x.shape[axis]).reshape(-1))
    return picked.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])


@translates("GatherElements")
def gather_elements(x: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    """Elements by index along an axis."""
    return torch.gather(x, axis, _wrapped(indices, x.shape[axis]))


@translates("GatherND")
def gather_nd(x: Tensor, indices: Tensor, *, batch_dims: int = 0) -> Tensor:
    """Slices by rows of indices."""
    if batch_dims:
        flat, rows = x.flatten(0, batch_dims - 1), indices.flatten(0, batch_dims - 1)
        made = torch.stack([gather_nd(part, row) for part, row in zip(flat, rows, strict=True)])
        return made.reshape(*x.shape[:batch_dims], *made.shape[1:])
    return x[tuple(_wrapped(part, x.shape[axis]) for axis, part in enumerate(indices.unbind(-1)))]


@translates("ScatterElements")
def scatter_elements(x: Tensor, indices: Tensor, updates: Tensor, *, axis: int = 0, reduction: str = "none") -> Tensor:
    """Elements written by index along an axis."""
    places = _wrapped(indices, x.shape[axis])
    if reduction == "none":
        return x.scatter(axis, places, updates)
    names = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}
    return x.scatter_reduce(axis, places, updates, names[reduction])


@translates("ScatterND")
def scatter_nd(x: Tensor, indices: Tensor, updates: Tensor, *, reduction: str = "none") -> Tensor:
    """Slices written by rows of indices."""
    if reduction not in ("none", "add"):
        raise UnsupportedOpError(f"training has no ScatterND that takes the {shown(reduction)}")
    places = tuple(_wrapped(part, x.shape[axis]) for axis, part in enumerate(indices.unbind(-1)))
    return x.index_put(places, updates, accumulate=reduction == "add")


@translates("OneHot", numbers=(1,))
def one_hot(indices: Tensor, depth: int | list[int], values: Tensor, *, axis: int = -1) -> Tensor:
    """One of two values, by whether an index is a place's own."""
    size = depth[0] if isinstance(depth, list) else depth
    axis %= indices.dim() + 1
    places = torch.arange(size, device=indices.device).reshape(-1, *[1] * (indices.dim() - axis))
    return torch.where(_wrapped(indices, size).unsqueeze(axis) == places, values[1], values[0])


@translates("Trilu", numbers=(1,))
def triangle(x: Tensor, k: int | list[int] | None = None, *, upper: int = 1) -> Tensor:
    """The part above or below a diagonal."""
    diagonal = int((k[0] if isinstance(k, list) else k) or 0)
    return torch.triu(x, diagonal) if upper else torch.tril(x, diagonal)
