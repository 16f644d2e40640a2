"""Layers that prepare images and features."""

from __future__ import annotations

import numpy as np

from narrowcast.errors import ModelFileError
from narrowcast.readers.keras.config import LayerConfig, unwrap
from narrowcast.readers.keras.emit import Emitter, Tensor, Weights
from narrowcast.readers.keras.registry import Inputs, layer


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
