"""Layers that apply another layer."""

from __future__ import annotations

from narrowcast.errors import ModelFileError
from narrowcast.readers.emit import Dim, Tensor
from narrowcast.readers.keras.config import LayerConfig
from narrowcast.readers.keras.emit import Emitter, Weights
from narrowcast.readers.keras.registry import Inputs, layer

STEPWISE = frozenset({"Dense", "Activation", "ReLU", "LeakyReLU", "ELU", "Dropout", "Identity"})
"""Layers that treat every step of a sequence alike anyway."""


@layer("SpectralNormalization", weights=("~vector_u",), masks="pass")
def spectral_normalization(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> list[Tensor]:
    """A layer whose kernel was normalised while training, and is stored so."""
    if "layer" not in layer.inner:
        raise ModelFileError("it wraps no layer")
    return g.call(layer.inner["layer"], inputs)


@layer("TimeDistributed", masks="pass")
def time_distributed(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> list[Tensor]:
    """A layer or model applied to each step of a sequence, by way of the batch."""
    x = inputs.x
    inner = layer.inner.get("layer")
    if inner is None:
        raise ModelFileError("it wraps no layer")
    if inner.kind in STEPWISE:
        return g.call(inner, Inputs.of(x))
    batch, steps = x.shape[0], x.dim(1)
    merged: Dim = batch * steps if isinstance(batch, int) else f"{batch}*{steps}"
    outputs = g.call(inner, Inputs.of(g.reshape(x, (merged, *x.shape[2:]))))
    return [g.reshape(output, (batch, steps, *output.shape[1:])) for output in outputs]
