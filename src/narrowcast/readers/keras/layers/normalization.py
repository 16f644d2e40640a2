"""Normalisation layers."""

from __future__ import annotations

import numpy as np

from narrowcast.errors import ModelFileError
from narrowcast.model import Array
from narrowcast.readers.emit import Tensor, permuted
from narrowcast.readers.keras.config import LayerConfig
from narrowcast.readers.keras.emit import Emitter, Weights
from narrowcast.readers.keras.registry import Inputs, layer


def _affine(layer: LayerConfig, *others: str) -> tuple[str, ...]:
    """Slots: gamma and beta, where the layer scales and centres, then the variables that are not trained."""
    gamma = ("gamma",) if layer.flag("scale", True) else ()
    beta = ("beta",) if layer.flag("center", True) else ()
    return (*gamma, *beta, *others)


@layer(
    "BatchNormalization",
    "SyncBatchNormalization",
    weights=lambda layer: _affine(layer, "~moving_mean", "~moving_variance"),
    masks="pass",
)
def batch_normalization(g: Emitter, layer: LayerConfig, weights: Weights, inputs: Inputs) -> Tensor:
    """`gamma * (x - mean) / sqrt(variance + epsilon) + beta` per index of one axis (Ioffe and Szegedy, 2015)."""
    x = g.floating(inputs.x)
    axis = x.axis(layer.integer("axis", -1))
    mean, variance = weights["moving_mean"], weights["moving_variance"]
    count = x.dim(axis)
    if any(array.shape != (count,) for array in weights.values()):
        raise ModelFileError(f"its weights do not have the {count} elements of axis {axis} of {x.shape}")
    gamma = weights.get("gamma", np.ones(count, np.float32))
    beta = weights.get("beta", np.zeros(count, np.float32))
    epsilon = layer.number("epsilon", 1e-3)
    if axis not in (1, x.rank - 1):
        scale = gamma / np.sqrt(variance + np.float32(epsilon))
        shape = [count if at == axis else 1 for at in range(x.rank)]
        scaled = g.pointwise("Mul", x, g.constant(scale.reshape(shape), "scale"))
        return g.pointwise("Add", scaled, g.constant((beta - mean * scale).reshape(shape), "offset"))
    last = axis == x.rank - 1 and x.rank > 2
    constants = [
        g.constant(array, name)
        for array, name in ((gamma, "gamma"), (beta, "beta"), (mean, "mean"), (variance, "variance"))
    ]
    value = g.spatial(x, last)
    assert value.shape is not None
    shape_first = (x.shape[0], x.shape[-1], *x.shape[1:-1]) if last else x.shape
    made = g.raw("BatchNormalization", value, *constants, shape=shape_first, epsilon=epsilon)
    return g.from_spatial(made, shape_first, x.dtype, last)


def _axes(layer: LayerConfig, x: Tensor) -> list[int]:
    """The axes that are normalised over, sorted and counted from the front."""
    axis = layer.get("axis", -1)
    axes = axis if isinstance(axis, list | tuple) else [axis]
    if not axes or not all(isinstance(item, int) for item in axes):
        raise ModelFileError(f"axis is {str(axis)[:80]}, not an integer or a list of integers")
    return sorted({x.axis(item) for item in axes})


def _trailing(g: Emitter, x: Tensor, axes: list[int]) -> tuple[Tensor, list[int]]:
    """The tensor with the normalised axes at its end, and the permutation that undoes that."""
    order = [axis for axis in range(x.rank) if axis not in axes] + axes
    undo = [order.index(axis) for axis in range(x.rank)]
    return g.transpose(x, order), undo


def _parameter(array: Array, x: Tensor, axes: list[int]) -> Array:
    """A parameter in the shape of the normalised axes.

    Raises:
        ModelFileError: it has another size.
    """
    shape = tuple(x.dim(axis) for axis in axes)
    if array.shape != shape:
        raise ModelFileError(f"a weight of shape {array.shape} does not fit the axes {axes} of {x.shape}")
    return array


def _layer_slots(layer: LayerConfig) -> tuple[str, ...]:
    return ("gamma",) if layer.flag("rms_scaling", False) else _affine(layer)


@layer("LayerNormalization", weights=_layer_slots, masks="pass")
def layer_normalization(g: Emitter, layer: LayerConfig, weights: Weights, inputs: Inputs) -> Tensor:
    """`gamma * (x - mean) / sqrt(variance + epsilon) + beta` over some axes (Ba et al., 2016).

    With `rms_scaling` the mean is not subtracted, though the variance is taken about it.
    """
    x = g.floating(inputs.x)
    axes = _axes(layer, x)
    epsilon = layer.number("epsilon", 1e-3)
    parameters = {name: _parameter(array, x, axes) for name, array in weights.items()}
    if layer.flag("rms_scaling", False):
        return _deviation_scaled(g, x, axes, epsilon, parameters["gamma"])
    shape = tuple(x.dim(axis) for axis in axes)
    moved, undo = _trailing(g, x, axes)
    scale = g.constant(parameters["gamma"], "gamma") if "gamma" in parameters else g.filled(1.0, shape, "gamma")
    bias = g.constant(parameters["beta"], "beta") if "beta" in parameters else None
    made = g.op("LayerNormalization", moved, scale, bias, shape=moved.shape, axis=x.rank - len(axes), epsilon=epsilon)
    return g.transpose(made, undo)


def _deviation_scaled(g: Emitter, x: Tensor, axes: list[int], epsilon: float, gamma: Array) -> Tensor:
    centred = g.pointwise("Sub", x, g.reduce("ReduceMean", x, axes, keepdims=True))
    variance = g.reduce("ReduceMean", g.pointwise("Mul", centred, centred), axes, keepdims=True)
    deviation = g.pointwise("Sqrt", g.pointwise("Add", variance, epsilon))
    shape = [x.dim(axis) if axis in axes else 1 for axis in range(x.rank)]
    return g.pointwise("Mul", g.pointwise("Div", x, deviation), g.constant(gamma.reshape(shape), "gamma"))


@layer("RMSNormalization", weights=("scale",))
def rms_normalization(g: Emitter, layer: LayerConfig, weights: Weights, inputs: Inputs) -> Tensor:
    """`scale * x / sqrt(mean(x^2) + epsilon)` over some axes (Zhang and Sennrich, 2019)."""
    x = g.floating(inputs.x)
    axes = _axes(layer, x)
    moved, undo = _trailing(g, x, axes)
    scale = g.constant(_parameter(weights["scale"], x, axes), "scale")
    made = g.op(
        "RMSNormalization",
        moved,
        scale,
        shape=moved.shape,
        axis=x.rank - len(axes),
        epsilon=layer.number("epsilon", 1e-6),
    )
    return g.transpose(made, undo)


@layer("UnitNormalization", masks="pass")
def unit_normalization(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """X divided by its Euclidean norm over some axes; zeros stay zeros."""
    x = g.floating(inputs.x)
    axes = _axes(layer, x)
    if len(axes) == 1:
        return g.op("LpNormalization", x, shape=x.shape, axis=axes[0], p=2)
    norm = g.reduce("ReduceL2", x, axes, keepdims=True)
    return g.pointwise("Div", x, g.pointwise("Max", norm, 1e-12))


@layer("GroupNormalization", weights=_affine, masks="pass")
def group_normalization(g: Emitter, layer: LayerConfig, weights: Weights, inputs: Inputs) -> Tensor:
    """Normalises groups of neighbouring channels over all axes but the batch (Wu and He, 2018)."""
    x = g.floating(inputs.x)
    axis = x.axis(layer.integer("axis", -1))
    count = x.dim(axis)
    groups = layer.integer("groups", 32)
    groups = count if groups == -1 else groups
    if groups < 1 or count % groups or any(array.shape != (count,) for array in weights.values()):
        raise ModelFileError(f"{groups} groups with these weights do not fit the {count} channels of {x.shape}")
    order = [0, axis, *(other for other in range(1, x.rank) if other != axis)]
    undo = [order.index(other) for other in range(x.rank)]
    last = axis == x.rank - 1 and x.rank > 2
    moved = x if last else g.transpose(x, order)
    if moved.rank == 2:
        moved = g.reshape(moved, (*moved.shape, 1))
    shape_first = permuted(x.shape, order) if last else moved.shape
    made = g.raw(
        "GroupNormalization",
        g.spatial(moved, last),
        g.constant(weights["gamma"], "gamma") if "gamma" in weights else g.filled(1.0, (count,), "gamma"),
        g.constant(weights["beta"], "beta") if "beta" in weights else g.filled(0.0, (count,), "beta"),
        shape=shape_first,
        num_groups=groups,
        epsilon=layer.number("epsilon", 1e-3),
    )
    tensor = g.from_spatial(made, shape_first, x.dtype, last)
    if last:
        return tensor
    return g.reshape(tensor, x.shape) if x.rank == 2 else g.transpose(tensor, undo)


@layer("LayerScale", weights=("gamma",))
def layer_scale(g: Emitter, _layer: LayerConfig, weights: Weights, inputs: Inputs) -> Tensor:
    """A trained factor per channel, of ConvNeXt."""
    return g.pointwise("Mul", g.floating(inputs.x), g.constant(weights["gamma"], "gamma"))
