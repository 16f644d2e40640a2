"""NonMaxSuppression, as runtimes have it: boxes by two opposite corners, and a number of them to keep.

1. Boxes given by centre and size get corners.
2. At most no boxes per class, the default, leaves an empty list.
"""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import constant_of, input_of
from narrowcast.model import ir
from narrowcast.passes.formula import Formula
from narrowcast.passes.rewrite import Rewriter, RuleSet, need, require, static_shape

RULES = RuleSet()


@RULES.rule("NonMaxSuppression")
def corners(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 1."""
    boxes = need(node.inputs[0])
    require(node.attributes.get_int("center_point_box", 0) and static_shape(boxes))
    f = Formula(node, rewriter)
    centre, half = f.slice(boxes, 2, 0, 2), f("Mul", f.slice(boxes, 2, 2, 4), 0.5)
    given = f.concat([f("Sub", centre, half), f("Add", centre, half)], 2)
    return f.becomes(rewriter.op("NonMaxSuppression", given, *node.inputs[1:], like=node.outputs[0]))


@RULES.rule("NonMaxSuppression")
def of_none(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 2."""
    require(input_of(node, 2) is None or need(constant_of(node.inputs[2])).max(initial=0) <= 0)
    return rewriter.at(node).replace(node.outputs[0], rewriter.constant(np.zeros((0, 3), np.int64), "none"))
