"""Bias correction: each layer's bias takes back the mean error of its output.

Weights that are rounded, and inputs that are, move a layer's output by W E[x] - Wq E[xq] on average, the same in each
channel wherever it is, which a bias undoes at no cost (M. Nagel et al., Data-Free Quantization Through Weight
Equalization and Bias Correction, https://arxiv.org/abs/1906.04721, section 4.2). Here the mean is measured: each layer
is computed a second time, by its stored weights, on what the float network hands it.
"""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import Builder
from narrowcast.model import Array, Model, ir
from narrowcast.quantization.parameters import quantize_array
from narrowcast.quantization.repairs import Evidence
from narrowcast.quantization.repairs.layers import LINEAR, Layer, layers_of
from narrowcast.reference import Reference
from narrowcast.targets.spelling import Speller, dequantizer, parameters_of, real_of, scales_of, weights_behind

__all__ = ["repair"]

SAMPLES = 32
"""Their mean is known well enough: a layer's output has many places."""


def repair(model: Model, evidence: Evidence) -> Model:
    """A copy of a quantised model with corrected biases; see `repairs.repaired`."""
    copy = model.clone()
    layers = [layer for layer in layers_of(copy, evidence.floats, evidence.target) if _may_shift(layer)]
    for layer, shift in zip(layers, _mean_errors(layers, evidence), strict=True):
        if np.isfinite(shift).all():
            _shift(copy, layer, shift, evidence)
    return copy


def _may_shift(layer: Layer) -> bool:
    """Whether a layer has a bias that is constant, or can be given one."""
    if layer.bias is not None:
        node, index = layer.bias
        return weights_behind(node.inputs[index]) is not None
    return layer.node.op_type != "MatMul"


def _mean_errors(layers: list[Layer], evidence: Evidence) -> list[Array]:
    """For each layer, what its channels lack on average. Shapes [channels]."""
    measured = evidence.floats.clone()
    twins = {node.name: node for node in measured.graph}
    build = Builder(measured.graph)
    names = []
    for layer in layers:
        twin = twins[layer.twin.name]
        source, output = twin.inputs[0], twin.outputs[0]
        assert source is not None
        lacks = build("Sub", output, layer.copied(build, source), shape=output.shape)
        rank, channels = len(output.shape or ()), LINEAR[twin.op_type]
        axes = build.constant([axis for axis in range(rank) if axis != channels % rank], "axes", np.int64)
        names.append(build("ReduceMean", lacks, axes, dtype=np.float32, keepdims=0).name)
    if not layers:
        return []
    reference = Reference(measured, names)
    sums: dict[str, Array] = {}
    count = 0
    for feed in evidence.samples(SAMPLES):
        found = reference.run(feed)
        sums = {name: found[name].astype(np.float64) + sums.get(name, 0.0) for name in names}
        count += 1
        evidence.progress(count)
    return [sums[name] / count for name in names]


def _shift(model: Model, layer: Layer, shift: Array, evidence: Evidence) -> None:
    """Adds to a layer's bias, which it is given where it has none."""
    node, index = layer.bias or (layer.node, 2)
    old = node.inputs[index] if index < len(node.inputs) else None
    behind = dequantizer(old)
    stored = weights_behind(old)
    if behind is not None:
        real, scales = real_of(behind), scales_of(behind)
        steps = None if scales is None else scales[0]
    else:
        real = None if stored is None or stored.const_value is None else stored.const_value.numpy()
        steps = _steps(layer, evidence, model.scheme) if old is None else None
    wanted = (np.zeros(shift.shape) if real is None else real.reshape(-1).astype(np.float64)) + shift
    build = Builder(model.graph, anchor=next(iter(model.graph), None))
    name = f"{node.name}/bias" if stored is None else stored.name or "bias"
    if steps is None:
        new: ir.Value = build.constant(wanted.astype(np.float32), name)
    else:
        along = 0 if steps.size > 1 else None
        integers = quantize_array(wanted, steps.astype(np.float64), 0, "int32", along)
        new = Speller(model.graph).stored(ir.Tensor(integers), steps, 0, along, name)
    if index >= len(node.inputs):
        node.resize_inputs(index + 1)
    node.replace_input_with(index, new)


def _steps(layer: Layer, evidence: Evidence, scheme: str) -> Array | None:
    """The scales of a bias that a layer has not had, None where it is to be a float."""
    before, weights = parameters_of(dequantizer(layer.source)), scales_of(layer.weights)
    storage = evidence.target.storage.get(scheme)
    if before is None or weights is None or storage is None or storage.bias is None:
        return None
    steps: Array = (np.float32(before.scale) * weights[0]).astype(np.float32)
    return steps
