"""Rectifiers with a slope below zero become LeakyRelu (one slope) or PRelu (a slope per channel).

1. max(x, a x), 0 <= a <= 1. 2. where(x > 0, x, a x), also as x >= 0, x < 0, x <= 0.
3. relu(x) + b relu(-x) with a = -b, as Keras writes PReLU. 4. relu(x) + a min(x, 0). 5. relu(x) + a (x - |x|) / 2.
"""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import constant_of
from narrowcast.model import Array, ir
from narrowcast.passes.algebra import product_of
from narrowcast.passes.fuse.clip import bounds_of
from narrowcast.passes.rewrite import Rewriter, RuleSet, dims, need, producer_of, require, scalar_of

RULES = RuleSet(idiom=True)


@RULES.rule("Max")
def larger(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 1."""
    require(len(node.inputs) == 2)
    a, b = need(node.inputs[0]), need(node.inputs[1])
    for x, scaled in ((a, b), (b, a)):
        slope = _slope(x, scaled)
        if slope is not None and slope.min() >= 0 and slope.max() <= 1:
            return _becomes(node, rewriter, x, slope)
    return False


@RULES.rule("Where")
def chosen(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 2."""
    test = need(producer_of(node.inputs[0], "Greater", "GreaterOrEqual", "Less", "LessOrEqual"))
    x, first = need(test.inputs[0]), 1 if test.op_type.startswith("Greater") else 2
    require(scalar_of(test.inputs[1]) == 0.0 and node.inputs[first] is x)
    return _becomes(node, rewriter, x, need(_slope(x, need(node.inputs[3 - first]))))


@RULES.rule("Add", "Sub")
def two_halves(node: ir.Node, rewriter: Rewriter) -> bool:
    """Cases 3 to 5."""
    orders = [(0, 1)] if node.op_type == "Sub" else [(0, 1), (1, 0)]
    for upper, lower in orders:
        relu, other = producer_of(node.inputs[upper], "Relu"), producer_of(node.inputs[lower], "Mul", "Div", "Neg")
        found = _scaled(other.outputs[0]) if relu is not None and other is not None else None
        if relu is None or found is None:
            continue
        half, factor = found
        x = need(relu.inputs[0])
        sign = _negative_half(half, x)
        if sign is not None:
            return _becomes(node, rewriter, x, factor * (-sign if node.op_type == "Sub" else sign))
    return False


def _negative_half(value: ir.Value, x: ir.Value) -> float | None:
    """C if a value is c * min(x, 0)."""
    node = producer_of(value, "Relu", "Clip", "Sub")
    if node is None:
        return None
    if node.op_type == "Relu":
        return -1.0 if product_of(need(node.inputs[0])).is_only(x, coefficient=-1.0) else None
    if node.op_type == "Clip":
        return 1.0 if node.inputs[0] is x and bounds_of(node) == (-np.inf, 0.0) else None
    absolute = producer_of(node.inputs[1], "Abs")
    return 2.0 if node.inputs[0] is x and absolute is not None and absolute.inputs[0] is x else None


def _slope(x: ir.Value, scaled: ir.Value) -> Array | None:
    """A if `scaled` is a * x."""
    found = _scaled(scaled) if producer_of(scaled, "Mul", "Div") is not None else None
    return found[1] if found is not None and found[0] is x else None


def _scaled(value: ir.Value) -> tuple[ir.Value, Array] | None:
    """(x, a) if a value is a * x, a constant, as a float64 array."""
    found = product_of(value)
    arrays = [array for factor in found.powers if (array := constant_of(factor)) is not None]
    rest = [factor for factor in found.powers if constant_of(factor) is None]
    if len(rest) != 1 or len(arrays) > 1 or set(found.powers.values()) != {1.0}:
        return None
    return rest[0], np.asarray(found.coefficient * (arrays[0] if arrays else 1.0), np.float64)


def _becomes(node: ir.Node, rewriter: Rewriter, x: ir.Value, slope: Array) -> bool:
    output = node.outputs[0]
    require(x.dtype is ir.DataType.FLOAT and x.shape == output.shape)
    first = slope.reshape(-1)[:1]
    rewriter.at(node)
    if slope.size == 1 or (slope == first).all():
        return rewriter.replace(output, rewriter.op("LeakyRelu", x, like=output, alpha=float(first[0])))
    require(slope.ndim <= len(need(dims(x))))
    constant = rewriter.constant(slope.astype(np.float32), "slope")
    return rewriter.replace(output, rewriter.op("PRelu", x, constant, like=output))
