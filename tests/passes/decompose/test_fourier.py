"""Fourier transforms."""

from __future__ import annotations

import pytest

from tests.passes.cases import Case, check, decomposed

CASES = (
    Case("a transform", "(float[1,6,1] x) => (y) <int64 a={1}> { y = DFT(x, , a) }", "Reshape Gemm*2 Reshape*2 Concat"),
    Case(
        "one side",
        "(float[1,6,1] x) => (y) <int64 a={1}> { y = DFT<onesided=1>(x, , a) }",
        "Reshape Gemm*2 Reshape*2 Concat",
    ),
    Case(
        "magnitudes",
        "(float[2,3,6] x) => (float[2,3,4] y) { y = narrowcast.Magnitude(x) }",
        "Reshape Gemm Reshape Gemm Reshape Mul*2 Add Sqrt",
    ),
    Case(
        "short times",
        "(float[1,8,1] x) => (y) <int64 h={2}, float[4] w> { y = STFT(x, h, w) }",
        "Reshape Gather Mul Reshape Gemm*2 Reshape*2 Concat",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, decomposed)
