"""Binary operators get activation operands of equal rank: the lower one is reshaped with leading ones."""

from __future__ import annotations

from narrowcast.model import ir
from narrowcast.passes.formula import Formula
from narrowcast.passes.rewrite import Rewriter, RuleSet, dims, need
from narrowcast.targets.spelling import is_weight

RULES = RuleSet()


@RULES.rule("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "PRelu", "Where", "Equal", "Greater", "Less", "And", "Or")
@RULES.rule("GreaterOrEqual", "LessOrEqual", "Xor", "Mod", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Mean", "Sum")
def align(node: ir.Node, rewriter: Rewriter) -> bool:
    """Constants may keep any rank, stored as integers too, and so may single numbers."""
    rank, f = len(need(node.outputs[0].shape)), Formula(node, rewriter)
    lower = [
        (index, value)
        for index, value in enumerate(node.inputs)
        if value is not None and not is_weight(value) and 0 < len(dims(value) or ()) < rank
    ]
    for index, value in lower:
        rewriter.set_input(
            node, index, f.reshape(value, [1] * (rank - len(need(dims(value)))) + list(need(dims(value))))
        )
    return bool(lower)
