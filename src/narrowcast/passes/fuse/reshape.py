"""Reshape is the only reshaper, its shape is constant, and it stands only where it does something.

1. Flatten, Squeeze, Unsqueeze -> Reshape. 2. A computed or partial shape -> the inferred one. 3. Reshape of a Reshape
   -> one.
4. A Reshape to the same shape goes. 5. A reduction with keepdims whose axes are dropped by a Reshape drops them itself.
"""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import constant_of
from narrowcast.model import ir
from narrowcast.passes.rewrite import Rewriter, RuleSet, producer_of, sole_consumer

RULES = RuleSet()


def target_of(value: ir.Value) -> list[int] | None:
    """The shape as a Reshape needs it, -1 for one open dimension; None where more is open."""
    if value.shape is None:
        return None
    target = [dim if isinstance(dim, int) else -1 for dim in value.shape]
    return target if target.count(-1) <= 1 else None


@RULES.rule("Flatten", "Squeeze", "Unsqueeze")
def to_reshape(node: ir.Node, rewriter: Rewriter) -> bool | str:
    """Case 1."""
    target = target_of(node.outputs[0])
    if target is None:
        return "the shape is unknown"
    shape = rewriter.at(node).constant(np.array(target, np.int64), "shape")
    return rewriter.replace(node.outputs[0], rewriter.op("Reshape", node.inputs[0], shape, like=node.outputs[0]))


@RULES.rule("Reshape")
def simplify(node: ir.Node, rewriter: Rewriter) -> bool | str:
    """Cases 2 to 4."""
    source, output = node.inputs[0], node.outputs[0]
    target = target_of(output)
    if target is None or source is None:
        return "the shape is unknown"
    if source.shape is not None and source.shape == output.shape and constant_of(source) is None:
        return rewriter.replace(output, source)
    inner = producer_of(source, "Reshape")
    if inner is not None:
        rewriter.set_input(node, 0, inner.inputs[0])
        return True
    known = constant_of(node.inputs[1])
    if known is None or known.tolist() != target or "allowzero" in node.attributes:
        node.attributes.pop("allowzero", None)
        rewriter.set_input(node, 1, rewriter.at(node).constant(np.array(target, np.int64), "shape"))
        return known is None or known.tolist() != target
    return False


@RULES.rule("Reshape")
def drop_reduced_axes(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 5."""
    source, output = node.inputs[0], node.outputs[0]
    reduce = source.producer() if source is not None else None
    if reduce is None or source is None or not reduce.op_type.startswith("Reduce") or sole_consumer(source) is not node:
        return False
    axes = constant_of(reduce.inputs[1]) if len(reduce.inputs) > 1 else None
    if axes is None or source.shape is None or output.shape is None or not reduce.attributes.get_int("keepdims", 1):
        return False
    rank = len(source.shape)
    gone = {int(axis) % rank for axis in axes.reshape(-1)}
    if [dim for axis, dim in enumerate(source.shape) if axis not in gone] != list(output.shape):
        return False
    reduce.attributes["keepdims"] = ir.AttrInt64("keepdims", 0)
    source.shape = output.shape
    return rewriter.replace(output, source)
