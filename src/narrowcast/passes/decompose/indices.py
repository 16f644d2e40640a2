"""Operators on positions, by Gather from a flattened tensor and by comparison with a ramp.

1. GatherElements, GatherND -> Gather of rows of the flattened data, positions computed from the indices (or here and
   now, where they are constant; negative indices count from the end).
2. ScatterElements, ScatterND at constant, distinct positions -> Gather from the data and the updates behind them; with
   reduction="add" the data plus such a Gather from the updates and a zero.
3. ReverseSequence by constant lengths -> Gather by a constant order.
4. OneHot -> Where(Equal(indices, ramp), on, off). 5. Hardmax -> a ramp compared with ArgMax.
6. ArgMax and ArgMin of the last of equal values -> of the reversed axis. 7. Trilu -> Where(triangle, x, 0).
8. EyeLike -> a constant. 9. Pad by edge or wrap, and by negative amounts -> Gather along each axis, Slice.

Scattering to computed positions -> sums over zeros.

Products, maxima and minima there -> a table of all positions.
"""

from __future__ import annotations

import math
from functools import reduce

import numpy as np

from narrowcast.dialect.build import constant_of, input_of
from narrowcast.model import Array, ir
from narrowcast.passes.formula import Formula
from narrowcast.passes.rewrite import (
    Rewriter,
    RuleSet,
    Skip,
    dims,
    dtype_of,
    need,
    operands,
    require,
    scalar_of,
    static_shape,
)

RULES = RuleSet()

MANY = 2**24
"""No table of positions is made with more entries."""


@RULES.rule("GatherElements")
def gather_elements(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 1."""
    data, indices = operands(node, 2)
    shape, wanted = static_shape(data), static_shape(indices)
    require(math.prod(wanted) <= MANY, "its indices are very many")
    axis = node.attributes.get_int("axis", 0) % len(shape)
    strides = _strides(shape)
    grid = np.indices(wanted, sparse=True)
    base = sum(grid[d] * strides[d] for d in range(len(shape)) if d != axis) + np.zeros(wanted, np.int64)
    f = Formula(node, rewriter)
    flat = f.reshape(data, [math.prod(shape)])
    return f.becomes(f.gather(flat, _positions(f, indices, shape[axis], strides[axis], np.asarray(base))))


@RULES.rule("GatherND")
def gather_nd(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 1."""
    data, indices = operands(node, 2)
    shape, batch, wanted = static_shape(data), node.attributes.get_int("batch_dims", 0), list(need(indices.shape))
    depth = wanted[-1] if wanted else 0
    if not isinstance(depth, int) or not depth:
        raise Skip("its indices are open, or empty")
    rows, strides = shape[: batch + depth], _strides(shape[: batch + depth])
    lead, base = wanted[:-1], np.zeros((), np.int64)
    if batch:
        known = static_shape(indices)
        grid = np.indices(known[:-1], sparse=True)
        base = np.asarray(sum((grid[d] * strides[d] for d in range(batch)), np.zeros(known[:-1], np.int64)))
    f = Formula(node, rewriter)

    def along(position: int) -> ir.Value:
        part = f.reshape(f.slice(indices, len(lead), position, position + 1), lead)
        size, stride = rows[batch + position], strides[batch + position]
        return _positions(f, part, size, stride, base if position == 0 else np.zeros((), np.int64))

    total = reduce(lambda a, b: f("Add", a, b), map(along, range(depth)))
    flat = f.reshape(data, [math.prod(rows), *shape[batch + depth :]])
    return f.becomes(f.gather(flat, total))


def _strides(shape: tuple[int, ...]) -> list[int]:
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _positions(f: Formula, indices: ir.Value, size: int, stride: int, base: Array) -> ir.Value:
    """Base + stride * index, negative indices from the end."""
    array = constant_of(indices)
    if array is not None:
        return f.constant(np.where(array < 0, array + size, array).astype(np.int64) * stride + base, name="indices")
    wrapped = f("Where", f("Less", indices, 0), f("Add", indices, size), indices)
    scaled = f("Mul", wrapped, stride) if stride != 1 else wrapped
    return f("Add", scaled, base) if base.any() else scaled


@RULES.rule("ScatterElements", "ScatterND")
def scatter(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 2."""
    data, indices, updates = operands(node, 3)
    array, shape, _ = constant_of(indices), static_shape(data), static_shape(updates)
    if array is None:
        return _scatter_computed(node, rewriter, data, indices, updates)
    if node.op_type == "ScatterND":
        depth = array.shape[-1]
        rows = shape[:depth]
        flat = (np.where(array < 0, array + rows, array) * _strides(rows)).sum(axis=-1).reshape(-1)
        tail = shape[depth:]
    else:
        axis = node.attributes.get_int("axis", 0) % len(shape)
        strides = _strides(shape)
        grid = np.indices(array.shape, sparse=True)
        places = np.where(array < 0, array + shape[axis], array) * strides[axis]
        flat = (places + sum(grid[d] * strides[d] for d in range(len(shape)) if d != axis)).reshape(-1)
        rows, tail = shape, ()
    count = math.prod(rows)
    reduction = node.attributes.get_string("reduction", "none")
    if len(np.unique(flat)) != len(flat) or reduction not in ("none", "add"):
        return _scatter_computed(node, rewriter, data, indices, updates)
    f = Formula(node, rewriter)
    values, old = f.reshape(updates, [len(flat), *tail]), f.reshape(data, [count, *tail])
    if reduction == "none":
        order = np.arange(count)
        order[flat] = count + np.arange(len(flat))
        return f.becomes(f.reshape(f.gather(f.concat([old, values], 0), order), shape))
    order = np.full(count, len(flat))
    order[flat] = np.arange(len(flat))
    padded = f.pad(values, [0] * (1 + len(tail)), [1, *[0] * len(tail)])
    return f.becomes(f("Add", data, f.reshape(f.gather(padded, order), shape)))


_LOWEST = float(np.finfo(np.float32).min)
_REDUCTIONS = {
    "max": ("Max", "ReduceMax", _LOWEST),
    "min": ("Min", "ReduceMin", -_LOWEST),
    "mul": ("Mul", "ReduceProd", 1.0),
}


def _scatter_computed(node: ir.Node, rewriter: Rewriter, data: ir.Value, indices: ir.Value, updates: ir.Value) -> bool:
    """Sums that are scattered over zeros, added to the data or in its place where anything was hit."""
    reduction = node.attributes.get_string("reduction", "none")
    f = Formula(node, rewriter)
    shape, wanted = static_shape(data), static_shape(indices)
    if node.op_type == "ScatterND":
        depth = wanted[-1]
        rows, tail, strides = shape[:depth], shape[depth:], _strides(shape[:depth])
        count = math.prod(wanted[:-1])
        parts = [f.reshape(f.slice(indices, len(wanted) - 1, d, d + 1), [count]) for d in range(depth)]
        places = [_positions(f, part, rows[d], strides[d], np.zeros((), np.int64)) for d, part in enumerate(parts)]
        flat = reduce(lambda a, b: f("Add", a, b), places)
    else:
        axis = node.attributes.get_int("axis", 0) % len(shape)
        rows, tail, strides, count = shape, (), _strides(shape), math.prod(wanted)
        grid = np.indices(wanted, sparse=True)
        base = sum((grid[d] * strides[d] for d in range(len(shape)) if d != axis), np.zeros(wanted, np.int64))
        flat = f.reshape(_positions(f, indices, shape[axis], strides[axis], np.asarray(base)), [count])
    total = math.prod(rows)
    if reduction not in ("none", "add"):
        require(count * total * math.prod(tail) <= MANY, f"it reduces by {reduction} at very many positions")
        operator, gather_all, neutral = _REDUCTIONS[reduction]
        hits = f("Equal", f.reshape(flat, [count, 1]), np.arange(total)[None])
        values = f.reshape(updates, [count, 1, *tail])
        spread_out = f("Where", f.reshape(hits, [count, total, *(1,) * len(tail)]), values, neutral)
        best = f.reshape(f.reduce(gather_all, spread_out, [0], keep=False), shape)
        return f.becomes(f(operator, data, best))
    spots = f.reshape(flat, [count, 1])

    def spread(values: ir.Value, size: list[int]) -> ir.Value:
        dtype = dtype_of(values)
        empty = f.constant(np.zeros(size), dtype, "zeros")
        return rewriter.op("ScatterND", empty, spots, values, shape=size, dtype=dtype, reduction="add")

    made = f.reshape(spread(f.reshape(updates, [count, *tail]), [total, *tail]), shape)
    if reduction == "add":
        return f.becomes(f("Add", data, made))
    hits = spread(f.constant(np.ones(count), np.float32, "ones"), [total])
    hit = f.reshape(f("Greater", hits, 0.0), [*rows, *(1,) * len(tail)])
    return f.becomes(f("Where", hit, made, data))


@RULES.rule("ReverseSequence")
def reverse_sequence(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 3."""
    source, lengths = need(node.inputs[0]), need(constant_of(node.inputs[1]), "its lengths are computed")
    shape = static_shape(source)
    time, batch = node.attributes.get_int("time_axis", 0), node.attributes.get_int("batch_axis", 1)
    steps = np.arange(shape[time])[:, None]
    turned = np.where(steps < lengths, lengths - 1 - steps, steps)  # [time, batch]
    columns = np.arange(shape[batch])[None]
    order = turned * shape[1] + columns if time == 0 else (turned + columns * shape[1]).T
    f = Formula(node, rewriter)
    flat = f.reshape(source, [shape[0] * shape[1], *shape[2:]])
    return f.becomes(f.reshape(f.gather(flat, order.reshape(-1)), shape))


@RULES.rule("OneHot")
def one_hot(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 4."""
    indices, _, values = operands(node, 3)
    shape, out = static_shape(indices), need(dims(node.outputs[0]), "its depth is computed")
    rank = len(shape) + 1
    axis = node.attributes.get_int("axis", -1) % rank
    count = out[axis]
    f = Formula(node, rewriter)
    ramp = np.arange(count).reshape([-1 if d == axis else 1 for d in range(rank)])
    places = indices if need(indices.dtype).is_integer() else f.cast(indices, np.int64)
    wrapped = f("Where", f("Less", places, 0), f("Add", places, count), places)
    column = f.reshape(wrapped, [*shape[:axis], 1, *shape[axis:]])
    off, on = (f.reshape(f.slice(values, 0, i, i + 1), [1] * rank) for i in (0, 1))
    return f.becomes(f("Where", f("Equal", column, ramp), on, off))


@RULES.rule("Hardmax")
def hardmax(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 5."""
    source, shape = need(node.inputs[0]), static_shape(node.inputs[0])
    axis = node.attributes.get_int("axis", -1) % len(shape)
    f = Formula(node, rewriter)
    small = [1 if d == axis else size for d, size in enumerate(shape)]
    best = rewriter.op("ArgMax", source, shape=small, dtype=np.int64, axis=axis, keepdims=1)
    ramp = np.arange(shape[axis]).reshape([-1 if d == axis else 1 for d in range(len(shape))])
    return f.becomes(f.cast(f("Equal", best, ramp), f.dtype))


@RULES.rule("ArgMax", "ArgMin")
def last_of_equal(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 6."""
    source, shape = need(node.inputs[0]), static_shape(node.inputs[0])
    require(node.attributes.get_int("select_last_index", 0))
    axis = node.attributes.get_int("axis", 0) % len(shape)
    f = Formula(node, rewriter)
    keep = node.attributes.get_int("keepdims", 1)
    turned = f.slice(source, axis, shape[axis] - 1, -1, -1)
    found = rewriter.op(node.op_type, turned, like=f.output, axis=axis, keepdims=keep)
    return f.becomes(f("Sub", shape[axis] - 1, found))


@RULES.rule("Trilu")
def triangle(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 7."""
    source, shape, diagonals = need(node.inputs[0]), static_shape(node.inputs[0]), input_of(node, 1)
    k = scalar_of(diagonals) if diagonals is not None else 0.0
    f, upper = Formula(node, rewriter), node.attributes.get_int("upper", 1)
    diagonal = np.arange(shape[-1]) - np.arange(shape[-2])[:, None]
    if k is None:
        least = f.reshape(f.cast(need(diagonals), np.int64), [1, 1])
        kept = f("GreaterOrEqual" if upper else "LessOrEqual", f.constant(diagonal), least)
    else:
        kept = f.constant(diagonal >= int(k) if upper else diagonal <= int(k), np.bool_, "triangle")
    return f.becomes(f("And", source, kept) if source.dtype is ir.DataType.BOOL else f("Where", kept, source, 0))


@RULES.rule("EyeLike")
def eye(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 8."""
    shape, f = static_shape(node.inputs[0]), Formula(node, rewriter)
    return f.becomes(f.constant(np.eye(shape[0], shape[1], k=node.attributes.get_int("k", 0)), f.dtype, "eye"))


@RULES.rule("Pad")
def pad_by_copies(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 9."""
    source, shape, amounts = need(node.inputs[0]), static_shape(node.inputs[0]), need(constant_of(node.inputs[1]))
    mode = node.attributes.get_string("mode", "constant")
    begins, ends = amounts.reshape(2, -1).tolist()
    require(input_of(node, 3) is None and (mode != "constant" or min(*begins, *ends) < 0))
    f = Formula(node, rewriter)
    value = source
    for axis, (begin, end, size) in enumerate(zip(begins, ends, shape, strict=True)):
        if mode == "constant":
            value = f.slice(value, axis, max(-begin, 0), size - max(-end, 0))
        elif begin or end:
            places = np.arange(-begin, size + end)
            order = {
                "edge": np.clip(places, 0, size - 1),
                "wrap": places % size,
                "reflect": size - 1 - np.abs(places % max(2 * size - 2, 1) - (size - 1)),
            }[mode]
            value = f.gather(value, order, axis)
    if mode == "constant":
        given = input_of(node, 2)
        number = 0.0 if given is None else need(scalar_of(given), "what it pads with is computed")
        value = f.pad(value, [max(b, 0) for b in begins], [max(e, 0) for e in ends], number)
    return f.becomes(value)
