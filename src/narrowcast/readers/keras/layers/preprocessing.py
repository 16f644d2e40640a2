"""Layers that prepare images and features."""

from __future__ import annotations

import numpy as np

from narrowcast.errors import ModelFileError
from narrowcast.readers.emit import Tensor, broadcast
from narrowcast.readers.keras.config import LayerConfig, unwrap
from narrowcast.readers.keras.emit import Emitter, Weights
from narrowcast.readers.keras.layers.convolution import channels_last
from narrowcast.readers.keras.layers.reshaping import resized
from narrowcast.readers.keras.registry import Inputs, layer, unsupported


def _numbers(layer: LayerConfig, key: str, default: float) -> np.ndarray:
    value = unwrap(layer.get(key, default))
    try:
        return np.asarray(default if value is None else value, np.float32)
    except (TypeError, ValueError) as error:
        raise ModelFileError(f"{key} is {str(value)[:80]}, not a number or a list of numbers") from error


@layer("Rescaling", masks="pass")
def rescaling(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """`x * scale + offset`."""
    x = g.floating(inputs.x)
    scaled = g.pointwise("Mul", x, g.constant(_numbers(layer, "scale", 1.0), "scale"))
    offset = _numbers(layer, "offset", 0.0)
    return g.pointwise("Add", scaled, g.constant(offset, "offset")) if offset.any() else scaled


def _statistics(layer: LayerConfig) -> tuple[str, ...]:
    """Adapted statistics are weights; given ones stand in the configuration."""
    return () if unwrap(layer.get("mean")) is not None else ("~mean", "~variance", "~count")


@layer("Normalization", weights=_statistics, masks="pass")
def normalization(g: Emitter, layer: LayerConfig, weights: Weights, inputs: Inputs) -> Tensor:
    """`(x - mean) / max(sqrt(variance), 1e-7)` along some axes, or its inverse."""
    x = g.floating(inputs.x)
    axis = layer.get("axis", -1)
    axes = sorted(x.axis(item) for item in (axis if isinstance(axis, list | tuple) else [] if axis is None else [axis]))
    mean = weights["mean"] if weights else _numbers(layer, "mean", 0.0)
    variance = weights["variance"] if weights else _numbers(layer, "variance", 1.0)
    shape = [1] * x.rank
    sizes = mean.shape if mean.ndim else ()
    for kept, size in zip(reversed(axes), reversed(sizes), strict=False):
        shape[kept] = size
    if mean.shape != variance.shape or mean.size != int(np.prod(shape)) or broadcast(tuple(shape), x.shape) != x.shape:
        raise ModelFileError(f"statistics of shapes {mean.shape} and {variance.shape} do not fit {x.shape}")
    centre = g.constant(mean.reshape(shape).astype(np.float32), "mean")
    deviation = g.constant(np.maximum(np.sqrt(variance), 1e-7).reshape(shape).astype(np.float32), "deviation")
    if layer.flag("invert", False):
        return g.pointwise("Add", g.pointwise("Mul", x, deviation), centre)
    return g.pointwise("Div", g.pointwise("Sub", x, centre), deviation)


@layer("Resizing")
def resizing(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """An image in another size."""
    for option in ("crop_to_aspect_ratio", "pad_to_aspect_ratio", "antialias"):
        if layer.flag(option, False):
            raise unsupported(f"{option}=True cannot be expressed", "do it before the network, or rebuild without")
    sizes = (layer.integer("height"), layer.integer("width"))
    return resized(g, g.floating(inputs.x), sizes, layer.text("interpolation", "bilinear"), channels_last(layer))


@layer("CenterCrop")
def center_crop(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The middle of an image that is large enough."""
    x = inputs.x
    start = 1 if channels_last(layer) else 2
    for axis, wanted in ((start, layer.integer("height")), (start + 1, layer.integer("width"))):
        size = x.dim(axis)
        if wanted > size:
            raise unsupported(f"crops {wanted} pixels of {size}, which resizes the image", "put a Resizing layer there")
        begin = (size - wanted) // 2
        if wanted < size:
            x = g.slice(x, axis, begin, begin + wanted)
    return x


@layer("RandomFlip", "RandomRotation", "RandomZoom", "RandomTranslation", "RandomContrast", "RandomBrightness")
@layer("RandomColorDegeneration", "RandomColorJitter", "RandomErasing", "RandomGaussianBlur", "RandomGrayscale")
@layer("RandomHue", "RandomPerspective", "RandomPosterization", "RandomSaturation", "RandomSharpness", "RandomShear")
@layer("RandomCrop", "RandomHeight", "RandomWidth")
def augmentation(_g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Nothing, at inference, for those that keep the image's size."""
    if layer.kind in ("RandomCrop", "RandomHeight", "RandomWidth"):
        raise unsupported(f"{layer.kind} resizes at inference", "remove the layer")
    return inputs.x
