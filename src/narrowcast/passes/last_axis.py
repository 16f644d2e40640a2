"""Softmax and its kin over other axes than the last, where that is the only one a target's kernels know: transposes.

The channels of an image need none: the layout puts them last. Done before ranges are calibrated, so that in a quantised
graph the transposes move integers.
"""

from __future__ import annotations

from narrowcast.dialect.build import attributes_of
from narrowcast.model import Model, ir
from narrowcast.passes.layout.tags import find_tags
from narrowcast.passes.rewrite import Rewriter, RuleSet
from narrowcast.targets.rules import Target, takes_last_axis

__all__ = ["put_axes_last"]


def put_axes_last(model: Model, target: Target) -> bool:
    """Wraps what needs it, in place; True if anything did."""
    nodes = [node for node in model.graph if takes_last_axis(node, target)]
    if not nodes:
        return False
    tags = find_tags(model.graph, target)
    rewriter = Rewriter(model, RuleSet())
    changed = False
    for node in nodes:
        source = node.inputs[0]
        if source is None or source.shape is None:
            continue
        rank = len(source.shape)
        axis = node.attributes.get_int("axis", -1) % rank
        if not any(form.is_plain and form.perm[-1] == axis for form in tags.forms(node.outputs[0])):
            changed = _wrap(node, source, axis, rewriter) or changed
    return changed


def _wrap(node: ir.Node, source: ir.Value, axis: int, rewriter: Rewriter) -> bool:
    rank = len(source.shape or ())
    perm = [*(index for index in range(rank) if index != axis), axis]
    rewriter.at(node)
    turned = rewriter.op("Transpose", source, like=source, shape=[source.shape[i] for i in perm], perm=perm)  # type: ignore[index]
    attributes = attributes_of(node)
    made = rewriter.op(node.op_type, turned, like=turned, **{**attributes, "axis": rank - 1})
    back = [perm.index(index) for index in range(rank)]
    return rewriter.replace(node.outputs[0], rewriter.op("Transpose", made, like=node.outputs[0], perm=back))
