"""Dense layers, embeddings, and layers that do nothing at inference."""

from __future__ import annotations

import math
import re

import numpy as np

from narrowcast.errors import ModelFileError
from narrowcast.readers.emit import Tensor
from narrowcast.readers.keras.activations import activate
from narrowcast.readers.keras.config import LayerConfig
from narrowcast.readers.keras.emit import Emitter, Weights
from narrowcast.readers.keras.layers.convolution import with_bias
from narrowcast.readers.keras.registry import Inputs, layer, unsupported


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


def _einsum_slots(layer: LayerConfig) -> tuple[str, ...]:
    return ("kernel", "bias") if layer.get("bias_axes") else ("kernel",)


@layer("EinsumDense", weights=_einsum_slots)
def einsum_dense(g: Emitter, layer: LayerConfig, weights: Weights, inputs: Inputs) -> Tensor:
    """A product of the input and a kernel, summed over the axes that the output lacks."""
    x = g.floating(inputs.x)
    kernel = weights["kernel"]
    given, weighted, result = _equation(layer.text("equation", ""), x.rank)
    summed = [label for label in given if label not in result]
    kept = [label for label in given if label in result]
    added = [label for label in weighted if label not in given]
    if set(kept) & set(weighted) or set(summed) - set(weighted) or len(weighted) != kernel.ndim:
        raise unsupported(f"the equation {layer.get('equation')} has no matrix product", "use Dense or MatMul")
    matrix = kernel.transpose([weighted.index(label) for label in summed + added])
    rows = math.prod(matrix.shape[: len(summed)])
    moved = g.transpose(x, [given.index(label) for label in kept + summed])
    moved = g.reshape(moved, (*moved.shape[: len(kept)], rows))
    made = g.matmul(moved, g.constant(matrix.reshape(rows, -1), "kernel"))
    made = g.reshape(made, (*made.shape[:-1], *matrix.shape[len(summed) :]))
    made = g.transpose(made, [(kept + added).index(label) for label in result])
    if "bias" in weights:
        made = g.pointwise("Add", made, g.constant(weights["bias"], "bias"))
    return activate(g, layer, made)


def _equation(text: str, rank: int) -> tuple[list[str], list[str], list[str]]:
    """The labels of the input, the kernel and the output; an ellipsis stands for as many axes as the rank demands.

    Raises:
        ModelFileError: the equation is malformed.
    """
    match = re.fullmatch(r"([a-z]*|\.\.\.[a-z]*),([a-z]+)->([a-z]*|\.\.\.[a-z]*)", text.replace(" ", ""))
    if match is None:
        raise ModelFileError(f"the equation {text[:80]!r} is malformed")
    given, weighted, result = match.groups()
    spread = "".join(chr(ord("0") + place) for place in range(rank - len(given.replace("...", ""))))
    labels = [list(part.replace("...", spread)) for part in (given, weighted, result)]
    if len(labels[0]) != rank or any(len(set(part)) != len(part) for part in labels):
        raise ModelFileError(f"the equation {text[:80]!r} does not fit an input of {rank} axes")
    if not set(labels[2]) <= set(labels[0]) | set(labels[1]):
        raise ModelFileError(f"the equation {text[:80]!r} makes axes from nothing")
    return labels[0], labels[1], labels[2]


@layer("Masking")
def masking(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Zeros where all features of a step equal `mask_value`; the other steps count."""
    x = g.floating(inputs.x)
    padding = g.pointwise("Equal", x, layer.number("mask_value", 0.0), dtype=np.bool_)
    used = g.cast(g.pointwise("Not", padding), np.float32)
    counts = g.reduce("ReduceMax", used, [-1], keepdims=True)
    made = g.pointwise("Mul", x, counts)
    made.mask = g.cast(g.reshape(counts, counts.shape[:-1]), np.bool_)
    return made


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
    if layer.flag("mask_zero", False):
        zero = g.constant(np.zeros((), indices.dtype), "padding")
        made.mask = g.pointwise("Not", g.pointwise("Equal", indices, zero, dtype=np.bool_))
    return made
