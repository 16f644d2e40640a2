"""What does nothing."""

from __future__ import annotations

import pytest

from tests.passes.cases import Case, canonical, check

CASES = (
    Case("an identity", "(float[2,3] x) => (y) { i = Identity(x) y = Tanh(i) }", "Tanh"),
    Case("an identity as an output", "(float[2,3] x) => (y) { t = Tanh(x) y = Identity(t) }", "Tanh"),
    Case("an input that is an output", "(float[2,3] x) => (y) { y = Identity(x) }", "Identity"),
    Case("a dropout", "(float[2,3] x) => (y) { d = Dropout(x) y = Tanh(d) }", "Tanh"),
    Case(
        "a dropout whose mask is read",
        "(float[2,3] x) => (y) { d, m = Dropout(x) t = Tanh(d) k = Cast<to=1>(m) y = Mul(t, k) }",
        "Tanh",
    ),
    Case(
        "a dropout of nothing in training",
        "(float[2,3] x) => (y) <float r={0}, bool t={1}> { d = Dropout(x, r, t) y = Tanh(d) }",
        "Tanh",
    ),
    Case("a cast to the same type", "(float[2,3] x) => (y) { d = Cast<to=1>(x) y = Tanh(d) }", "Tanh"),
    Case(
        "an expansion to the same shape",
        "(float[2,3] x) => (y) <int64[2] s={2, 1}> { d = Expand(x, s) y = Tanh(d) }",
        "Tanh",
    ),
    Case("a pad by nothing", "(float[2,3] x) => (y) <int64[4] p={0, 0, 0, 0}> { d = Pad(x, p) y = Tanh(d) }", "Tanh"),
    Case(
        "a pad that moves", "(float[2,3] x) => (y) <int64[4] p={0, 1, 0, -1}> { d = Pad(x, p) y = Tanh(d) }", "Pad Tanh"
    ),
    Case(
        "a slice of everything",
        "(float[2,3] x) => (y) <int64[1] s={0}, int64[1] e={9}> { d = Slice(x, s, e) y = Tanh(d) }",
        "Tanh",
    ),
    Case(
        "one part with elements",
        "(float[2,3] x) => (y) <float[2,0] w={}> { d = Concat<axis=1>(x, w) y = Tanh(d) }",
        "Tanh",
    ),
    Case(
        "two parts with elements",
        "(float[2,3] x, float[2,0] w) => (y) { t = Tanh(x) y = Concat<axis=1>(x, w, t) }",
        "Tanh Concat",
    ),
    Case("a concatenation of one", "(float[2,3] x) => (y) { d = Concat<axis=1>(x) y = Tanh(d) }", "Tanh"),
    Case("a mean of one", "(float[2,3] x) => (y) { d = Mean(x) y = Tanh(d) }", "Tanh"),
    Case("a term of zero", "(float[2,3] x) => (y) <float z={0}> { d = Add(z, x) y = Tanh(d) }", "Tanh"),
    Case("a divisor of one", "(float[2,3] x) => (y) <float o={1}> { d = Div(x, o) y = Tanh(d) }", "Tanh"),
    Case("one divided", "(float[2,3] x) => (y) <float o={1}> { d = Div(o, x) y = Tanh(d) }", "Div Tanh"),
    Case(
        "a term of zero that broadcasts",
        "(float[1,3] x) => (y) <float[2,1] z={0, 0}> { d = Add(z, x) y = Tanh(d) }",
        "Add Tanh",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, canonical)
