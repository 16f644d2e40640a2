"""What a graph must be before it is worth reading: whole, acyclic, each node as ONNX's schemas define its operator."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from functools import cache
from typing import NamedTuple

import numpy as np

from narrowcast.errors import ModelFileError, UnsupportedOpError, shown
from narrowcast.model import ir

__all__ = [
    "WEIGHTED",
    "Schema",
    "all_graphs",
    "check_finite",
    "check_graph",
    "check_nodes",
    "graphs_of",
    "schema",
    "where",
]

WEIGHTED = {
    *("Conv", "ConvTranspose", "DeformConv", "Gemm", "MatMul", "GRU", "LSTM", "RNN"),
    *("BatchNormalization", "GroupNormalization", "InstanceNormalization", "LayerNormalization", "RMSNormalization"),
}
"""Operators whose constant operands are trained weights; elsewhere an infinity may be meant (a mask, a bound)."""


def where(node: ir.Node) -> str:
    """How errors name a node."""
    return f"{shown(node.name or (node.outputs[0].name if node.outputs else ''))} ({shown(node.op_type)})"


def graphs_of(node: ir.Node) -> Iterator[ir.Graph]:
    """The graphs among a node's attributes: bodies of loops, branches."""
    for attribute in node.attributes.values():
        if attribute.is_ref():
            continue
        if attribute.type == ir.AttributeType.GRAPH:
            yield attribute.as_graph()
        elif attribute.type == ir.AttributeType.GRAPHS:
            yield from attribute.as_graphs()


def all_graphs(graph: ir.Graph) -> Iterator[ir.Graph]:
    """A graph and all graphs within."""
    yield graph
    for node in graph:
        for body in graphs_of(node):
            yield from all_graphs(body)


def check_graph(graph: ir.Graph | ir.Function) -> None:
    """Every value comes from somewhere and nothing depends on itself; the nodes are put in order.

    Raises:
        ModelFileError: a value is read that nothing makes, an output is never computed, or there is a cycle.
    """
    if _check_defined(graph, set()):
        return
    try:
        graph.sort()
    except ValueError as error:
        raise ModelFileError("the graph has a cycle", hint="the file was edited by hand; export it again") from error


def _check_defined(graph: ir.Graph | ir.Function, before: set[ir.Node]) -> bool:
    """Whether every value is made before it is read; an error where it is not made at all."""
    in_order = True
    for node in graph:
        for value in node.inputs:
            if value is None:
                continue
            producer = value.producer()
            if producer is not None:
                in_order &= producer in before
            elif not _is_defined(value):
                raise ModelFileError(
                    f"reads '{shown(value.name)}', which is neither an input, an initialiser nor computed",
                    where=where(node),
                    hint="the file was cut or edited by hand; export it again",
                )
        for body in graphs_of(node):
            in_order &= _check_defined(body, before)
        before.add(node)
    for value in graph.outputs:
        if not _is_defined(value) or value.graph is not (graph.graph if isinstance(graph, ir.Function) else graph):
            raise ModelFileError(f"the output '{shown(value.name)}' is never computed")
    return in_order


def _is_defined(value: ir.Value) -> bool:
    return value.producer() is not None or value.is_graph_input() or value.is_initializer()


_STILL_WRITTEN = {"GroupNormalization"}
"""Operators that an opset deprecates and exporters write all the same: opsets 18 to 20 had one scale per group."""


class Schema(NamedTuple):
    """The signature of an operator.

    Attributes:
        inputs, outputs: how many at least and at most.
        formals: name and type of each input ("T" is one type wherever it stands); the last may stand for many.
        needed: names of inputs, "" where they are optional.
        variadic: whether the last of them stands for any number.
        attributes: their types by name.
        required: attributes without a default.
    """

    inputs: tuple[int, int]
    outputs: tuple[int, int]
    formals: tuple[tuple[str, str], ...]
    needed: tuple[str, ...]
    variadic: bool
    attributes: dict[str, str]
    required: tuple[str, ...]


@cache
def schema(op_type: str, opset: int) -> Schema | None:
    """What ONNX says of an operator; taken out of its bindings once, which are slow."""
    from onnx import defs

    try:
        found = defs.get_schema(op_type, opset, "")
    except defs.SchemaError:
        return None
    if found.deprecated and op_type not in _STILL_WRITTEN:
        return None
    option = defs.OpSchema.FormalParameterOption
    return Schema(
        inputs=(found.min_input, found.max_input),
        outputs=(found.min_output, found.max_output),
        formals=tuple((item.name, item.type_str) for item in found.inputs),
        needed=tuple("" if item.option == option.Optional else item.name for item in found.inputs),
        variadic=bool(found.inputs) and found.inputs[-1].option == option.Variadic,
        attributes={name: attribute.type.name for name, attribute in found.attributes.items()},  # type: ignore[attr-defined]
        required=tuple(name for name, attribute in found.attributes.items() if attribute.required),
    )


def check_nodes(
    graph: Iterable[ir.Node],
    opset: int,
    defined: Container[ir.OperatorIdentifier] = (),
    *,
    parameters: bool = False,
) -> None:
    """Every node of the default domain has the inputs, outputs and attributes that its operator has in `opset`.

    Args:
        graph: of a model or of one of its functions, or some of its nodes.
        opset: its version of the default domain.
        defined: the functions of the model.
        parameters: whether attributes may stand for parameters of a function.

    Raises:
        ModelFileError: it has not.
        UnsupportedOpError: there is no such operator, or it is of another domain and the file does not define it.
    """
    for node in graph:
        if not parameters and any(attribute.is_ref() for attribute in node.attributes.values()):
            raise ModelFileError("an attribute stands for a parameter outside of a function", where=where(node))
        if node.op_identifier() in defined:
            continue
        if node.domain not in ("", "ai.onnx"):
            raise UnsupportedOpError(
                f"{shown(node.domain)}::{shown(node.op_type)} is no standard ONNX operator, and the file has no "
                "function for it",
                where=where(node),
                hint="export it as standard operators, or remove it before the export",
            )
        _check_node(node, opset)
        for body in graphs_of(node):
            check_nodes(body, opset, defined, parameters=parameters)


def _check_node(node: ir.Node, opset: int) -> None:
    found = schema(node.op_type, opset)
    if found is None:
        raise UnsupportedOpError(f"ONNX opset {opset} has no operator {shown(node.op_type)}", where=where(node))
    for what, count, (low, high) in (
        ("inputs", len(node.inputs), found.inputs),
        ("outputs", len(node.outputs), found.outputs),
    ):
        if not low <= count <= high:
            raise ModelFileError(f"has {count} {what}, {node.op_type} takes {low} to {high}", where=where(node))
    rest = found.needed[-1:] * (len(node.inputs) - len(found.needed)) if found.variadic else ()
    for value, needed in zip(node.inputs, (*found.needed, *rest), strict=False):
        if value is None and needed:
            raise ModelFileError(f"lacks its input {needed!r}", where=where(node))
    for name, attribute in node.attributes.items():
        kind = found.attributes.get(name)
        if kind is None:
            raise ModelFileError(
                f"has an attribute '{shown(name)}' that opset {opset} does not know", where=where(node)
            )
        if attribute.type.name != kind:
            raise ModelFileError(f"its attribute {name!r} is not of the type {kind}", where=where(node))
    for name in found.required:
        if name not in node.attributes:
            raise ModelFileError(f"lacks the attribute {name!r}", where=where(node))


def check_finite(graph: ir.Graph) -> None:
    """No constant holds NaN, and no weight an infinity.

    Raises:
        ModelFileError: one does.
    """
    for name, value in graph.initializers.items():
        tensor = value.const_value
        if tensor is None or not tensor.dtype.is_floating_point() or tensor.dtype.bitwidth < 16 or tensor.size == 0:
            continue
        low, high = _extremes(tensor.numpy())
        if np.isfinite(low) and np.isfinite(high):
            continue
        if np.isnan(low) or np.isnan(high):
            raise ModelFileError(
                f"initialiser '{shown(name)}' holds NaN", hint="the training diverged; use a sound checkpoint"
            )
        for use in value.uses():
            if use.node.op_type in WEIGHTED and not use.node.domain:
                raise ModelFileError(
                    f"initialiser '{shown(name)}' holds infinity and is a weight",
                    where=where(use.node),
                    hint="the training diverged; use a sound checkpoint",
                )


def _extremes(array: np.ndarray) -> tuple[float, float]:
    """Smallest and largest element, NaN if there is one; without a temporary as large as the array."""
    if array.dtype.itemsize == 2:  # numpy compares half floats one by one: 20 times slower than their bits
        bits = np.ascontiguousarray(array).view(np.uint16)
        infinity = int(np.array(np.inf, array.dtype).view(np.uint16))
        if not bool(((bits & infinity) == infinity).any()):
            return 0.0, 0.0
    with np.errstate(invalid="ignore"):
        return float(array.min()), float(array.max())
