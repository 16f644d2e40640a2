"""Where maxima came from, and back there.

1. MaxPool whose indices are read -> each window's elements gathered side by side, their maximum, and the place of the
   first one among equals.
2. MaxUnpool of windows that do not overlap -> a scattering.
"""

from __future__ import annotations

import math

import numpy as np

from narrowcast.dialect.windows import windows_of
from narrowcast.model import Array, ir
from narrowcast.passes.decompose.indices import MANY
from narrowcast.passes.formula import Formula
from narrowcast.passes.rewrite import Rewriter, RuleSet, is_read, need, operands, require, static_shape

RULES = RuleSet()

_LOWEST = float(np.finfo(np.float32).min)


@RULES.rule("MaxPool")
def with_indices(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 1."""
    require(len(node.outputs) > 1 and is_read(node.outputs[1]))
    source, windows = need(node.inputs[0]), need(windows_of(node), "its shapes are open")
    shape, out = static_shape(source), static_shape(node.outputs[0])
    require(source.dtype is ir.DataType.FLOAT, "it pools integers")
    rows, area = shape[0] * shape[1], math.prod(shape[2:])
    columns_first = node.attributes.get_int("storage_order", 0) != 0
    inside, places, numbers = np.array(True), np.array(0), np.array(0)
    for axis, window in enumerate(windows):
        at = np.arange(window.out)[:, None] * window.stride + np.arange(window.kernel) * window.dilation - window.before
        step = math.prod(shape[2 : 2 + axis] if columns_first else shape[3 + axis :])
        inside = np.logical_and(inside[..., None, None], (at >= 0) & (at < window.size))
        places = places[..., None, None] * window.size + at
        numbers = numbers[..., None, None] + at * step
    taps = math.prod(window.kernel for window in windows)
    require(places.size * rows <= MANY, "its windows hold very many elements")
    f = Formula(node, rewriter)
    flat = f.pad(f.reshape(source, [rows, area]), [0, 0], [0, 1], _LOWEST)
    gathered = f.gather(flat, _side_by_side(np.where(inside, places, area), taps), 1)
    first = rewriter.op("ArgMax", gathered, shape=[rows, math.prod(out[2:])], dtype=np.int64, axis=2, keepdims=0)
    table = f.constant(_side_by_side(numbers, taps).reshape(-1), name="places")
    chosen = f.gather(table, f("Add", first, np.arange(math.prod(out[2:])) * taps))
    indices = f("Add", chosen, (np.arange(rows) * area)[:, None])
    rewriter.replace(node.outputs[1], f.reshape(indices, out))
    return f.becomes(f.reshape(f.reduce("ReduceMax", gathered, [2], keep=False), out))


def _side_by_side(grid: Array, taps: int) -> Array:
    """[out, kernel, out, kernel, ...] -> [outs, taps]."""
    turned: Array = np.transpose(grid, (*range(0, grid.ndim, 2), *range(1, grid.ndim, 2))).reshape(-1, taps)
    return turned


@RULES.rule("MaxUnpool")
def unpool(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 2: values and their places [batch, channels, ...], which count through the whole output."""
    source, places = operands(node, 2)
    shape, out, attributes = static_shape(source), static_shape(node.outputs[0]), node.attributes
    kernel = attributes.get_ints("kernel_shape", ())
    strides, pads = (
        attributes.get_ints("strides", (1,) * len(kernel)),
        attributes.get_ints("pads", (0, 0) * len(kernel)),
    )
    require(all(step >= width for step, width in zip(strides, kernel, strict=True)), "its windows overlap")
    spans = zip(shape[2:], strides, kernel, pads[: len(kernel)], pads[len(kernel) :], strict=True)
    full = [(size - 1) * step + width - a - b for size, step, width, a, b in spans]
    require(list(out[2:]) == full, "its output has another shape than the one that its indices count through")
    f = Formula(node, rewriter)
    total, count = math.prod(out), math.prod(shape)
    empty = f.constant(np.zeros(total), f.dtype, "zeros")
    spots, values = f.reshape(places, [count, 1]), f.reshape(source, [count])
    made = rewriter.op("ScatterND", empty, spots, values, shape=[total], dtype=f.dtype, reduction="add")
    return f.becomes(f.reshape(made, out))
