"""What every graph must be that a reader hands out, whatever it was read from: files are hostile.

A reader of graphs (ONNX) asks `structure` before its own steps too, in the file's own opset; `check` follows them all.
"""

from __future__ import annotations

from narrowcast.dialect.ops import KINDS
from narrowcast.errors import ModelFileError
from narrowcast.model import OPSET, Model
from narrowcast.readers.check.operands import check_operands
from narrowcast.readers.check.structure import all_graphs, check_finite, check_graph, check_nodes

__all__ = ["check"]

_DIALECT = frozenset((domain, name, "") for domain, name in KINDS if domain)


def check(model: Model) -> None:
    """The graph is whole and acyclic, its operators are the dialect's, its operands fit, its weights are numbers.

    Raises:
        ModelFileError: it contradicts itself, or gives nothing.
        UnsupportedOpError: it holds an operator that is none.
    """
    check_graph(model.graph)
    if not model.graph.outputs:
        raise ModelFileError("it has no outputs", hint="a network must give something")
    check_nodes(model.graph, OPSET, _DIALECT)
    for graph in all_graphs(model.graph):
        check_finite(graph)
    check_operands(model.graph)
