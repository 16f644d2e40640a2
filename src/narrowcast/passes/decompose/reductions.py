"""Reductions by sums: L1, L2, sum of squares, log of sums; and those of no truth values at all."""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import attributes_of, constant_of
from narrowcast.model import ir
from narrowcast.passes.rewrite import Rewriter, RuleSet, dims, reduced_axes
from narrowcast.targets.rules import lacks_type

RULES = RuleSet()

_BEFORE = {"ReduceL1": "Abs", "ReduceL2": "square", "ReduceSumSquare": "square", "ReduceLogSum": None}
_AFTER = {"ReduceL2": "Sqrt", "ReduceLogSum": "Log"}


@RULES.rule(*_BEFORE)
def by_sum(node: ir.Node, rewriter: Rewriter) -> bool:
    """after(ReduceSum(before(x)))."""
    source, output = node.inputs[0], node.outputs[0]
    if source is None or source.dtype is not ir.DataType.FLOAT:
        return False
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
    source, size = constant_of(node.inputs[0]), dims(node.outputs[0])
    if source is None or source.size or source.dtype != np.bool_ or size is None:
        return False
    return rewriter.at(node).replace(node.outputs[0], rewriter.constant(np.full(size, node.op_type == "ReduceMin")))


@RULES.rule("ReduceLogSumExp")
def log_sum_exp(node: ir.Node, rewriter: Rewriter) -> bool:
    """Max + log(sum(exp(x - max))), which does not overflow."""
    source, output = node.inputs[0], node.outputs[0]
    shape = dims(source)
    if source is None or shape is None or source.dtype is not ir.DataType.FLOAT or output.shape is None:
        return False
    rewriter.at(node)
    axes = reduced_axes(node)
    if axes is None:
        return False
    small = [1 if axis in axes else dim for axis, dim in enumerate(shape)]
    over = rewriter.constant(np.array(axes, np.int64), "axes")
    top = rewriter.op("ReduceMax", source, over, shape=small, dtype=np.float32, keepdims=1)
    powers = rewriter.op(
        "Exp", rewriter.op("Sub", source, top, shape=shape, dtype=np.float32), shape=shape, dtype=np.float32
    )
    total = rewriter.op("ReduceSum", powers, over, shape=small, dtype=np.float32, keepdims=1)
    log = rewriter.op(
        "Add", rewriter.op("Log", total, shape=small, dtype=np.float32), top, shape=small, dtype=np.float32
    )
    if list(output.shape) == small:
        return rewriter.replace(output, log)
    target = rewriter.constant(np.array([int(dim) for dim in output.shape], np.int64), "shape")  # type: ignore[arg-type]
    return rewriter.replace(output, rewriter.op("Reshape", log, target, like=output))
