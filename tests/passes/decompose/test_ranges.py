"""Tensors made from numbers known only when the file runs."""

from __future__ import annotations

import pytest

from tests.passes.cases import Case, check, decomposed

CASES = (
    Case("a computed range", "(int64 a, int64 b) => (y) <int64 d={2}> { y = Range(a, b, d) }", "..."),
    Case("a computed window", "(int64 n) => (y) { y = HannWindow(n) }", "Cast Max Range Cast Mul Div Cos Mul Add"),
    Case(
        "computed bands",
        "(int64 n) => (y) <int64 l={16}, int64 r={8000}, float a={0}, float b={4000}>"
        "{ y = MelWeightMatrix(n, l, r, a, b) }",
        "...",
    ),
    Case("filled", "(int64[2] s) => (y) { y = ConstantOfShape<value=uint8[1] {3}>(s) }", "ConstantOfShape Cast(to=2)"),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, decomposed)
