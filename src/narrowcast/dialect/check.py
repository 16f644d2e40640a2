"""The law of a canonical graph, as rows of (operators, what must hold, predicate).

Tests run it after canonicalisation; a reader or pass that breaks the contract of docs/architecture.md is found here and
not three rooms later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from narrowcast.dialect.build import constant_of
from narrowcast.dialect.ops import KINDS, Kind, kind_of
from narrowcast.model import OPSET, Model, ir

__all__ = ["LAWS", "Law", "violations"]


@dataclass(frozen=True, slots=True)
class Law:
    """What must hold for a node of certain operators.

    Attributes:
        operators: names in the default domain; empty for all nodes.
        demand: the law in words.
        holds: the predicate.
    """

    operators: frozenset[str]
    demand: str
    holds: Callable[[ir.Node], bool]

    def concerns(self, node: ir.Node) -> bool:
        """Whether the law speaks of this operator."""
        return not self.operators or (node.op_type in self.operators and not node.domain)


def violations(model: Model) -> list[str]:
    """What in a graph breaks the law, one sentence each; empty for a canonical graph."""
    found = []
    if model.graph.opset_imports.get("") != OPSET:
        found.append(f"the opset is {model.graph.opset_imports.get('')}, not {OPSET}")
    if len(model.ir.functions):
        found.append("functions are not inlined")
    for node in _all_nodes(model.graph):
        broken = (law for law in LAWS if law.concerns(node) and not law.holds(node))
        found.extend(f"{node.name or node.op_type} ({node.op_type}): {law.demand}" for law in broken)
    return found


def _all_nodes(graph: ir.Graph) -> Iterator[ir.Node]:
    for node in graph:
        yield node
        for attribute in node.attributes.values():
            if attribute.type is ir.AttributeType.GRAPH:
                yield from _all_nodes(attribute.as_graph())


def _static(node: ir.Node) -> bool:
    return all(
        value.dtype is not None
        and value.shape is not None
        and all(isinstance(dim, int) for dim in value.shape.dims[1:])
        for value in node.outputs
    )


def _constant(*indices: int) -> Callable[[ir.Node], bool]:
    def holds(node: ir.Node) -> bool:
        present = [node.inputs[index] for index in indices if index < len(node.inputs)]
        return all(value is None or constant_of(value) is not None for value in present)

    return holds


def _explicit_window(node: ir.Node) -> bool:
    window = {"pads", "strides", "kernel_shape"} | ({"dilations"} if node.op_type != "AveragePool" else set())
    return "auto_pad" not in node.attributes and window <= set(node.attributes)


def _canonical_gemm(node: ir.Node) -> bool:
    attributes = node.attributes
    plain = attributes.get_float("alpha", 1.0) == attributes.get_float("beta", 1.0) == 1.0
    return plain and not attributes.get_int("transA", 0) and attributes.get_int("transB", 0) == 1


def _ranks_agree(node: ir.Node) -> bool:
    ranks = {
        len(value.shape)
        for value in node.inputs
        if value is not None and value.shape is not None and constant_of(value) is None and _many(value)
    }
    return len(ranks) <= 1


def _many(value: ir.Value) -> bool:
    producer = value.producer()
    behind_constant = producer is not None and constant_of(producer.inputs[0] if producer.inputs else None) is not None
    return not behind_constant and value.shape is not None and any(dim != 1 for dim in value.shape)


_BINARY = frozenset({"Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "PRelu", "Where", "Equal", "Greater", "Less"})

LAWS: tuple[Law, ...] = (
    Law(frozenset(), "is not an operator of the dialect", lambda node: kind_of(node) is not None),
    Law(frozenset(), "an output has no dtype or no static shape", _static),
    Law(
        frozenset({"Identity"}),
        "should have been replaced, as it is no output",
        lambda node: node.outputs[0].is_graph_output(),
    ),
    Law(
        frozenset({"Constant", "Dropout", "Flatten", "Squeeze", "Unsqueeze", "GlobalAveragePool", "GlobalMaxPool"}),
        "should have been replaced",
        lambda node: False,
    ),
    Law(frozenset({"Conv", "ConvTranspose", "MaxPool", "AveragePool"}), "the window is not explicit", _explicit_window),
    Law(frozenset({"Reshape"}), "the shape is not constant", _constant(1)),
    Law(frozenset({"Slice"}), "starts, ends, axes, steps are not constant", _constant(1, 2, 3, 4)),
    Law(frozenset({"Slice"}), "starts, ends, axes, steps are not all there", lambda node: len(node.inputs) == 5),
    Law(frozenset({"Split", "Tile", "Expand", "CumSum"}), "the second input is not constant", _constant(1)),
    Law(frozenset({"Pad"}), "the amounts are not constant", _constant(1, 2, 3)),
    Law(frozenset({"Clip"}), "the bounds are not constant", _constant(1, 2)),
    Law(frozenset({"Resize"}), "sizes or scales are not constant", _constant(2, 3)),
    Law(
        frozenset(name for (domain, name), kind in KINDS.items() if kind is Kind.REDUCTION and not domain),
        "the axes are not constant",
        _constant(1),
    ),
    Law(frozenset({"Gemm"}), "alpha, beta, transA or transB is not canonical", _canonical_gemm),
    Law(_BINARY, "the operands' ranks differ", _ranks_agree),
)
