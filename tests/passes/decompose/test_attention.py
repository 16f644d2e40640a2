"""Attention and rotary embeddings."""

from __future__ import annotations

import pytest

from tests.passes.cases import Case, check, decomposed

CASES = (
    Case(
        "attention",
        "(float[1,2,3,4] q, float[1,2,5,4] k, float[1,2,5,6] v) => (y) { y = Attention(q, k, v) }",
        "Mul Transpose MatMul Softmax MatMul",
    ),
    Case(
        "attention of flat heads, causal",
        "(float[1,3,8] q, float[1,3,4] k, float[1,3,4] v) => (y)"
        "{ y = Attention<q_num_heads=2, kv_num_heads=1, is_causal=1>(q, k, v) }",
        "...",
    ),
    Case(
        "attention with a mask",
        "(float[1,1,3,4] q, float[1,1,5,4] k, float[1,1,5,6] v, bool[3,5] m) => (y) { y = Attention(q, k, v, m) }",
        "Mul Transpose MatMul Cast Mul Add Reshape Add Softmax Reshape Mul MatMul",
    ),
    Case(
        "rotary halves",
        "(float[1,2,3,8] x, float[1,3,4] c, float[1,3,4] s) => (y) { y = RotaryEmbedding(x, c, s) }",
        "Reshape*2 Split Mul*2 Sub Mul*2 Add Concat",
    ),
    Case(
        "rotary pairs",
        "(float[1,3,16] x, float[1,3,4] c, float[1,3,4] s) => (y)"
        "{ y = RotaryEmbedding<interleaved=1, num_heads=2>(x, c, s) }",
        "Reshape*3 Slice*2 Mul*2 Sub Mul*2 Add Reshape*2 Concat Reshape",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, decomposed)
