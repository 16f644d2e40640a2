"""Puts constants in the place of computed values."""

from __future__ import annotations

from narrowcast.dialect.build import Builder
from narrowcast.model import Array, ir

__all__ = ["drop", "initializer", "substitute"]


def initializer(graph: ir.Graph, tensor: ir.TensorProtocol, name: str) -> ir.Value:
    """Adds a tensor to a graph's initialisers, its data as it is."""
    value = ir.Value(
        name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(tensor.shape.numpy()), const_value=tensor
    )
    graph.register_initializer(value)
    return value


def substitute(build: Builder, old: ir.Value, new: ir.Value | Array) -> None:
    """Lets a value or a new constant stand wherever `old` is read; an output keeps its name behind an Identity."""
    if not isinstance(new, ir.Value):
        new = build.constant(new, f"{old.name}/folded")
    for use in tuple(old.uses()):
        use.node.replace_input_with(use.idx, new)
    if not old.is_graph_output():
        return
    graph = build.graph
    identity = ir.node("Identity", [new], name=build.unique(f"{old.name}/Identity"))
    output = identity.outputs[0]
    output.name, old.name = old.name, build.unique(f"{old.name}/replaced")
    output.shape, output.type = new.shape, new.type
    graph.append(identity)
    for index, value in enumerate(graph.outputs):
        if value is old:
            graph.outputs[index] = output


def drop(graph: ir.Graph, node: ir.Node) -> None:
    """Removes a node that nothing reads, and the initialisers that only it read."""
    read = [value for value in node.inputs if value is not None and value.is_initializer()]
    graph.remove(node, safe=True)
    for value in read:
        if not value.uses() and not value.is_graph_output() and graph.initializers.get(value.name or "") is value:
            del graph.initializers[value.name or ""]
