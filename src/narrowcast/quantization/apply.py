"""Writes an assignment into the graph, in its one spelling: QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from narrowcast.dialect.build import Builder, constant_of
from narrowcast.errors import DataError
from narrowcast.model import Array, Model, ir
from narrowcast.quantization.assign import Assignment, Member
from narrowcast.quantization.parameters import (
    BIAS_LIMIT,
    activation_parameters,
    fixed_parameters,
    quantize_array,
    weight_scale,
)
from narrowcast.targets.rules import Storage
from narrowcast.targets.spelling import Parameters, Speller, dequantizer, parameters_of, weights_behind

__all__ = ["apply"]


def apply(
    model: Model,
    assignment: Assignment,
    ranges: Mapping[str, tuple[float, float]],
    *,
    storage: Storage,
    per_channel: bool,
    port_type: str | None,
) -> list[str]:
    """Quantises a float model in place.

    Args:
        model: the model that the assignment was made for.
        assignment: who is integer.
        ranges: (low, high) by value name.
        storage: of the scheme.
        per_channel: whether weights have a scale for each output channel.
        port_type: "int8" or "uint8" for integer inputs and outputs, None for float ones.

    Returns:
        Notes for the user.
    """
    scribe = _Scribe(model.graph, assignment, ranges, storage)
    produced = dict.fromkeys(value for member in assignment.members for value in member.outputs)
    integer = dict.fromkeys(value for member in assignment.members for value in member.activations)
    if port_type is not None:
        ports = (*model.graph.inputs, *model.graph.outputs)
        integer.update(dict.fromkeys(value for value in ports if value.dtype is ir.DataType.FLOAT))
    for member in assignment.members:
        scribe.weigh(member, per_channel=per_channel)
    for value in [value for value in integer if value not in produced]:
        scribe.quantise(value, assignment.members, everywhere=port_type is not None and value.is_graph_input())
    for value in produced:
        scribe.quantise(value, assignment.members, everywhere=True)
    scribe.requantise_shared()
    if port_type is not None:
        scribe.integer_ports(port_type)
    model.graph.sort()
    return scribe.notes


@dataclass(slots=True)
class _Scribe:
    graph: ir.Graph
    assignment: Assignment
    ranges: Mapping[str, tuple[float, float]]
    storage: Storage
    notes: list[str] = field(default_factory=list)
    parameters: dict[ir.Value, Parameters] = field(default_factory=dict)
    dequantized: dict[ir.Value, ir.Value] = field(default_factory=dict)
    _slots: dict[ir.Value, tuple[float, float]] = field(default_factory=dict)
    speller: Speller = field(init=False)

    def __post_init__(self) -> None:
        """Unites the ranges of each slot."""
        self.speller = Speller(self.graph)
        for member in self.assignment.members:
            for value in (*member.activations, *member.outputs):
                if value not in self.assignment.pinned:
                    self._widen(value, self._observed(value))
            if member.shares and member.outputs:
                for array in member.written:
                    if member.outputs[0] not in self.assignment.pinned:
                        self._widen(member.outputs[0], (float(array.min()), float(array.max())))

    def _widen(self, value: ir.Value, found: tuple[float, float]) -> None:
        slot = self.assignment.slot(value)
        low, high = self._slots.get(slot, found)
        self._slots[slot] = (min(low, found[0]), max(high, found[1]))

    def _observed(self, value: ir.Value) -> tuple[float, float]:
        found = self.ranges.get(value.name or "")
        if found is None:
            raise DataError(
                f"there is no calibrated range for {value.name!r}",
                hint="calibrate the same model that is quantised",
            )
        return found

    def parameters_of(self, value: ir.Value) -> Parameters:
        """The scale that a value is stored by."""
        if value not in self.parameters:
            fixed = self.assignment.pinned.get(value)
            if fixed is not None:
                self.parameters[value] = fixed_parameters(fixed, self.storage.activations)
            else:
                low, high = self._slots.get(self.assignment.slot(value)) or self._observed(value)
                self.parameters[value] = self._parameters(low, high)
        return self.parameters[value]

    def _parameters(self, low: float, high: float) -> Parameters:
        return activation_parameters(low, high, self.storage.activations, symmetric=self.storage.symmetric)

    def weigh(self, member: Member, *, per_channel: bool) -> None:
        """Quantises weights, bias and constant operands of one group."""
        anchor = member.group.anchor
        rule = member.rule
        if rule.weights is not None and rule.weights[0] not in member.data:
            source = anchor.inputs[member.data[0]]
            assert source is not None
            step = self.parameters_of(source).scale
            bias_node = member.group.bias or anchor
            bias_index = rule.bias
            if member.group.bias is not None:
                bias_index = next(i for i, v in enumerate(bias_node.inputs) if weights_behind(v) is not None)
            self._weights(anchor, rule.weights, bias_node, bias_index, step, per_channel)
        for index in member.data:
            value = anchor.inputs[index]
            array = constant_of(value)
            if value is None or array is None:
                continue
            if member.shares:
                found = self.parameters_of(member.outputs[0])
            else:
                found = self._parameters(float(array.min()), float(array.max()))
            anchor.replace_input_with(index, self._constant(value, array, np.array([found.scale]), found.zero_point))

    def _weights(
        self,
        anchor: ir.Node,
        place: tuple[int, int],
        bias_node: ir.Node,
        bias_index: int | None,
        step: float,
        per_channel: bool,
    ) -> None:
        index, axis = place
        value = anchor.inputs[index]
        weights = constant_of(value)
        assert value is not None
        assert weights is not None
        dtype, narrow = self.storage.weights, self.storage.narrow
        scale = weight_scale(weights, axis if per_channel else None, dtype, narrow=narrow)
        bias_value = (
            bias_node.inputs[bias_index] if bias_index is not None and bias_index < len(bias_node.inputs) else None
        )
        bias = constant_of(bias_value) if self.storage.bias is not None else None
        if bias is not None:
            scale = self._room_for_bias(scale, bias, step, anchor)
        stored_axis = axis if scale.size > 1 else None
        stored = self._constant(value, weights, scale, 0, stored_axis, dtype=dtype, narrow=narrow)
        anchor.replace_input_with(index, stored)
        if bias is not None and bias_value is not None and bias_index is not None:
            steps = (np.float32(step) * scale).astype(np.float32)
            stored = self._constant(bias_value, bias, steps, 0, 0 if steps.size > 1 else None, dtype=self.storage.bias)
            bias_node.replace_input_with(bias_index, stored)

    def _room_for_bias(self, scale: Array, bias: Array, step: float, anchor: ir.Node) -> Array:
        """Raises a weight's scale where the bias would overflow: |bias| <= 2^30 step scale (TensorFlow's kBiasMax)."""
        magnitude = np.abs(bias).reshape(-1)
        if scale.size == 1:
            magnitude = magnitude.max(initial=0.0).reshape(1)
        needed = (magnitude / (BIAS_LIMIT * step)).astype(np.float32)
        raised = needed > scale
        if raised.any():
            self.notes.append(
                f"{anchor.name}: {int(raised.sum())} channels have a coarser weight scale, to fit their bias"
            )
        widened: Array = np.maximum(scale, needed)
        return widened

    def _constant(
        self,
        value: ir.Value,
        array: Array,
        scale: Array,
        zero_point: int,
        axis: int | None = None,
        dtype: str | None = None,
        *,
        narrow: bool = True,
    ) -> ir.Value:
        """A DequantizeLinear of a new integer initialiser."""
        integers = quantize_array(array, scale, zero_point, dtype or self.storage.activations, axis, narrow=narrow)
        return self.speller.stored(ir.Tensor(integers), scale, zero_point, axis, value.name or "constant")

    def quantise(self, value: ir.Value, members: Sequence[Member], *, everywhere: bool) -> None:
        """Puts QuantizeLinear and DequantizeLinear after a value, for all its readers or for the integer ones."""
        inside = {node for member in members for node in member.group.nodes} if not everywhere else None
        uses = [use for use in value.uses() if inside is None or use.node in inside]
        found = self.parameters_of(value)
        was_output = value.is_graph_output() and everywhere
        name = value.name or "value"
        back = self.speller.pair(value, found)
        for use in uses:
            use.node.replace_input_with(use.idx, back)
        if was_output:
            value.name = Builder(self.graph).unique(f"{name}/float")
            back.name = name
            for index, output in enumerate(self.graph.outputs):
                if output is value:
                    self.graph.outputs[index] = back
        self.dequantized[value] = back

    def requantise_shared(self) -> None:
        """Case 4 of `assign`: a pinned tensor among others of another scale is requantised on its edge."""
        for member in self.assignment.members:
            if not member.shares or not member.outputs:
                continue
            wanted = self.parameters_of(member.outputs[0])
            originals = {back: value for value, back in self.dequantized.items()}
            for index in member.data:
                back = member.group.anchor.inputs[index]
                value = originals.get(back) if back is not None else None
                if value is None or back is None or self.parameters_of(value) == wanted:
                    continue
                member.group.anchor.replace_input_with(index, self.speller.pair(back, wanted))

    def integer_ports(self, port_type: str) -> None:
        """Inputs are fed as integers, outputs handed out as integers."""
        for index, value in enumerate(list(self.graph.inputs)):
            if value not in self.dequantized:
                continue
            back = self.dequantized[value]
            quantize = next(iter(value.uses())).node
            found = _as_port(self.parameters_of(value), port_type)
            port = ir.Value(
                name=value.name, type=ir.TensorType(ir.DataType.from_numpy(np.dtype(found.dtype))), shape=value.shape
            )
            value.name = Builder(self.graph).unique(f"{port.name}/float")
            self.graph.inputs[index] = port
            if found == self.parameters_of(value):
                dequantize = back.producer()
                assert dequantize is not None
                dequantize.replace_input_with(0, port)
                self.graph.remove(quantize, safe=True)
            else:
                quantize.replace_input_with(0, self.speller.dequantized(port, found, f"{port.name}/fed"))
        for index, output in enumerate(list(self.graph.outputs)):
            node = output.producer()
            dequantize = dequantizer(node.inputs[0] if node is not None and node.op_type == "Identity" else output)
            if dequantize is None:
                continue
            self._integer_output(index, output, dequantize, port_type)

    def _integer_output(self, index: int, output: ir.Value, dequantize: ir.Node, port_type: str) -> None:
        integers, found = dequantize.inputs[0], parameters_of(dequantize)
        assert integers is not None
        assert found is not None
        name = output.name or "output"
        wanted = _as_port(found, port_type)
        output.name = Builder(self.graph).unique(f"{name}/float")
        if wanted != found or output.producer() is not dequantize:
            integers = self.speller.quantized(output, wanted, f"{name}/port")
            self.graph.outputs[index] = integers
        else:
            self.graph.outputs[index] = integers
            if not output.uses():
                self.graph.remove(dequantize, safe=True)
        integers.name = name


def _as_port(found: Parameters, port_type: str) -> Parameters:
    """The same scale in another 8-bit type."""
    if found.dtype == port_type:
        return found
    shift = 128 if port_type == "uint8" else -128
    return Parameters(found.scale, found.zero_point + shift, port_type)
