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
from narrowcast.passes.rewrite import Rewriter, RuleSet, dims, producer_of, scalar_of

RULES = RuleSet(idiom=True)


@RULES.rule("Max")
def larger(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 1."""
    if len(node.inputs) != 2:
        return False
    for x, scaled in ((node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])):
        slope = _slope(x, scaled)
        if x is not None and slope is not None and slope.min() >= 0 and slope.max() <= 1:
            return _becomes(node, rewriter, x, slope)
    return False


@RULES.rule("Where")
def chosen(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 2."""
    test = producer_of(node.inputs[0], "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
    if test is None or scalar_of(test.inputs[1]) != 0.0:
        return False
    x, first = test.inputs[0], 1 if test.op_type.startswith("Greater") else 2
    if x is None or node.inputs[first] is not x:
        return False
    slope = _slope(x, node.inputs[3 - first])
    return slope is not None and _becomes(node, rewriter, x, slope)


@RULES.rule("Add", "Sub")
def two_halves(node: ir.Node, rewriter: Rewriter) -> bool:
    """Cases 3 to 5."""
    orders = [(0, 1)] if node.op_type == "Sub" else [(0, 1), (1, 0)]
    for upper, lower in orders:
        relu, other = producer_of(node.inputs[upper], "Relu"), node.inputs[lower]
        if relu is None or relu.inputs[0] is None or other is None or producer_of(other, "Mul", "Div", "Neg") is None:
            continue
        found = product_of(other)
        halves = [value for value in found.powers if constant_of(value) is None]
        arrays = [constant_of(value) for value in found.powers if constant_of(value) is not None]
        if len(halves) != 1 or len(arrays) > 1 or set(found.powers.values()) != {1.0}:
            continue
        sign = _negative_half(halves[0], relu.inputs[0])
        if sign is None:
            continue
        slope = np.float64(sign * found.coefficient * (-1 if node.op_type == "Sub" else 1))
        factor = arrays[0] if arrays and arrays[0] is not None else np.float64(1.0)
        return _becomes(node, rewriter, relu.inputs[0], np.asarray(slope * factor))
    return False


def _negative_half(value: ir.Value, x: ir.Value) -> float | None:
    """C if a value is c * min(x, 0)."""
    node = producer_of(value, "Relu", "Clip", "Sub")
    if node is None or node.inputs[0] is None:
        return None
    if node.op_type == "Relu":
        return -1.0 if product_of(node.inputs[0]).is_only(x, coefficient=-1.0) else None
    if node.op_type == "Clip":
        return 1.0 if node.inputs[0] is x and bounds_of(node) == (-np.inf, 0.0) else None
    absolute = producer_of(node.inputs[1], "Abs")
    return 2.0 if node.inputs[0] is x and absolute is not None and absolute.inputs[0] is x else None


def _slope(x: ir.Value | None, scaled: ir.Value | None) -> Array | None:
    """A if `scaled` is a * x, as a float64 array."""
    if x is None or scaled is None or producer_of(scaled, "Mul", "Div") is None:
        return None
    found = product_of(scaled)
    arrays = [constant_of(value) for value in found.powers if constant_of(value) is not None]
    rest = {value: power for value, power in found.powers.items() if constant_of(value) is None}
    if rest != {x: 1.0} or len(arrays) > 1 or any(power != 1.0 for power in found.powers.values()):
        return None
    return np.asarray(found.coefficient * (arrays[0] if arrays and arrays[0] is not None else 1.0), np.float64)


def _becomes(node: ir.Node, rewriter: Rewriter, x: ir.Value, slope: Array) -> bool:
    output, shape = node.outputs[0], dims(x)
    if x.dtype is not ir.DataType.FLOAT or x.shape != output.shape:
        return False
    slope = np.asarray(slope, np.float64)
    first = slope.reshape(-1)[:1]
    rewriter.at(node)
    if slope.size == 1 or (slope == first).all():
        return rewriter.replace(output, rewriter.op("LeakyRelu", x, like=output, alpha=float(first[0])))
    if shape is None or slope.ndim > len(shape):
        return False
    constant = rewriter.constant(slope.astype(np.float32), "slope")
    return rewriter.replace(output, rewriter.op("PRelu", x, constant, like=output))
