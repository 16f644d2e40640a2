"""Housekeeping: what does nothing goes away, what is there twice is there once."""

from __future__ import annotations

import hashlib

from narrowcast.dialect.build import constant_of
from narrowcast.dialect.deferred import is_deferred
from narrowcast.model import Model, ir

__all__ = ["merge_duplicates", "remove_unused", "share_constants", "sort"]

SMALL = 64
"""Constants up to this many bytes are merged by content everywhere."""


def remove_unused(model: Model) -> bool:
    """Drops nodes whose outputs nothing reads, and initialisers that nothing reads."""
    graph = model.graph
    changed = False
    for node in reversed(list(graph)):
        if not any(output.uses() or output.is_graph_output() for output in node.outputs):
            graph.remove(node, safe=True)
            changed = True
    for name in [
        name for name, value in graph.initializers.items() if not value.uses() and not value.is_graph_output()
    ]:
        del graph.initializers[name]
        changed = True
    return changed


def sort(model: Model) -> bool:
    """Puts the nodes into topological order."""
    model.graph.sort()
    return False


def merge_duplicates(model: Model) -> bool:
    """Common subexpressions: equal small constants become one, then nodes with equal inputs and attributes."""
    graph = model.graph
    changed = False
    constants: dict[tuple[object, ...], ir.Value] = {}
    for value in list(graph.initializers.values()):
        if value.const_value is None or value.const_value.nbytes > SMALL or value.is_graph_output():
            continue
        array = constant_of(value)
        if array is None or array.dtype.kind not in "fiub":
            continue
        first = constants.setdefault((array.dtype.str, array.shape, array.tobytes()), value)
        if first is not value:
            _redirect(value, first)
            changed = True
    nodes: dict[tuple[object, ...], ir.Node] = {}
    for node in list(graph):
        key = _key(node)
        if key is None:
            continue
        twin = nodes.setdefault(key, node)
        if twin is not node:
            for old, new in zip(node.outputs, twin.outputs, strict=True):
                _redirect(old, new)
            graph.remove(node, safe=True)
            changed = True
    return changed


def share_constants(model: Model) -> None:
    """Equal constants of any size become one, in place; those that stay in their files are left alone."""
    alike: dict[tuple[object, ...], list[ir.Value]] = {}
    for value in model.graph.initializers.values():
        tensor = value.const_value
        if tensor is None or is_deferred(tensor) or tensor.dtype is ir.DataType.STRING or value.is_graph_output():
            continue
        alike.setdefault((tensor.dtype, tuple(tensor.shape)), []).append(value)
    for values in alike.values():
        first: dict[bytes, ir.Value] = {}
        for value in values if len(values) > 1 else ():
            assert value.const_value is not None
            kept = first.setdefault(hashlib.sha256(value.const_value.tobytes()).digest(), value)
            if kept is not value:
                _redirect(value, kept)
                del model.graph.initializers[value.name or ""]


def _redirect(old: ir.Value, new: ir.Value) -> None:
    for use in tuple(old.uses()):
        use.node.replace_input_with(use.idx, new)


def _key(node: ir.Node) -> tuple[object, ...] | None:
    """What a node computes; None for one that may not be merged."""
    if node.op_type.startswith("Random") or node.op_type in ("Bernoulli", "Multinomial"):
        return None
    if any(output.is_graph_output() for output in node.outputs):
        return None
    attributes = []
    for name, attribute in sorted(node.attributes.items()):
        if attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS):
            return None
        value = attribute.value
        if attribute.type is ir.AttributeType.TENSOR:
            value = hashlib.sha256(attribute.as_tensor().tobytes()).digest()
        attributes.append((name, tuple(value) if isinstance(value, list) else value))
    inputs = tuple(id(value) for value in node.inputs)
    return (node.domain, node.op_type, len(node.outputs), inputs, tuple(attributes))
