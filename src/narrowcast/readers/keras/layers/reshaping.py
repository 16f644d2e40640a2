"""Layers that move elements without computing with them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from narrowcast.errors import ModelFileError
from narrowcast.model import ir
from narrowcast.readers.emit import Tensor
from narrowcast.readers.keras.config import LayerConfig
from narrowcast.readers.keras.emit import Emitter, Weights
from narrowcast.readers.keras.layers.convolution import channels_last, spatial_shape
from narrowcast.readers.keras.registry import Inputs, layer, unsupported


def sizes_of(x: Tensor) -> list[int]:
    """The sizes behind the batch."""
    return [x.dim(axis) for axis in range(1, x.rank)]


@layer("Flatten")
def flatten(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """All axes but the batch in one; channels-first tensors are brought to channels-last order before."""
    x = inputs.x
    if layer.text("data_format", "channels_last") == "channels_first" and x.rank > 2:
        x = g.transpose(x, (0, *range(2, x.rank), 1))
    return g.reshape(x, (x.shape[0], math.prod(sizes_of(x))))


@layer("Reshape")
def reshape(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Another shape behind the batch; one size may be -1."""
    x = inputs.x
    target = layer.get("target_shape")
    if not isinstance(target, list | tuple) or not all(isinstance(dim, int) for dim in target):
        raise ModelFileError(f"target_shape is {str(target)[:80]}, not a list of integers")
    return g.reshape(x, (x.shape[0], *resolved(target, math.prod(sizes_of(x)))))


def resolved(target: Sequence[int], count: int) -> list[int]:
    """`target` with its -1 worked out from the number of elements.

    Raises:
        ModelFileError: the sizes do not come to that number.
    """
    known = math.prod(dim for dim in target if dim != -1)
    if -1 not in target:
        if known != count:
            raise ModelFileError(f"{count} elements do not fit the shape {tuple(target)}")
        return list(target)
    if target.count(-1) > 1 or known < 1 or count % known:
        raise ModelFileError(f"{count} elements do not fit the shape {tuple(target)}")
    return [count // known if dim == -1 else dim for dim in target]


@layer("Permute")
def permute(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The axes behind the batch (counted from 1) in another order."""
    x = inputs.x
    order = layer.get("dims")
    if not isinstance(order, list | tuple) or sorted(order) != list(range(1, x.rank)):
        raise ModelFileError(f"dims is {str(order)[:80]}, no permutation of the axes 1 to {x.rank - 1}")
    return g.transpose(x, (0, *order))


def _pairs(layer: LayerConfig, key: str, rank: int) -> list[tuple[int, int]]:
    """Two numbers per spatial axis, from one for all, one per axis, or a pair per axis."""
    value = layer.get(key, 1)
    if rank == 1 and isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(i, int) for i in value):
        value = [value]
    if isinstance(value, int):
        value = [value] * rank
    items = value if isinstance(value, list | tuple) else []
    pairs = [(item, item) if isinstance(item, int) else item for item in items]
    if len(pairs) != rank or any(
        not isinstance(pair, list | tuple) or len(pair) != 2 or any(not isinstance(n, int) or n < 0 for n in pair)
        for pair in pairs
    ):
        raise ModelFileError(f"{key} is {str(value)[:80]}, not a pair of sizes for each of {rank} axes")
    return [(int(begin), int(end)) for begin, end in pairs]


@layer("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D")
def zero_padding(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Zeros around the spatial axes."""
    x = g.floating(inputs.x)
    last = channels_last(layer)
    value, shape = spatial_shape(g, x, last)
    pairs = [(0, 0), (0, 0), *_pairs(layer, "padding", x.rank - 2)]
    pads = g.ints([begin for begin, _ in pairs] + [end for _, end in pairs], "pads")
    made_shape = tuple(
        dim + begin + end if isinstance(dim, int) else dim for dim, (begin, end) in zip(shape, pairs, strict=True)
    )
    made: ir.Value = g.raw("Pad", value, pads, shape=made_shape, mode="constant")
    return g.from_spatial(made, made_shape, x.dtype, last)


@layer("Cropping1D", "Cropping2D", "Cropping3D")
def cropping(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The spatial axes without their edges."""
    x = inputs.x
    offset = 1 if channels_last(layer) else 2
    for number, (begin, end) in enumerate(_pairs(layer, "cropping", x.rank - 2)):
        size = x.dim(offset + number)
        if begin + end >= size:
            raise ModelFileError(f"cropping {begin} and {end} leaves nothing of {size} pixels")
        if begin or end:
            x = g.slice(x, offset + number, begin, size - end)
    return x


def resized(
    g: Emitter, x: Tensor, sizes: Sequence[int], interpolation: str, last: bool, place: str = "half_pixel"
) -> Tensor:
    """An image in other spatial sizes.

    Args:
        g: emits the nodes.
        x: the image.
        sizes: of the spatial axes.
        interpolation: Keras's name.
        last: whether the channels come last.
        place: ONNX's `coordinate_transformation_mode`; pixel centres at half integers as TensorFlow 2 has them.
    """
    modes: Mapping[str, Mapping[str, Any]] = {
        "nearest": {"mode": "nearest", "nearest_mode": "floor" if place == "asymmetric" else "round_prefer_ceil"},
        "bilinear": {"mode": "linear"},
    }
    if interpolation not in modes:
        raise unsupported(f"the interpolation {interpolation!r} cannot be expressed", f"use {', '.join(modes)}")
    value, shape = spatial_shape(g, x, last)
    made_shape = (*shape[:2], *sizes)
    target: tuple[ir.Value | None, ir.Value | None]
    if isinstance(shape[0], int):
        target = (None, g.ints([dim for dim in made_shape if isinstance(dim, int)], "sizes"))
    else:
        factors = [size / x.dim(axis) for size, axis in zip(sizes, range(1 if last else 2, x.rank), strict=False)]
        target = (g.constant([1.0, 1.0, *factors], "scales", np.float32), None)
    made: ir.Value = g.raw(
        "Resize",
        value,
        None,
        *target,
        shape=made_shape,
        coordinate_transformation_mode=place,
        **modes[interpolation],
    )
    return g.from_spatial(made, made_shape, x.dtype, last)


@layer("UpSampling1D", "UpSampling2D", "UpSampling3D")
def up_sampling(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Each pixel repeated, or interpolated between."""
    x = g.floating(inputs.x)
    last = channels_last(layer)
    factors = layer.integers("size", x.rank - 2, 2)
    start = 1 if last else 2
    sizes = [x.dim(start + number) * factor for number, factor in enumerate(factors)]
    return resized(g, x, sizes, layer.text("interpolation", "nearest"), last)


@layer("RepeatVector")
def repeat_vector(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """A vector, `n` times."""
    x = inputs.x
    count = layer.integer("n")
    row = g.reshape(x, (x.shape[0], 1, x.dim(1)))
    return g.op("Tile", row, g.ints([1, count, 1], "repeats"), shape=(x.shape[0], count, x.dim(1)))
