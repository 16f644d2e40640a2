"""`Builder`: appends canonical nodes to a graph with fresh, readable names and inferred shapes where they are given."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from narrowcast.model import OPSET, Array, ir

__all__ = [
    "Builder",
    "attribute",
    "attributes_of",
    "constant_of",
    "dims",
    "input_of",
    "scalar_of",
    "tensor_of",
    "values_read",
]


def input_of(node: ir.Node, index: int) -> ir.Value | None:
    """An input of a node; None where it is left out."""
    return node.inputs[index] if index < len(node.inputs) else None


def values_read(node: ir.Node) -> Iterator[ir.Value]:
    """What a node reads, also in the graphs within, whose own values are among them."""
    yield from (value for value in node.inputs if value is not None)
    for attribute in node.attributes.values():
        for graph in [attribute.as_graph()] if attribute.type == ir.AttributeType.GRAPH else ():
            for inner in graph:
                yield from values_read(inner)


def tensor_of(value: ir.Value | None) -> ir.TensorProtocol | None:
    """The tensor of an initialiser, its elements not read yet; None for anything that is computed or fed."""
    if value is None or value.const_value is None or value.is_graph_input():
        return None
    return value.const_value


def constant_of(value: ir.Value | None) -> Array | None:
    """The array of an initialiser, or None for anything that is computed or fed."""
    tensor = tensor_of(value)
    return None if tensor is None else tensor.numpy()


def scalar_of(value: ir.Value | None) -> float | None:
    """The number that a constant holds in all its elements, or None."""
    array = constant_of(value)
    if array is None or array.size == 0 or array.dtype.kind not in "fiu":
        return None
    flat = array.reshape(-1)
    alike = flat.size == 1 or all(bool((part == flat[0]).all()) for part in (flat[:64], flat))
    return float(flat[0]) if alike else None


def dims(value: ir.Value | None) -> tuple[int, ...] | None:
    """The static shape of a value; None where any dimension is unknown."""
    if value is None or value.shape is None or not value.shape.is_static():
        return None
    return tuple(int(dim) for dim in value.shape)  # type: ignore[arg-type]


def attributes_of(node: ir.Node, *without: str) -> dict[str, Any]:
    """The values of a node's attributes by name, to build a node like it."""
    return {name: found.value for name, found in node.attributes.items() if name not in without}


def attribute(name: str, value: Any) -> ir.Attr:
    """An attribute of a node; the common types go past onnx_ir's general conversion, which takes 0.2 ms for each."""
    kind = type(value)
    if kind is int:
        return ir.AttrInt64(name, value)
    if kind is float:
        return ir.AttrFloat32(name, value)
    if kind is str:
        return ir.AttrString(name, value)
    if kind in (list, tuple) and value and all(type(item) is int for item in value):
        return ir.AttrInt64s(name, value)
    converted: ir.Attr = ir.convenience.convert_attributes({name: value})[0]
    return converted


@dataclass(frozen=True, slots=True)
class _Names:
    """The names of one graph, past ones included, kept with it from builder to builder.

    Attributes:
        graph: the one they are of; a clone is handed the same object, and then makes its own.
        taken: all of them.
        counts: how many numbers each hint has been given.
    """

    graph: weakref.ref[ir.Graph]
    taken: set[str | None]
    counts: dict[str, int]


def _names_of(graph: ir.Graph) -> _Names:
    names: _Names | None = graph.meta.get("narrowcast.names")
    if names is not None and names.graph() is graph:
        return names
    if names is not None:
        taken, counts = set(names.taken), dict(names.counts)
    else:
        taken, counts = {value.name for value in graph.inputs} | set(graph.initializers), {}
        for node in graph:
            taken.add(node.name)
            taken.update(output.name for output in node.outputs)
    own = graph.meta["narrowcast.names"] = _Names(weakref.ref(graph), taken, counts)
    return own


class Builder:
    """Makes nodes, constants and whole graphs.

    Nodes are appended to the graph's end, or before `anchor` when one is given; each constant becomes an initialiser.
    Names are derived from the hint and made unique within the graph.

    Example:
        >>> build = Builder.new("network")
        >>> x = build.input("x", (1, 3, 8, 8))
        >>> y = build("Relu", x, name="y")
        >>> model = build.finish([y])
    """

    def __init__(self, graph: ir.Graph, *, anchor: ir.Node | None = None) -> None:
        self.graph = graph
        self.anchor = anchor
        self._names = _names_of(graph)

    @classmethod
    def new(cls, name: str) -> Builder:
        """A builder on an empty graph of the canonical opset."""
        return cls(ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name=name))

    def unique(self, hint: str) -> str:
        """A name not yet taken in this graph, which is taken from now on."""
        name = hint
        while name in self._names.taken:
            count = self._names.counts[hint] = self._names.counts.get(hint, 0) + 1
            name = f"{hint}_{count}"
        self._names.taken.add(name)
        return name

    def input(self, name: str, shape: Sequence[int | str | None], dtype: Any = np.float32) -> ir.Value:
        """Adds a graph input; its name is kept exactly."""
        self._names.taken.add(name)
        value = ir.val(name, dtype=ir.DataType.from_numpy(np.dtype(dtype)), shape=list(shape))
        self.graph.inputs.append(value)
        return value

    def constant(self, array: Array | Sequence[Any] | float, name: str = "const", dtype: Any = None) -> ir.Value:
        """Adds an initialiser."""
        return self.initializer(ir.Tensor(np.asarray(array, dtype=dtype, order="C")), name)

    def initializer(self, tensor: ir.TensorProtocol, name: str = "const") -> ir.Value:
        """Adds a tensor to the initialisers as it is."""
        name = self.unique(name)
        shape = ir.Shape(tensor.shape.numpy())
        value = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=shape, const_value=tensor)
        if tensor.name is None:
            tensor.name = name
        self.graph.register_initializer(value)
        return value

    def __call__(
        self,
        op_type: str,
        *inputs: ir.Value | None,
        outputs: int = 1,
        name: str | None = None,
        domain: str = "",
        shape: Iterable[Any] | None = None,
        dtype: Any = None,
        **attributes: Any,
    ) -> Any:
        """Appends a node and returns its output, or the tuple of its outputs when `outputs` is more than 1.

        Args:
            op_type: the ONNX operator.
            inputs: values; None for an optional input that is left out.
            outputs: how many.
            name: name of the first output; derived from the operator otherwise.
            domain: operator domain.
            shape: shape of the first output, where known: integers, or names of open dimensions.
            dtype: numpy dtype of the first output; that of the first input when only `shape` is given.
            attributes: ONNX attributes; those that are None are left out.
        """
        kept = [attribute(key, value) for key, value in attributes.items() if value is not None]
        node = ir.Node(domain, op_type, inputs, kept, num_outputs=outputs)
        hint = name or op_type.lower()
        for index, output in enumerate(node.outputs):
            output.name = self.unique(hint if index == 0 else f"{hint}_{index}")
        node.name = self.unique(f"{node.outputs[0].name}/{op_type}")
        if shape is not None:
            node.outputs[0].shape = ir.Shape(list(shape))
        if dtype is not None:
            node.outputs[0].dtype = ir.DataType.from_numpy(np.dtype(dtype))
        elif inputs and inputs[0] is not None and shape is not None:
            node.outputs[0].type = inputs[0].type
        if self.anchor is not None:
            self.graph.insert_before(self.anchor, node)
        else:
            self.graph.append(node)
        return node.outputs[0] if outputs == 1 else tuple(node.outputs)

    def finish(self, outputs: Sequence[ir.Value], *, producer: str = "") -> ir.Model:
        """Closes the graph and wraps it in a model."""
        self.graph.outputs.extend(outputs)
        return ir.Model(self.graph, ir_version=10, producer_name=producer)
