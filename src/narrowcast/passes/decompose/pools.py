"""Pools that LiteRT's two-dimensional kernels cannot say: dilated, of three axes, and by p-norms.

Maxima and sums over windows are taken one axis at a time, as the maximum or sum of strided slices.

1. MaxPool with dilations or three spatial axes. 2. AveragePool likewise: a sum, divided by how many each window counts.
3. LpPool -> the p-th root of the sum of p-th powers. 4. GlobalLpPool -> a reduction.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np

from narrowcast.model import Array, ir
from narrowcast.passes.formula import Formula
from narrowcast.passes.rewrite import Rewriter, RuleSet, dims

RULES = RuleSet()

_LOWEST = float(np.finfo(np.float32).min)


@dataclass(frozen=True, slots=True)
class Window:
    """Along one axis: `out` windows of `kernel` elements each; `before` and `after` are what the model pads."""

    size: int
    out: int
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int

    @property
    def overhang(self) -> int:
        """How far the last window reaches beyond the input."""
        return max((self.out - 1) * self.stride + (self.kernel - 1) * self.dilation + 1 - self.size - self.before, 0)

    def counts(self, *, padding: bool) -> Array:
        """How many elements each window counts, float [out]."""
        places = np.arange(self.out)[:, None] * self.stride + np.arange(self.kernel) * self.dilation - self.before
        low, high = (-self.before, self.size + self.after) if padding else (0, self.size)
        found: Array = ((places >= low) & (places < high)).sum(axis=1).astype(np.float64)
        return found


def windows_of(node: ir.Node) -> list[Window] | None:
    """One window for each spatial axis; None where shapes are open."""
    shape, out = dims(node.inputs[0]), dims(node.outputs[0])
    if shape is None or out is None:
        return None
    attributes = node.attributes
    kernel = attributes.get_ints("kernel_shape", ())
    ones = (1,) * len(kernel)
    strides, dilations = attributes.get_ints("strides", ones), attributes.get_ints("dilations", ones)
    pads = list(attributes.get_ints("pads", (0,) * (2 * len(kernel))))
    auto = attributes.get_string("auto_pad", "NOTSET")
    if auto.startswith("SAME"):
        spans = zip(shape[2:], out[2:], kernel, strides, dilations, strict=True)
        total = [max((o - 1) * s + (k - 1) * d + 1 - size, 0) for size, o, k, s, d in spans]
        small, large = [t // 2 for t in total], [t - t // 2 for t in total]
        pads = [*small, *large] if auto == "SAME_UPPER" else [*large, *small]
    half = len(kernel)
    return [
        Window(shape[2 + i], out[2 + i], kernel[i], strides[i], dilations[i], pads[i], pads[half + i])
        for i in range(half)
    ]


@RULES.rule("MaxPool", "AveragePool")
def by_slices(node: ir.Node, rewriter: Rewriter) -> bool | str:
    """Cases 1 and 2."""
    source, windows = node.inputs[0], windows_of(node)
    if source is None or windows is None or source.dtype is not ir.DataType.FLOAT:
        return False
    dilated = any(window.dilation > 1 and window.kernel > 1 for window in windows)
    if not dilated and len(windows) != 3:
        return False
    if len(node.outputs) > 1 and (node.outputs[1].uses() or node.outputs[1].is_graph_output()):
        return "its indices are an output"
    f = Formula(node, rewriter)
    if node.op_type == "MaxPool":
        return f.becomes(_combined(f, source, windows, "Max", _LOWEST))
    padding = node.attributes.get_int("count_include_pad", 0) != 0
    counts = reduce(np.multiply.outer, [window.counts(padding=padding) for window in windows])
    return f.becomes(f("Mul", _combined(f, source, windows, "Add", 0.0), 1.0 / np.asarray(counts)))


@RULES.rule("LpPool", "GlobalLpPool")
def norm(node: ir.Node, rewriter: Rewriter) -> bool | str:
    """Cases 3 and 4."""
    source, shape = node.inputs[0], dims(node.inputs[0])
    if source is None or shape is None:
        return "its shapes are open"
    f = Formula(node, rewriter)
    p = float(node.attributes.get_int("p", 2))
    powers = f("Mul", source, source) if p == 2 else f("Pow", f("Abs", source), p)
    if node.op_type == "GlobalLpPool":
        total = f.reduce("ReduceSum", powers, range(2, len(shape)))
    else:
        windows = windows_of(node)
        if windows is None:
            return "its shapes are open"
        total = _combined(f, powers, windows, "Add", 0.0)
    return f.becomes(f("Sqrt", total) if p == 2 else f("Pow", total, 1 / p))


def _combined(f: Formula, value: ir.Value, windows: list[Window], op_type: str, filler: float) -> ir.Value:
    """The maximum or sum over all windows."""
    begins = [0, 0, *(window.before for window in windows)]
    ends = [0, 0, *(window.overhang for window in windows)]
    value = f.pad(value, begins, ends, filler)
    for axis, window in enumerate(windows, 2):
        span = (window.out - 1) * window.stride + 1
        starts = [place * window.dilation for place in range(window.kernel)]
        value = reduce(
            lambda a, b: f(op_type, a, b), [f.slice(value, axis, s, s + span, window.stride) for s in starts]
        )
    return value
