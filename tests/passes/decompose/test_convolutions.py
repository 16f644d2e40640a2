"""Convolutions that kernels of two axes cannot say."""

from __future__ import annotations

import pytest

from tests.passes.cases import Case, check, decomposed

CASES = (
    Case(
        "transposed, of three axes",
        "(float[1,2,2,3,3] x) => (y) <float[2,3,2,2,2] w> { y = ConvTranspose<strides=[2,2,2]>(x, w) }",
        "...",
    ),
    Case(
        "transposed, of computed weights in groups",
        "(float[1,2,3,3] x, float[2,3,2,2] w) => (y) { y = ConvTranspose<group=2>(x, w) }",
        "Reshape Transpose Slice Reshape Conv",
    ),
    Case(
        "of three axes, in groups",
        "(float[1,2,3,4,4] x) => (y) <float[4,1,2,2,2] w, float[4] b> { y = Conv<group=2>(x, w, b) }",
        "Transpose Slice Reshape Conv Slice Reshape Conv Add Reshape Transpose",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, decomposed)
