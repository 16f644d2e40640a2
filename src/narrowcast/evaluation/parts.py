"""Into which parts an output falls: what a Concat puts beside one another, or else the channels."""

from __future__ import annotations

import math
from itertools import accumulate

from narrowcast.evaluation.metrics import WHOLE, Parts, is_classifier
from narrowcast.model import ir

__all__ = ["parts_of"]

MOST_CHANNELS = 512
LEAST_ELEMENTS = 4
"""A part of fewer elements is too small for a ratio of its own."""

_SAME_ORDER = ("Identity", "Cast", "QuantizeLinear", "DequantizeLinear")


def parts_of(output: ir.Value) -> Parts:
    """The parts of a graph's output; `WHOLE` where it has one, or scores the classes of one sample."""
    shape = tuple(dim if isinstance(dim, int) else 1 for dim in output.shape or ())
    if len(shape) < 2 or is_classifier(shape) or 0 in shape:
        return WHOLE
    likely = sorted((1, len(shape) - 1), key=shape.__getitem__)
    beside = likely if len(shape) > 3 else likely[:1]  # what stands in rows has its parts along the shorter axis
    found = [(axis, sizes) for axis in beside if sum(sizes := _branches(output, axis)) == shape[axis]]
    axis, sizes = found[0] if found else (likely[0], [1] * shape[likely[0]])
    if not 1 < len(sizes) <= MOST_CHANNELS or min(sizes) * math.prod(shape) // shape[axis] < LEAST_ELEMENTS:
        return WHOLE
    return Parts(axis, tuple(accumulate(sizes[:-1], initial=0)), shape[axis], branches=len(sizes) < shape[axis])


def _branches(value: ir.Value | None, axis: int) -> list[int]:
    """The sizes of what a Concat puts together along an axis; none where there is no such Concat before the value.

    The way there leads through operators that leave the order alone, and into the first part of what is put together
    along other axes: the levels of a detector fall into the same parts.
    """
    while value is not None and (node := value.producer()) is not None and not node.domain:
        rank = len(value.shape or ())
        if node.op_type == "Transpose":
            axis = node.attributes.get_ints("perm", tuple(reversed(range(rank))))[axis]
        elif node.op_type == "Concat" and node.attributes.get_int("axis", 0) % max(rank, 1) == axis:
            found = [item.shape[axis] if item is not None and item.shape is not None else None for item in node.inputs]
            return [size for size in found if isinstance(size, int)]
        elif node.op_type == "Reshape":
            axis = _same_axis(node.inputs[0], value, axis)
            if axis < 0:
                return []
        elif node.op_type not in (*_SAME_ORDER, "Concat"):
            return []
        value = node.inputs[0]
    return []


def _same_axis(before: ir.Value | None, after: ir.Value, axis: int) -> int:
    """Where a Reshape had an axis before: as many elements in front of it and in it; -1 where it has none such."""
    had, has = (list(value.shape or ()) if value is not None else [] for value in (before, after))
    sizes, wanted = [dim if isinstance(dim, int) else 1 for dim in had], [d if isinstance(d, int) else 1 for d in has]
    for place, size in enumerate(sizes):
        if size == wanted[axis] and math.prod(sizes[:place]) == math.prod(wanted[:axis]):
            return place
    return -1
