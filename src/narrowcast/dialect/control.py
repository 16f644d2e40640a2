"""Closed control flow, `narrowcast::If` and `narrowcast::Loop`: their graphs, and what can be said of how they run."""

from __future__ import annotations

from collections.abc import Iterator

from narrowcast.dialect.build import constant_of
from narrowcast.model import NARROWCAST, ir

__all__ = [
    "LOOPED",
    "all_graphs",
    "bodies_of",
    "captured_from",
    "goes_on",
    "is_closed",
    "keeps_shapes",
    "runs_always",
]

LOOPED = "narrowcast.looped"
"""Where a loop notes that it was one in a file that had been made for a runtime already."""
_BODIES = {"If": ("then_branch", "else_branch"), "Loop": ("body",)}


def is_closed(node: ir.Node, *kinds: str) -> bool:
    """Whether a node is closed control flow, of one of these kinds where any are given."""
    return node.domain == NARROWCAST and node.op_type in (kinds or _BODIES)


def bodies_of(node: ir.Node) -> dict[str, ir.Graph]:
    """The graphs of a closed node by their attributes; none for other nodes."""
    return {name: node.attributes[name].as_graph() for name in _BODIES[node.op_type]} if is_closed(node) else {}


def all_graphs(graph: ir.Graph) -> Iterator[ir.Graph]:
    """A graph, and those inside of its closed nodes."""
    yield graph
    for node in graph:
        for body in bodies_of(node).values():
            yield from all_graphs(body)


def captured_from(node: ir.Node) -> int:
    """The place of the first input that a closed node hands to its graphs without changing it from round to round."""
    return 1 if node.op_type == "If" else 2 + node.attributes.get_int("states", 0)


def runs_always(loop: ir.Node) -> bool:
    """Whether nothing but the number of trips ends a closed loop."""
    condition = constant_of(loop.inputs[1])
    begins = loop.inputs[1] is None or (condition is not None and condition.size == 1 and bool(condition.item()))
    return begins and goes_on(loop)


def goes_on(loop: ir.Node) -> bool:
    """Whether nothing but the number of trips ends a closed loop once it has begun."""
    body = bodies_of(loop)["body"]
    value = body.outputs[0]
    while (producer := value.producer()) is not None and producer.op_type == "Identity" and producer.inputs[0]:
        value = producer.inputs[0]
    constant = constant_of(value)
    return value is body.inputs[1] if constant is None else constant.size == 1 and bool(constant.item())


def keeps_shapes(loop: ir.Node) -> bool | None:
    """Whether the states of a closed loop have the same shapes and types at every step; None while nothing is known."""
    body = bodies_of(loop)["body"]
    count = loop.attributes.get_int("states", 0)
    pairs = list(zip(body.inputs[2 : 2 + count], body.outputs[1 : 1 + count], strict=True))
    if any(before.shape is None or after.shape is None for before, after in pairs):
        return None
    return all(before.shape == after.shape and before.dtype is after.dtype for before, after in pairs)
