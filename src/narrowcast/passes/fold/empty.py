"""A tensor without elements is a constant, whatever computes it."""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import Builder
from narrowcast.model import ir
from narrowcast.passes.fold.replace import drop, substitute
from narrowcast.passes.rewrite import dims, dtype_of, is_read, need

__all__ = ["fold_empty"]


def fold_empty(graph: ir.Graph) -> bool:
    """Puts an empty initialiser in the place of every input and computed value that has no elements."""
    found = [
        value for value in (*graph.inputs, *(output for node in graph for output in node.outputs)) if _empty(value)
    ]
    for value in found:
        node = value.producer()
        substitute(Builder(graph), value, np.zeros(need(dims(value)), dtype_of(value)))
        if node is not None and not any(map(is_read, node.outputs)):
            drop(graph, node)
    return bool(found)


def _empty(value: ir.Value) -> bool:
    if value.dtype is None or 0 not in (dims(value) or ()):
        return False
    node = value.producer()
    if node is not None and all(source is None or source.is_initializer() for source in node.inputs):
        return False
    return is_read(value)
