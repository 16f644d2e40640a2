"""Weights rounded one column after the other, the later ones making up for what the earlier ones have lost.

What counts is not how far the weights are off, but what a layer computes by them: the error of its output over the
samples is d H d' for the difference d of a row of weights, where H is the second moment of what the layer multiplies.
After each column the rest is set to what minimises that (E. Frantar et al., GPTQ: Accurate Post-Training Quantization
for Generative Pre-trained Transformers, https://arxiv.org/abs/2210.17323, algorithm 1), columns of the largest moment
first. Scales stay, so the file keeps its size and its speed.
"""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import Builder, constant_of
from narrowcast.dialect.windows import windows_of
from narrowcast.model import Array, Model, ir
from narrowcast.quantization.repairs import Evidence
from narrowcast.quantization.repairs.layers import Layer, layers_of, range_of, steps_of
from narrowcast.quantization.repairs.moments import input_moments, widths
from narrowcast.quantization.repairs.products import matrices, weights_of

__all__ = ["output_error", "repair", "rounded"]

LARGEST = 8192
"""Columns of a layer's matrix beyond which it keeps its weights: the work grows with their cube."""

DAMPING = 0.01
"""Of the mean of the moment's diagonal, added to it."""
BLOCK = 128
"""Columns that are rounded before the others are told of it."""


def repair(model: Model, evidence: Evidence) -> Model:
    """A copy of a quantised model with other integers as weights; see `repairs.repaired`."""
    copy = model.clone()
    shared: dict[ir.Node, list[Layer]] = {}
    for layer in layers_of(copy, evidence.floats, evidence.target):
        shared.setdefault(layer.weights, []).append(layer)
    shared = {weights: layers for weights, layers in shared.items() if _may_round(weights, layers)}
    twins = {weights: [layer.twin for layer in layers] for weights, layers in shared.items()}
    for weights, moment in input_moments(twins, evidence):
        if np.isfinite(moment).all():
            _round(copy, weights, shared[weights][0].twin, moment)
    return copy


def _may_round(weights: ir.Node, layers: list[Layer]) -> bool:
    """Whether nothing but products of one form reads some weights, whose scales and real numbers are known."""
    first = layers[0].twin
    real, steps = constant_of(first.inputs[1]), steps_of(weights)
    if real is None or steps is None or steps.shape != real.shape or widths(first)[1] > LARGEST:
        return False
    if real.dtype != np.float32 or (first.op_type == "MatMul" and real.ndim != 2) or not np.isfinite(real).all():
        return False
    convolutions = [layer.twin for layer in layers if layer.twin.op_type in ("Conv", "ConvTranspose")]
    if real.size == 0 or any(windows_of(node) is None for node in convolutions):
        return False
    alike = {(layer.node.op_type, widths(layer.twin)) for layer in layers}
    same = all(layer.twin.inputs[1] is first.inputs[1] for layer in layers)
    return same and len(alike) == 1 and len(weights.outputs[0].uses()) == len(layers)


def _round(model: Model, weights: ir.Node, twin: ir.Node, moment: Array) -> None:
    stored, real, steps = weights.inputs[0], constant_of(twin.inputs[1]), steps_of(weights)
    assert stored is not None
    assert real is not None
    assert steps is not None
    low, high, zero = range_of(weights)
    found = rounded(matrices(twin, real), matrices(twin, steps), (low, high), moment)
    old = constant_of(stored)
    assert old is not None
    integers = (weights_of(twin, found, real.shape) + zero).astype(old.dtype)
    if not (integers == old).all():
        build = Builder(model.graph, anchor=next(iter(model.graph), None))
        weights.replace_input_with(0, build.constant(integers, stored.name or "weights"))


def rounded(weights: Array, steps: Array, bounds: tuple[int, int], moment: Array) -> Array:
    """Integers for the weights of a layer.

    Args:
        weights: real, [groups, out, inner].
        steps: the scale of each, broadcast to the same shape.
        bounds: the lowest and the highest integer.
        moment: mean of x x' over the columns x that the layer multiplies, [groups, inner, inner].

    Returns:
        Whole numbers as float64, [groups, out, inner]: of each row either these or the nearest ones, whatever costs
        less at the output by `moment`.
    """
    moment = moment.astype(np.float64)
    diagonal = np.diagonal(moment, axis1=1, axis2=2)
    weights, steps = (np.asarray(array, np.float64) for array in np.broadcast_arrays(weights, steps))
    nearest = np.clip(np.rint(weights / steps), *bounds)
    order = np.argsort(-diagonal, axis=1, kind="stable")[:, None, :]
    factor = _factor(np.take_along_axis(np.take_along_axis(moment, order.swapaxes(1, 2), 1), order, 2))
    wanted, scales = (np.take_along_axis(array, order, 2) for array in (weights, steps))
    off, so_far = np.empty_like(wanted), np.zeros_like(wanted)
    count = wanted.shape[2]
    for start in range(0, count, BLOCK):
        end = min(start + BLOCK, count)
        for column in range(start, end):  # what makes up for the columns before, were it no whole number
            free = wanted[:, :, column] + so_far[:, :, column] / factor[:, None, column, column]
            integers = np.clip(np.rint(free / scales[:, :, column]), *bounds)
            off[:, :, column] = wanted[:, :, column] - integers * scales[:, :, column]
            so_far[:, :, column + 1 : end] += off[:, :, column, None] * factor[:, None, column, column + 1 : end]
        so_far[:, :, end:] += off[:, :, start:end] @ factor[:, start:end, end:]
    found = np.empty_like(nearest)
    np.put_along_axis(found, np.broadcast_to(order, found.shape), np.rint((wanted - off) / scales), 2)
    worse = output_error(found * steps - weights, moment) >= output_error(nearest * steps - weights, moment)
    return np.where(worse[..., None], nearest, found)


def _factor(moment: Array) -> Array:
    """The upper triangle R with R R' = the damped moment, [groups, inner, inner]."""
    diagonal = np.arange(moment.shape[-1])
    mean = moment[:, diagonal, diagonal].mean(axis=1, keepdims=True)
    damped = moment.copy()
    damped[:, diagonal, diagonal] += np.where(mean > 0, DAMPING * mean, 1.0)
    return np.linalg.cholesky(damped[:, ::-1, ::-1])[:, ::-1, ::-1]


def output_error(off: Array, moment: Array) -> Array:
    """The mean square of what a layer computes by differences of its weights, [groups, out]."""
    found: Array = np.einsum("goi,goi->go", off @ moment, off)
    return found
