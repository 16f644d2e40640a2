"""An `If` whose condition is known becomes its branch."""

from __future__ import annotations

from narrowcast.dialect.build import Builder, constant_of
from narrowcast.model import ir
from narrowcast.passes.fold.replace import drop, substitute

__all__ = ["take_branches"]


def take_branches(graph: ir.Graph) -> bool:
    """Puts the branch that is taken in the place of each `If` with a constant condition; True if there was one."""
    changed = False
    for node in list(graph):
        condition = constant_of(node.inputs[0]) if node.op_type == "If" and not node.domain else None
        if condition is not None and condition.size == 1:
            taken = node.attributes["then_branch" if condition.item() else "else_branch"].as_graph()
            _splice(graph, node, taken)
            changed = True
    return changed


def _splice(graph: ir.Graph, node: ir.Node, branch: ir.Graph) -> None:
    """Moves a branch's nodes and initialisers before `node`, under names of their own, and removes `node`."""
    build = Builder(graph, anchor=node)
    results = list(branch.outputs)
    branch.outputs.clear()
    for value in list(branch.initializers.values()):
        del branch.initializers[value.name or ""]
        value.name = build.unique(value.name or "constant")
        graph.register_initializer(value)
    nodes = list(branch)
    branch.remove(nodes)
    for moved in nodes:
        moved.name = build.unique(moved.name or moved.op_type)
        for output in moved.outputs:
            if output.name:
                output.name = build.unique(output.name)
    graph.insert_before(node, nodes)
    for old, new in zip(node.outputs, results, strict=True):
        substitute(build, old, new)
    drop(graph, node)
