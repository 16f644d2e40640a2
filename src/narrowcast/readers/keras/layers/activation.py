"""Activation layers."""

from __future__ import annotations

import math

import numpy as np

from narrowcast.errors import ModelFileError
from narrowcast.readers.emit import Tensor, broadcast
from narrowcast.readers.keras.activations import activate, clip, softmax
from narrowcast.readers.keras.config import LayerConfig
from narrowcast.readers.keras.emit import Emitter, Weights
from narrowcast.readers.keras.registry import Inputs, layer, unsupported


@layer("Activation", masks="pass")
def activation(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """A function of the table in `activations`."""
    return activate(g, layer, g.floating(inputs.x))


@layer("ReLU", masks="pass")
def relu(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """`max_value` above it, x from `threshold` to it, `negative_slope * (x - threshold)` below."""
    high = layer.number("max_value", math.inf)
    slope = layer.number("negative_slope", 0.0)
    return rectify(g, g.floating(inputs.x), high, slope, layer.number("threshold", 0.0))


def rectify(g: Emitter, x: Tensor, high: float, slope: float, threshold: float) -> Tensor:
    """Keras's general rectifier."""
    if threshold == 0.0:
        if slope == 0.0:
            return g.pointwise("Relu", x) if high == math.inf else clip(g, x, 0.0, high)
        made = g.pointwise("LeakyRelu", x, alpha=slope)
    else:
        below = g.pointwise("Less", x, threshold, dtype=np.bool_)
        low = g.pointwise("Mul", g.pointwise("Sub", x, threshold), slope)
        made = g.pointwise("Where", below, low, x, dtype=x.dtype)
    return made if high == math.inf else g.pointwise("Min", made, high)


@layer("LeakyReLU", masks="pass")
def leaky_relu(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """A slope below zero, 0.3 by default."""
    slope = layer.number("negative_slope", layer.number("alpha", 0.3))
    return g.pointwise("LeakyRelu", g.floating(inputs.x), alpha=slope)


@layer("ELU", masks="pass")
def elu(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """`alpha * (exp(x) - 1)` below zero."""
    return g.pointwise("Elu", g.floating(inputs.x), alpha=layer.number("alpha", 1.0))


@layer("ThresholdedReLU", masks="pass")
def thresholded_relu(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """X where it is above `theta`, else 0 (Keras 2)."""
    return g.pointwise("ThresholdedRelu", g.floating(inputs.x), alpha=layer.number("theta", 1.0))


@layer("PReLU", weights=("alpha",), masks="pass")
def prelu(g: Emitter, _layer: LayerConfig, weights: Weights, inputs: Inputs) -> Tensor:
    """A trained slope below zero; its shape has a 1 on each shared axis."""
    x = g.floating(inputs.x)
    slope = weights["alpha"]
    if slope.ndim != x.rank - 1 or broadcast(slope.shape, x.shape[1:]) != x.shape[1:]:
        raise ModelFileError(f"slopes of shape {slope.shape} do not fit an input of shape {x.shape}")
    return g.pointwise("PRelu", x, g.constant(slope[np.newaxis], "slope"))


@layer("Softmax", masks="refuse")
def softmax_layer(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Softmax over one axis."""
    axis = layer.get("axis", -1)
    if isinstance(axis, list) and len(axis) != 1:
        raise unsupported("a softmax over several axes cannot be expressed", "reshape them into one axis before")
    return softmax(g, g.floating(inputs.x), layer.integer("axis", -1))
