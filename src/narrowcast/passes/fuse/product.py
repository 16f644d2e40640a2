"""Numbers on both sides of a matrix product: (x * c) (y * d) = (x * c d) y, as in attention scaled on both sides.

Either side may be transposed after its multiplication.
"""

from __future__ import annotations

import numpy as np

from narrowcast.model import ir
from narrowcast.passes.rewrite import Rewriter, RuleSet, constant_operand, producer_of, scalar_of, sole_consumer

RULES = RuleSet()


@RULES.rule("MatMul")
def one_scale(node: ir.Node, rewriter: Rewriter) -> bool:
    """Multiplies once instead of twice."""
    left, right = _scaled(node.inputs[0]), _scaled(node.inputs[1])
    if left is None or right is None or node.outputs[0].dtype is not ir.DataType.FLOAT:
        return False
    (kept, _, index, first), (dropped, plain, _, second) = left, right
    rewriter.set_input(kept, index, rewriter.at(kept).constant(np.float32(first * second), "scale"))
    return rewriter.replace(dropped.outputs[0], plain)


def _scaled(value: ir.Value | None) -> tuple[ir.Node, ir.Value, int, float] | None:
    """(multiplication, x, index of the constant, c) if a factor that nothing else reads is x * c."""
    turn = producer_of(value, "Transpose")
    if turn is not None and value is not None and sole_consumer(value) is not None:
        value = turn.inputs[0]
    node = producer_of(value, "Mul")
    if node is None or value is None or sole_consumer(value) is None:
        return None
    found = constant_operand(node)
    number = scalar_of(node.inputs[found[2]]) if found is not None else None
    if found is None or number is None or found[0].shape != value.shape:
        return None
    return node, found[0], found[2], number
