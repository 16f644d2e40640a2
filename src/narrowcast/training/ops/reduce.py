"""Operators that make one element of many, or count along an axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from narrowcast.training.registry import translates


def _product(x: Tensor, axes: list[int], keepdim: bool) -> Tensor:
    for axis in sorted((axis % x.dim() for axis in axes), reverse=True):
        x = torch.prod(x, axis, keepdim=keepdim)
    return x


_REDUCTIONS: dict[str, Callable[[Tensor, list[int], bool], Tensor]] = {
    "ReduceL1": lambda x, axes, keep: x.abs().sum(axes, keepdim=keep),
    "ReduceL2": lambda x, axes, keep: x.square().sum(axes, keepdim=keep).sqrt(),
    "ReduceLogSum": lambda x, axes, keep: x.sum(axes, keepdim=keep).log(),
    "ReduceLogSumExp": lambda x, axes, keep: x.logsumexp(axes, keepdim=keep),
    "ReduceMax": lambda x, axes, keep: x.amax(axes, keepdim=keep),
    "ReduceMean": lambda x, axes, keep: x.mean(axes, keepdim=keep),
    "ReduceMin": lambda x, axes, keep: x.amin(axes, keepdim=keep),
    "ReduceProd": _product,
    "ReduceSum": lambda x, axes, keep: x.sum(axes, keepdim=keep),
    "ReduceSumSquare": lambda x, axes, keep: x.square().sum(axes, keepdim=keep),
}


def _reduction(function: Callable[[Tensor, list[int], bool], Tensor]) -> Callable[..., Tensor]:
    def reduced(
        x: Tensor, axes: Sequence[int] | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
    ) -> Tensor:
        if not axes and noop_with_empty_axes:
            return x
        made = function(x, list(axes or range(x.dim())), bool(keepdims)) if x.dim() else x
        return made if made.dtype == x.dtype else made.to(x.dtype)

    return reduced


for _name, _function in _REDUCTIONS.items():
    translates(_name, numbers=(1,))(_reduction(_function))


def _extreme(largest: bool) -> Callable[..., Tensor]:
    def arg(x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
        find = torch.argmax if largest else torch.argmin
        if select_last_index:
            return x.shape[axis] - 1 - find(x.flip(axis), axis, keepdim=bool(keepdims))
        return find(x, axis, keepdim=bool(keepdims))

    return arg


translates("ArgMax")(_extreme(largest=True))
translates("ArgMin")(_extreme(largest=False))


@translates("CumSum", numbers=(1,))
def cumulative_sum(x: Tensor, axis: int | list[int], *, exclusive: int = 0, reverse: int = 0) -> Tensor:
    """From either end, with or without the element itself."""
    along = axis[0] if isinstance(axis, list) else axis
    turned = x.flip(along) if reverse else x
    made = turned.cumsum(along).to(x.dtype)
    made = made - turned if exclusive else made
    return made.flip(along) if reverse else made


@translates("TopK", numbers=(1,))
def top_k(x: Tensor, k: list[int], *, axis: int = -1, largest: int = 1, sorted: int = 1) -> tuple[Tensor, Tensor]:
    """The largest or smallest, and where they are."""
    values, indices = torch.topk(x, k[0], axis, bool(largest), bool(sorted))
    return values, indices
