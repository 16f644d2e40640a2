"""Rounding that gradients pass: what is stored in integers, as the floats that these stand for.

The gradient of a rounding is taken to be 1 within the range and 0 outside (the straight-through estimator: Bengio et
al., https://arxiv.org/abs/1308.3432; Jacob et al., https://arxiv.org/abs/1712.05877). That of a step is LSQ's (Esser et
al., https://arxiv.org/abs/1902.08153, equation 3), scaled by 1 / sqrt(elements x highest integer).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["Grid", "fake_quantize", "real", "stored"]

FEW = 4096
"""Elements up to which nothing is won by a kernel made for it."""


@dataclass(frozen=True, slots=True)
class Grid:
    """The integers that a tensor may take.

    Attributes:
        low, high: the lowest and the highest.
        zero: the integer that stands for 0.
    """

    low: int
    high: int
    zero: int = 0


class _FakeQuantize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor, grid: Grid) -> Tensor:
        ratio = x / step
        low, high = grid.low - grid.zero, grid.high - grid.zero
        whole = torch.round(ratio).clamp_(low, high)
        learned = ctx.needs_input_grad[1]
        ctx.grid = grid
        ctx.save_for_backward((ratio >= low - 0.5) & (ratio <= high + 0.5), *((ratio, whole, step) if learned else ()))
        return whole * step if learned else whole.mul_(step)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (given,) = gradients
        inside, *rest = ctx.saved_tensors
        to_step = None
        if rest:
            ratio, whole, step = rest
            scale = 1 / math.sqrt(ratio.numel() / step.numel() * max(ctx.grid.high, 1))
            low, high = ctx.grid.low - ctx.grid.zero, ctx.grid.high - ctx.grid.zero
            each = torch.where((ratio > low) & (ratio < high), whole - ratio, whole)
            to_step = (given * each).sum_to_size(step.shape) * scale
        return given * inside if ctx.needs_input_grad[0] else None, to_step, None


def fake_quantize(x: Tensor, step: Tensor, grid: Grid) -> Tensor:
    """The numbers nearest to some floats that a grid has: round(x / step) half to even, clipped, times the step.

    Args:
        x: float32.
        step: float32, positive, of a shape that broadcasts to `x`.
        grid: the integers.
    """
    if step.numel() == 1 and not step.requires_grad and x.numel() > FEW:
        # one pass instead of seven; it multiplies by 1 / step, which may round what lies between two integers otherwise
        return torch.fake_quantize_per_tensor_affine(x, float(step), grid.zero, grid.low, grid.high)
    made: Tensor = _FakeQuantize.apply(x, step, grid)  # type: ignore[no-untyped-call]
    return made


def stored(x: Tensor, step: Tensor, grid: Grid) -> Tensor:
    """The integers that `fake_quantize` stands for, as floats, with its gradient over the step."""
    exact = fake_quantize(x, step, grid) / step + grid.zero
    return exact + (torch.round(exact) - exact).detach()


def real(integers: Tensor, step: Tensor, grid: Grid) -> Tensor:
    """The floats that integers stand for."""
    return (integers.to(step.dtype) - grid.zero) * step
