"""Brings nodes of any opset to the canonical one: a table of small functions, one per operator and change.

A function is registered for the opset in which an operator changed and runs on nodes of older models; the functions of
one operator run oldest first. Changes that need none are in `compatible`. What changed, and when, is in ONNX's
docs/Changelog.md and in `onnx.defs`; a test walks all of it.
"""

from __future__ import annotations

import importlib
import pkgutil

from narrowcast.dialect.build import Builder
from narrowcast.errors import UnsupportedOpError, at
from narrowcast.model import OPSET, ir
from narrowcast.readers.check.structure import graphs_of, where
from narrowcast.readers.onnx.upgrade.bodies import write_out
from narrowcast.readers.onnx.upgrade.newer import lower
from narrowcast.readers.onnx.upgrade.registry import ALWAYS, UPGRADES, changed, is_due

__all__ = ["OLDEST", "UPGRADES", "changed", "upgrade", "upgrade_early", "write_out"]

OLDEST = 1
"""The oldest opset that can be read."""
INFERRED = 6
"""From here on ONNX infers shapes."""

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")


def upgrade_early(graph: ir.Graph, opset: int) -> int:
    """Brings all nodes to the first opset of which shapes are inferred, in place; returns the graph's opset then.

    That is 7 where nothing broadcasts along an axis, as Upsample comes only there.
    """
    if opset >= INFERRED:
        return opset
    old = any("axis" in node.attributes and "broadcast" in node.attributes for node in graph.all_nodes())
    to = INFERRED if old or any(node.op_type == "PRelu" for node in graph.all_nodes()) else INFERRED + 1
    upgrade(graph, opset, to)
    graph.opset_imports.pop("ai.onnx", None)
    graph.opset_imports[""] = to
    return to


def upgrade(body: ir.Graph | ir.Function, opset: int, to: int = ALWAYS) -> None:
    """Brings all nodes of `opset` to a newer one, the canonical one by default, in place, subgraphs included.

    Raises:
        UnsupportedOpError: a node means something that the canonical opset cannot say.
    """
    graph = body.graph if isinstance(body, ir.Function) else body
    for node in list(graph):
        for inner in graphs_of(node):
            upgrade(inner, opset, to)
        if node.domain not in ("", "ai.onnx"):
            continue
        rows = [row.function for row in UPGRADES.get(node.op_type, ()) if is_due(row, opset) and row.opset <= to]
        if not rows and opset <= OPSET:
            continue
        with at(where(node)):
            if rows and any(attribute.is_ref() for attribute in node.attributes.values()):
                raise UnsupportedOpError(
                    f"stands in a function of opset {opset}, with a parameter as attribute",
                    hint="export the model with one opset throughout, or without functions",
                )
            build = Builder(graph, anchor=node)
            if opset > OPSET:
                lower(node, opset, build)
            for function in rows:
                if node.graph is not None:
                    function(node, build)
