"""Layers as the matrix products that they are: [out, inner] for each group, by the columns that a sample gives.

A convolution multiplies each group's matrix with the windows of its input, a column for each position; a transposed one
is a convolution, by the turned kernel, of the input with zeros between its elements. A dense layer has one group.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from narrowcast.dialect.windows import spatial_sizes, windows_of
from narrowcast.model import Array, ir

__all__ = ["columns", "matrices", "weights_of"]


def matrices(node: ir.Node, weights: Array) -> Array:
    """Weights, or what goes with each of them, as [groups, out, inner].

    Args:
        node: a Conv, ConvTranspose, Gemm or MatMul.
        weights: in the shape of its weights.
    """
    groups = node.attributes.get_int("group", 1)
    if node.op_type == "MatMul":
        return weights.T[None]
    if node.op_type == "ConvTranspose":  # [in, out / group, *kernel]
        split = weights.reshape(groups, -1, *weights.shape[1:]).swapaxes(1, 2)
        return np.flip(split, tuple(range(3, split.ndim))).reshape(groups, weights.shape[1], -1)
    return weights.reshape(groups, weights.shape[0] // groups, -1)


def weights_of(node: ir.Node, found: Array, shape: Sequence[int]) -> Array:
    """The inverse of `matrices`, for weights of a shape."""
    if node.op_type == "MatMul":
        return np.ascontiguousarray(found[0].T)
    if node.op_type == "ConvTranspose":
        split = found.reshape(len(found), shape[1], shape[0] // len(found), *shape[2:])
        return np.flip(split, tuple(range(3, split.ndim))).swapaxes(1, 2).reshape(shape)
    return found.reshape(shape)


def columns(node: ir.Node, source: Array, most: int, random: np.random.Generator) -> Array:
    """What a layer's matrices are multiplied with: [groups, inner, positions].

    Args:
        node: a Conv, ConvTranspose, Gemm or MatMul, its spatial axes static.
        source: its input.
        most: how many positions at most.
        random: chooses them where there are more.
    """
    if node.op_type in ("Gemm", "MatMul"):
        rows = source.reshape(-1, source.shape[-1])
        chosen: Array = rows[_some(len(rows), most, random)]
        return chosen.T[None]
    source, outs, steps = _padded(node, source)
    kernel, strides, dilations = zip(*steps, strict=True)
    batch, channels, *sizes = source.shape
    image, *places = np.unravel_index(_some(batch * math.prod(outs), most, random), (batch, *outs))
    taps = np.indices(kernel).reshape(len(kernel), -1, 1)
    along = zip(places, strides, taps, dilations, strict=True)
    at = [place * stride + tap * dilation for place, stride, tap, dilation in along]  # [taps, positions] each
    index = np.ravel_multi_index((np.broadcast_to(image, at[0].shape), *at), (batch, *sizes))
    flat = source.swapaxes(0, 1).reshape(channels, -1)
    found: Array = flat[:, index.reshape(-1)].reshape(node.attributes.get_int("group", 1), -1, len(image))
    return found


def _padded(node: ir.Node, source: Array) -> tuple[Array, Sequence[int], list[tuple[int, int, int]]]:
    """An image with its padding, the sizes of the output, and kernel, stride and dilation along each axis."""
    windows, outs = windows_of(node), spatial_sizes(node.outputs[0], node)
    assert windows is not None
    assert outs is not None
    pads = [(window.before, window.after) for window in windows]
    steps = [(window.kernel, window.stride, window.dilation) for window in windows]
    if node.op_type == "ConvTranspose":
        sizes = [(window.size - 1) * window.stride + 1 for window in windows]
        apart = np.zeros((*source.shape[:2], *sizes), source.dtype)
        apart[:, :, *(slice(None, None, window.stride) for window in windows)] = source
        reach = [(window.kernel - 1) * window.dilation for window in windows]
        before = [span - window.before for span, window in zip(reach, windows, strict=True)]
        ends = zip(before, outs, reach, sizes, strict=True)
        pads = [(start, out + span - size - start) for start, out, span, size in ends]
        source, steps = apart, [(window.kernel, 1, window.dilation) for window in windows]
    spans = zip(pads, source.shape[2:], strict=True)
    inside = source[:, :, *(slice(max(-low, 0), size - max(-high, 0)) for (low, high), size in spans)]
    around = [(max(low, 0), max(high, 0)) for low, high in pads]
    return (np.pad(inside, [(0, 0), (0, 0), *around]) if any(map(any, around)) else inside), outs, steps


def _some(count: int, most: int, random: np.random.Generator) -> Array:
    """Numbers below a count, in order: all, or as many as asked for."""
    return np.arange(count) if count <= most else np.sort(random.choice(count, most, replace=False, shuffle=False))
