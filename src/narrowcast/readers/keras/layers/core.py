"""Dense layers, embeddings, and layers that do nothing at inference."""

from __future__ import annotations

import numpy as np

from narrowcast.errors import ModelFileError
from narrowcast.readers.keras.activations import activate
from narrowcast.readers.keras.config import LayerConfig
from narrowcast.readers.keras.emit import Emitter, Tensor, Weights
from narrowcast.readers.keras.layers.convolution import with_bias
from narrowcast.readers.keras.registry import Inputs, layer


@layer("InputLayer", masks="pass")
@layer("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "AlphaDropout", masks="pass")
@layer("GaussianDropout", "GaussianNoise", "ActivityRegularization", "Identity", "StochasticDepth", masks="pass")
def identity(_g: Emitter, _layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Nothing, at inference."""
    return inputs.x


@layer("Dense", weights=lambda layer: with_bias(layer, "kernel"), masks="pass")
def dense(g: Emitter, layer: LayerConfig, weights: Weights, inputs: Inputs) -> Tensor:
    """The last axis times a matrix [in, out], plus a bias."""
    x = g.floating(inputs.x)
    kernel = weights["kernel"]
    if kernel.ndim != 2 or kernel.shape[0] != x.dim(-1):
        raise ModelFileError(f"a kernel of shape {kernel.shape} does not fit an input of shape {x.shape}")
    made = g.op("MatMul", x, g.constant(kernel, "kernel"), shape=(*x.shape[:-1], kernel.shape[1]))
    if "bias" in weights:
        made = g.pointwise("Add", made, g.constant(weights["bias"], "bias"))
    return activate(g, layer, made)


@layer("Embedding", weights=("embeddings",))
def embedding(g: Emitter, layer: LayerConfig, weights: Weights, inputs: Inputs) -> Tensor:
    """Rows of a table [vocabulary, features] by index."""
    x = inputs.x
    table = weights["embeddings"]
    if table.ndim != 2:
        raise ModelFileError(f"its table has the shape {table.shape}, two axes were expected")
    indices = x if x.dtype in (np.int32, np.int64) else g.cast(x, np.int32)
    made = g.op(
        "Gather",
        g.constant(table, "embeddings"),
        indices,
        shape=(*x.shape, table.shape[1]),
        dtype=np.float32,
        axis=0,
    )
    made.masked = layer.flag("mask_zero", False)
    return made
