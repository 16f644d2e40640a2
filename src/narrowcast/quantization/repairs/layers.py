"""The linear layers of a quantised graph beside those of the float one that it was made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from narrowcast.dialect.build import Builder, attributes_of, constant_of
from narrowcast.model import Array, Model, ir
from narrowcast.targets.decide import bias_of
from narrowcast.targets.groups import group, rule_of
from narrowcast.targets.rules import Target
from narrowcast.targets.spelling import (
    Speller,
    axis_of,
    block_of,
    dequantizer,
    parameters_of,
    scales_of,
    weights_behind,
)

__all__ = ["LINEAR", "Layer", "layers_of", "range_of", "steps_of"]

LINEAR = {"Conv": 1, "ConvTranspose": 1, "Gemm": 1, "MatMul": -1}
"""Operators with constant weights as their second input, and the axis of channels of their output."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A product by stored weights.

    Attributes:
        node: in the quantised graph.
        twin: in the float graph.
        weights: the DequantizeLinear of the weights.
        bias: the node of the quantised graph that reads the bias, and at which input; None for a layer without.
    """

    node: ir.Node
    twin: ir.Node
    weights: ir.Node
    bias: tuple[ir.Node, int] | None

    @property
    def source(self) -> ir.Value:
        """What the quantised layer reads."""
        value = self.node.inputs[0]
        assert value is not None
        return value

    def copied(self, build: Builder, source: ir.Value) -> ir.Value:
        """Adds the layer to a graph, by its stored weights and bias, on `source` as the layer would be handed it.

        The copy reads `source` by the quantised layer's own parameters, in float where that reads floats. A bias that
        another node adds is left out.
        """
        speller = Speller(build.graph)
        before = parameters_of(dequantizer(self.source))
        read = source if before is None else speller.pair(source, before)
        constants = [_copied(build, speller, value) for value in self.node.inputs[1:]]
        made: ir.Value = build(
            self.node.op_type,
            read,
            *constants,
            name=f"{self.node.name}/repaired",
            domain=self.node.domain,
            shape=self.twin.outputs[0].shape,
            dtype="float32",
            **attributes_of(self.node),
        )
        return made


def _copied(build: Builder, speller: Speller, value: ir.Value | None) -> ir.Value | None:
    """A constant of another graph in the one that is built."""
    if value is None:
        return None
    node, tensor = dequantizer(value), weights_behind(value)
    assert tensor is not None
    assert tensor.const_value is not None
    name = f"{tensor.name}/stored"
    if node is None:
        return build.initializer(tensor.const_value, name)
    found, scales = scales_of(node), constant_of(node.inputs[1])
    assert found is not None
    assert scales is not None
    block = block_of(node)
    return speller.stored(
        tensor.const_value, scales if block else found[0], int(found[1][0]), axis_of(node), name, block
    )


def layers_of(quantized: Model, floats: Model, target: Target) -> list[Layer]:
    """The layers by integer weights that both graphs have under one name, in graph order."""
    twins = {node.name: node for node in floats.graph}
    found = []
    for node in quantized.graph:
        twin = twins.get(node.name)
        stored = dequantizer(node.inputs[1]) if node.op_type in LINEAR and not node.domain else None
        if stored is None or twin is None or twin.op_type != node.op_type or weights_behind(node.inputs[1]) is None:
            continue
        rule = rule_of(node, target)
        place = bias_of(group(node, target), rule) if rule is not None else None
        found.append(Layer(node, twin, stored, place))
    return found


def steps_of(weights: ir.Node) -> Array | None:
    """The scale of each weight behind a DequantizeLinear, float32 in their shape; None where scales are computed."""
    stored, scales = constant_of(weights.inputs[0]), constant_of(weights.inputs[1])
    if stored is None or scales is None:
        return None
    axis, block = axis_of(weights), block_of(weights)
    if axis is None:
        return np.broadcast_to(scales.reshape(()).astype(np.float32), stored.shape)
    if block:
        return np.repeat(scales, block, axis).take(range(stored.shape[axis]), axis).astype(np.float32)
    along = [1] * stored.ndim
    along[axis] = -1
    return np.broadcast_to(scales.reshape(along).astype(np.float32), stored.shape)


def range_of(weights: ir.Node) -> tuple[int, int, int]:
    """The lowest and highest number of steps that weights are stored by, and their zero point.

    The lowest integer of a signed type counts where one of the weights is it.
    """
    stored = constant_of(weights.inputs[0])
    zero = constant_of(weights.inputs[2]) if len(weights.inputs) > 2 else None
    assert stored is not None
    kind, offset = ir.DataType.from_numpy(stored.dtype), 0 if zero is None else int(zero.reshape(-1)[0])
    low, high = int(kind.min), int(kind.max)
    narrow = low < 0 and offset == 0 and int(stored.min()) > low
    return low + narrow - offset, high - offset, offset
