"""Integer inputs and outputs of a quantised graph."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from narrowcast.dialect.build import Builder
from narrowcast.model import ir
from narrowcast.targets.spelling import Parameters, Speller, dequantizer, parameters_of

__all__ = ["integer_ports"]


def integer_ports(graph: ir.Graph, speller: Speller, pairs: Mapping[ir.Value, ir.Value], dtype: str) -> None:
    """Lets quantised inputs be fed as integers, and quantised outputs be handed out as integers.

    Args:
        graph: with its pairs.
        speller: of the graph.
        pairs: what comes out of the pair behind each input.
        dtype: "int8" or "uint8".
    """
    for index, value in enumerate(list(graph.inputs)):
        if value in pairs:
            _input(graph, speller, index, pairs[value], dtype)
    for index, output in enumerate(list(graph.outputs)):
        node = output.producer()
        dequantize = dequantizer(node.inputs[0] if node is not None and node.op_type == "Identity" else output)
        if dequantize is not None:
            _output(graph, speller, index, dequantize, dtype)


def _input(graph: ir.Graph, speller: Speller, index: int, back: ir.Value, dtype: str) -> None:
    value, dequantize = graph.inputs[index], back.producer()
    assert dequantize is not None
    integers, inner = dequantize.inputs[0], parameters_of(dequantize)
    assert integers is not None
    assert inner is not None
    found = _as_port(inner, dtype)
    kind = ir.TensorType(ir.DataType.from_numpy(np.dtype(found.dtype)))
    port = ir.Value(name=value.name, type=kind, shape=value.shape)
    value.name = Builder(graph).unique(f"{port.name}/float")
    graph.inputs[index] = port
    quantize = integers.producer()
    assert quantize is not None
    if found == inner:
        dequantize.replace_input_with(0, port)
        graph.remove(quantize, safe=True)
    else:
        quantize.replace_input_with(0, speller.dequantized(port, found, f"{port.name}/fed"))


def _output(graph: ir.Graph, speller: Speller, index: int, dequantize: ir.Node, dtype: str) -> None:
    output, integers, found = graph.outputs[index], dequantize.inputs[0], parameters_of(dequantize)
    assert integers is not None
    assert found is not None
    name = output.name or "output"
    wanted = _as_port(found, dtype)
    output.name = Builder(graph).unique(f"{name}/float")
    direct = wanted == found and output.producer() is dequantize
    if not direct:
        integers = speller.quantized(output, wanted, f"{name}/port")
    graph.outputs[index] = integers
    if direct and not output.uses():
        graph.remove(dequantize, safe=True)
    integers.name = name


def _as_port(found: Parameters, dtype: str) -> Parameters:
    """The same scale in another 8-bit type."""
    if found.dtype == dtype:
        return found
    shift = 128 if dtype == "uint8" else -128
    return Parameters(found.scale, found.zero_point + shift, dtype)
