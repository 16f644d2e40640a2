"""Schemes that store weights smaller and compute in float."""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import Builder, tensor_of
from narrowcast.dialect.deferred import derive
from narrowcast.model import Array, Model, ir
from narrowcast.quantization.parameters import quantize_array, weight_scale
from narrowcast.targets.groups import rule_of
from narrowcast.targets.rules import Storage, Target
from narrowcast.targets.spelling import Speller

__all__ = ["float16_weights", "integer_weights"]

SMALLEST = 1024
"""Weights of fewer elements stay as they are: nothing is gained (TFLiteConverter draws the same line)."""
LARGEST_HALF = float(np.finfo(np.float16).max)


def float16_weights(model: Model) -> list[str]:
    """Stores large float32 constants as float16, behind a Cast; returns notes on those that do not fit."""
    graph = model.graph
    notes = []
    for value in list(graph.initializers.values()):
        tensor = tensor_of(value)
        if tensor is None or tensor.dtype is not ir.DataType.FLOAT or tensor.size < SMALLEST:
            continue
        if not _fits_half(tensor.numpy()):
            notes.append(f"{value.name} stays float32: it holds values beyond float16's {LARGEST_HALF:.0f}")
            continue
        uses = tuple(value.uses())
        build = Builder(graph, anchor=graph[0])
        shape = tensor.shape.numpy()
        half = derive(lambda array: array.astype(np.float16), tensor, shape=shape, dtype=ir.DataType.FLOAT16)
        stored = build.initializer(half, f"{value.name}/float16")
        back = build("Cast", stored, to=ir.DataType.FLOAT.value, shape=shape, dtype=np.float32, name=value.name)
        for use in uses:
            use.node.replace_input_with(use.idx, back)
        if not value.is_graph_output():
            del graph.initializers[value.name or ""]
    return notes


def _fits_half(array: Array) -> bool:
    return float(array.min()) >= -LARGEST_HALF and float(array.max()) <= LARGEST_HALF


def integer_weights(model: Model, target: Target, storage: Storage, *, per_channel: bool) -> list[str]:
    """Stores the weights of operators with hybrid kernels as integers, behind a DequantizeLinear."""
    graph = model.graph
    done: dict[tuple[ir.Value, int | None], ir.Value] = {}
    for node in list(graph):
        rule = rule_of(node, target)
        if rule is None or not rule.hybrid or rule.weights is None:
            continue
        index, axis = rule.weights
        value = node.inputs[index]
        tensor = tensor_of(value)
        if value is None or tensor is None or tensor.size < SMALLEST:
            continue
        if node.op_type == "MatMul" and len(tensor.shape) != 2:
            continue
        key = (value, axis if per_channel else None)
        if key not in done:
            done[key] = _stored(graph, value, key[1], storage)
        node.replace_input_with(index, done[key])
    return []


def _stored(graph: ir.Graph, value: ir.Value, axis: int | None, storage: Storage) -> ir.Value:
    tensor = tensor_of(value)
    assert tensor is not None
    kind, narrow = storage.weights, storage.narrow
    scale, shape = weight_scale(tensor.numpy(), axis, kind, narrow=narrow), tensor.shape.numpy()
    dtype = ir.DataType.from_numpy(np.dtype(kind))
    small = derive(
        lambda array: quantize_array(array, scale, 0, kind, axis, narrow=narrow), tensor, shape=shape, dtype=dtype
    )
    return Speller(graph).stored(small, scale, 0, axis, value.name or "weights")
