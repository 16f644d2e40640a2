"""After each edit the graph must be whole, its operators ONNX's, its types and shapes fit; errors name the node."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from narrowcast.dialect.ops import KINDS
from narrowcast.editing.action import Site
from narrowcast.errors import ModelFileError, UnsupportedOpError, UsageError
from narrowcast.model import OPSET, ir
from narrowcast.passes.infer import infer_shapes
from narrowcast.readers.check.operands import check_operands
from narrowcast.readers.check.structure import check_graph, check_nodes

__all__ = ["make_sound", "told_at"]

_DIALECT = frozenset((domain, name, "") for domain, name in KINDS if domain)

Known = tuple[ir.DataType | None, ir.Shape | None]


@contextmanager
def told_at(place: str) -> Iterator[None]:
    """Tells what a checked graph lacks as what an edit made of it.

    Raises:
        UsageError: in place of the errors that a file's graph would get.
    """
    try:
        yield
    except (ModelFileError, UnsupportedOpError) as error:
        where = f"{place}: {error.where}" if error.where else place
        raise UsageError(f"the edited network is not sound: {error.what}", where=where) from error


def make_sound(site: Site) -> None:
    """Puts the nodes in order, works out the types and shapes that an edit changed, and checks that all fits.

    Raises:
        UsageError: it does not; the error names the edit and the node.
    """
    with told_at(site.place):
        check_graph(site.graph)
        check_nodes(site.graph, OPSET, _DIALECT)
        if site.touched:
            _infer(site)
        check_operands(site.graph)


def _infer(site: Site) -> None:
    """Works out types and shapes behind what was touched, from nothing.

    Where inference is silent, and nothing before a node has changed, what was known of it holds.
    """
    behind = _behind(site)
    known: dict[ir.Value, Known] = {value: (value.dtype, value.shape) for value in site.values().values()}
    for node in behind:
        for value in node.outputs if not node.domain else ():
            value.shape = value.type = None
    infer_shapes(site.model)
    for node in behind:
        same = node not in site.touched and all(
            value is None or known.get(value, (None, None)) == (value.dtype, value.shape) for value in node.inputs
        )
        for value in node.outputs:
            dtype, shape = known[value] if value in known and same else (None, None)
            if dtype is not None and value.dtype is None:
                value.dtype = dtype
            if shape is not None and (value.shape is None or not value.shape.is_static()):
                value.shape = shape


def _behind(site: Site) -> list[ir.Node]:
    """The nodes that were touched and all that depend on them, in order."""
    reached = {value for node in site.touched for value in node.outputs}
    found = []
    for node in site.graph:
        if node in site.touched or any(value in reached for value in _read(node)):
            found.append(node)
            reached.update(node.outputs)
    return found


def _read(node: ir.Node) -> Iterator[ir.Value]:
    """What a node reads, also in the graphs within."""
    yield from (value for value in node.inputs if value is not None)
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            for inner in attribute.as_graph():
                yield from _read(inner)
