"""Reductions by sums: L1, L2, sum of squares, log of sums; and those of no truth values at all."""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import attributes_of, constant_of
from narrowcast.model import ir
from narrowcast.passes.formula import Formula
from narrowcast.passes.rewrite import Rewriter, RuleSet, need, reduced_axes, require, static_shape
from narrowcast.targets.rules import lacks_type

RULES = RuleSet()

_BEFORE = {"ReduceL1": "Abs", "ReduceL2": "square", "ReduceSumSquare": "square", "ReduceLogSum": None}
_AFTER = {"ReduceL2": "Sqrt", "ReduceLogSum": "Log"}


@RULES.rule(*_BEFORE)
def by_sum(node: ir.Node, rewriter: Rewriter) -> bool:
    """after(ReduceSum(before(x)))."""
    source, output = need(node.inputs[0]), node.outputs[0]
    require(source.dtype is ir.DataType.FLOAT)
    rewriter.at(node)
    before, after = _BEFORE[node.op_type], _AFTER.get(node.op_type)
    if before == "square":
        source = rewriter.op("Mul", source, source, shape=source.shape, dtype=np.float32)
    elif before is not None:
        source = rewriter.op(before, source, shape=source.shape, dtype=np.float32)
    attributes = attributes_of(node)
    total = rewriter.op("ReduceSum", source, *node.inputs[1:], shape=output.shape, dtype=np.float32, **attributes)
    return rewriter.replace(output, rewriter.op(after, total, like=output) if after is not None else total)


@RULES.rule("ReduceMax", "ReduceMin", asks=lacks_type)
def of_nothing(node: ir.Node, rewriter: Rewriter) -> bool:
    """None of no truth values is true, and none false; of other types, ONNX Runtime folds it."""
    source, size = need(constant_of(node.inputs[0])), static_shape(node.outputs[0])
    require(not source.size and source.dtype == np.bool_)
    return rewriter.at(node).replace(node.outputs[0], rewriter.constant(np.full(size, node.op_type == "ReduceMin")))


@RULES.rule("ReduceLogSumExp")
def log_sum_exp(node: ir.Node, rewriter: Rewriter) -> bool:
    """Max + log(sum(exp(x - max))), which does not overflow."""
    source, f = need(node.inputs[0]), Formula(node, rewriter)
    axes = need(reduced_axes(node))
    require(source.dtype is ir.DataType.FLOAT and static_shape(source) and static_shape(node.outputs[0]) is not None)
    top = f.reduce("ReduceMax", source, axes)
    total = f.reduce("ReduceSum", f("Exp", f("Sub", source, top)), axes)
    return f.becomes(f("Add", f("Log", total), top))
