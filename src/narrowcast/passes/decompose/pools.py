"""Pools by slices: dilated, of three axes, and by p-norms.

Maxima and sums over windows are taken one axis at a time, as the maximum or sum of strided slices.

1. MaxPool with dilations or three spatial axes. 2. AveragePool likewise: a sum, divided by how many each window counts.
3. LpPool -> the p-th root of the sum of p-th powers. 4. GlobalLpPool -> a reduction.
"""

from __future__ import annotations

from functools import reduce

import numpy as np

from narrowcast.dialect.windows import Window, windows_of
from narrowcast.model import ir
from narrowcast.passes.formula import Formula
from narrowcast.passes.rewrite import Rewriter, RuleSet, is_read, need, require, static_shape

RULES = RuleSet()

_LOWEST = float(np.finfo(np.float32).min)


@RULES.rule("MaxPool", "AveragePool")
def by_slices(node: ir.Node, rewriter: Rewriter) -> bool:
    """Cases 1 and 2."""
    source, windows = need(node.inputs[0]), need(windows_of(node))
    dilated = any(window.dilation > 1 and window.kernel > 1 for window in windows)
    require(source.dtype is ir.DataType.FLOAT and (dilated or len(windows) == 3))
    require(len(node.outputs) < 2 or not is_read(node.outputs[1]), "its indices are an output")
    f = Formula(node, rewriter)
    if node.op_type == "MaxPool":
        return f.becomes(_combined(f, source, windows, "Max", _LOWEST))
    padding = node.attributes.get_int("count_include_pad", 0) != 0
    counts = reduce(np.multiply.outer, [window.counts(padding=padding) for window in windows])
    return f.becomes(f("Mul", _combined(f, source, windows, "Add", 0.0), 1.0 / np.asarray(counts)))


@RULES.rule("LpPool", "GlobalLpPool")
def norm(node: ir.Node, rewriter: Rewriter) -> bool:
    """Cases 3 and 4."""
    source, shape = need(node.inputs[0]), static_shape(node.inputs[0])
    f = Formula(node, rewriter)
    p = float(node.attributes.get_int("p", 2))
    powers = f("Mul", source, source) if p == 2 else f("Pow", f("Abs", source), p)
    if node.op_type == "GlobalLpPool":
        total = f.reduce("ReduceSum", powers, range(2, len(shape)))
    else:
        total = _combined(f, powers, need(windows_of(node), "its shapes are open"), "Add", 0.0)
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
