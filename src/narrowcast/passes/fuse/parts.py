"""Tensors are cut once and joined once.

1. A Slice of a Slice that nothing else reads -> one Slice.
2. Slices by steps of one that cut an axis into adjoining parts, none left out -> one Split.
3. A Concat of a Concat along the same axis that nothing else reads -> one Concat.
4. What lies one behind the other, as queries, keys and values do: a Gather of each position of the outermost axis, or a
   Split along it whose parts are all reshaped alike -> one Reshape, and a Split into parts of the final shape.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from narrowcast.dialect.build import constant_of
from narrowcast.model import ir
from narrowcast.passes.formula import Formula
from narrowcast.passes.rewrite import Rewriter, RuleSet, dims, need, producer_of, require, sole_consumer

RULES = RuleSet()

MOST_PARTS = 64
"""A tensor that more nodes read is not looked at, so that many slices of one stay linear."""

_Cut = tuple[int, int, int]
"""Start, end and step along an axis."""


@RULES.rule("Slice")
def slice_of_slice(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 1."""
    source, shape = need(node.inputs[0]), need(dims(node.outputs[0]))
    inner = need(producer_of(source, "Slice"))
    require(sole_consumer(source) is node and 0 not in shape)
    first, second = need(_cuts(inner)), need(_cuts(node))
    for axis, (start, _, step) in second.items():
        begin, _, stride = first.get(axis, (0, 0, 1))
        begin, stride = begin + start * stride, stride * step
        first[axis] = (begin, begin + (shape[axis] - 1) * stride + 1, stride)
    rewriter.at(node)
    columns = zip(*((start, end, axis, step) for axis, (start, end, step) in first.items()), strict=True)
    arguments = [rewriter.constant(np.array(column, np.int64), "slice") for column in columns]
    return rewriter.replace(node.outputs[0], rewriter.op("Slice", inner.inputs[0], *arguments, like=node.outputs[0]))


@RULES.rule("Slice")
def slices_to_split(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 2."""
    source, shape, axis = need(node.inputs[0]), need(dims(node.inputs[0])), need(_part(node))[0]
    require(len(source.uses()) <= MOST_PARTS)
    parts = [(_part(use.node), use.node) for use in source.uses() if use.idx == 0 and use.node.op_type == "Slice"]
    chosen = sorted(((part[1], part[2], slice_) for part, slice_ in parts if part and part[0] == axis), key=_bounds)
    starts, ends = [start for start, _, _ in chosen], [end for _, end, _ in chosen]
    require(len(chosen) > 1 and starts == [0, *ends[:-1]] and ends[-1] == shape[axis])
    require(not any(map(int.__eq__, starts, ends)))
    rewriter.at(node)
    sizes = rewriter.constant(np.subtract(ends, starts), "sizes")
    made = rewriter.ops("Split", source, sizes, outputs=len(chosen), axis=axis)
    for (_, _, slice_), value in zip(chosen, made, strict=True):
        old = slice_.outputs[0]
        value.shape, value.type = old.shape, old.type
        rewriter.replace(old, value)
    return True


@RULES.rule("Gather")
def gathers_to_split(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 4, positions."""
    source, shape, axis = need(node.inputs[0]), need(dims(node.inputs[0])), node.attributes.get_int("axis", 0)
    require(len(source.uses()) <= MOST_PARTS and _position(node, axis) is not None)
    found = {_position(use.node, axis): use.node.outputs[0] for use in source.uses() if use.idx == 0}
    return _cut_alike(source, axis, [need(found.get(index)) for index in range(shape[axis])], node, rewriter)


@RULES.rule("Split")
def split_and_reshape(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 4, parts."""
    readers = [need(sole_consumer(value)) for value in node.outputs]
    require(all(reader.op_type == "Reshape" and not reader.domain for reader in readers))
    parts = [reader.outputs[0] for reader in readers]
    return _cut_alike(need(node.inputs[0]), node.attributes.get_int("axis", 0), parts, node, rewriter)


def _cut_alike(source: ir.Value, axis: int, parts: Sequence[ir.Value], node: ir.Node, rewriter: Rewriter) -> bool:
    """Makes the parts, of one shape and one behind the other in memory, by a Reshape and a Split."""
    shape, sizes = need(dims(source)), {need(dims(part)) for part in parts}
    require(len(parts) > 1 and len(sizes) == 1 and all(dim == 1 for dim in shape[:axis]))
    part = sizes.pop()
    require(part)
    first = next((index for index, dim in enumerate(part) if dim != 1), len(part) - 1)
    joined = [dim * len(parts) if index == first else dim for index, dim in enumerate(part)]
    together = Formula(node, rewriter).reshape(source, joined)
    cuts = rewriter.constant(np.full(len(parts), part[first]), "sizes")
    for old, new in zip(parts, rewriter.ops("Split", together, cuts, outputs=len(parts), axis=first), strict=True):
        new.shape, new.type = old.shape, old.type
        rewriter.replace(old, new)
    return True


@RULES.rule("Concat")
def concat_of_concat(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 3."""
    axis = node.attributes.get_int("axis", 0)
    parts: list[ir.Value | None] = []
    for value in node.inputs:
        inner = producer_of(value, "Concat")
        alike = inner is not None and inner.attributes.get_int("axis", 0) == axis
        if inner is not None and alike and value is not None and sole_consumer(value) is node:
            parts.extend(inner.inputs)
        else:
            parts.append(value)
    if len(parts) == len(node.inputs):
        return False
    return rewriter.replace(node.outputs[0], rewriter.at(node).op("Concat", *parts, like=node.outputs[0], axis=axis))


def _cuts(node: ir.Node) -> dict[int, _Cut] | None:
    """What a canonical Slice keeps of each axis that it names; None where it runs backwards or is computed."""
    arrays = [array.reshape(-1).tolist() for value in node.inputs[1:] if (array := constant_of(value)) is not None]
    if len(arrays) != 4:
        return None
    starts, ends, axes, steps = arrays
    if any(number < 0 for numbers in (starts, ends, axes) for number in numbers) or any(step < 1 for step in steps):
        return None
    return {axis: (start, end, step) for start, end, axis, step in zip(starts, ends, axes, steps, strict=True)}


def _part(node: ir.Node) -> tuple[int, int, int] | None:
    """(axis, start, end) of a Slice of one axis by steps of one."""
    cuts = _cuts(node) if not node.domain else None
    if cuts is None or len(cuts) != 1:
        return None
    axis, (start, end, step) = next(iter(cuts.items()))
    return (axis, start, end) if step == 1 else None


def _bounds(part: tuple[int, int, ir.Node]) -> tuple[int, int]:
    return part[0], part[1]


def _position(node: ir.Node, axis: int) -> int | None:
    """The position that a Gather takes out of an axis."""
    if node.domain or node.op_type != "Gather" or node.attributes.get_int("axis", 0) != axis:
        return None
    index = constant_of(node.inputs[1])
    return int(index) if index is not None and index.ndim == 0 else None
