"""An `If` whose condition is computed becomes both of its branches and a choice between what they give.

Computed with the rest of the graph, they are laid out, fused and quantised with it. That is done only where both cost
little: no branch holds a convolution, a matrix product or a loop; and where neither can fail on what the other one is
meant for: an index out of range, an integer divided by zero. The others stay, and only the branch that is taken is run.
"""

from __future__ import annotations

from collections.abc import Iterator

from narrowcast.dialect.build import Builder, constant_of
from narrowcast.dialect.control import bodies_of, is_closed
from narrowcast.model import Model, ir
from narrowcast.passes.fold.replace import drop, substitute
from narrowcast.passes.fold.splice import splice

__all__ = ["take_both_branches"]

_FAILING = frozenset({"Gather", "GatherElements", "GatherND", "OneHot", "ScatterElements", "ScatterND", "Div", "Mod"})
"""Operators that fail on some values of their second operand."""
_EXPENSIVE = frozenset(
    {"Conv", "ConvTranspose", "DeformConv", "Gemm", "MatMul", "Einsum", "Attention", "LSTM", "GRU", "RNN", "Loop"}
)


def take_both_branches(model: Model) -> bool:
    """Replaces each such `If` whose outputs have static shapes, in place, inner ones too; True if there was any."""
    graph = model.graph
    waiting = [node for node in graph if is_closed(node, "If")]
    changed = False
    while waiting:
        node = waiting.pop()
        condition, branches = node.inputs[0], list(bodies_of(node).values())
        inner = [found for branch in branches for found in _all_nodes(branch)]
        if condition is None or not all(_is_static(value) for value in node.outputs):
            continue
        if not all(_cannot_fail(found) and found.op_type not in _EXPENSIVE for found in inner):
            continue
        build = Builder(graph, anchor=node)
        waiting.extend(found for branch in branches for found in branch if is_closed(found, "If"))
        given = [value for value in node.inputs[1:] if value is not None]
        pairs = zip(*(splice(build, branch, given) for branch in branches), strict=True)
        for old, (one, other) in zip(node.outputs, list(pairs), strict=True):
            dtype = old.dtype.numpy() if old.dtype is not None else None
            substitute(build, old, build("Where", condition, one, other, shape=old.shape, dtype=dtype))
        drop(graph, node)
        changed = True
    return changed


def _all_nodes(graph: ir.Graph) -> Iterator[ir.Node]:
    for node in graph:
        yield node
        for body in bodies_of(node).values():
            yield from _all_nodes(body)


def _is_static(value: ir.Value) -> bool:
    return value.shape is not None and value.shape.is_static() and value.dtype is not None


def _cannot_fail(node: ir.Node) -> bool:
    if node.op_type not in _FAILING or constant_of(node.inputs[1]) is not None:
        return True
    source = node.inputs[0]
    return node.op_type == "Div" and source is not None and source.dtype is ir.DataType.FLOAT
