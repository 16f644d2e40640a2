"""Operands of equal rank."""

from __future__ import annotations

import pytest

from tests.passes.cases import Case, canonical, check

CASES = (
    Case("a lower operand", "(float[2,3,4] x, float[4] z) => (y) { y = Add(x, z) }", "Reshape(shape=[1, 1, 4]) Add"),
    Case(
        "a choice",
        "(bool[4] t, float[3,1] x, float[2,1,4] z) => (y) { y = Where(t, x, z) }",
        "Reshape(shape=[1, 1, 4]) Reshape(shape=[1, 3, 1]) Where",
    ),
    Case("a number", "(float[2,3,4] x, float z) => (y) { y = Add(x, z) }", "Add"),
    Case("a constant", "(float[2,3,4] x) => (y) <float[4] z> { y = Add(x, z) }", "Add"),
    Case(
        "a constant stored as integers",
        "(float[2,3,4] x) => (y) <int8[4] z, float s={0.5}> { d = DequantizeLinear(z, s) y = Add(x, d) }",
        "DequantizeLinear Add",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, canonical)
