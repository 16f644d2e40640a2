"""Operators that look at computed places of an image: rows of channels are gathered, weighted and combined.

1. RoiAlign (He et al., https://arxiv.org/abs/1703.06870): the mean or maximum of bilinear samples in each bin.
2. DeformConv (Dai et al., https://arxiv.org/abs/1703.06211; with a mask, https://arxiv.org/abs/1811.11168): bilinear
   samples beside each tap of the kernel, then one product with the weights for each group.
"""

from __future__ import annotations

from functools import partial, reduce

import numpy as np

from narrowcast.model import ir
from narrowcast.passes.decompose.grid import Tap, padded, taps, weighted
from narrowcast.passes.formula import Formula
from narrowcast.passes.rewrite import Rewriter, RuleSet, dims

RULES = RuleSet()


@RULES.rule("RoiAlign")
def roi_align(node: ir.Node, rewriter: Rewriter) -> bool | str:
    """Case 1: x [batch, channels, h, w], regions [regions, 4] as x1, y1, x2, y2, and the image of each."""
    source, regions, images = node.inputs[:3]
    shape, boxes = dims(source), dims(regions)
    if source is None or regions is None or images is None or shape is None or boxes is None:
        return "its shapes are open"
    attributes = node.attributes
    samples = attributes.get_int("sampling_ratio", 0)
    if samples <= 0:
        return "how many samples it takes depends on the regions' sizes: give it a sampling_ratio"
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
        across = [count, -1, 1] if axis == 0 else [count, 1, -1]
        shaped = [number * samples if dim == -1 else dim for dim in across]
        lines.append([_reshaped(f, tap, shaped) for tap in _beside_edge(f, places, size)])
    rows = f.reshape(f.transpose(source, [0, 2, 3, 1]), [batch * sizes[0] * sizes[1], channels])
    if batch > 1:
        start = f("Mul", f.reshape(f.cast(images, np.int64), [count, 1, 1]), sizes[0] * sizes[1])
        lines[0] = [(f("Add", f("Mul", f.cast(at, np.int64), 1), 0), weight) for at, weight in lines[0]]
        parts = weighted(f, rows, start, sizes, lines)
    else:
        parts = weighted(f, rows, np.zeros(1), sizes, lines)
    largest = attributes.get_string("mode", "avg") == "max"
    values = reduce(lambda a, b: f("Max" if largest else "Add", a, b), parts)
    split = f.reshape(values, [count * bins[0], samples, bins[1], samples * channels])
    return False
