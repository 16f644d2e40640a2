"""An `If` whose condition is known becomes its branch."""

from __future__ import annotations

from narrowcast.dialect.build import Builder, constant_of
from narrowcast.dialect.control import is_closed
from narrowcast.model import ir
from narrowcast.passes.fold.replace import drop, substitute
from narrowcast.passes.fold.splice import splice

__all__ = ["take_branches"]


def take_branches(graph: ir.Graph) -> bool:
    """Puts the branch that is taken in the place of each `If` with a constant condition; True if there was one."""
    changed = False
    for node in list(graph):
        condition = constant_of(node.inputs[0]) if is_closed(node, "If") else None
        if condition is not None and condition.size == 1:
            taken = node.attributes["then_branch" if condition.item() else "else_branch"].as_graph()
            build = Builder(graph, anchor=node)
            given = [value for value in node.inputs[1:] if value is not None]
            for old, new in zip(node.outputs, splice(build, taken, given), strict=True):
                substitute(build, old, new)
            drop(graph, node)
            changed = True
    return changed
