"""Pooling layers, local and global."""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.windows import same_pads
from narrowcast.readers.emit import Tensor
from narrowcast.readers.keras.config import LayerConfig
from narrowcast.readers.keras.emit import Emitter, Weights
from narrowcast.readers.keras.layers.convolution import (
    channels_last,
    flat_pads,
    paired,
    spatial_shape,
    spatial_sizes,
    window_size,
)
from narrowcast.readers.keras.registry import Inputs, layer


def pool(g: Emitter, layer: LayerConfig, x: Tensor, op: str) -> Tensor:
    """MaxPool or AveragePool; padding never counts in an average."""
    last = channels_last(layer)
    value, shape = spatial_shape(g, x, last)
    rank = len(shape) - 2
    window = layer.integers("pool_size", rank, 2)
    strides = layer.integers("strides", rank) if layer.get("strides") is not None else window
    sizes = spatial_sizes(shape)
    same = layer.text("padding", "valid") == "same"
    pads = paired(same_pads(sizes, window, strides, (1,) * rank)) if same else [(0, 0)] * rank
    outputs = [window_size(*of) for of in zip(sizes, window, strides, pads, strict=True)]
    made_shape = (*shape[:2], *outputs)
    made = g.raw(op, value, shape=made_shape, kernel_shape=list(window), strides=list(strides), pads=flat_pads(pads))
    return g.from_spatial(made, made_shape, x.dtype, last)


@layer("MaxPooling1D", "MaxPooling2D", "MaxPooling3D")
def max_pooling(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The maximum of each window."""
    return pool(g, layer, g.floating(inputs.x), "MaxPool")


@layer("AveragePooling1D", "AveragePooling2D", "AveragePooling3D")
def average_pooling(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The mean of each window."""
    return pool(g, layer, g.floating(inputs.x), "AveragePool")


def _global(g: Emitter, layer: LayerConfig, x: Tensor, op: str) -> Tensor:
    axes = range(1, x.rank - 1) if channels_last(layer) else range(2, x.rank)
    return g.reduce(op, x, list(axes), layer.flag("keepdims", False))


@layer("GlobalAveragePooling1D", masks="use")
@layer("GlobalAveragePooling2D", "GlobalAveragePooling3D")
def global_average_pooling(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The mean over all spatial axes; of the steps that count, where there is a mask."""
    x = g.floating(inputs.x)
    if inputs.x.mask is None:
        return _global(g, layer, x, "ReduceMean")
    mask = g.cast(inputs.x.mask, np.float32)
    batch, steps = mask.shape
    weights = g.reshape(mask, (batch, steps, 1) if channels_last(layer) else (batch, 1, steps))
    total, count = (_global(g, layer, tensor, "ReduceSum") for tensor in (g.pointwise("Mul", x, weights), weights))
    return g.pointwise("Div", total, count)


@layer("GlobalMaxPooling1D", "GlobalMaxPooling2D", "GlobalMaxPooling3D")
def global_max_pooling(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The maximum over all spatial axes."""
    return _global(g, layer, g.floating(inputs.x), "ReduceMax")
