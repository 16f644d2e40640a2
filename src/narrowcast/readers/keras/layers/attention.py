"""Attention layers, spelled with MatMul and Softmax."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from narrowcast.errors import ModelFileError
from narrowcast.model import Array
from narrowcast.readers.emit import FILL_LIMIT, Tensor
from narrowcast.readers.keras.activations import softmax
from narrowcast.readers.keras.config import LayerConfig
from narrowcast.readers.keras.emit import Emitter, Weights
from narrowcast.readers.keras.registry import Inputs, layer, unsupported

EXCLUDED = -1e9
"""What is added to the score of a position that must not be attended to."""

MASKS = ("query_mask", "value_mask", "key_mask")
ARGUMENTS = ("query", "value", "key", "attention_mask", *MASKS, "use_causal_mask", "return_attention_scores")


def _dense_slots(layer: LayerConfig) -> tuple[str, ...]:
    parts = ["query", "key", *(["gate"] if layer.flag("use_gate", False) else []), "value", "output"]
    names = ("kernel", "bias") if layer.flag("use_bias", True) else ("kernel",)
    return tuple(f"{part}_dense/{name}" for part in parts for name in names)


@layer("MultiHeadAttention", weights=_dense_slots, masks="use", arguments=ARGUMENTS)
def multi_head_attention(g: Emitter, layer: LayerConfig, weights: Weights, inputs: Inputs) -> list[Tensor]:
    """Attention of several heads (Vaswani et al., 2017), over all axes between batch and features."""
    query, value, key = _query_value_key(inputs)
    axes = layer.get("attention_axes")
    spatial = list(range(1, query.rank - 1))
    if axes is not None and [query.axis(axis) for axis in axes] != spatial:
        raise unsupported("attention over only some of the axes cannot be expressed", "reshape the others into batch")
    if query.rank > 3 and layer.get("output_shape") is not None:
        raise unsupported("an output_shape with images cannot be expressed", "reshape them to sequences before")
    heads = layer.integer("num_heads")
    outputs = _heads(g, layer, weights, inputs, (query, value, key), heads, heads, layer.integer("key_dim"))
    outputs[0] = g.reshape(outputs[0], (*query.shape[:-1], outputs[0].dim(-1)))
    outputs[0].mask = query.mask
    return outputs


@layer("GroupQueryAttention", "GroupedQueryAttention", weights=_dense_slots, masks="use", arguments=ARGUMENTS)
def grouped_query_attention(g: Emitter, layer: LayerConfig, weights: Weights, inputs: Inputs) -> list[Tensor]:
    """Attention in which groups of query heads share a key and a value head (Ainslie et al., 2023)."""
    heads = layer.integer("num_query_heads")
    shared = layer.integer("num_key_value_heads")
    if shared < 1 or heads % shared:
        raise ModelFileError(f"{heads} query heads cannot share {shared} key heads")
    return _heads(g, layer, weights, inputs, _query_value_key(inputs), heads, shared, layer.integer("head_dim"))


def _query_value_key(inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
    """The three inputs, of which the key defaults to the value."""
    unnamed = iter(inputs.tensors)
    query, value, key = (
        inputs.kwargs[name] if name in inputs.kwargs else next(unnamed, None) for name in ("query", "value", "key")
    )
    if not isinstance(query, Tensor) or not isinstance(value, Tensor):
        raise ModelFileError("not called with a query and a value")
    key = key if isinstance(key, Tensor) else value
    masks = [inputs.kwargs.get(name) or tensor.mask for name, tensor in zip(MASKS, (query, value, key), strict=True)]
    query, value, key = (replace(x, mask=mask) for x, mask in zip((query, value, key), masks, strict=True))
    return query, value, key


def _heads(
    g: Emitter,
    layer: LayerConfig,
    weights: Weights,
    inputs: Inputs,
    qvk: tuple[Tensor, Tensor, Tensor],
    heads: int,
    shared: int,
    size: int,
) -> list[Tensor]:
    """The output [batch, target, features] and, on request, the weights [batch, heads, target, source]."""
    if layer.get("sliding_window") is not None:
        raise unsupported("a sliding window cannot be expressed", "rebuild the layer without sliding_window")
    query, value, key = (_sequence(g, g.floating(tensor)) for tensor in qvk)
    projected = [
        _split(g, _project(g, weights, tensor, part), count)
        for tensor, part, count in ((query, "query", heads), (key, "key", shared), (value, "value", shared))
    ]
    if shared != heads:
        projected[1:] = [_repeat(g, tensor, heads // shared) for tensor in projected[1:]]
    q, k, v = projected
    scores = g.matmul(g.pointwise("Mul", q, 1 / math.sqrt(size)), g.transpose(k, (0, 1, 3, 2)), name="scores")
    scores = _masked(g, scores, inputs)
    for tensor, axis in zip(qvk, (-2, -1, -1), strict=True):
        scores = _counted(g, scores, tensor.mask, axis)
    scores = softmax(g, scores)
    mixed = g.transpose(g.matmul(scores, v), (0, 2, 1, 3))
    mixed = g.reshape(mixed, (*mixed.shape[:2], mixed.dim(2) * mixed.dim(3)))
    if layer.flag("use_gate", False):
        mixed = g.pointwise("Mul", mixed, g.pointwise("Sigmoid", _project(g, weights, query, "gate")))
    output = _project(g, weights, mixed, "output")
    return [output, scores] if inputs.kwargs.get("return_attention_scores") else [output]


def _sequence(g: Emitter, x: Tensor) -> Tensor:
    """[batch, positions, features] from any number of axes between."""
    return g.reshape(x, (x.shape[0], math.prod(x.dim(axis) for axis in range(1, x.rank - 1)), x.dim(-1)))


def _project(g: Emitter, weights: Weights, x: Tensor, part: str) -> Tensor:
    """A dense layer whose kernel has heads as axes of their own: [in, heads, size], or [heads, size, out]."""
    kernel = weights[f"{part}_dense/kernel"]
    features = x.dim(-1)
    if kernel.size % features:
        raise ModelFileError(f"the {part} kernel of shape {kernel.shape} does not fit {x.shape}")
    made = g.matmul(x, g.constant(kernel.reshape(features, -1), f"{part}_kernel"), name=part)
    bias: Array | None = weights.get(f"{part}_dense/bias")
    return made if bias is None else g.pointwise("Add", made, g.constant(bias.reshape(-1), f"{part}_bias"))


def _split(g: Emitter, x: Tensor, heads: int) -> Tensor:
    """[batch, positions, heads * size] as [batch, heads, positions, size]."""
    if heads < 1 or x.dim(-1) % heads:
        raise ModelFileError(f"{x.dim(-1)} features cannot be split into {heads} heads")
    return g.transpose(g.reshape(x, (*x.shape[:2], heads, x.dim(-1) // heads)), (0, 2, 1, 3))


def _repeat(g: Emitter, x: Tensor, times: int) -> Tensor:
    """Each head `times` times in a row."""
    batch, heads, positions, size = x.shape
    rows = g.reshape(x, (batch, heads, 1, positions, size))
    tiled = g.op("Tile", rows, g.ints([1, 1, times, 1, 1], "repeats"), shape=(batch, heads, times, positions, size))
    return g.reshape(tiled, (batch, x.dim(1) * times, positions, size))


def _masked(g: Emitter, scores: Tensor, inputs: Inputs) -> Tensor:
    """Scores [..., target, source] with excluded positions far below all others."""
    mask = inputs.kwargs.get("attention_mask")
    if isinstance(mask, Tensor):
        shape = (mask.shape[0], *(1,) * (scores.rank - mask.rank), *mask.shape[1:])
        mask = g.cast(g.reshape(mask, shape), np.bool_)
        scores = g.pointwise("Where", mask, scores, g.constant(np.float32(EXCLUDED), "excluded"), dtype=np.float32)
    elif mask is not None:
        raise unsupported("a constant attention mask cannot be read", "pass it as an input")
    if inputs.kwargs.get("use_causal_mask"):
        target, source = scores.dim(-2), scores.dim(-1)
        if target * source > FILL_LIMIT:
            raise ModelFileError(f"a causal mask of {target} by {source} positions is too large")
        future = np.triu(np.full((target, source), EXCLUDED, np.float32), 1)
        scores = g.pointwise("Add", scores, g.constant(future, "causal_mask"))
    return scores


def _counted(g: Emitter, scores: Tensor, mask: Tensor | None, axis: int) -> Tensor:
    """Scores [..., target, source] with the steps that do not count, along one of these axes, far below all others."""
    if mask is None:
        return scores
    shape = [mask.shape[0], *(1,) * (scores.rank - 1)]
    shape[axis] = mask.shape[1]
    excluded = g.constant(np.float32(EXCLUDED), "excluded")
    return g.pointwise("Where", g.cast(g.reshape(mask, shape), np.bool_), scores, excluded, dtype=np.float32)


def _attention_slots(layer: LayerConfig) -> tuple[str, ...]:
    scale = ("scale",) if layer.flag("use_scale", layer.kind == "AdditiveAttention") else ()
    return (*scale, "concat_score_weight") if layer.text("score_mode", "dot") == "concat" else scale


@layer(
    "Attention",
    "AdditiveAttention",
    weights=_attention_slots,
    masks="use",
    arguments=("use_causal_mask", "return_attention_scores"),
)
def attention(g: Emitter, layer: LayerConfig, weights: Weights, inputs: Inputs) -> list[Tensor]:
    """Attention of one head: scores by products (Luong et al., 2015) or by sums (Bahdanau et al., 2015)."""
    query, value, *rest = [g.floating(tensor) for tensor in inputs.tensors]
    key = rest[0] if rest else value
    additive = layer.kind == "AdditiveAttention" or layer.text("score_mode", "dot") == "concat"
    scores = _additive(g, layer, weights, query, key) if additive else _product(g, weights, query, key)
    queries, values = (tensor.mask for tensor in inputs.tensors[:2])
    scores = softmax(g, _counted(g, _masked(g, scores, inputs), values, -1))
    output = g.matmul(scores, value)
    if queries is not None:
        rows = g.cast(g.reshape(queries, (*queries.shape, 1)), np.float32)
        output = g.pointwise("Mul", output, rows)
        output.mask = queries
    return [output, scores] if inputs.kwargs.get("return_attention_scores") else [output]


def _product(g: Emitter, weights: Weights, query: Tensor, key: Tensor) -> Tensor:
    scores = g.matmul(query, g.transpose(key, (*range(key.rank - 2), key.rank - 1, key.rank - 2)), name="scores")
    return g.pointwise("Mul", scores, g.constant(weights["scale"], "scale")) if "scale" in weights else scores


def _additive(g: Emitter, layer: LayerConfig, weights: Weights, query: Tensor, key: Tensor) -> Tensor:
    """The sum over features of `scale * tanh(query + key)`, or with the scale within for the mode "concat"."""
    rows = g.reshape(query, _inserted(query.shape, query.rank - 1))
    columns = g.reshape(key, _inserted(key.shape, key.rank - 2))
    total = g.pointwise("Add", rows, columns)
    concat = layer.kind == "Attention"
    if concat and "scale" in weights:
        total = g.pointwise("Mul", total, g.constant(weights["scale"], "scale"))
    total = g.pointwise("Tanh", total)
    if not concat and "scale" in weights:
        total = g.pointwise("Mul", total, g.constant(weights["scale"], "scale"))
    scores = g.reduce("ReduceSum", total, [-1])
    if concat:
        scores = g.pointwise("Mul", scores, g.constant(weights["concat_score_weight"], "score_weight"))
    return scores


def _inserted(shape: Sequence[int | str], axis: int) -> tuple[int | str, ...]:
    return (*shape[:axis], 1, *shape[axis:])
