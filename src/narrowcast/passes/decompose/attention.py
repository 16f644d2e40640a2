"""Attention and rotary embeddings as products, softmax and elementwise arithmetic.

1. Attention (opset 23; Vaswani et al., https://arxiv.org/abs/1706.03762): softmax(softcap(Q K^T scale) + bias) V, with
   rank-3 or rank-4 inputs, fewer key heads than query heads (https://arxiv.org/abs/2305.13245), past keys and values,
   causal and other masks. Masks are -1e30 instead of -inf; rows without any key give zeros where the mask is boolean.
2. RotaryEmbedding (Su et al., https://arxiv.org/abs/2104.09864), halves or interleaved, of all or the first features.
3. The debugging output `qk_matmul_output` is the scores at the stage that is asked for, in which what may not be
   looked at is minus infinity.
"""

from __future__ import annotations

import math

import numpy as np

from narrowcast.dialect.build import constant_of, input_of
from narrowcast.model import Array, ir
from narrowcast.passes.formula import Formula
from narrowcast.passes.rewrite import Rewriter, RuleSet, dims, is_read, operands, require, static_shape

RULES = RuleSet()


def forbidden(f: Formula) -> float:
    """What is added to the score of a key that may not be looked at; sums of several stay finite."""
    return -2e4 if f.dtype == np.float16 else -1e30


@RULES.rule("Attention")
def attention(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 1."""
    q, k, v = operands(node, 3)
    mask, past_key, past_value, lengths = (input_of(node, index) for index in range(3, 7))
    require(lengths is None, "its keys have lengths of their own")
    flat = len(static_shape(q)) == len(static_shape(k)) == len(static_shape(v)) == 3
    f, attributes = Formula(node, rewriter), node.attributes
    asked = len(node.outputs) > 3 and is_read(node.outputs[3])
    stage = attributes.get_int("qk_matmul_output_mode", 0) if asked else None
    if flat:
        heads, shared = attributes.get_int("q_num_heads", 1), attributes.get_int("kv_num_heads", 1)
        q, k, v = _split_heads(f, q, heads), _split_heads(f, k, shared), _split_heads(f, v, shared)
    past = (dims(past_key) or (0, 0, 0))[2]
    k = f.concat([past_key, k], 2) if past_key is not None and past else k
    v = f.concat([past_value, v], 2) if past_value is not None and past else v
    batch, heads, queries, size = static_shape(q)
    shared, keys = static_shape(k)[1:3]
    width = static_shape(v)[3]
    scale = attributes.get_float("scale", 1 / math.sqrt(size))
    folded = [batch, shared, heads // shared * queries]
    scaled = f.reshape(f("Mul", q, scale), [*folded, size])
    scores = f.reshape(f.product(scaled, f.transpose(k, (0, 1, 3, 2))), [batch, heads, queries, keys])
    raw = scores
    cap = attributes.get_float("softcap", 0.0)
    if cap:
        scores = f("Mul", f("Tanh", f("Mul", scores, 1 / cap)), cap)
    capped = scores
    allowed = hidden = None
    if attributes.get_int("is_causal", 0):
        hidden = np.arange(keys)[None] > np.arange(queries)[:, None] + past
        scores = f("Add", scores, np.where(hidden, forbidden(f), 0.0))
    if mask is not None:
        bias, allowed = _bias(f, mask, keys)
        scores = f("Add", scores, bias)
    biased = _infinite(f, capped, hidden, mask) if stage == 2 else scores
    weights = rewriter.op("Softmax", scores, like=scores, axis=3)
    if allowed is not None:
        weights = f("Mul", weights, allowed)
    if stage is not None:
        rewriter.replace(node.outputs[3], (raw, capped, biased, weights)[stage])
    mixed = f.product(f.reshape(weights, [*folded, keys]), v)
    result = f.reshape(mixed, [batch, heads, queries, width])
    if flat:
        result = f.reshape(f.transpose(result, (0, 2, 1, 3)), [batch, queries, heads * width])
    for output, value in zip(node.outputs[1:3], (k, v), strict=False):
        if is_read(output):
            rewriter.replace(output, value)
    return f.becomes(result)


def _infinite(f: Formula, scores: ir.Value, hidden: Array | None, mask: ir.Value | None) -> ir.Value:
    """The scores with minus infinity, not just a low number, for keys that may not be looked at."""
    keys, shape = static_shape(scores)[3], dims(mask) or ()
    if hidden is not None:
        scores = f("Add", scores, np.where(hidden, -math.inf, 0.0))
    if mask is None:
        return scores
    mask = f.reshape(mask, [1] * (4 - len(shape)) + list(shape))
    ends = [0, 0, 0, keys - shape[-1] if shape[-1] != 1 else 0]
    if mask.dtype is not ir.DataType.BOOL:
        return f("Add", scores, f.pad(mask, [0] * 4, ends, -math.inf))
    allowed = f.pad(f.cast(mask, f.dtype), [0] * 4, ends)
    return f("Where", f("Greater", allowed, 0.5), scores, -math.inf)


def _split_heads(f: Formula, x: ir.Value, heads: int) -> ir.Value:
    """[batch, steps, heads * size] -> [batch, heads, steps, size]."""
    batch, steps, width = static_shape(x)
    return f.transpose(f.reshape(x, [batch, steps, heads, width // heads]), (0, 2, 1, 3))


def _bias(f: Formula, mask: ir.Value, keys: int) -> tuple[ir.Value, ir.Value | None]:
    """What a mask adds to the scores, and a boolean mask as numbers; a short one forbids the keys after it."""
    array, shape = constant_of(mask), static_shape(mask)
    if len(shape) == 3:  # [heads, queries, keys] for all of the batch
        mask = f.reshape(mask, [1, *shape])
    missing = keys - shape[-1] if shape[-1] != 1 else 0
    if array is not None and array.dtype.kind == "f":
        finite = np.pad(
            np.maximum(array, forbidden(f)), [(0, 0)] * (array.ndim - 1) + [(0, missing)], constant_values=forbidden(f)
        )
        return f.constant(finite.reshape((1,) * (4 - finite.ndim) + finite.shape), f.dtype, "mask"), None
    rank = len(mask.shape or ())
    ends = [0] * (rank - 1) + [missing]
    if mask.dtype is not ir.DataType.BOOL:
        return f.pad(mask, [0] * rank, ends, forbidden(f)), None
    allowed = f.pad(f.cast(mask, f.dtype), [0] * rank, ends)
    return f("Mul", f("Sub", 1.0, allowed), forbidden(f)), allowed


@RULES.rule("RotaryEmbedding")
def rotary(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 2."""
    x, cos, sin = operands(node, 3)
    shape, positions, f = static_shape(x), input_of(node, 3), Formula(node, rewriter)
    if positions is not None:
        cos, sin = f.gather(cos, positions), f.gather(sin, positions)
    heads_first = len(shape) == 4
    if not heads_first:
        heads = node.attributes.get_int("num_heads", 1)
        x = f.reshape(x, [*shape[:2], heads, shape[2] // heads])
    table = static_shape(cos)
    lead = [table[0], 1, table[1]] if heads_first else [table[0], table[1], 1]
    cos, sin = (f.reshape(value, [*lead, table[2]]) for value in (cos, sin))
    size = static_shape(x)[3]
    turned = node.attributes.get_int("rotary_embedding_dim", 0) or size
    head, tail = f.slice(x, 3, 0, turned), f.slice(x, 3, turned, size) if turned < size else None
    interleaved = node.attributes.get_int("interleaved", 0) != 0
    if interleaved:
        first, second = f.slice(head, 3, 0, turned, 2), f.slice(head, 3, 1, turned, 2)
    else:
        first, second = f.slice(head, 3, 0, turned // 2), f.slice(head, 3, turned // 2, turned)
    real = f("Sub", f("Mul", first, cos), f("Mul", second, sin))
    imaginary = f("Add", f("Mul", first, sin), f("Mul", second, cos))
    if interleaved:
        pairs = [f.reshape(part, [*static_shape(part), 1]) for part in (real, imaginary)]
        made = f.reshape(f.concat(pairs, 4), static_shape(head))
    else:
        made = f.concat([real, imaginary], 3)
    if tail is not None:
        made = f.concat([made, tail], 3)
    return f.becomes(f.reshape(made, shape))
