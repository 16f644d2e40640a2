"""Normalisation layers."""

from __future__ import annotations

import numpy as np

from narrowcast.errors import ModelFileError
from narrowcast.model import Array
from narrowcast.readers.keras.config import LayerConfig
from narrowcast.readers.keras.emit import Emitter, Tensor, Weights
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


def _shaped(array: Array, x: Tensor, axes: tuple[int, ...]) -> Array:
    """A parameter over `axes`, with 1 on every other axis of x.

    Raises:
        ModelFileError: its size is another.
    """
    shape = [x.dim(axis) if axis in axes else 1 for axis in range(x.rank)]
    if array.size != int(np.prod(shape)):
        raise ModelFileError(f"a weight of shape {array.shape} does not fit axes {axes} of {x.shape}")
    return array.reshape(shape)
