"""Functions on images, of `keras.ops` and of TensorFlow."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from narrowcast.errors import ModelFileError
from narrowcast.readers.emit import Tensor
from narrowcast.readers.keras.arguments import argument, integer_of, tensor_of
from narrowcast.readers.keras.config import LayerConfig
from narrowcast.readers.keras.emit import Emitter, Weights
from narrowcast.readers.keras.layers.pooling import pool
from narrowcast.readers.keras.layers.reshaping import resized
from narrowcast.readers.keras.registry import Inputs, operation, unsupported

LUMA = (0.2989, 0.587, 0.114)
"""TensorFlow's weights of red, green and blue in grey."""


def _last(layer: LayerConfig, inputs: Inputs) -> bool:
    """Whether the channels come last."""
    return str(argument(layer, inputs, "data_format", 99, "NHWC")) in ("NHWC", "channels_last")


@operation("Resize", "image.resize")
def resize(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """An image in another size, pixel centres at half integers."""
    for option in ("antialias", "preserve_aspect_ratio", "crop_to_aspect_ratio", "pad_to_aspect_ratio"):
        if argument(layer, inputs, option, 99, False):
            raise unsupported(f"{option}=True cannot be expressed", f"resize without {option}")
    method = argument(layer, inputs, "interpolation", 2, argument(layer, inputs, "method", 2, "bilinear"))
    return resized(g, g.floating(tensor_of(inputs)), _sizes(layer, inputs), str(method), _last(layer, inputs))


@operation("compat.v1.image.resize_bilinear", "compat.v1.image.resize_nearest_neighbor")
def resize_as_before(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """An image in another size; TensorFlow 1 places pixels by their corners."""
    method = "nearest" if str(layer.get("function")).endswith("nearest_neighbor") else "bilinear"
    aligned = bool(argument(layer, inputs, "align_corners", 2, False))
    centres = bool(argument(layer, inputs, "half_pixel_centers", 3, False))
    place = "align_corners" if aligned else "half_pixel" if centres else "asymmetric"
    return resized(g, g.floating(tensor_of(inputs)), _sizes(layer, inputs), method, True, place)


def _sizes(layer: LayerConfig, inputs: Inputs) -> list[int]:
    sizes = argument(layer, inputs, "size", 1)
    if not isinstance(sizes, list | tuple) or len(sizes) != 2 or not all(isinstance(size, int) for size in sizes):
        raise unsupported("a size that is computed cannot be read", "resize to a constant size")
    if min(sizes) < 1:
        raise ModelFileError(f"resizes to {tuple(sizes)}")
    return list(sizes)


@operation("nn.depth_to_space", "compat.v1.depth_to_space")
def depth_to_space(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Channels laid out as blocks of pixels."""
    return _blocks(g, layer, inputs, "DepthToSpace")


@operation("nn.space_to_depth", "compat.v1.space_to_depth")
def space_to_depth(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Blocks of pixels as channels."""
    return _blocks(g, layer, inputs, "SpaceToDepth")


def _blocks(g: Emitter, layer: LayerConfig, inputs: Inputs, op: str) -> Tensor:
    x, size = tensor_of(inputs), integer_of(argument(layer, inputs, "block_size", 1), "block_size")
    if x.rank != 4 or not _last(layer, inputs):
        raise unsupported("only images with their channels last can be laid out anew", "transpose them before")
    height, width, channels = (x.dim(axis) for axis in (1, 2, 3))
    deep = op == "DepthToSpace"
    if size < 2 or (channels % size**2 if deep else height % size or width % size):
        raise ModelFileError(f"blocks of {size} do not fit an image of shape {x.shape}")
    shape = (
        (x.shape[0], channels // size**2, height * size, width * size)
        if deep
        else (x.shape[0], channels * size**2, height // size, width // size)
    )
    made = g.raw(op, g.channels_first(x), shape=shape, blocksize=size, mode="DCR" if deep else None)
    return g.from_spatial(made, shape, x.dtype, True)


@operation("image.flip_left_right")
def flip_left_right(g: Emitter, _layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Columns in the opposite order."""
    x = tensor_of(inputs)
    return g.slice(x, x.axis(-2), -1, -x.dim(-2) - 1, -1)


@operation("image.flip_up_down")
def flip_up_down(g: Emitter, _layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Rows in the opposite order."""
    x = tensor_of(inputs)
    return g.slice(x, x.axis(-3), -1, -x.dim(-3) - 1, -1)


@operation("image.rgb_to_grayscale")
def rgb_to_grayscale(g: Emitter, _layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The weighted sum of the channels."""
    x = g.floating(tensor_of(inputs))
    return g.reduce("ReduceSum", g.pointwise("Mul", x, g.constant(LUMA, "luma", np.float32)), [-1], keepdims=True)


@operation("image.adjust_brightness")
def adjust_brightness(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """A number added to each value."""
    x = tensor_of(inputs)
    if not x.is_float:
        raise unsupported("the brightness of integers cannot be expressed", "cast them before")
    return g.pointwise("Add", x, float(argument(layer, inputs, "delta", 1)))


@operation("image.per_image_standardization")
def per_image_standardization(g: Emitter, _layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Each image's values less their mean, divided by their deviation, but at least by 1 / sqrt(their number)."""
    x = g.floating(tensor_of(inputs))
    axes = [x.rank - 3, x.rank - 2, x.rank - 1]
    centred = g.pointwise("Sub", x, g.reduce("ReduceMean", x, axes, keepdims=True))
    variance = g.reduce("ReduceMean", g.pointwise("Mul", centred, centred), axes, keepdims=True)
    least = 1 / math.sqrt(math.prod(x.dim(axis) for axis in axes))
    return g.pointwise("Div", centred, g.pointwise("Max", g.pointwise("Sqrt", variance), least))


@operation("MaxPool", "nn.max_pool2d", "compat.v1.nn.max_pool", "nn.max_pool")
def max_pool(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The maximum of each window."""
    return _pool(g, layer, inputs, "MaxPool")


@operation("AveragePool", "nn.avg_pool2d", "compat.v1.nn.avg_pool", "nn.avg_pool")
def average_pool(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The mean of each window."""
    return _pool(g, layer, inputs, "AveragePool")


def _pool(g: Emitter, layer: LayerConfig, inputs: Inputs, op: str) -> Tensor:
    x, last = g.floating(tensor_of(inputs)), _last(layer, inputs)
    window = argument(layer, inputs, "pool_size", 1, argument(layer, inputs, "ksize", 1))
    config = {
        "pool_size": _spatial(window, x.rank, last),
        "strides": _spatial(argument(layer, inputs, "strides", 2, window), x.rank, last),
        "padding": str(argument(layer, inputs, "padding", 3, "valid")),
        "data_format": "channels_last" if last else "channels_first",
    }
    return pool(g, replace(layer, config=config), x, op)


def _spatial(value: Any, rank: int, last: bool) -> Any:
    """The numbers for the spatial axes, where those for batch and channels stand with them."""
    if isinstance(value, list | tuple) and len(value) == rank:
        return list(value[1:-1] if last else value[2:])
    return value
