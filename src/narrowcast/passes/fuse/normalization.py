"""Normalisations and softmax written out in arithmetic become one operator. All means and sums keep their axes.

1. d / sqrt(mean(d^2) + e), d = x - mean(x), over the last axes -> LayerNormalization(x, 1)   (https://arxiv.org/abs/1607.06450)
2. x / sqrt(mean(x^2) + e) over the last axes                   -> RMSNormalization(x, 1)     (https://arxiv.org/abs/1910.07467)
3. A constant factor after 1 or 2 is its scale, a constant term after 1 its bias.
4. x i + (b - mean(x) i) -> (x - mean(x)) i + b, as TensorFlow writes 1.
5. x / norm(x) over one axis, of order 1 or 2, the norm bounded below by at most 1e-6 -> LpNormalization(x); it differs
   only where the norm is below the bound.
6. e^(x - max(x)) / sum(e^(x - max(x))), with or without the maximum -> Softmax(x); ln(softmax(x)) and
   x - ln(sum(e^x)) -> LogSoftmax(x).

Not done: means over axes that are not the last (channel-first layer norm), which LayerNormalization cannot say.
"""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import constant_of, input_of
from narrowcast.model import ir
from narrowcast.passes.algebra import near, product_of
from narrowcast.passes.fuse.clip import bounds_of
from narrowcast.passes.rewrite import (
    Rewriter,
    RuleSet,
    constant_operand,
    dims,
    dtype_of,
    need,
    producer_of,
    reduced_axes,
    require,
    scalar_of,
    sole_consumer,
)

RULES = RuleSet(idiom=True)

SMALLEST_NORM = 1.1e-6
"""Bounds on norms up to this are there against division by zero only; 1e-6 is the largest in use."""


@RULES.rule("Mul", "Div")
def quotient(node: ir.Node, rewriter: Rewriter) -> bool:
    """Cases 1, 2, 5 and 6."""
    output = node.outputs[0]
    found = product_of(output)
    arrays = [value for value in found.powers if constant_of(value) is not None]
    tops = [value for value, power in found.powers.items() if power == 1.0 and value not in arrays]
    below = [(value, power) for value, power in found.powers.items() if power < 0]
    require(len(tops) == len(below) == 1 and len(found.powers) == 2 + len(arrays) and len(arrays) <= 1)
    (divisor, power), top = below[0], tops[0]
    require(need(top.shape) == output.shape and near(found.coefficient, 1.0))
    rewriter.at(node)
    made = None
    if power == -0.5:
        made = _by_variance(top, divisor, rewriter) or _lp(top, divisor, rewriter, squared=True)
    elif power == -1.0:
        made = _softmax(top, divisor, rewriter) or _lp(top, divisor, rewriter, squared=False)
    made = need(made)
    if arrays:
        made = rewriter.op("Mul", made, arrays[0], like=output)
    return rewriter.replace(output, made)


def _by_variance(top: ir.Value, divisor: ir.Value, rewriter: Rewriter) -> ir.Value | None:
    """Cases 1 and 2: `top` / sqrt(`divisor`)."""
    mean, epsilon = _bounded(divisor)
    reduce = producer_of(mean, "ReduceMean")
    axes, size = _kept_axes(reduce), need(dims(top))
    if reduce is None or axes is None or epsilon is None or axes != tuple(range(axes[0], len(size))):
        return None
    if not product_of(need(reduce.inputs[0])).is_only(top, 2.0):
        return None
    ones = rewriter.constant(np.ones(size[axes[0] :], dtype_of(top)), "scale")
    attributes = {"axis": axes[0], "epsilon": epsilon}
    difference = producer_of(top, "Sub")
    if difference is not None:
        centre, x = producer_of(difference.inputs[1], "ReduceMean"), need(difference.inputs[0])
        if centre is not None and centre.inputs[0] is x and _kept_axes(centre) == axes and x.shape == top.shape:
            return rewriter.op("LayerNormalization", x, ones, like=top, **attributes)
    return rewriter.op("RMSNormalization", top, ones, like=top, **attributes)


def _bounded(value: ir.Value) -> tuple[ir.Value, float | None]:
    """A value without the small number that is added to it, and that number."""
    add = producer_of(value, "Add")
    found = constant_operand(add) if add is not None else None
    if add is None or found is None:
        return value, 0.0
    return found[0], scalar_of(add.inputs[found[2]])


def _kept_axes(node: ir.Node | None) -> tuple[int, ...] | None:
    """The axes of a reduction that keeps them, None for any other node."""
    if node is None or not node.attributes.get_int("keepdims", 1):
        return None
    return reduced_axes(node) or None


def _floored(value: ir.Value) -> ir.Value | None:
    """A norm without its lower bound; None if the bound is not small."""
    node = producer_of(value, "Add", "Clip")
    if node is None:
        return value
    if node.op_type == "Clip":
        bounds = bounds_of(node)
        fits = bounds is not None and 0 <= bounds[0] <= SMALLEST_NORM and bounds[1] == np.inf
        return node.inputs[0] if fits else None
    inner, number = _bounded(value)
    return inner if number is not None and 0 <= number <= SMALLEST_NORM else None


def _lp(top: ir.Value, divisor: ir.Value, rewriter: Rewriter, *, squared: bool) -> ir.Value | None:
    """Case 5; `squared` where the root of `divisor` is what divides."""
    norm = _floored(divisor)
    root = producer_of(norm, "Sqrt")
    if root is not None and not squared:
        norm, squared = root.inputs[0], True
    reduce = producer_of(norm, "ReduceL1", "ReduceL2", "ReduceSum")
    axes = _kept_axes(reduce)
    if reduce is None or axes is None or len(axes) != 1:
        return None
    inside = need(reduce.inputs[0])
    if reduce.op_type == "ReduceSum":
        absolute = producer_of(inside, "Abs")
        if squared:
            order = 2 if product_of(inside).is_only(top, 2.0) else None
        else:
            order = 1 if absolute is not None and absolute.inputs[0] is top else None
    else:
        order = int(reduce.op_type[-1]) if inside is top and not squared else None
    return None if order is None else rewriter.op("LpNormalization", top, like=top, axis=axes[0], p=order)


def _softmax(top: ir.Value, divisor: ir.Value, rewriter: Rewriter) -> ir.Value | None:
    """Case 6: `top` / `divisor`."""
    exponential, total = producer_of(top, "Exp"), producer_of(divisor, "ReduceSum")
    axes = _kept_axes(total)
    if exponential is None or total is None or total.inputs[0] is not top or axes is None or len(axes) != 1:
        return None
    return rewriter.op("Softmax", _without_maximum(exponential.inputs[0], axes), like=top, axis=axes[0])


def _without_maximum(x: ir.Value | None, axes: tuple[int, ...]) -> ir.Value:
    difference = producer_of(x, "Sub")
    top = producer_of(difference.inputs[1], "ReduceMax") if difference is not None else None
    same = difference is not None and top is not None and top.inputs[0] is difference.inputs[0]
    return need(top.inputs[0] if same and top is not None and _kept_axes(top) == axes else x)


@RULES.rule("Log")
def log_of_softmax(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 6, ln(softmax(x))."""
    inner = need(producer_of(node.inputs[0], "Softmax"))
    require(sole_consumer(inner.outputs[0]) is node)
    axis = inner.attributes.get_int("axis", -1)
    made = rewriter.at(node).op("LogSoftmax", inner.inputs[0], like=node.outputs[0], axis=axis)
    return rewriter.replace(node.outputs[0], made)


@RULES.rule("Sub")
def log_softmax(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 6, x - ln(sum(e^x))."""
    x, log = node.inputs[0], need(producer_of(node.inputs[1], "Log"))
    total = need(producer_of(log.inputs[0], "ReduceSum"))
    axes = need(_kept_axes(total))
    require(need(producer_of(total.inputs[0], "Exp")).inputs[0] is x and len(axes) == 1)
    made = rewriter.at(node).op("LogSoftmax", _without_maximum(x, axes), like=node.outputs[0], axis=axes[0])
    return rewriter.replace(node.outputs[0], made)


@RULES.rule("Add")
def common_factor(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 4."""
    for scaled, rest in ((node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])):
        product, difference = producer_of(scaled, "Mul"), producer_of(rest, "Sub")
        moved = producer_of(difference.inputs[1], "Mul") if difference is not None else None
        if product is None or difference is None or moved is None or sole_consumer(product.outputs[0]) is not node:
            continue
        for index in (0, 1):
            factor, x = product.inputs[index], product.inputs[1 - index]
            mean = moved.inputs[1] if moved.inputs[0] is factor else moved.inputs[0]
            reduce = producer_of(mean, "ReduceMean")
            if factor not in moved.inputs or reduce is None or reduce.inputs[0] is not x:
                continue
            output, x = node.outputs[0], need(x)
            centred = rewriter.at(node).op("Sub", x, mean, like=x)
            made = rewriter.op("Mul", centred, factor, like=output)
            return rewriter.replace(output, rewriter.op("Add", made, difference.inputs[0], like=output))
    return False


@RULES.rule("Mul", "Add")
def scale_and_bias(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 3."""
    value, array, place = need(constant_operand(node))
    norm, shape = need(producer_of(value, "LayerNormalization", "RMSNormalization")), need(dims(value))
    require(sole_consumer(value) is node and len(norm.outputs) == 1 and input_of(norm, 2) is None)
    if node.op_type == "Mul":
        require(scalar_of(norm.inputs[1]) == 1.0)
    else:
        require(norm.op_type == "LayerNormalization")
    require(array.ndim <= len(shape) and value.shape == node.outputs[0].shape)
    axis = norm.attributes.get_int("axis", -1) % len(shape)
    full = array.reshape((1,) * (len(shape) - array.ndim) + array.shape)
    require(all(dim == 1 for dim in full.shape[:axis]))
    whole = np.ascontiguousarray(np.broadcast_to(full[(0,) * axis], shape[axis:]))
    constant = rewriter.at(norm).constant(whole, need(node.inputs[place]).name or "scale")
    rewriter.set_input(norm, 1 if node.op_type == "Mul" else 2, constant)
    return rewriter.replace(node.outputs[0], value)
