"""Reshape is the only reshaper."""

from __future__ import annotations

import pytest

from tests.passes.cases import Case, canonical, check

CASES = (
    Case("flatten", "(float[2,3,4] x) => (y) { y = Flatten<axis=2>(x) }", "Reshape(shape=[6, 4])"),
    Case("squeeze", "(float[2,1,4,1] x) => (y) <int64[1] a={-1}> { y = Squeeze(x, a) }", "Reshape(shape=[2, 1, 4])"),
    Case(
        "unsqueeze", "(float[2,4] x) => (y) <int64[2] a={0, -1}> { y = Unsqueeze(x, a) }", "Reshape(shape=[1, 2, 4, 1])"
    ),
    Case(
        "a partial shape",
        "(float[2,3,4] x) => (y) <int64[2] s={0, -1}> { y = Reshape(x, s) }",
        "Reshape(shape=[2, 12])",
    ),
    Case(
        "a computed shape",
        "(float[2,3,4] x, float[6,4] z) => (y) { s = Shape(z) y = Reshape(x, s) }",
        "Reshape(shape=[6, 4])",
    ),
    Case(
        "no elements",
        "(float[2,0,4] x, float[1,3] z) => (y) <int64[2] s={0, 3}>"
        "{ f = Reshape<allowzero=1>(x, s) y = Concat<axis=0>(f, z) }",
        "Identity",
    ),
    Case(
        "twice",
        "(float[2,3,4] x) => (y) <int64[2] s={6, 4}, int64[2] t={8, 3}> { f = Reshape(x, s) y = Reshape(f, t) }",
        "Reshape(shape=[8, 3])",
    ),
    Case(
        "there and back",
        "(float[2,3,4] x) => (y) <int64[2] s={6, 4}, int64[3] t={2, 3, 4}>"
        "{ f = Reshape(x, s) g = Reshape(f, t) y = Tanh(g) }",
        "Tanh",
    ),
    Case(
        "a mean whose axes go",
        "(float[2,3,4] x) => (y) <int64[1] a={-1}> { m = ReduceMean(x, a) y = Squeeze(m, a) }",
        "ReduceMean(keepdims=0)",
    ),
    Case(
        "a mean whose other axes go",
        "(float[2,1,4] x) => (y) <int64[1] a={-1}, int64[1] b={1}> { m = ReduceMean(x, a) y = Squeeze(m, b) }",
        "ReduceMean(keepdims=0)",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, canonical)
