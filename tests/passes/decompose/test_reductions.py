"""Reductions by sums."""

from __future__ import annotations

import pytest

from tests.passes.cases import Case, check, decomposed

CASES = (
    Case(
        "the largest of no truth values",
        "(bool[2,0] x, bool[2,1] z) => (y) <int64[1] a={1}> { m = ReduceMax(x, a) y = Or(m, z) }",
        "Or",
    ),
    Case("a norm", "(float[2,3] x) => (y) <int64[1] a={1}> { y = ReduceL2(x, a) }", "Mul ReduceSum Sqrt"),
    Case("a sum of absolute values", "(float[2,3] x) => (y) <int64[1] a={1}> { y = ReduceL1(x, a) }", "Abs ReduceSum"),
    Case(
        "a logarithm of a sum",
        "(float[2,3] x) => (y) <int64[1] a={1}> { y = ReduceLogSum(x, a) }",
        "ReduceSum Log",
        span=(0.1, 2.0),
    ),
    Case(
        "a logarithm of a sum of powers",
        "(float[2,3] x) => (y) <int64[1] a={1}> { y = ReduceLogSumExp<keepdims=0>(x, a) }",
        "ReduceMax Sub Exp ReduceSum Log Add Reshape",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, decomposed)
