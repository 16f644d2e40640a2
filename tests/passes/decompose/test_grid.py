"""Sampling at computed places."""

from __future__ import annotations

import pytest

from tests.passes.cases import Case, check, decomposed

CASES = (
    Case(
        "nearest places",
        '(float[1,2,3,4] x, float[1,2,2,2] g) => (y) { y = GridSample<mode="nearest", padding_mode="border">(x, g) }',
        "...",
        span=(-1.2, 1.2),
    ),
    Case(
        "linear, along one axis",
        "(float[1,2,3,4] x, float[1,2,2,2] g) => (y) { y = GridSample(x, g) }",
        "...",
        span=(-1.2, 1.2),
    ),
    Case(
        "an affine grid",
        "(float[2,2,3] t) => (y) <int64[4] s={2, 1, 3, 4}> { y = AffineGrid(t, s) }",
        "Transpose MatMul Reshape",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, decomposed)
