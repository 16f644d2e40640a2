"""The dialect's own operators spelled as ONNX does, for tools that know no other: on the way out, in the protobuf."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING

from narrowcast.model import NARROWCAST
from narrowcast.passes.recurrent.opened import open_recurrent

if TYPE_CHECKING:
    import onnx

__all__ = ["open_up"]

BIT_CAST_SINCE = 26
"""The opset that brought ONNX's own BitCast."""
_UNCAPTURED = {"If": 1, "Loop": 2}
"""How many inputs come before the states of a loop and what is captured."""


def open_up(model: onnx.ModelProto) -> None:
    """Turns closed nodes into the If or Loop that they stand for, BitCasts and recurrent layers into ONNX's, in place.

    What is captured becomes an Identity at the beginning of each graph within, whose names get a prefix of their own:
    a closed graph may use again the names of the one around it, ONNX's may not.
    """
    taken = {name.partition("/")[0] for name in _names(model.graph)}
    if _open_graph(model.graph, (f"{number}/" for number in count() if str(number) not in taken)):
        for imported in model.opset_import:
            imported.version = BIT_CAST_SINCE if imported.domain == "" else imported.version


def _names(graph: onnx.GraphProto) -> Iterator[str]:
    """The names of all values of a graph and of those within."""
    for infos in (graph.input, graph.initializer):
        yield from (info.name for info in infos)
    for node in graph.node:
        yield from node.output
        for attribute in node.attribute:
            yield from _names(attribute.g)


def _open_graph(graph: onnx.GraphProto, prefixes: Iterator[str]) -> bool:
    """True if there was a BitCast."""
    open_recurrent(graph, prefixes)
    newer = False
    for node in graph.node:
        if node.domain == NARROWCAST and node.op_type == "BitCast":
            node.domain, newer = "", True
        if node.domain != NARROWCAST or node.op_type not in _UNCAPTURED:
            continue
        kept = _UNCAPTURED[node.op_type]
        for attribute in [attribute for attribute in node.attribute if attribute.name == "states"]:
            kept += attribute.i
            node.attribute.remove(attribute)
        captured = list(node.input[kept:])
        del node.input[kept:]
        node.domain = ""
        for attribute in node.attribute:
            _open_body(attribute.g, captured, next(prefixes))
            newer |= _open_graph(attribute.g, prefixes)
    return newer


def _open_body(body: onnx.GraphProto, captured: list[str], prefix: str) -> None:
    import onnx

    _prefix(body, prefix)
    first = len(body.input) - len(captured)
    nodes = [
        onnx.NodeProto(op_type="Identity", input=[outer], output=[formal.name])
        for outer, formal in zip(captured, body.input[first:], strict=True)
    ]
    del body.input[first:]
    nodes.extend(body.node)
    del body.node[:]
    body.node.extend(nodes)


def _prefix(body: onnx.GraphProto, prefix: str) -> None:
    for infos in (body.input, body.output, body.value_info):
        for info in infos:
            info.name = prefix + info.name
    for tensor in body.initializer:
        tensor.name = prefix + tensor.name
    for node in body.node:
        node.input[:] = [prefix + name if name else "" for name in node.input]
        node.output[:] = [prefix + name if name else "" for name in node.output]
