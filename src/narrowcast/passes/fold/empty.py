"""A tensor without elements is a constant, whatever computes it."""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import Builder
from narrowcast.model import ir
from narrowcast.passes.fold.replace import drop, substitute

__all__ = ["fold_empty"]


def fold_empty(graph: ir.Graph) -> bool:
    """Puts an empty initialiser in the place of every input and computed value that has no elements."""
    found = [
        value for value in (*graph.inputs, *(output for node in graph for output in node.outputs)) if _empty(value)
    ]
    for value in found:
        assert value.shape is not None
        assert value.dtype is not None
        node = value.producer()
        substitute(Builder(graph), value, np.zeros(value.shape.numpy(), value.dtype.numpy()))
        if node is not None and not any(output.uses() or output.is_graph_output() for output in node.outputs):
            drop(graph, node)
    return bool(found)


def _empty(value: ir.Value) -> bool:
    if value.shape is None or value.dtype is None or not value.shape.is_static() or 0 not in value.shape:
        return False
    node = value.producer()
    if node is not None and all(source is None or source.is_initializer() for source in node.inputs):
        return False
    return bool(value.uses()) or value.is_graph_output()
