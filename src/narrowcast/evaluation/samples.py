"""Random samples that a model can be run on: plausible floats, and numbers that the graph can use as it does.

What an input is used for bounds it: an index lies within its table, a length within its sequence, a divisor is not 0.
Uses are followed through casts, moves and arithmetic with a constant.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from narrowcast.dialect.build import constant_of
from narrowcast.errors import UsageError
from narrowcast.evaluation.pixels import image_layout
from narrowcast.evaluation.roles import ROLES, Want
from narrowcast.model import Array, Feed, Layout, Model, Preprocessing, TensorSpec, ir

__all__ = ["LARGEST_SAMPLE", "closed_shape", "random_feeds"]

OPEN_SIDES, OPEN_LENGTHS = (96, 75, 130), (480, 333, 1024)
"""Sizes of dimensions that stay open, of images and of others."""
LARGEST_SAMPLE = 2**30
"""No random input is larger, in bytes."""


def random_feeds(model: Model, count: int, seed: int = 0) -> Iterator[Feed]:
    """Plausible samples, the same for the same seed.

    Floats are preprocessed random pixels where the preprocessing is known, within the range that the model's file says,
    in [-1, 1] for other image-like inputs, and normal ones otherwise; integers are 0 and 1. What their use asks for
    comes before that.
    """
    random = np.random.default_rng(seed)
    wants = {value.name: list(_wants(value)) or _unread(value) for value in model.graph.inputs}
    for number in range(count):
        specs = [replace(spec, shape=closed_shape(spec.shape, number)) for spec in model.inputs]
        yield {
            spec.name: _random(random, spec, model.preprocessing, wants[spec.name], model.ranges.get(spec.name))
            for spec in specs
        }


def closed_shape(shape: tuple[int | None, ...], number: int = 0) -> tuple[int, ...]:
    """A shape without open dimensions: a batch of 1, and other sizes that differ from sample to sample."""
    side = (OPEN_SIDES if len(shape) > 3 else OPEN_LENGTHS)[number % len(OPEN_SIDES)]
    return tuple((side if axis else 1) if dim is None else dim for axis, dim in enumerate(shape))


def _unread(value: ir.Value) -> list[Want]:
    """0 for what nothing reads any more, as the ratio of a Dropout."""
    return [] if value.uses() or value.is_graph_output() else [Want(0, 0)]


def _random(
    random: np.random.Generator,
    spec: TensorSpec,
    preprocessing: Preprocessing | None,
    wants: list[Want],
    span: tuple[float, float] | None,
) -> Array:
    shape = tuple(dim or 0 for dim in spec.shape)
    if math.prod(shape) * spec.dtype.itemsize > LARGEST_SAMPLE:
        raise UsageError(
            f"a sample of the input {spec.name!r}, {'x'.join(map(str, shape))}, does not fit into memory beside others",
            hint="give it another shape, or leave the verification out",
        )
    if wants:
        return _within(random, shape, wants).astype(spec.dtype)
    if spec.dtype.kind != "f":
        return random.integers(0, 256 if spec.dtype == np.uint8 else 2, shape).astype(spec.dtype)
    layout = image_layout(spec.shape)
    if span is not None and (layout is None or preprocessing is None):
        return random.uniform(*span, shape).astype(spec.dtype)
    if layout is None:
        return random.normal(size=shape).astype(spec.dtype)
    if preprocessing is None:
        return random.uniform(-1, 1, shape).astype(spec.dtype)
    axes = (-1, 1, 1) if layout is Layout.CHANNELS_FIRST else (-1,)
    mean, std = (np.reshape(values, axes) for values in (preprocessing.mean, preprocessing.std))
    pixels: Array = (random.uniform(0, 255, shape) - mean) / std
    return pixels.astype(spec.dtype)


def _within(random: np.random.Generator, shape: tuple[int, ...], wants: list[Want]) -> Array:
    """Numbers that all uses take; those of the first where they contradict one another."""
    drawn = next((want.draw for want in wants if want.draw is not None), None)
    if drawn is not None:
        return drawn(random, shape)
    low, high = max(want.low for want in wants), min(want.high for want in wants)
    if low > high:
        low, high = wants[0].low, wants[0].high
    if any(want.whole for want in wants):
        low = math.ceil(low)
        return random.integers(low, max(math.floor(high), low) + 1, shape)
    return random.uniform(low, high, shape)


_MOVES = """
    Cast Reshape Transpose Identity Squeeze Unsqueeze Flatten Expand Slice Split Concat Floor Round Ceil Clip Tile
"""
_CARRIERS = frozenset(_MOVES.split())
"""Operators whose numbers are those of their first operand."""


def _wants(value: ir.Value, scale: float = 1.0, shift: float = 0.0, depth: int = 0) -> Iterator[Want]:
    """What the uses of a value ask of it, where scale * v + shift of a graph's input v is the value."""
    for node, index in value.uses():
        if node.domain:
            continue
        rule = ROLES.get((node.op_type, index))
        found = rule(node) if rule is not None else None
        if found is not None:
            yield found.before(scale, shift)
        if depth > DEEPEST:
            continue
        if node.op_type in _CARRIERS and (index == 0 or node.op_type == "Concat"):
            kept = node.op_type in ("Cast", "Identity")
            for want in (want for output in node.outputs for want in _wants(output, scale, shift, depth + 1)):
                yield want if kept else Want(want.low, want.high, want.whole)
        else:
            made = _affine(node, index, scale, shift)
            if made is not None:
                yield from _wants(node.outputs[0], *made, depth + 1)


DEEPEST = 12
"""Operators between an input and where it is used as a number; more are not followed."""


def _affine(node: ir.Node, index: int, scale: float, shift: float) -> tuple[float, float] | None:
    """The same line after arithmetic with a constant number."""
    if node.op_type == "Neg":
        return -scale, -shift
    if node.op_type not in ("Add", "Sub", "Mul", "Div") or len(node.inputs) != 2:
        return None
    constant = constant_of(node.inputs[1 - index])
    if constant is None or constant.size != 1 or constant.dtype.kind not in "fiu":
        return None
    number = float(constant.reshape(()))
    if node.op_type == "Add":
        return scale, shift + number
    if node.op_type == "Sub":
        return (scale, shift - number) if index == 0 else (-scale, number - shift)
    if number == 0 or not math.isfinite(number) or (node.op_type == "Div" and index == 1):
        return None
    number = 1 / number if node.op_type == "Div" else number
    return scale * number, shift * number
