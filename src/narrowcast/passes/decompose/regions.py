"""Operators that look at computed places of an image: rows of channels are gathered, weighted and combined.

1. RoiAlign (He et al., https://arxiv.org/abs/1703.06870): the mean or maximum of bilinear samples in each bin.
2. DeformConv (Dai et al., https://arxiv.org/abs/1703.06211; with a mask, https://arxiv.org/abs/1811.11168): bilinear
   samples beside each tap of the kernel, then one product with the weights for each group.
"""

from __future__ import annotations

from functools import partial, reduce

import numpy as np

from narrowcast.dialect.build import input_of
from narrowcast.model import Array, ir
from narrowcast.passes.decompose.grid import Tap, padded, taps, weighted
from narrowcast.passes.formula import Formula
from narrowcast.passes.rewrite import Rewriter, RuleSet, operands, require, static_shape

RULES = RuleSet()


@RULES.rule("RoiAlign")
def roi_align(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 1: x [batch, channels, h, w], regions [regions, 4] as x1, y1, x2, y2, and the image of each."""
    source, regions, images = operands(node, 3)
    shape, boxes, attributes = static_shape(source), static_shape(regions), node.attributes
    samples = attributes.get_int("sampling_ratio", 0)
    require(samples > 0, "how many samples it takes depends on the regions' sizes: give it a sampling_ratio")
    f, count, (batch, channels, *sizes) = Formula(node, rewriter), boxes[0], shape
    half = attributes.get_string("coordinate_transformation_mode", "half_pixel") == "half_pixel"
    bins = [attributes.get_int("output_height", 1), attributes.get_int("output_width", 1)]
    scaled = f("Sub", f("Mul", regions, attributes.get_float("spatial_scale", 1.0)), 0.5 if half else 0.0)
    lines = []
    for axis, (size, number) in enumerate(zip(sizes, bins, strict=True)):
        first = f.slice(scaled, 1, 1 - axis, 2 - axis)
        extent = f("Sub", f.slice(scaled, 1, 3 - axis, 4 - axis), first)
        extent = extent if half else f("Max", extent, 1.0)
        steps = (np.arange(number * samples) + 0.5) / (number * samples)
        places = f("Add", f("Mul", extent, steps[None]), first)
        across = [count, len(steps), 1] if axis == 0 else [count, 1, len(steps)]
        lines.append([(f.reshape(at, across), f.reshape(weight, across)) for at, weight in _within(f, places, size)])
    area = sizes[0] * sizes[1]
    rows = f.reshape(f.transpose(source, [0, 2, 3, 1]), [batch * area, channels])
    start = f("Mul", f.reshape(f.cast(images, np.int64), [count, 1, 1]), area) if batch > 1 else np.zeros(1)
    largest = attributes.get_string("mode", "avg") == "max"
    parts = weighted(f, rows, start, sizes, lines)
    value = reduce(lambda a, b: f("Max" if largest else "Add", a, b), parts)
    kind = "ReduceMax" if largest else "ReduceMean"
    value = f.reduce(kind, f.reshape(value, [count * bins[0], samples, bins[1] * samples * channels]), [1])
    value = f.reduce(kind, f.reshape(value, [count * bins[0] * bins[1], samples, channels]), [1])
    return f.becomes(f.transpose(f.reshape(value, [count, *bins, channels]), [0, 3, 1, 2]))


def _within(f: Formula, places: ir.Value, size: int) -> list[tuple[ir.Value, ir.Value]]:
    """Bilinear taps of places, which count as on the edge up to one pixel outside and as nothing beyond."""
    near = f.cast(f("And", f("GreaterOrEqual", places, -1.0), f("LessOrEqual", places, float(size))), np.float32)
    found = taps(f, places, "linear", partial(padded, f, "border", size, (0.0, 0.0)))
    return [(at, near if weight is None else f("Mul", weight, near)) for at, weight in found]


@RULES.rule("DeformConv")
def deformable(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 2: x [batch, in, h, w], offsets [batch, offset groups * taps * 2, *out], mask [.. * taps, *out]."""
    (source, weights, offset), bias, mask = operands(node, 3), input_of(node, 3), input_of(node, 4)
    shape, kernel, out = static_shape(source), static_shape(weights), static_shape(node.outputs[0])
    require(len(shape) == 4, "it has other than two spatial axes")
    f, attributes = Formula(node, rewriter), node.attributes
    groups, parts = attributes.get_int("group", 1), attributes.get_int("offset_group", 1)
    (batch, channels, *sizes), window, points = shape, kernel[2:], out[2] * out[3]
    count = window[0] * window[1]
    spread = f.reshape(offset, [batch * parts, count, 2, points])
    lines: list[list[Tap]] = []
    for axis, size in enumerate(sizes):
        base = _base(node, axis, window, out[2:])
        moved = f.reshape(f.slice(spread, 2, axis, axis + 1), [batch * parts, count, points])
        places = f("Add", moved, base)
        lines.append(taps(f, places, "linear", partial(padded, f, "zeros", size, (0.0, 0.0))))
    area, each = sizes[0] * sizes[1], channels // parts
    pixels = f.transpose(f.reshape(source, [batch * parts, each, area]), [0, 2, 1])
    start = (np.arange(batch * parts) * area)[:, None, None]
    sampled = weighted(f, f.reshape(pixels, [batch * parts * area, each]), start, sizes, lines)
    value = reduce(lambda a, b: f("Add", a, b), sampled)
    if mask is not None:
        value = f("Mul", value, f.reshape(mask, [batch * parts, count, points, 1]))
    columns = f.transpose(value, [0, 3, 1, 2])  # [batch * offset groups, channels, taps, points]
    grouped = f.reshape(columns, [batch, groups, channels // groups * count, points])
    matrices = f.reshape(weights, [1, groups, out[1] // groups, channels // groups * count])
    made = f.reshape(f.product(matrices, grouped), list(out))
    return f.becomes(made if bias is None else f("Add", made, f.reshape(bias, [1, out[1], 1, 1])))


def _base(node: ir.Node, axis: int, window: tuple[int, ...], out: tuple[int, ...]) -> Array:
    """Where the taps lie without offsets along an axis, [taps, points]."""
    strides, dilations = (node.attributes.get_ints(name, (1, 1)) for name in ("strides", "dilations"))
    first = np.arange(out[axis]) * strides[axis] - node.attributes.get_ints("pads", (0,) * 4)[axis]
    shape = (1, 1, -1, 1) if axis == 0 else (1, 1, 1, -1)
    tap_shape = (-1, 1, 1, 1) if axis == 0 else (1, -1, 1, 1)
    grid = (np.arange(window[axis]) * dilations[axis]).reshape(tap_shape) + first.reshape(shape)
    full: Array = np.broadcast_to(grid, (*window, *out)).reshape(window[0] * window[1], out[0] * out[1])
    return full
