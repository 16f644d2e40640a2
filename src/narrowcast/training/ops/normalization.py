"""Operators that scale by what they find, and products."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from narrowcast.training.registry import translates


@translates("Softmax")
def softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    """Along one axis."""
    return torch.softmax(x, axis)


@translates("LogSoftmax")
def log_softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    """Along one axis."""
    return torch.log_softmax(x, axis)


@translates("Hardmax")
def hardmax(x: Tensor, *, axis: int = -1) -> Tensor:
    """1 at the first of the largest."""
    return torch.zeros_like(x).scatter(axis, x.argmax(axis, keepdim=True), 1.0)


def _normalised(x: Tensor, axes: list[int], epsilon: float) -> Tensor:
    centred = x - x.mean(axes, keepdim=True)
    return centred * torch.rsqrt(centred.square().mean(axes, keepdim=True) + epsilon)


@translates("LayerNormalization")
def layer_normalization(
    x: Tensor,
    scale: Tensor,
    bias: Tensor | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Tensor:
    """Over an axis and all behind it."""
    made = _normalised(x, list(range(axis % x.dim(), x.dim())), epsilon) * scale
    return made if bias is None else made + bias


@translates("RMSNormalization")
def rms_normalization(
    x: Tensor, scale: Tensor, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Tensor:
    """Over an axis and all behind it, without a mean."""
    axes = list(range(axis % x.dim(), x.dim()))
    return x * torch.rsqrt(x.square().mean(axes, keepdim=True) + epsilon) * scale


def _along_channels(values: Tensor, x: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (x.dim() - 2))


@translates("InstanceNormalization")
def instance_normalization(x: Tensor, scale: Tensor, bias: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    """Each channel of each sample by itself."""
    made = _normalised(x, list(range(2, x.dim())), epsilon)
    return made * _along_channels(scale, x) + _along_channels(bias, x)


@translates("GroupNormalization")
def group_normalization(
    x: Tensor, scale: Tensor, bias: Tensor, *, epsilon: float = 1e-5, num_groups: int, stash_type: int = 1
) -> Tensor:
    """Groups of channels of each sample by themselves."""
    made = _normalised(x.reshape(x.shape[0], num_groups, -1), [2], epsilon).reshape(x.shape)
    return made * _along_channels(scale, x) + _along_channels(bias, x)


@translates("BatchNormalization")
def batch_normalization(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
) -> Tensor:
    """By the statistics of the graph; it learns no others."""
    return functional.batch_norm(x, mean, variance, scale, bias, False, momentum, epsilon)


@translates("LpNormalization")
def lp_normalization(x: Tensor, *, axis: int = -1, p: int = 2) -> Tensor:
    """By the norm along an axis; zeros stay zeros."""
    norm = x.norm(p, axis, keepdim=True)
    return torch.where(norm == 0, torch.zeros_like(x), x / torch.where(norm == 0, torch.ones_like(norm), norm))


@translates("MeanVarianceNormalization")
def mean_variance_normalization(x: Tensor, *, axes: Sequence[int] = (0, 2, 3)) -> Tensor:
    """Over some axes; with ONNX's own epsilon on the deviation."""
    centred = x - x.mean(list(axes), keepdim=True)
    return centred / (centred.square().mean(list(axes), keepdim=True).sqrt() + 1e-9)


@translates("LRN")
def local_response(x: Tensor, *, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0, size: int) -> Tensor:
    """By the squares of the channels around."""
    before = (size - 1) // 2
    squares = functional.pad(x.square().flatten(2).movedim(1, -1), (before, size - 1 - before))
    summed = squares.unfold(-1, size, 1).sum(-1).movedim(-1, 1).reshape(x.shape)
    return x / (bias + alpha / size * summed).pow(beta)


@translates("Gemm")
def gemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,  # noqa: N803
    transB: int = 0,  # noqa: N803
) -> Tensor:
    """Alpha A B + beta C."""
    made = (a.T if transA else a) @ (b.T if transB else b)
    made = made if alpha == 1.0 else alpha * made
    return made if c is None else made + (c if beta == 1.0 else beta * c)


@translates("MatMul")
def matmul(a: Tensor, b: Tensor) -> Tensor:
    """Of matrices in the last two axes."""
    return torch.matmul(a, b)


@translates("Einsum")
def einsum(*values: Tensor, equation: str) -> Tensor:
    """A sum of products by letters."""
    return torch.einsum(equation, *values)
