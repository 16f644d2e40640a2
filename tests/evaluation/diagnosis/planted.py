"""Networks quantised by hand, each spoilt by one fault in one place.

`Network` is quantised in the plainest way, a pair behind every value and one scale for each output channel of weights,
and lets a test say otherwise of single tensors. The product's quantiser, which knows some of the faults and avoids
them, has no part in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from narrowcast import targets
from narrowcast.dialect.build import Builder, constant_of
from narrowcast.model import Model, ir
from narrowcast.passes.infer import infer_shapes
from narrowcast.quantization.parameters import activation_parameters, quantize_array, weight_scale
from narrowcast.reference import Reference
from narrowcast.targets.groups import groups_of
from narrowcast.targets.spelling import Parameters, Speller

TARGET = targets.find("litert")
SIDE, CHANNELS = 12, 16


@dataclass
class Network:
    """A network under construction, and how it is to be quantised."""

    build: Builder = field(default_factory=lambda: Builder.new("planted"))
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    stored: dict[str, Parameters] = field(default_factory=dict)
    shared: list[tuple[str, ...]] = field(default_factory=list)
    per_tensor: set[str] = field(default_factory=set)
    floats: set[str] = field(default_factory=set)
    exact: set[str] = field(default_factory=set)

    def input(self, channels: int = CHANNELS) -> ir.Value:
        return self.build.input("x", (1, channels, SIDE, SIDE))

    def conv(self, value, outputs, name, *, weights=None, bias=None, relu=False, size=1):
        """A convolution whose outputs are about as large as its inputs."""
        inputs = value.shape[1]
        if weights is None:
            weights = self.random.normal(size=(outputs, inputs, size, size)) / np.sqrt(inputs * size * size)
        bias = np.zeros(outputs) if bias is None else bias
        constants = [np.asarray(array, np.float32) for array in (weights, bias)]
        operands = [
            self.build.constant(array, f"{name}/{what}") for array, what in zip(constants, ("w", "b"), strict=True)
        ]
        shape, pads = (1, outputs, SIDE, SIDE), [size // 2] * 4
        made = self.build(
            "Conv", value, *operands, name=f"{name}/conv" if relu else name, shape=shape, dtype=np.float32,
            kernel_shape=[size, size], pads=pads, strides=[1, 1], dilations=[1, 1],
        )  # fmt: skip
        return self.build("Relu", made, name=name, shape=shape) if relu else made

    def __call__(self, op_type, *values, name, **attributes):
        return self.build(op_type, *values, name=name, **attributes)

    def constant(self, number):
        return self.build.constant(np.float32(number))

    def finish(self, *outputs: ir.Value) -> Model:
        model = Model(self.build.finish(list(outputs)))
        infer_shapes(model)
        return model

    def quantized(self, floats: Model, feeds: list[dict[str, np.ndarray]]) -> Model:
        """The network in int8, but for what was said otherwise."""
        copy = floats.clone()
        copy.scheme = "int8"
        graph = copy.graph
        values = [output for group in groups_of(graph, TARGET) for output in group.outputs] + list(graph.inputs)
        names = [value.name or "" for value in values]
        seen = Reference(floats, names)
        runs = [{**feed, **seen.run(feed)} for feed in feeds]
        spans = {name: (min(run[name].min() for run in runs), max(run[name].max() for run in runs)) for name in names}
        spans.update(self.ranges)
        for group in self.shared:
            span = min(spans[name][0] for name in group), max(spans[name][1] for name in group)
            spans.update(dict.fromkeys(group, span))
        speller = Speller(graph)
        for node in list(graph):
            if node.op_type == "Conv" and node.inputs[1].name not in self.exact:
                self._weigh(node, speller)
        for value in values:
            if value.dtype is not ir.DataType.FLOAT or value.name in self.floats:
                continue
            how = self.stored.get(value.name or "") or activation_parameters(
                *map(float, spans[value.name or ""]), "int8", symmetric=False
            )
            uses = [(use.node, use.idx) for use in value.uses()]
            back = speller.pair(value, how)
            for node, place in uses:
                node.replace_input_with(place, back)
            for place, output in enumerate(graph.outputs):
                if output is value:
                    value.name, back.name = f"{value.name}/float", value.name
                    graph.outputs[place] = back
        graph.sort()
        return copy

    def _weigh(self, node: ir.Node, speller: Speller) -> None:
        value = node.inputs[1]
        array = constant_of(value)
        assert value is not None
        assert array is not None
        axis = None if value.name in self.per_tensor else 0
        scale = weight_scale(array, axis)
        stored = quantize_array(array, scale, 0, "int8", axis)
        node.replace_input_with(1, speller.stored(ir.Tensor(stored), scale, 0, axis, f"{value.name}/int8"))


def photographs(count: int = 6, channels: int = CHANNELS, scale: float = 1.0) -> list[dict[str, np.ndarray]]:
    random = np.random.default_rng(1)
    return [{"x": (random.normal(size=(1, channels, SIDE, SIDE)) * scale).astype(np.float32)} for _ in range(count)]
