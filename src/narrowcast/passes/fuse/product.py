"""Numbers on both sides of a matrix product: (x * c) (y * d) = (x * c d) y, as in attention scaled on both sides.

Either side may be transposed after its multiplication.
"""

from __future__ import annotations

import numpy as np

from narrowcast.model import ir
from narrowcast.passes.rewrite import (
    Rewriter,
    RuleSet,
    constant_operand,
    need,
    producer_of,
    require,
    scalar_of,
    sole_consumer,
)

RULES = RuleSet(rounds=True)


@RULES.rule("MatMul")
def one_scale(node: ir.Node, rewriter: Rewriter) -> bool:
    """Multiplies once instead of twice."""
    require(node.outputs[0].dtype is ir.DataType.FLOAT)
    (kept, _, index, first), (dropped, plain, _, second) = (_scaled(need(value)) for value in node.inputs)
    rewriter.set_input(kept, index, rewriter.at(kept).constant(np.float32(first * second), "scale"))
    return rewriter.replace(dropped.outputs[0], plain)


def _scaled(value: ir.Value) -> tuple[ir.Node, ir.Value, int, float]:
    """(multiplication, x, index of the constant, c) of a factor x * c that nothing else reads."""
    turn = producer_of(value, "Transpose")
    if turn is not None and sole_consumer(value) is not None:
        value = need(turn.inputs[0])
    node = need(producer_of(value, "Mul"))
    x, _, index = need(constant_operand(node))
    require(sole_consumer(value) is not None and x.shape == value.shape)
    return node, x, index, need(scalar_of(node.inputs[index]))
