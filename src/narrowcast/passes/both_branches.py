"""An `If` whose condition is computed becomes both of its branches and a choice between what they give.

For targets whose files hold one graph. Both branches are then computed, so it is done only where neither can fail on
what the other one is meant for: an index out of range, an integer divided by zero.
"""

from __future__ import annotations

from narrowcast.dialect.build import Builder, constant_of
from narrowcast.model import Model, ir
from narrowcast.passes.fold.replace import drop, substitute
from narrowcast.passes.fold.splice import splice

__all__ = ["take_both_branches"]

_FAILING = frozenset({"Gather", "GatherElements", "GatherND", "OneHot", "ScatterElements", "ScatterND", "Div", "Mod"})
"""Operators that fail on some values of their second operand."""
_LOOPS = frozenset({"Loop", "Scan"})


def take_both_branches(model: Model) -> bool:
    """Replaces each `If` whose outputs have static shapes, in place, inner ones too; True if there was any."""
    graph = model.graph
    waiting = [node for node in graph if node.op_type == "If" and not node.domain]
    changed = False
    while waiting:
        node = waiting.pop()
        branches = [node.attributes[name].as_graph() for name in ("then_branch", "else_branch")]
        condition = node.inputs[0]
        if condition is None or not all(_is_static(value) for value in node.outputs):
            continue
        if not all(_cannot_fail(inner) for branch in branches for inner in branch.all_nodes()):
            continue
        build = Builder(graph, anchor=node)
        for branch in branches:
            waiting.extend(inner for inner in branch if inner.op_type == "If" and not inner.domain)
        pairs = zip(*(splice(build, branch) for branch in branches), strict=True)
        for old, (one, other) in zip(node.outputs, list(pairs), strict=True):
            dtype = old.dtype.numpy() if old.dtype is not None else None
            substitute(build, old, build("Where", condition, one, other, shape=old.shape, dtype=dtype))
        drop(graph, node)
        changed = True
    return changed


def _is_static(value: ir.Value) -> bool:
    return value.shape is not None and value.shape.is_static() and value.dtype is not None


def _cannot_fail(node: ir.Node) -> bool:
    if node.op_type in _LOOPS:
        return False
    if node.op_type not in _FAILING or constant_of(node.inputs[1]) is not None:
        return True
    source = node.inputs[0]
    return node.op_type == "Div" and source is not None and source.dtype is ir.DataType.FLOAT
