"""Convolutions by simpler ones.

1. ConvTranspose of three spatial axes, or with computed weights in groups or dilated -> zeros between the pixels, then
   a convolution whose kernel is turned around, inputs and outputs exchanged within each group (Dumoulin and Visin,
   https://arxiv.org/abs/1603.07285, section 4.6).
2. Conv of three spatial axes in groups -> the sum over the kernel's depth of two-dimensional ones over all slices.
"""

from __future__ import annotations

import math
from functools import reduce
from typing import Any

import numpy as np

from narrowcast.dialect.build import constant_of, input_of
from narrowcast.model import ir
from narrowcast.passes.formula import Formula
from narrowcast.passes.rewrite import Rewriter, RuleSet, operands, require, static_shape

RULES = RuleSet()


@RULES.rule("ConvTranspose")
def as_convolution(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 1: x [batch, in, ...], weights [in, out / groups, ...]."""
    source, weights = operands(node, 2)
    shape, out, size = static_shape(source), static_shape(node.outputs[0]), static_shape(weights)
    attributes, half = node.attributes, len(shape) - 2
    groups, dilations = attributes.get_int("group", 1), attributes.get_ints("dilations", (1,) * half)
    hard = constant_of(weights) is None and (groups > 1 or max(dilations) > 1)
    require(half == 3 or (half == 2 and hard))
    f = Formula(node, rewriter)
    strides, pads = attributes.get_ints("strides", (1,) * half), attributes.get_ints("pads", (0,) * 2 * half)
    value = source
    for axis in range(half):
        reach = dilations[axis] * (size[2 + axis] - 1)
        value = _spread(f, value, 2 + axis, strides[axis])
        value = _framed(f, value, 2 + axis, reach - pads[axis], out[2 + axis] + reach)
    parts = f.reshape(weights, [groups, size[0] // groups, size[1], math.prod(size[2:])])
    turned = f.slice(f.transpose(parts, [0, 2, 1, 3]), 3, math.prod(size[2:]) - 1, -1, -1)
    kernel = f.reshape(turned, [groups * size[1], size[0] // groups, *size[2:]])
    window: dict[str, Any] = {
        "kernel_shape": list(size[2:]),
        "strides": [1] * half,
        "dilations": list(dilations),
        "pads": [0] * 2 * half,
        "group": groups,
    }
    made = rewriter.op("Conv", value, kernel, *node.inputs[2:], like=node.outputs[0], **window)
    return rewriter.replace(node.outputs[0], made)


@RULES.rule("Conv")
def by_slices(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 2: x [batch, in, depth, height, width], weights [out, in / groups, depth, height, width]."""
    (source, weights), bias = operands(node, 2), input_of(node, 2)
    shape, out, size = static_shape(source), static_shape(node.outputs[0]), static_shape(weights)
    attributes, groups = node.attributes, node.attributes.get_int("group", 1)
    require(len(shape) == 5)
    f = Formula(node, rewriter)
    strides, dilations = attributes.get_ints("strides", (1,) * 3), attributes.get_ints("dilations", (1,) * 3)
    pads = attributes.get_ints("pads", (0,) * 6)
    slices = f.transpose(f.pad(source, [0, 0, pads[0], 0, 0], [0, 0, pads[3], 0, 0]), [0, 2, 1, 3, 4])
    window: dict[str, Any] = {
        "kernel_shape": list(size[3:]),
        "strides": list(strides[1:]),
        "dilations": list(dilations[1:]),
        "pads": [pads[1], pads[2], pads[4], pads[5]],
        "group": groups,
    }

    def at(place: int) -> ir.Value:
        first = place * dilations[0]
        seen = f.slice(slices, 1, first, first + (out[2] - 1) * strides[0] + 1, strides[0])
        images = f.reshape(seen, [shape[0] * out[2], shape[1], *shape[3:]])
        kernel = f.reshape(f.slice(weights, 2, place, place + 1), [*size[:2], *size[3:]])
        inputs = [images, kernel, *([] if place else [bias])]
        return rewriter.op("Conv", *inputs, shape=[shape[0] * out[2], out[1], *out[3:]], **window)

    total = reduce(lambda a, b: f("Add", a, b), map(at, range(size[2])))
    return f.becomes(f.transpose(f.reshape(total, [out[0], out[2], out[1], *out[3:]]), [0, 2, 1, 3, 4]))


def _spread(f: Formula, value: ir.Value, axis: int, stride: int) -> ir.Value:
    """With `stride - 1` zeros between the elements of an axis."""
    shape = list(static_shape(value))
    if stride == 1:
        return value
    outer, inner = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    wide = f.pad(f.reshape(value, [outer * shape[axis], 1, inner]), [0, 0, 0], [0, stride - 1, 0])
    cut = f.slice(f.reshape(wide, [outer, shape[axis] * stride, inner]), 1, 0, (shape[axis] - 1) * stride + 1)
    return f.reshape(cut, [*shape[:axis], (shape[axis] - 1) * stride + 1, *shape[axis + 1 :]])


def _framed(f: Formula, value: ir.Value, axis: int, before: int, size: int) -> ir.Value:
    """With zeros before and behind an axis, or cut there, so that it has `size` elements."""
    length = static_shape(value)[axis]
    first, last = max(-before, 0), min(length, size - before)
    value = f.slice(value, axis, first, last)
    begins, ends = np.zeros((2, len(static_shape(value))), int).tolist()
    begins[axis] = max(before, 0)
    ends[axis] = size - begins[axis] - (last - first)
    return f.pad(value, begins, ends)
