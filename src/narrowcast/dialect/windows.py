"""The windows of convolutions and pools, along each spatial axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from narrowcast.model import CHANNELS_LAST, Array, ir

__all__ = ["Window", "halves", "open_windows_of", "same_pads", "spatial_sizes", "windows_of"]


OPEN = -1
"""Stands for a size that is only known when the file runs."""


@dataclass(frozen=True, slots=True)
class Window:
    """Along one axis: `out` windows of `kernel` elements each; `before` and `after` are what the model pads.

    Where `size` and `out` are `OPEN`, there are as many windows as fit whole into the padded axis.
    """

    size: int
    out: int
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int

    @property
    def overhang(self) -> int:
        """How far the last window reaches beyond the input: less than `after` where it does not reach the padding."""
        if self.size == OPEN:
            return self.after
        return max((self.out - 1) * self.stride + (self.kernel - 1) * self.dilation + 1 - self.size - self.before, 0)

    @property
    def is_same(self) -> bool:
        """Whether the padding that counts is that of SAME: out = ceil(size / stride), the odd element at the end.

        Of an open size that can only be said where the stride is 1.
        """
        if self.size == OPEN and self.stride > 1:
            return False
        return (self.before, self.overhang) == same_pads(
            (abs(self.size),), (self.kernel,), (self.stride,), (self.dilation,)
        )

    def counts(self, *, padding: bool) -> Array:
        """How many elements each window counts, float [out]."""
        places = np.arange(self.out)[:, None] * self.stride + np.arange(self.kernel) * self.dilation - self.before
        low, high = (-self.before, self.size + self.after) if padding else (0, self.size)
        found: Array = ((places >= low) & (places < high)).sum(axis=1).astype(np.float64)
        return found


def spatial_sizes(value: ir.Value | None, node: ir.Node) -> tuple[int, ...] | None:
    """The sizes of an activation's spatial axes, in the order in which `node` has them; None where one is open."""
    if value is None or value.shape is None:
        return None
    sizes = value.shape.dims[1:-1] if node.domain == CHANNELS_LAST else value.shape.dims[2:]
    return tuple(size for size in sizes if isinstance(size, int)) if all(isinstance(s, int) for s in sizes) else None


def windows_of(node: ir.Node) -> list[Window] | None:
    """One window for each spatial axis of a convolution or pool, in either order of axes; None where sizes are open."""
    sizes, outs = spatial_sizes(node.inputs[0], node), spatial_sizes(node.outputs[0], node)
    return None if sizes is None or outs is None else _windows(node, sizes, outs)


def open_windows_of(node: ir.Node) -> list[Window]:
    """`windows_of`, of a canonical node whose sizes may be open."""
    sizes, outs = spatial_sizes(node.inputs[0], node), spatial_sizes(node.outputs[0], node)
    unknown = [OPEN] * len(node.attributes.get_ints("kernel_shape", ()))
    return _windows(node, *((unknown, unknown) if sizes is None or outs is None else (sizes, outs)))


def _windows(node: ir.Node, sizes: Sequence[int], outs: Sequence[int]) -> list[Window]:
    attributes = node.attributes
    kernel = attributes.get_ints("kernel_shape", ())
    half, ones = len(kernel), (1,) * len(kernel)
    strides, dilations = attributes.get_ints("strides", ones), attributes.get_ints("dilations", ones)
    pads = list(attributes.get_ints("pads", (0,) * (2 * half)))
    auto = attributes.get_string("auto_pad", "NOTSET")
    if auto.startswith("SAME"):
        spans = zip(sizes, outs, kernel, strides, dilations, strict=True)
        totals = [(out - 1) * stride + (k - 1) * dilation + 1 - size for size, out, k, stride, dilation in spans]
        pads = list(halves(totals, lower=auto == "SAME_LOWER"))
    rows = zip(sizes, outs, kernel, strides, dilations, pads[:half], pads[half:], strict=True)
    return [Window(*row) for row in rows]


def same_pads(
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    *,
    lower: bool = False,
) -> tuple[int, ...]:
    """Pads, beginnings then ends, for which output = ceil(size / stride).

    Args:
        sizes: of the spatial axes.
        kernel: how many elements a window has along each.
        strides: from one window to the next.
        dilations: from one element of a window to the next.
        lower: whether the odd element goes to the beginning.
    """
    outs = (-(-size // stride) for size, stride in zip(sizes, strides, strict=True))
    spans = zip(outs, sizes, kernel, strides, dilations, strict=True)
    totals = [(out - 1) * stride + (k - 1) * dilation + 1 - size for out, size, k, stride, dilation in spans]
    return halves(totals, lower=lower)


def halves(totals: Sequence[int], *, lower: bool = False) -> tuple[int, ...]:
    """Amounts for each axis, none below zero, as beginnings and ends that differ by one at most."""
    small = [max(total, 0) // 2 for total in totals]
    large = [max(total, 0) - half for total, half in zip(totals, small, strict=True)]
    return (*large, *small) if lower else (*small, *large)
