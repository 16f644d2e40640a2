"""What does nothing goes.

Identity, inference-time Dropout, casts to the same type, Expand to the same shape, Pad by nothing, Slice of everything,
Concat of one or with nothing, Add of 0, Mul by 1, Sub of 0, Div by 1, Sum/Max/Min/Mean of one.
"""

from __future__ import annotations

import math

import numpy as np

from narrowcast.dialect.build import constant_of, input_of
from narrowcast.model import ir
from narrowcast.passes.rewrite import Rewriter, RuleSet, constant_operand, dims, is_read, need, require, scalar_of

RULES = RuleSet()

LARGEST_MASK = 2**20
_NEUTRAL = {"Add": 0.0, "Sub": 0.0, "Mul": 1.0, "Div": 1.0, "Pow": 1.0}


@RULES.rule("Identity")
def identity(node: ir.Node, rewriter: Rewriter) -> bool:
    """Stays only between an input or initialiser and an output."""
    source, output = need(node.inputs[0]), node.outputs[0]
    require(not output.is_graph_output() or (source.producer() is not None and not source.is_graph_output()))
    return rewriter.replace(output, source)


@RULES.rule("Dropout")
def dropout(node: ir.Node, rewriter: Rewriter) -> bool:
    """Does nothing unless it is told to train, and to drop anything; its mask then keeps everything."""
    source, training = need(node.inputs[0]), input_of(node, 2)
    told, ratio = constant_of(training), constant_of(input_of(node, 1))
    still = training is None or (told is not None and not told.any()) or (ratio is not None and not ratio.any())
    require(still, "it may be in training mode")
    if len(node.outputs) > 1 and is_read(node.outputs[1]):
        shape = need(dims(source), "its mask is used")
        require(math.prod(shape) <= LARGEST_MASK, "its mask is used")
        rewriter.at(node).replace(node.outputs[1], rewriter.constant(np.ones(shape, np.bool_), "mask"))
    return rewriter.replace(node.outputs[0], source)


@RULES.rule("Cast", "Expand", "Reshape", "Tile", "Pad", "Slice")
def same(node: ir.Node, rewriter: Rewriter) -> bool:
    """The output has the input's type and shape, and (for Pad and Slice) nothing is moved."""
    source, output = need(node.inputs[0]), node.outputs[0]
    require(constant_of(source) is None and need(source.dtype) == output.dtype)
    if node.op_type != "Cast":
        require(need(dims(source)) == dims(output))
    if node.op_type == "Pad":
        require(not need(constant_of(node.inputs[1])).any())
    if node.op_type == "Slice" and input_of(node, 4) is not None:
        require((need(constant_of(node.inputs[4])) > 0).all())
    return rewriter.replace(output, source)


@RULES.rule("Concat")
def of_nothing(node: ir.Node, rewriter: Rewriter) -> bool:
    """Parts without elements add none."""
    parts = [value for value in node.inputs if 0 not in (dims(value) or ())]
    require(0 < len(parts) < len(node.inputs))
    made = rewriter.at(node).op("Concat", *parts, like=node.outputs[0], axis=node.attributes.get_int("axis", 0))
    return rewriter.replace(node.outputs[0], made)


@RULES.rule("Concat", "Sum", "Max", "Min", "Mean")
def of_one(node: ir.Node, rewriter: Rewriter) -> bool:
    """One operand is the result."""
    require(len(node.inputs) == 1)
    return rewriter.replace(node.outputs[0], need(node.inputs[0]))


@RULES.rule(*_NEUTRAL)
def neutral(node: ir.Node, rewriter: Rewriter) -> bool:
    """The constant operand changes nothing."""
    value, _, index = need(constant_operand(node))
    require(index == 1 or node.op_type in ("Add", "Mul"))
    require(scalar_of(node.inputs[index]) == _NEUTRAL[node.op_type] and need(value.shape) == node.outputs[0].shape)
    return rewriter.replace(node.outputs[0], value)
