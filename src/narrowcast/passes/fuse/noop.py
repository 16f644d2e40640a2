"""What does nothing goes.

Identity, inference-time Dropout, casts to the same type, Expand to the same shape, Pad by nothing, Slice of everything,
Concat of one or with nothing, Add of 0, Mul by 1, Sub of 0, Div by 1, Sum/Max/Min/Mean of one.
"""

from __future__ import annotations

import math

import numpy as np

from narrowcast.dialect.build import constant_of
from narrowcast.model import ir
from narrowcast.passes.rewrite import Rewriter, RuleSet, constant_operand, dims, scalar_of

RULES = RuleSet()

LARGEST_MASK = 2**20
_NEUTRAL = {"Add": 0.0, "Sub": 0.0, "Mul": 1.0, "Div": 1.0, "Pow": 1.0}


@RULES.rule("Identity")
def identity(node: ir.Node, rewriter: Rewriter) -> bool:
    """Stays only between an input or initialiser and an output."""
    source = node.inputs[0]
    if source is None:
        return False
    if node.outputs[0].is_graph_output() and (source.producer() is None or source.is_graph_output()):
        return False
    return rewriter.replace(node.outputs[0], source)


@RULES.rule("Dropout")
def dropout(node: ir.Node, rewriter: Rewriter) -> bool | str:
    """Does nothing unless it is told to train, and to drop anything; its mask then keeps everything."""
    ratio, training = (*node.inputs[1:], None, None)[:2]
    told, nothing = constant_of(training), constant_of(ratio)
    drops = nothing is None or nothing.any()
    if training is not None and drops and (told is None or told.any()):
        return "it may be in training mode"
    source, shape = node.inputs[0], dims(node.inputs[0])
    mask = node.outputs[1] if len(node.outputs) > 1 else None
    if mask is not None and (mask.uses() or mask.is_graph_output()):
        if shape is None or math.prod(shape) > LARGEST_MASK:
            return "its mask is used"
        rewriter.at(node).replace(mask, rewriter.constant(np.ones(shape, np.bool_), "mask"))
    return source is not None and rewriter.replace(node.outputs[0], source)


@RULES.rule("Cast", "Expand", "Reshape", "Tile", "Pad", "Slice")
def same(node: ir.Node, rewriter: Rewriter) -> bool:
    """The output has the input's type and shape, and (for Pad and Slice) nothing is moved."""
    source, output = node.inputs[0], node.outputs[0]
    if source is None or constant_of(source) is not None or source.dtype != output.dtype or source.dtype is None:
        return False
    if node.op_type == "Cast":
        return rewriter.replace(output, source)
    if source.shape is None or output.shape is None or source.shape != output.shape or not source.shape.is_static():
        return False
    if node.op_type == "Pad":
        amounts = constant_of(node.inputs[1])
        if amounts is None or amounts.any():
            return False
    if node.op_type == "Slice":
        steps = constant_of(node.inputs[4]) if len(node.inputs) > 4 and node.inputs[4] is not None else np.array([1])
        if steps is None or (steps < 0).any():
            return False
    return rewriter.replace(output, source)


@RULES.rule("Concat")
def of_nothing(node: ir.Node, rewriter: Rewriter) -> bool:
    """Parts without elements add none."""
    parts = [value for value in node.inputs if value is None or 0 not in (dims(value) or ())]
    if not parts or len(parts) == len(node.inputs):
        return False
    made = rewriter.at(node).op("Concat", *parts, like=node.outputs[0], axis=node.attributes.get_int("axis", 0))
    return rewriter.replace(node.outputs[0], made)


@RULES.rule("Concat", "Sum", "Max", "Min", "Mean")
def of_one(node: ir.Node, rewriter: Rewriter) -> bool:
    """One operand is the result."""
    source = node.inputs[0]
    return len(node.inputs) == 1 and source is not None and rewriter.replace(node.outputs[0], source)


@RULES.rule(*_NEUTRAL)
def neutral(node: ir.Node, rewriter: Rewriter) -> bool:
    """The constant operand changes nothing."""
    found = constant_operand(node)
    if found is None or (found[2] == 0 and node.op_type in ("Sub", "Div", "Pow")):
        return False
    value = found[0]
    if scalar_of(node.inputs[found[2]]) != _NEUTRAL[node.op_type] or value.shape != node.outputs[0].shape:
        return False
    return value.shape is not None and rewriter.replace(node.outputs[0], value)
