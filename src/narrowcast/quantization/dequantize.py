"""A network that was quantised elsewhere, in floats again.

Weights become the numbers that their integers stand for, and activations are no longer rounded; what their integers
could hold is noted as their range. Where integers end at 0, or at 0 and 6, they were a Relu too, which stays as one:
the converters of 2018 left such activations out.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from narrowcast.dialect.build import Builder
from narrowcast.dialect.control import all_graphs
from narrowcast.dialect.recurrent import LAYERS, forget_steps
from narrowcast.model import NARROWCAST, Model, ir
from narrowcast.passes import tidy
from narrowcast.passes.canonicalize import canonicalize
from narrowcast.passes.fold.replace import substitute
from narrowcast.targets.spelling import (
    Parameters,
    dequantizer,
    dequantizer_after,
    is_mover,
    is_quantizer,
    is_weight,
    let_roundings,
    parameters_of,
    real_of,
)

__all__ = ["dequantize"]

Range = tuple[float, float]
_SIGNED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "Sub", "Mul", "Div"})
"""Operators that give numbers on both sides of 0, whatever they are given."""


def dequantize(model: Model) -> Model:
    """A float copy of a quantised model, which knows the ranges that its activations had.

    Args:
        model: canonical, as it was read; it is not changed.
    """
    copy = model.clone()
    ranges: dict[str, Range] = {}
    for graph in list(all_graphs(copy.graph)):
        if graph is copy.graph:
            _float_inputs(graph, ranges)
        _float_activations(graph, ranges)
        _float_weights(graph)
        for node in graph:
            if node.domain == NARROWCAST and node.op_type in LAYERS:
                forget_steps(node)
        let_roundings(graph)
    tidy.remove_unused(copy)
    canonicalize(copy)
    return replace(copy, scheme="float32", ranges=ranges, unedited=model, edited=copy.ir.clone())


def _float_weights(graph: ir.Graph) -> None:
    """Constants behind a DequantizeLinear, or a Cast from float16, become what these give."""
    for node in list(graph):
        reads = len(node.inputs) > 0 and is_weight(node.inputs[0])
        array = real_of(node) if reads else None
        if array is not None:
            source = node.inputs[0]
            build = Builder(graph, anchor=node)
            substitute(build, node.outputs[0], build.constant(array, (source and source.name) or "weights"))


def _float_inputs(graph: ir.Graph, ranges: dict[str, Range]) -> None:
    """Inputs whose integers are only dequantised become float ones."""
    for value in graph.inputs:
        how = parameters_of(dequantizer_after(value))
        if value.is_initializer() or value.dtype is None or not value.dtype.is_integer() or how is None:
            continue
        if _only_dequantized(value):
            ranges[value.name or ""] = _range_of(how)
            _becomes(graph, value, value)


def _only_dequantized(value: ir.Value) -> bool:
    uses = [use.node for use in value.uses()]
    through = all(
        dequantizer(node.outputs[0]) or (is_mover(node) and _only_dequantized(node.outputs[0])) for node in uses
    )
    return through and not value.is_graph_output()


def _float_activations(graph: ir.Graph, ranges: dict[str, Range]) -> None:
    """Pairs of QuantizeLinear and DequantizeLinear by constant scales go, and what lies between them moves floats."""
    for node in list(graph):
        how = parameters_of(node) if node.op_type == "QuantizeLinear" else None
        source, integers = node.inputs[0], node.outputs[0]
        if how is None or source is None or not _in_between(integers):
            continue
        low, high = _range_of(how)
        maker = source.producer()
        if low == 0.0 and maker is not None and maker.op_type in _SIGNED:
            source = _bounded(Builder(graph, anchor=node), source, 6.0 if abs(high - 6.0) <= how.scale else None)
        name, integers.name = integers.name or "", f"{integers.name}/integers"
        if source.is_graph_input() or source.is_graph_output() or source.name in ranges or is_weight(source):
            if integers.is_graph_output():
                source = Builder(graph, anchor=node)("Identity", source, name=f"{name}/same", shape=source.shape)
                source.name = name
        else:
            source.name = name
        ranges.setdefault(source.name or "", (low, high))
        _becomes(graph, integers, source)


def _bounded(build: Builder, source: ir.Value, high: float | None) -> ir.Value:
    """A value without its negative numbers, and without those above a bound where there is one."""
    bounds = [] if high is None else [build.constant(np.array(bound, np.float32), "bound") for bound in (0.0, high)]
    made: ir.Value = build(
        "Clip" if bounds else "Relu", source, *bounds, name=f"{source.name}/relu", shape=source.shape
    )
    return made


def _in_between(integers: ir.Value) -> bool:
    """Whether integers are only moved, dequantised, or handed out."""
    uses = [use.node for use in integers.uses()]
    return all(dequantizer(node.outputs[0]) or (is_mover(node) and _in_between(node.outputs[0])) for node in uses)


def _becomes(graph: ir.Graph, integers: ir.Value, floats: ir.Value) -> None:
    """Lets floats stand for integers: what moves these moves floats, what dequantises them is gone."""
    integers.type = ir.TensorType(ir.DataType.FLOAT)
    for use in tuple(integers.uses()):
        node = use.node
        if is_quantizer(node):
            substitute(Builder(graph), node.outputs[0], floats)
        else:
            node.replace_input_with(use.idx, floats)
            _becomes(graph, node.outputs[0], node.outputs[0])
    for index, output in enumerate(graph.outputs):
        if output is integers:
            graph.outputs[index] = floats


def _range_of(how: Parameters) -> Range:
    """The numbers that a type holds by a scale."""
    info = np.iinfo(how.dtype)
    return (int(info.min) - how.zero_point) * how.scale, (int(info.max) - how.zero_point) * how.scale
