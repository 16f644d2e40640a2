"""A canonical graph in an older opset: where only the spelling of an operator changed between it and `OPSET`.

Which operators an opset has at all, and in which forms, says the target (`targets.onnxruntime`); what is left
differs in where an argument stands. Source: github.com/onnx/onnx, docs/Changelog.md.
"""

from __future__ import annotations

from collections.abc import Callable

from narrowcast.dialect.build import constant_of
from narrowcast.dialect.control import all_graphs
from narrowcast.errors import UnsupportedOpError, at
from narrowcast.model import OPSET, ir

__all__ = ["respell"]

Respelling = Callable[[ir.Node], None]


def respell(graph: ir.Graph, opset: int) -> None:
    """Spells a graph, and those inside it, as the opset does, in place."""
    for inner in all_graphs(graph):
        for node in inner:
            with at(f"{node.name or node.op_type} ({node.op_type})"):
                for below, operators, change in _CHANGES:
                    if opset < below and not node.domain and node.op_type in operators:
                        change(node)
                if opset < OPSET:
                    _drop_defaults(node, opset)
        inner.opset_imports[""] = opset


def _input_to_attribute(name: str, index: int, *, many: bool) -> Respelling:
    """An argument that was an attribute before it became an input."""

    def change(node: ir.Node) -> None:
        value = node.inputs[index] if len(node.inputs) > index else None
        if value is None:
            return
        numbers = constant_of(value)
        if numbers is None:
            raise UnsupportedOpError(f"its {name} are computed, which opset {OPSET} has alone", hint="a higher --opset")
        listed = [int(number) for number in numbers.reshape(-1)]
        node.attributes[name] = ir.AttrInt64s(name, listed) if many else ir.AttrInt64(name, listed[0])
        node.resize_inputs(index)
        if value.graph is not None and not value.uses() and not value.is_graph_output():
            del value.graph.initializers[value.name or ""]

    return change


def _undilated(node: ir.Node) -> None:
    """ONNX Runtime 1.32 fuses a quantised pool to an operator of its own, which knows no dilations, even of 1."""
    if set(node.attributes.get_ints("dilations", ())) == {1}:
        del node.attributes["dilations"]


def _sampling_modes(node: ir.Node) -> None:
    mode = node.attributes.get_string("mode", "linear")
    node.attributes["mode"] = ir.AttrString("mode", {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode))


_REDUCTIONS = frozenset(
    f"Reduce{name}" for name in ("Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum", "LogSumExp")
)
_CHANGES: tuple[tuple[int, frozenset[str], Respelling], ...] = (
    (18, _REDUCTIONS, _input_to_attribute("axes", 1, many=True)),
    (20, frozenset({"DFT"}), _input_to_attribute("axis", 2, many=False)),
    (20, frozenset({"GridSample"}), _sampling_modes),
    (OPSET + 1, frozenset({"AveragePool"}), _undilated),
)
"""(opset in which the spelling changed, operators, how to undo it)."""


def _drop_defaults(node: ir.Node, opset: int) -> None:
    """Attributes that came later go where they say what was meant before there were any."""
    import onnx.defs

    if node.domain:
        return
    known = onnx.defs.get_schema(node.op_type, opset).attributes
    newest = onnx.defs.get_schema(node.op_type, OPSET).attributes
    for name in [name for name in node.attributes if name not in known]:
        value = node.attributes[name].value
        if name not in _NEUTRAL and (name not in newest or value != _default(newest[name])):
            raise UnsupportedOpError(f"opset {opset} has no {name}={value!r}", hint="a higher --opset")
        del node.attributes[name]


_NEUTRAL = frozenset({"num_outputs", "noop_with_empty_axes"})
"""Attributes that say nothing where the sizes or the axes are given, as they are in a canonical graph."""


def _default(attribute: object) -> object:
    import onnx.helper

    value = onnx.helper.get_attribute_value(attribute.default_value)  # type: ignore[attr-defined]
    return value.decode() if isinstance(value, bytes) else value
