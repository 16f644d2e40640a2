"""Binary operators get activation operands of equal rank: the lower one is reshaped with leading ones."""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import constant_of
from narrowcast.model import ir
from narrowcast.passes.rewrite import Rewriter, RuleSet

RULES = RuleSet()


@RULES.rule("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "PRelu", "Where", "Equal", "Greater", "Less", "And", "Or")
@RULES.rule("GreaterOrEqual", "LessOrEqual", "Xor", "Mod", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Mean", "Sum")
def align(node: ir.Node, rewriter: Rewriter) -> bool:
    """Constants may keep any rank, and so may single numbers."""
    output = node.outputs[0]
    if output.shape is None:
        return False
    rank = len(output.shape)
    changed = False
    for index, value in enumerate(node.inputs):
        if value is None or value.shape is None or constant_of(value) is not None or not value.shape.is_static():
            continue
        if len(value.shape) in (0, rank):
            continue
        shape = [1] * (rank - len(value.shape)) + [int(dim) for dim in value.shape]  # type: ignore[arg-type]
        rewriter.at(node)
        target = rewriter.constant(np.array(shape, np.int64), "shape")
        dtype = value.dtype.numpy() if value.dtype is not None else None
        rewriter.set_input(node, index, rewriter.op("Reshape", value, target, shape=shape, dtype=dtype))
        changed = True
    return changed
