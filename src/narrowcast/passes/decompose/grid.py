"""Sampling at computed places, by any number of spatial axes.

1. GridSample (https://onnx.ai/onnx/operators/onnx__GridSample.html) -> for each tap of the interpolation a Gather of
   pixels, rows of channels, by computed positions; then their weighted sum. Zero, border and reflection padding;
   nearest, linear and cubic interpolation.
2. AffineGrid -> a product of the constant grid with the matrices.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial, reduce

import numpy as np

from narrowcast.dialect.build import constant_of
from narrowcast.model import Array, ir
from narrowcast.passes.formula import Formula
from narrowcast.passes.rewrite import Rewriter, RuleSet, need, operands, static_shape

RULES = RuleSet()

A = -0.75
"""The coefficient of the cubic kernel, as ONNX fixes it for GridSample."""

Tap = tuple[ir.Value, ir.Value | None]
"""Position along an axis and weight, each [batch, points]; None is 1."""


@RULES.rule("GridSample")
def grid_sample(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 1: x [batch, channels, *sizes], grid [batch, *out, axes], the last axis first."""
    source, grid = operands(node, 2)
    shape, places = static_shape(source), static_shape(grid)
    f, attributes = Formula(node, rewriter), node.attributes
    sizes, batch, points = shape[2:], shape[0], int(np.prod(places[1:-1]))
    aligned = attributes.get_int("align_corners", 0) != 0
    mode, padding = attributes.get_string("mode", "linear"), attributes.get_string("padding_mode", "zeros")
    flat = f.reshape(grid, [batch, points, len(sizes)])
    lines = []
    for axis, size in enumerate(sizes):
        given = f.reshape(f.slice(flat, 2, len(sizes) - 1 - axis, len(sizes) - axis), [batch, points])
        pixel = f("Mul", f("Add", given, 1.0), (size - 1) / 2) if aligned else _centred(f, given, size)
        ends = (0.0, size - 1.0) if aligned else (-0.5, size - 0.5)
        lines.append(taps(f, pixel, mode, partial(padded, f, padding, size, ends)))
    pixels = f.transpose(source, [0, *range(2, len(shape)), 1])
    rows = f.reshape(pixels, [batch * int(np.prod(sizes)), shape[1]])
    start = (np.arange(batch) * np.prod(sizes))[:, None]
    total = reduce(lambda a, b: f("Add", a, b), weighted(f, rows, start, sizes, lines))
    rank = len(shape)
    return f.becomes(
        f.transpose(f.reshape(total, [batch, *places[1:-1], shape[1]]), [0, rank - 1, *range(1, rank - 1)])
    )


def weighted(
    f: Formula, rows: ir.Value, start: ir.Value | Array, sizes: Sequence[int], lines: Sequence[Sequence[Tap]]
) -> list[ir.Value]:
    """The pixels that points are made of, times their weights: one value [*points, channels] for each pairing of taps.

    Args:
        f: the formula at work.
        rows: pixels [images * sizes, channels].
        start: the row of the first pixel of each point's image, broadcast to [*points].
        sizes: of the spatial axes.
        lines: the taps along each spatial axis.
    """
    parts = []
    for chosen in itertools.product(*lines):
        index = f.cast(chosen[0][0], np.int64)
        for (at, _), size in zip(chosen[1:], sizes[1:], strict=True):
            place = f.cast(at, np.int64)
            index = f("Add", f("Mul", index, size), place)
        value = f.gather(rows, f("Add", index, start))
        weights = [weight for _, weight in chosen if weight is not None]
        if weights:
            weight = reduce(lambda a, b: f("Mul", a, b), weights)
            value = f("Mul", value, f.reshape(weight, [*static_shape(weight), 1]))
        parts.append(value)
    return parts


def _centred(f: Formula, given: ir.Value, size: int) -> ir.Value:
    return f("Sub", f("Mul", f("Add", given, 1.0), size / 2), 0.5)


def taps(
    f: Formula, pixel: ir.Value, mode: str, settle: Callable[[ir.Value], tuple[ir.Value, ir.Value, ir.Value | None]]
) -> list[Tap]:
    """The pixels that one point is made of, along one axis."""
    if mode == "nearest":
        at, _, inside = settle(f("Round", pixel))
        return [(at, inside)]
    _, pixel, _ = settle(pixel)
    low = f("Floor", pixel)
    rest = f("Sub", pixel, low)
    if mode in ("linear", "bilinear"):
        weights = {0: f("Sub", 1.0, rest), 1: rest}
    else:
        weights = {
            -1: _far(f, f("Add", rest, 1.0)),
            0: _near(f, rest),
            1: _near(f, f("Sub", 1.0, rest)),
            2: _far(f, f("Sub", 2.0, rest)),
        }
    found: list[Tap] = []
    for step, weight in weights.items():
        at, _, inside = settle(f("Add", low, float(step)) if step else low)
        found.append((at, weight if inside is None else f("Mul", weight, inside)))
    return found


def padded(
    f: Formula, padding: str, size: int, ends: tuple[float, float], at: ir.Value
) -> tuple[ir.Value, ir.Value, ir.Value | None]:
    """A position inside the axis; the coordinate after padding; 1 or 0 for inside or outside where that counts."""
    last = size - 1.0
    if padding == "zeros":
        inside = f("And", f("GreaterOrEqual", at, 0.0), f("LessOrEqual", at, last))
        return _clipped(f, at, last), at, f.cast(inside, np.float32)
    if padding == "reflection":
        span = ends[1] - ends[0]
        if span > 0:
            moved = f("Sub", at, ends[0])
            wave = f("Sub", moved, f("Mul", f("Floor", f("Mul", moved, 0.5 / span)), 2 * span))
            at = f("Add", f("Sub", span, f("Abs", f("Sub", wave, span))), ends[0])
        return _clipped(f, at, last), at, None
    clipped = _clipped(f, at, last)
    return clipped, clipped, None


def _clipped(f: Formula, at: ir.Value, last: float) -> ir.Value:
    return f("Min", f("Max", at, 0.0), last)


def _near(f: Formula, d: ir.Value) -> ir.Value:
    """((a + 2) d - (a + 3)) d^2 + 1."""
    return f("Add", f("Mul", f("Sub", f("Mul", d, A + 2), A + 3), f("Mul", d, d)), 1.0)


def _far(f: Formula, d: ir.Value) -> ir.Value:
    """((a d - 5 a) d + 8 a) d - 4 a."""
    return f("Sub", f("Mul", f("Add", f("Mul", f("Sub", f("Mul", d, A), 5 * A), d), 8 * A), d), 4 * A)


@RULES.rule("AffineGrid")
def affine_grid(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 2: theta [batch, axes, axes + 1], size [batch, channels, *sizes]."""
    theta, size = need(node.inputs[0]), need(constant_of(node.inputs[1]), "its size is computed")
    shape = static_shape(theta)
    f = Formula(node, rewriter)
    sizes = size.reshape(-1)[2:].tolist()
    aligned = node.attributes.get_int("align_corners", 0) != 0
    lines = [np.linspace(-1, 1, n) if aligned else (2 * np.arange(n) + 1) / n - 1 for n in sizes]
    axes = np.meshgrid(*lines, indexing="ij")
    grid = np.stack([*axes[::-1], np.ones_like(axes[0])], axis=-1).reshape(-1, len(sizes) + 1)
    points = f.constant(np.broadcast_to(grid, (shape[0], *grid.shape)), np.float32, "grid")
    made = f.product(points, f.transpose(theta, [0, 2, 1]))
    return f.becomes(f.reshape(made, [shape[0], *sizes, len(sizes)]))
