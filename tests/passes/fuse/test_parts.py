"""Tensors are cut once and joined once; more in `test_moves`."""

from __future__ import annotations

import pytest

from tests.passes.cases import Case, canonical, check

CASES = (
    Case(
        "a slice of a slice",
        "(float[2,9,4] x) => (y) <int64[1] s={2}, int64[1] e={8}, int64[1] a={1}, int64[1] t={1}, int64[1] f={3}>"
        "{ u = Slice(x, s, e, a) y = Slice(u, t, f, a) }",
        "Slice(starts=[3], ends=[5], axes=[1])",
    ),
    Case(
        "a slice of a slice along another axis, by steps",
        "(float[2,9,4] x) => (y) <int64[1] s={1}, int64[1] e={8}, int64[1] a={1}, int64[1] t={3}, int64[1] b={2}>"
        "{ u = Slice(x, s, e, a, t) y = Slice(u, s, e, b) }",
        "Slice(starts=[1, 1], ends=[8, 4], axes=[1, 2], steps=[3, 1])",
    ),
    Case(
        "two halves",
        "(float[2,8] x) => (y) <int64[1] z={0}, int64[1] h={3}, int64[1] e={8}, int64[1] a={1}>"
        "{ l = Slice(x, z, h, a) r = Slice(x, h, e, a) y = Concat<axis=1>(r, l) }",
        "Split(axis=1, split=[3, 5]) Concat",
    ),
    Case(
        "each position",
        "(float[3,2,4] x) => (y) <int64 a={0}, int64 b={1}, int64 c={2}>"
        "{ q = Gather(x, a) k = Gather(x, b) v = Gather(x, c) s = Mul(q, k) y = Sub(s, v) }",
        "Reshape(shape=[6, 4]) Split(axis=0, split=[2, 2, 2]) Mul Sub",
    ),
    Case(
        "parts reshaped alike",
        "(float[4,6] x) => (y) <int64[2] s={3, 4}>"
        "{ q, v = Split<num_outputs=2>(x) l = Reshape(q, s) r = Reshape(v, s) y = Mul(l, r) }",
        "Reshape(shape=[6, 4]) Split(axis=0, split=[3, 3]) Mul",
    ),
    Case(
        "parts that are read as they are too",
        "(float[4,6] x) => (y, z) <int64[2] s={3, 4}>"
        "{ q, v = Split<num_outputs=2>(x) l = Reshape(q, s) r = Reshape(v, s) y = Mul(l, r) z = Tanh(q) }",
        "Split Reshape Reshape Mul Tanh",
    ),
    Case(
        "a concatenation within another",
        "(float[2,3] x) => (y) { t = Tanh(x) c = Concat<axis=-1>(x, t) y = Concat<axis=1>(c, x) }",
        "Tanh Concat(axis=1)",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, canonical)
