"""The functions of a model are written out where they are called."""

from __future__ import annotations

from narrowcast.errors import ModelFileError, UnsupportedError, at, shown
from narrowcast.model import OPSET, ir
from narrowcast.readers.check.structure import check_graph, check_nodes
from narrowcast.readers.onnx.upgrade import OLDEST, upgrade

__all__ = ["inline", "opset_of"]

MOST_NODES = 1_000_000
"""Functions that call functions may not grow a graph beyond this."""


def opset_of(body: ir.Graph | ir.Function) -> int:
    """The version of the default domain that a graph or function uses; the canonical one if it uses none of it.

    Raises:
        ModelFileError: none is declared.
        UnsupportedError: it is too old.
    """
    opset = body.opset_imports.get("", body.opset_imports.get("ai.onnx"))
    if opset is None and all(node.domain not in ("", "ai.onnx") for node in body.all_nodes()):
        return OPSET
    if opset is None:
        raise ModelFileError("does not say which opset it uses")
    if opset < OLDEST:
        raise UnsupportedError(
            f"uses opset {opset}, older than {OLDEST}", hint="export the model again with a newer opset"
        )
    if opset > OPSET and opset > _newest():
        raise UnsupportedError(
            f"uses opset {opset}, and {_newest()} is the newest known here", hint="export the model with an older opset"
        )
    return opset


def _newest() -> int:
    from onnx import defs

    return int(defs.onnx_opset_version())


def inline(model: ir.Model, opset: int) -> int:
    """Inlines all functions; where they differ in their opsets, everything is upgraded first.

    Args:
        model: of the default domain's version `opset`; changed in place.
        opset: the model's.

    Returns:
        The opset that the model has now.

    Raises:
        ModelFileError: a function is damaged, calls itself, is called with what it does not take, or the calls grow out
            of bounds.
        UnsupportedError: a function stands for a standard operator.
    """
    from onnx_ir.passes import PassError
    from onnx_ir.passes.common import InlinePass, NameFixPass

    opsets = {}
    for name, function in model.functions.items():
        with at(f"function '{shown(function.name)}'"):
            if function.domain in ("", "ai.onnx"):
                raise UnsupportedError(
                    "has the name of a standard operator, which runtimes read in different ways",
                    hint="give it a domain of its own",
                )
            opsets[name] = opset_of(function)
            check_graph(function)
            check_nodes(function, opsets[name], model.functions, parameters=True)
    try:
        _check_size(model)
    except RecursionError as error:
        raise ModelFileError("its functions call one another too deeply") from error
    if any(other != opset for other in opsets.values()):
        for name, function in model.functions.items():
            upgrade(function, opsets[name])
        upgrade(model.graph, opset)
        opset = OPSET
    model.graph.opset_imports[""] = opset
    for function in model.functions.values():
        function.opset_imports[""] = opset
    try:
        InlinePass()(model)
        NameFixPass()(model)
    except RecursionError as error:
        raise ModelFileError("its functions call one another too deeply") from error
    except (PassError, ValueError, KeyError) as error:
        cause = " ".join(str(error.__cause__ or error).split())
        raise ModelFileError(f"its functions cannot be written out: {cause}", hint="export it again") from error
    model.functions.clear()
    check_graph(model.graph)
    return opset


def _check_size(model: ir.Model) -> None:
    """Functions call in no circle, and do not blow the graph up."""
    sizes: dict[ir.OperatorIdentifier, int | None] = {}

    def size(body: ir.Graph | ir.Function) -> int:
        return sum(called(node.op_identifier()) for node in body.all_nodes())

    def called(name: ir.OperatorIdentifier) -> int:
        function = model.functions.get(name)
        if function is None:
            return 1
        if name not in sizes:
            sizes[name] = None
            sizes[name] = size(function)
        known = sizes[name]
        if known is None:
            raise ModelFileError(f"the function '{shown(function.name)}' calls itself")
        return known

    for name in model.functions:
        called(name)
    if size(model.graph) > MOST_NODES:
        raise ModelFileError(f"its functions would grow the graph to more than {MOST_NODES} nodes")
