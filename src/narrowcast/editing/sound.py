"""After each edit the graph must be whole, its operators ONNX's, its types and shapes fit; errors name the node."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from narrowcast.dialect.build import values_read
from narrowcast.dialect.ops import KINDS
from narrowcast.editing.action import Site
from narrowcast.errors import ModelFileError, UnsupportedOpError, UsageError
from narrowcast.model import OPSET, ir
from narrowcast.passes.infer import infer_shapes
from narrowcast.readers.check.operands import check_operands
from narrowcast.readers.check.structure import check_graph, check_nodes

__all__ = ["make_sound", "told_at"]

_DIALECT = frozenset((domain, name, "") for domain, name in KINDS if domain)

Known = dict[ir.Value, tuple[ir.DataType | None, ir.Shape | None]]


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
    if not site.touched:
        return
    with told_at(site.place):
        check_graph(site.graph)
        touched = [node for node in site.graph if node in site.touched]
        check_nodes(touched, OPSET, _DIALECT)
        check_operands(_inferred(site, touched))


def _inferred(site: Site, touched: list[ir.Node]) -> list[ir.Node]:
    """Works out the types and shapes of what was touched, and where these are new, of all that depends on it.

    Returns:
        The nodes that were looked at.
    """
    known: Known = {value: (value.dtype, value.shape) for node in touched for value in node.outputs}
    _infer(site, touched, known)
    if all((value.dtype, value.shape) == was for value, was in known.items()):
        return touched
    behind = _behind(site)
    _infer(site, behind, known)
    return behind


def _infer(site: Site, nodes: list[ir.Node], before: Known) -> None:
    """Works out types and shapes of the outputs of some nodes, from nothing.

    Where inference is silent, and nothing in front of a node is other than before, what was known of it holds.
    """
    known = dict(before)
    for node in nodes:
        for value in (*(value for value in node.inputs if value is not None), *node.outputs):
            known.setdefault(value, (value.dtype, value.shape))
    for node in nodes:
        for value in node.outputs if not node.domain else ():
            value.shape = value.type = None
    infer_shapes(site.model, nodes)
    for node in nodes:
        same = node not in site.touched and all(
            value is None or known[value] == (value.dtype, value.shape) for value in node.inputs
        )
        for value in node.outputs if same else ():
            dtype, shape = known[value]
            if value.dtype is None and dtype is not None:
                value.dtype = dtype
            if shape is not None and (value.shape is None or not value.shape.is_static()):
                value.shape = shape


def _behind(site: Site) -> list[ir.Node]:
    """The nodes that were touched and all that depend on them, in order."""
    reached = {value for node in site.touched for value in node.outputs}
    found = []
    for node in site.graph:
        if node in site.touched or any(value in reached for value in values_read(node)):
            found.append(node)
            reached.update(node.outputs)
    return found
