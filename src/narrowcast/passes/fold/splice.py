"""Puts the nodes of an inner graph in the place of the node that holds it."""

from __future__ import annotations

from collections.abc import Sequence

from narrowcast.dialect.build import Builder
from narrowcast.model import ir

__all__ = ["splice"]


def splice(build: Builder, body: ir.Graph, arguments: Sequence[ir.Value] = ()) -> list[ir.Value]:
    """Moves a graph's nodes and initialisers before the builder's anchor, under names of their own.

    Args:
        build: a builder on the outer graph.
        body: the inner graph, which is empty afterwards.
        arguments: what its inputs stand for.

    Returns:
        The values of its outputs.
    """
    graph = build.graph
    taken = dict(zip(body.inputs, arguments, strict=True))
    results = [taken.get(value, value) for value in body.outputs]
    body.outputs.clear()
    for formal, actual in taken.items():
        for use in tuple(formal.uses()):
            use.node.replace_input_with(use.idx, actual)
    for value in list(body.initializers.values()):
        del body.initializers[value.name or ""]
        value.name = build.unique(value.name or "constant")
        graph.register_initializer(value)
    nodes = list(body)
    body.remove(nodes)
    for node in nodes:
        node.name = build.unique(node.name or node.op_type)
        for output in node.outputs:
            if output.name:
                output.name = build.unique(output.name)
    assert build.anchor is not None
    graph.insert_before(build.anchor, nodes)
    return results
