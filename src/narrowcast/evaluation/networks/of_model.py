"""A `Model` as a network for display, whatever form its graph has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from narrowcast._files import size_of
from narrowcast.evaluation.networks.records import (
    Described,
    Network,
    Operator,
    Quantization,
    Subgraph,
    Tensor,
    Value,
)
from narrowcast.model import Array, Model, ir

__all__ = ["SMALL", "describe"]

SMALL = 16
"""Elements of a constant that are told one by one."""

_PAIR = ((0, 1),)
_BINARY = ((0, 1), (3, 4))
INPUT_SCALES: Mapping[str, tuple[tuple[int, int], ...]] = {
    "DequantizeLinear": _PAIR,
    **dict.fromkeys(("QLinearConv", "QLinearMatMul", "QLinearAdd", "QLinearMul", "QLinearConcat"), _BINARY),
    **dict.fromkeys(("QLinearGlobalAveragePool", "QLinearAveragePool", "QLinearSigmoid", "QLinearLeakyRelu"), _PAIR),
}
"""By operator: which operand is an integer tensor, and where its scale stands; its zero point follows the scale."""

OUTPUT_SCALE: Mapping[str, int] = {
    "QuantizeLinear": 1,
    **dict.fromkeys(("QLinearConv", "QLinearMatMul", "QLinearAdd", "QLinearMul"), 6),
    **dict.fromkeys(("QLinearGlobalAveragePool", "QLinearAveragePool", "QLinearSigmoid", "QLinearLeakyRelu"), 3),
    "QLinearConcat": 0,
}
"""By operator: which operand is the output's scale."""

_TYPES = {"FLOAT": "float32", "DOUBLE": "float64"}


def describe(model: Model, path: Path, form: str) -> Described:
    """Describes a model.

    Args:
        model: canonical or not; it is not changed.
        path: the file that it was read from.
        form: what to say of the graph: "as read", "canonical".
    """
    graphs: list[_Graph] = []
    _add(model.graph, graphs, model.graph.opset_imports)
    network = Network(
        path=path,
        bytes=size_of(path),
        format=model.provenance.format,
        producer=model.provenance.producer,
        form=form,
        graphs=tuple(graph.finished() for graph in graphs),
    )

    def values(graph: int, tensor: int) -> Array | None:
        found = graphs[graph].values[tensor].const_value
        return None if found is None or found.dtype is ir.DataType.STRING else found.numpy()

    return Described(network, values)


class _Graph:
    """One graph on its way to a record: its values get their indices as they are met."""

    def __init__(self, graph: ir.Graph) -> None:
        self.name = graph.name or ""
        self.values: list[ir.Value] = []
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        self._index: dict[ir.Value, int] = {}
        self._own = graph
        self.inputs = tuple(self.index(value) for value in graph.inputs)
        self.outputs: tuple[int, ...] = ()

    def index(self, value: ir.Value) -> int:
        """The index of a value, a new one at its first sight."""
        if value not in self._index:
            self._index[value] = len(self.values)
            self.values.append(value)
            self.tensors.append(self._tensor(value))
        return self._index[value]

    def quantized(self, value: ir.Value | None, quantization: Quantization | None) -> None:
        """Notes how a value's integers are meant."""
        if value is not None and quantization is not None:
            index = self.index(value)
            self.tensors[index] = replace(self.tensors[index], quantization=quantization)

    def captured(self) -> Iterator[ir.Value]:
        """What is read of the graphs around; constants stand in each graph that reads them."""
        return (value for value, tensor in zip(self.values, self.tensors, strict=True) if tensor.role == "captured")

    def finished(self) -> Subgraph:
        return Subgraph(self.name, self.inputs, self.outputs, tuple(self.tensors), tuple(self.operators))

    def _tensor(self, value: ir.Value) -> Tensor:
        constant, kind = value.const_value, value.dtype
        if constant is not None and not value.is_graph_input():
            shape = tuple(int(dim) for dim in constant.shape.numpy())
            few = _elements(constant) if constant.size <= SMALL else None
            name = _type_name(constant.dtype)
            return Tensor(value.name or "", shape, name, "constant", bytes=constant.nbytes, values=few)
        dims = None if value.shape is None else tuple(dim if isinstance(dim, int) else None for dim in value.shape)
        own = value.graph is self._own
        role = "input" if own and value.is_graph_input() else "activation" if own else "captured"
        return Tensor(value.name or "", dims, _type_name(kind), role)  # type: ignore[arg-type]


def _add(graph: ir.Graph, graphs: list[_Graph], opsets: Mapping[str, int]) -> int:
    """Appends a graph, and those within behind it; returns its index."""
    made, number = _Graph(graph), len(graphs)
    graphs.append(made)
    for node in graph:
        plain: dict[str, Value] = {}
        inside: list[tuple[str, int]] = []
        for name, attribute in node.attributes.items():
            if attribute.is_ref():
                plain[name] = f"@{attribute.ref_attr_name}"
            elif attribute.type is ir.AttributeType.GRAPH:
                inside.append((name, _add(attribute.as_graph(), graphs, opsets)))
            elif attribute.type is ir.AttributeType.GRAPHS:
                inside += [
                    (f"{name}.{place}", _add(body, graphs, opsets)) for place, body in enumerate(attribute.as_graphs())
                ]
            else:
                plain[name] = _plain(attribute.value)
        read = (value for _, number in inside for value in graphs[number].captured())
        made.operators.append(
            Operator(
                name=node.name or next((value.name for value in node.outputs if value.name), ""),
                type=f"{node.domain}::{node.op_type}" if node.domain else node.op_type,
                inputs=tuple(None if value is None else made.index(value) for value in node.inputs),
                outputs=tuple(made.index(value) if value.name else None for value in node.outputs),
                operands=_operands(node.op_type, node.domain, opsets.get(node.domain, 1)),
                attributes=plain,
                subgraphs=tuple(inside),
                captured=tuple(dict.fromkeys(map(made.index, read))),
            )
        )
        _note_scales(node, made)
    made.outputs = tuple(made.index(value) for value in graph.outputs)
    return number


def _note_scales(node: ir.Node, graph: _Graph) -> None:
    """Notes the quantisation that a node says its operands and its output have."""
    for operand, scale in INPUT_SCALES.get(node.op_type, ()):
        if operand < len(node.inputs):
            graph.quantized(node.inputs[operand], _quantization(node, scale))
    if node.op_type in OUTPUT_SCALE and node.outputs:
        graph.quantized(node.outputs[0], _quantization(node, OUTPUT_SCALE[node.op_type]))


def _quantization(node: ir.Node, place: int) -> Quantization | None:
    """What stands at an operand, and behind it, as scales and zero points; None where they are no constants."""
    scales, points = (_array(node, index) for index in (place, place + 1))
    if (
        scales is None
        or scales.ndim > 1
        or (points is None and place + 1 < len(node.inputs) and node.inputs[place + 1])
    ):
        return None
    zeros = np.zeros(scales.size, np.int64) if points is None else np.broadcast_to(points.reshape(-1), scales.size)
    axis = node.attributes.get_int("axis", 1) if scales.size > 1 else None
    return Quantization(tuple(map(float, scales.reshape(-1))), tuple(map(int, zeros)), axis)


def _array(node: ir.Node, place: int) -> Array | None:
    value = node.inputs[place] if place < len(node.inputs) else None
    return None if value is None or value.const_value is None else value.const_value.numpy()


def _elements(tensor: ir.TensorProtocol) -> Value:
    if tensor.dtype is ir.DataType.STRING:
        return tuple(part.decode("utf-8", "replace") for part in tensor.string_data())  # type: ignore[attr-defined]
    return _plain(tensor.numpy().reshape(-1).tolist())


def _type_name(kind: ir.DataType | None) -> str:
    return "" if kind is None or kind is ir.DataType.UNDEFINED else _TYPES.get(kind.name, kind.name.lower())


def _plain(value: object) -> Value:
    """An attribute's value; tensors and types in words."""
    match value:
        case bool() | int() | float() | str() | None:
            return value
        case bytes():
            return value.decode("utf-8", "replace")
        case ir.TensorProtocol():
            if value.size <= SMALL:
                return _elements(value)
            return f"{_type_name(value.dtype)} {list(value.shape.numpy())}"
        case Iterable():
            return tuple(map(_plain, value))
    return str(value)


@cache
def _operands(kind: str, domain: str, opset: int) -> tuple[str, ...]:
    """What ONNX calls the operands of an operator; nothing where it does not define it."""
    import onnx

    try:
        return tuple(operand.name for operand in onnx.defs.get_schema(kind, opset, domain).inputs)
    except onnx.defs.SchemaError:
        return ()
