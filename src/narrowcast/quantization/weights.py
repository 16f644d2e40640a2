"""Weights of a quantised graph: those of integer groups, with biases and constant operands, and those of float ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from narrowcast.dialect.build import Builder, constant_of, tensor_of
from narrowcast.dialect.deferred import derive, is_deferred
from narrowcast.dialect.recurrent import LAYERS, matrices_of
from narrowcast.errors import DataError, UsageError
from narrowcast.model import NARROWCAST, Array, Model, ir
from narrowcast.passes.fold.replace import substitute
from narrowcast.quantization.activations import Scales
from narrowcast.quantization.logarithms import QUIET, before_logarithms
from narrowcast.quantization.members import Member
from narrowcast.quantization.overrides import Choice
from narrowcast.quantization.parameters import (
    BIAS_LIMIT,
    block_scale,
    grid_scale,
    limits,
    power_of_two,
    quantize_array,
    quantize_blocks,
    weight_scale,
)
from narrowcast.targets.decide import bias_of
from narrowcast.targets.groups import group, rule_of
from narrowcast.targets.rules import OpRule, Storage, Target, storable
from narrowcast.targets.spelling import Speller, note_explicit

__all__ = ["IntegerWeights", "Weigher", "hybrid_weights", "recurrent_weights"]

SMALLEST = 1024
"""Weights of fewer elements stay as they are, or have 8 bits: nothing is gained."""
FEW_STEPS = 4
"""Of a channel's largest weight: with fewer it is lost."""
UNEVEN = "some channels are lost (weights per channel keep them), as one scale leaves them fewer than 4 steps"
FEW = f"fewer than {SMALLEST} are no gain in 4"


@dataclass(frozen=True, slots=True)
class IntegerWeights:
    """Weights that were rounded elsewhere: by training, or layer by layer.

    Attributes:
        integers: in the shape of the prepared graph's weights, of the type that the target stores.
        scale: real = scale * integer; shape [1], or [channels] along the axis of the target's rule.
    """

    integers: Array
    scale: Array


@dataclass(frozen=True, slots=True)
class Weigher:
    """Stores the constants of integer groups.

    Attributes:
        speller: of the graph.
        scales: of activations.
        per_channel: whether weights have a scale for each output channel.
        gridded: whether they were dequantised, and may be stored without a further loss.
        given: weights that are integers already, by the name of the constant.
        notes: for the user; grows.
        wider: nodes whose weights have more bits than asked for, or larger blocks, by the reason; grows.
    """

    speller: Speller
    scales: Scales
    per_channel: bool
    gridded: bool
    given: Mapping[str, IntegerWeights]
    notes: list[str]
    wider: dict[str, list[ir.Node]] = field(default_factory=dict)

    def check(self, members: Sequence[Member]) -> None:
        """Every given weight is that of a group.

        Raises:
            UsageError: one is not.
        """
        places = [(member.group.anchor, member.rule.weights) for member in members]
        known = {anchor.inputs[place[0]] for anchor, place in places if place is not None}
        for name in set(self.given) - {value.name for value in known if value is not None}:
            raise UsageError(
                f"no integer group has weights named {name!r}", hint="name constants of the prepared model"
            )

    def weigh(self, member: Member) -> None:
        """Quantises weights, bias and constant operands of one group."""
        anchor, rule = member.group.anchor, member.rule
        if rule.weights is not None and rule.weights[0] not in member.data:
            self._weights(member, *rule.weights)
        for index in member.data:
            value = anchor.inputs[index]
            array = constant_of(value)
            if value is None or array is None:
                continue
            found = self.scales.of_constant(member, array)
            integers = quantize_array(array, np.array([found.scale]), found.zero_point, found.dtype)
            anchor.replace_input_with(
                index, self._stored(value, integers, np.array([found.scale]), found.zero_point, None)
            )

    def _weights(self, member: Member, index: int, axis: int) -> None:
        anchor, storage = member.group.anchor, _storable(member.group.anchor, member.rule, member.storage, self.wider)
        if not self.per_channel:
            _note_uneven(anchor, member.rule, storage, self.wider)
        value, source = anchor.inputs[index], anchor.inputs[member.data[0]]
        weights = constant_of(value)
        assert value is not None
        assert source is not None
        assert weights is not None
        step = self.scales.of(member.stored(source)).scale
        place = bias_of(member.group, member.rule) if storage.bias is not None else None
        bias = constant_of(place[0].inputs[place[1]]) if place is not None else None
        given = self.given.get(value.name or "")
        if given is not None:
            integers, scale = _fitting(given, weights, axis, storage, value.name or "")
        else:
            scale = weight_scale(
                weights,
                axis if self.per_channel else None,
                storage.weights,
                narrow=storage.narrow,
                powers=storage.powers,
            )
            if self.gridded and not storage.powers:
                scale = grid_scale(weights, axis if self.per_channel else None, scale, storage.weights)
            if bias is not None:
                scale = self._room_for_bias(scale, bias, step, anchor)
                scale = power_of_two(scale) if storage.powers else scale
            along = axis if scale.size > 1 else None
            integers = quantize_array(weights, scale, 0, storage.weights, along, narrow=storage.narrow)
        along = axis if scale.size > 1 else None
        anchor.replace_input_with(index, self._stored(value, integers, scale, 0, along))
        if place is not None and bias is not None and storage.bias is not None:
            node, at = place
            steps = (np.float32(step) * scale).astype(np.float32)
            along = 0 if steps.size > 1 else None
            stored = self._stored(node.inputs[at], quantize_array(bias, steps, 0, storage.bias, along), steps, 0, along)
            node.replace_input_with(at, stored)

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

    def _stored(
        self, value: ir.Value | None, integers: Array, scale: Array, zero_point: int, axis: int | None
    ) -> ir.Value:
        name = (value.name if value is not None else None) or "constant"
        return self.speller.stored(ir.Tensor(integers), scale, zero_point, axis, name)


def _fitting(given: IntegerWeights, weights: Array, axis: int, storage: Storage, name: str) -> tuple[Array, Array]:
    """Integers and scale of ready-made weights, checked."""
    scale = np.asarray(given.scale, np.float32).reshape(-1)
    if given.integers.shape != weights.shape or given.integers.dtype.name != storage.weights:
        raise DataError(
            f"the integer weights for {name!r} are {given.integers.dtype} of shape {given.integers.shape}",
            hint=f"{storage.weights} of shape {weights.shape}",
        )
    if scale.size not in (1, weights.shape[axis]) or not (np.isfinite(scale) & (scale > 0)).all():
        raise DataError(
            f"the scale of the integer weights for {name!r} does not fit",
            hint=f"positive, one number or {weights.shape[axis]}",
        )
    return given.integers, scale


def _storable(node: ir.Node, rule: OpRule, wanted: Storage, wider: dict[str, list[ir.Node]]) -> Storage:
    """How the weights of a node are stored, and a note where that is not as wanted."""
    assert rule.weights is not None
    tensor = tensor_of(node.inputs[rule.weights[0]])
    few = wanted.weights == "int4" and tensor is not None and tensor.size < SMALLEST
    storage, why = (replace(wanted, weights="int8", block=0), FEW) if few else storable(node, rule, wanted)
    if why:
        what = "weights in 8 bits" if storage.weights == "int8" else "weights with a scale for each channel"
        wider.setdefault(f"{what}, as {why}", []).append(node)
    return storage


def _note_uneven(node: ir.Node, rule: OpRule, storage: Storage, told: dict[str, list[ir.Node]]) -> None:
    """Notes a node whose weights, by one scale, leave an output channel with few steps."""
    assert rule.weights is not None
    index, axis = rule.weights
    tensor = tensor_of(node.inputs[index])
    if tensor is None or is_deferred(tensor) or not tensor.size:
        return
    peaks = np.abs(tensor.numpy()).max(axis=tuple(place for place in range(len(tensor.shape)) if place != axis))
    step = float(peaks.max()) / limits(storage.weights)[1]
    if ((peaks > 0) & (peaks < FEW_STEPS * step)).any():
        told.setdefault(UNEVEN, []).append(node)


def hybrid_weights(
    model: Model, target: Target, choice: Choice, wider: dict[str, list[ir.Node]], *, per_channel: bool
) -> None:
    """Stores as integers the weights of operators whose activations stay in float.

    These have hybrid kernels, which multiply the integers, or the storage says that the weights become floats first.
    What feeds a logarithm keeps its own: roundings of a filter bank would drown the quiet bands.
    `wider` is as for `Weigher`.
    """
    graph, delicate = model.graph, before_logarithms(model.graph)
    done: dict[tuple[ir.Value, int | None, Storage], ir.Value] = {}
    for node in list(graph):
        rule, wanted = rule_of(node, target), choice.of(group(node, target).nodes)
        if rule is None or rule.weights is None or not (rule.hybrid or wanted.explicit):
            continue
        if wanted.activations != "float32" or wanted.weights in ("float32", "float16"):
            continue
        index, axis = rule.weights
        value = node.inputs[index]
        tensor = tensor_of(value)
        if value is None or tensor is None or tensor.size < SMALLEST:
            continue
        if node.op_type == "MatMul" and len(tensor.shape) != 2:
            continue
        if node in delicate:
            wider.setdefault(f"float weights, as {QUIET}", []).append(node)
            continue
        if (product := target.integers.get("MatMul")) and _is_better_as(product, node, rule, wanted):
            node, rule = _as_product(graph, node), product
            index, axis = 1, 1
            value = node.inputs[index]
            assert value is not None
        storage = _storable(node, rule, wanted, wider)
        if not (per_channel or storage.block):
            _note_uneven(node, rule, storage, wider)
        along = 1 - axis if storage.block else axis if per_channel else None
        key = (value, along, storage)
        if key not in done:
            done[key] = _stored(graph, value, along, storage, gridded=model.unedited is not None)
            if storage.explicit and not rule.as_they_come:
                note_explicit(done[key])
        node.replace_input_with(index, done[key])


def _is_better_as(product: OpRule, node: ir.Node, rule: OpRule, wanted: Storage) -> bool:
    """Whether a dense layer's weights can have 4 bits as a MatMul's, but not as they are."""
    narrow = node.op_type == "Gemm" and wanted.weights == "int4"
    return narrow and rule.int4(node, wanted) != "" and product.int4(node, wanted) == ""


def _as_product(graph: ir.Graph, node: ir.Node) -> ir.Node:
    """The MatMul that a Gemm becomes, with an Add behind it where it has a bias."""
    build, weights = Builder(graph, anchor=node), tensor_of(node.inputs[1])
    output, named = node.outputs[0], node.inputs[1]
    assert weights is not None
    assert named is not None
    shape = tuple(reversed(weights.shape.numpy()))
    turned = derive(lambda array: np.ascontiguousarray(array.T), weights, shape=shape, dtype=weights.dtype)
    matrix = build.initializer(turned, f"{named.name}/turned")
    product: ir.Value = build("MatMul", node.inputs[0], matrix, shape=output.shape, name=f"{output.name}/product")
    made = product
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        made = build("Add", product, node.inputs[2], shape=output.shape, name=f"{output.name}/sum")
    substitute(build, output, made)
    found = product.producer()
    assert found is not None
    return found


def recurrent_weights(model: Model, target: Target, choice: Choice) -> None:
    """Stores as 8-bit integers the matrices of recurrent operators with hybrid kernels: all of one operator, or none.

    Each has one scale, and all are counted together, as an operator has many of them.
    """
    graph, gridded = model.graph, model.unedited is not None
    for node in list(graph):
        rule = rule_of(node, target) if node.domain == NARROWCAST and node.op_type in LAYERS else None
        if rule is None or not rule.hybrid or not choice.of((node,)).weights.startswith("int"):
            continue
        places = matrices_of(node)
        tensors = [tensor_of(node.inputs[index]) for index in places]
        if any(tensor is None or tensor.dtype is not ir.DataType.FLOAT for tensor in tensors):
            continue
        if sum(tensor.size for tensor in tensors if tensor is not None) < SMALLEST:
            continue
        for index in places:
            value = node.inputs[index]
            assert value is not None
            made = _stored(graph, value, None, Storage(weights="int8"), gridded=gridded)
            if choice.of((node,)).explicit:
                note_explicit(made)
            node.replace_input_with(index, made)


def _stored(graph: ir.Graph, value: ir.Value, axis: int | None, storage: Storage, *, gridded: bool) -> ir.Value:
    """A DequantizeLinear of the integers of a constant, with scales along an axis, or of blocks along it."""
    tensor = tensor_of(value)
    assert tensor is not None
    kind, narrow, shape, name = storage.weights, storage.narrow, tensor.shape.numpy(), value.name or "weights"
    if storage.block:
        assert axis is not None
        blocks, along = block_scale(tensor.numpy(), axis, storage.block, kind, narrow=narrow), axis
        runs = derive(
            lambda array: quantize_blocks(array, blocks, along, kind, narrow=narrow),
            tensor,
            shape=shape,
            dtype=ir.DataType.from_numpy(np.dtype(kind)),
        )
        return Speller(graph).stored(runs, blocks, 0, axis, name, storage.block)
    scale = weight_scale(tensor.numpy(), axis, kind, narrow=narrow)
    if gridded:
        scale = grid_scale(tensor.numpy(), axis, scale, kind)
    dtype = ir.DataType.from_numpy(np.dtype(kind))
    small = derive(
        lambda array: quantize_array(array, scale, 0, kind, axis, narrow=narrow), tensor, shape=shape, dtype=dtype
    )
    return Speller(graph).stored(small, scale, 0, axis, name)
