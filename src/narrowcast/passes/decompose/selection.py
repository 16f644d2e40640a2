"""Operators that keep some of the elements, and how many depends on the data: positions from NonZero, then a Gather.

1. Compress -> what a condition is true of; a constant one is a Gather by constants.
2. Unique -> a table [N, N] of which of N elements, or slices along an axis, are equal, and from it the first of equal
   ones, how many differ and come before it (in order of value, or of first place), and how many are like it.
3. Slice between computed bounds, forwards -> the places from the first on, as many as there are, or as the output has.
"""

from __future__ import annotations

import math

import numpy as np

from narrowcast.dialect.build import constant_of, input_of
from narrowcast.model import ir
from narrowcast.passes.decompose.indices import MANY
from narrowcast.passes.decompose.ranges import counted
from narrowcast.passes.formula import Formula
from narrowcast.passes.rewrite import Rewriter, RuleSet, is_read, need, operands, require, static_shape

RULES = RuleSet()


@RULES.rule("Compress")
def compress(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 1."""
    source, condition = operands(node, 2)
    shape = static_shape(source)
    f, axis = Formula(node, rewriter), node.attributes.get("axis")
    place = 0 if axis is None else axis.as_int() % len(shape)
    values = f.reshape(source, [math.prod(shape)]) if axis is None else source
    known = constant_of(condition)
    places = f.constant(np.flatnonzero(known)) if known is not None else _places(f, condition, 0)
    return f.becomes(f.gather(values, places, place))


def _places(f: Formula, truth: ir.Value, axis: int) -> ir.Value:
    """The places along one axis of what is true, in the order of all axes."""
    rank = len(static_shape(truth))
    found = f.rewriter.op("NonZero", truth, shape=[rank, None], dtype=np.int64)
    return f.reshape(f.slice(found, 0, axis, axis + 1), [None])


@RULES.rule("Unique")
def unique(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 2."""
    source, shape = need(node.inputs[0]), static_shape(node.inputs[0])
    f, axis = Formula(node, rewriter), node.attributes.get("axis")
    place = 0 if axis is None else axis.as_int() % len(shape)
    whole = f.reshape(source, [math.prod(shape)]) if axis is None else source
    sizes = static_shape(whole)
    count, width = sizes[place], math.prod(sizes) // max(sizes[place], 1)
    require(count * count * width <= MANY, "it compares very many elements")
    rest = [other for other in range(len(sizes)) if other != place]
    rows = f.reshape(f.transpose(whole, [place, *rest]), [count, width])
    one, other = f.reshape(rows, [count, 1, width]), f.reshape(rows, [1, count, width])
    unlike = f.cast(f("Not", f("Equal", one, other)), np.int32)  # [N, N, width]
    same = f("Equal", f.reduce("ReduceSum", unlike, [2], keep=False), 0)
    first = rewriter.op("ArgMax", f.cast(same, np.float32), shape=[count], dtype=np.int64, axis=1, keepdims=0)
    leads = f("Equal", first, np.arange(count))
    heads = f.cast(leads, np.int32)
    if node.attributes.get_int("sorted", 1):
        before = f("And", f("Greater", one, other), f("Equal", _up_to(f, unlike), 0))
        less = f.reduce("ReduceMax", f.cast(before, np.int32), [2], keep=False)
        number = f.reduce("ReduceSum", f("Mul", less, f.reshape(heads, [1, count])), [1], keep=False)
    else:
        ramp = f.constant(np.array(0, np.int64))
        places = rewriter.op("CumSum", heads, ramp, shape=[count], dtype=np.int32, exclusive=1)
        number = f.gather(places, first)
    table = f("And", f("Equal", f.reshape(number, [1, count]), f.constant(np.arange(count)[:, None], np.int32)), leads)
    indices = _places(f, table, 1)
    copies = f.cast(f.reduce("ReduceSum", f.cast(same, np.int32), [1], keep=False), np.int64)
    made = (f.gather(whole, indices, place), indices, f.cast(number, np.int64), f.gather(copies, indices))
    for output, value in zip(tuple(node.outputs), made, strict=False):
        if is_read(output):
            rewriter.replace(output, value)
    return True


def _up_to(f: Formula, unlike: ir.Value) -> ir.Value:
    """How many differ before each place of the last axis."""
    axis = f.constant(np.array(2, np.int64))
    return f.rewriter.op("CumSum", unlike, axis, shape=unlike.shape, dtype=np.int32, exclusive=1)


@RULES.rule("Slice")
def between(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 3."""
    (value, starts, ends), axes, steps = operands(node, 3), input_of(node, 3), input_of(node, 4)
    shape, (count,) = static_shape(value), static_shape(starts)
    places = np.arange(count) if axes is None else need(constant_of(axes), "its axes are computed")
    strides = np.ones(count, np.int64) if steps is None else need(constant_of(steps), "its steps are computed")
    require(strides.min(initial=1) > 0, "it goes backwards")
    f = Formula(node, rewriter)
    declared = f.output.shape or ()
    for index, (axis, step) in enumerate(zip((places % len(shape)).tolist(), strides.tolist(), strict=True)):
        first, last = (_bound(f, bound, index, shape[axis]) for bound in (starts, ends))
        size = declared[axis] if axis < len(declared) else None
        if isinstance(size, int):
            ramp = f.constant(np.arange(size) * step)
        else:
            span = f("Add", f("Sub", last, first), step - 1)
            steps_on = counted(f, span if step == 1 else f("Div", span, step))
            ramp = steps_on if step == 1 else f("Mul", steps_on, step)
        value = f.gather(value, f("Add", ramp, first), axis)
    return f.becomes(value)


def _bound(f: Formula, bounds: ir.Value, index: int, size: int) -> ir.Value:
    """One of the bounds, within those of the axis; negative ones count from its end."""
    number = f.cast(f.reshape(f.slice(bounds, 0, index, index + 1), []), np.int64)
    return f("Min", f("Max", f("Where", f("Less", number, 0), f("Add", number, size), number), 0), size)
