"""Reshape is the only reshaper, its shape is constant, and it stands only where it does something.

1. Flatten, Squeeze, Unsqueeze -> Reshape. 2. A computed or partial shape -> the inferred one. 3. Reshape of a Reshape
   -> one.
4. A Reshape to the same shape goes. 5. A reduction with keepdims whose axes are dropped by a Reshape drops them itself.
"""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import constant_of
from narrowcast.model import ir
from narrowcast.passes.rewrite import Rewriter, RuleSet, need, producer_of, reduced_axes, require, sole_consumer

RULES = RuleSet()


def _target_of(value: ir.Value) -> list[int]:
    """The shape as a Reshape needs it, -1 for one open dimension."""
    target = [dim if isinstance(dim, int) else -1 for dim in need(value.shape, "the shape is unknown")]
    require(target.count(-1) <= 1, "the shape is unknown")
    return target


@RULES.rule("Flatten", "Squeeze", "Unsqueeze")
def to_reshape(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 1."""
    shape = rewriter.at(node).constant(np.array(_target_of(node.outputs[0]), np.int64), "shape")
    return rewriter.replace(node.outputs[0], rewriter.op("Reshape", node.inputs[0], shape, like=node.outputs[0]))


@RULES.rule("Reshape")
def simplify(node: ir.Node, rewriter: Rewriter) -> bool:
    """Cases 2 to 4."""
    source, output = need(node.inputs[0]), node.outputs[0]
    target = _target_of(output)
    if source.shape == output.shape and constant_of(source) is None:
        return rewriter.replace(output, source)
    inner = producer_of(source, "Reshape")
    if inner is not None:
        rewriter.set_input(node, 0, inner.inputs[0])
        return True
    known, allowed = constant_of(node.inputs[1]), node.attributes.pop("allowzero", None)
    require(known is None or known.tolist() != target or allowed is not None)
    rewriter.set_input(node, 1, rewriter.at(node).constant(np.array(target, np.int64), "shape"))
    return True


@RULES.rule("Reshape")
def drop_reduced_axes(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 5."""
    source, output = need(node.inputs[0]), node.outputs[0]
    reduce = need(source.producer())
    require(reduce.op_type.startswith("Reduce") and not reduce.domain and sole_consumer(source) is node)
    gone = need(reduced_axes(reduce))
    require(reduce.attributes.get_int("keepdims", 1))
    require([dim for axis, dim in enumerate(need(source.shape)) if axis not in gone] == list(need(output.shape)))
    reduce.attributes["keepdims"] = ir.AttrInt64("keepdims", 0)
    source.shape = output.shape
    return rewriter.replace(output, source)
