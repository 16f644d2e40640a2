"""Numbers on both sides of a matrix product."""

from __future__ import annotations

import pytest

from tests.passes.cases import Case, canonical, check

CASES = (
    Case(
        "both sides",
        "(float[2,3,4] x, float[2,4,5] z) => (y) <float a={0.5}, float b={0.25}>"
        "{ l = Mul(x, a) r = Mul(z, b) y = MatMul(l, r) }",
        "Mul(B=0.125) MatMul",
    ),
    Case(
        "one of them turned",
        "(float[2,3,4] x, float[2,5,4] z) => (y) <float a={0.5}, float b={0.25}>"
        "{ l = Mul(x, a) r = Mul(z, b) t = Transpose<perm=[0, 2, 1]>(r) y = MatMul(l, t) }",
        "Mul(B=0.125) Transpose MatMul",
    ),
    Case(
        "one side",
        "(float[2,3,4] x, float[2,4,5] z) => (y) <float a={0.5}> { l = Mul(x, a) y = MatMul(l, z) }",
        "Mul(B=0.5) MatMul",
    ),
    Case(
        "one side that others read",
        "(float[2,3,4] x, float[2,4,5] z) => (y, o) <float a={0.5}, float b={0.25}>"
        "{ l = Mul(x, a) r = Mul(z, b) y = MatMul(l, r) o = Tanh(l) }",
        "Mul Mul MatMul Tanh",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, canonical)
