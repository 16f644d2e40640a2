"""Operands in forms that the target lacks."""

from __future__ import annotations

import pytest

from tests.passes.cases import Case, check, decomposed

CASES = (
    Case("another's type", "(float[2,3] x, int32[1] l) => (y) { y = CastLike(x, l) }", "Cast"),
    Case("an exponent of another type", "(float[2,3] x, int32[2,3] n) => (y) { y = Pow(x, n) }", "Cast Pow"),
    Case("a matrix and a vector", "(float[2,3] x, float[3] v) => (y) { y = MatMul(x, v) }", "Reshape MatMul Reshape"),
    Case("a vector and matrices", "(float[3] x, float[2,3,4] v) => (y) { y = MatMul(x, v) }", "Reshape MatMul Reshape"),
    Case(
        "computed statistics",
        "(float[2,3,4] x, float[3] g, float[3] b, float[3] m, float[3] v) => (y)"
        "{ y = BatchNormalization(x, g, b, m, v) }",
        "Reshape*4 Add Sqrt Sub Div Mul Add",
        span=(0.5, 2.0),
    ),
    Case(
        "local responses",
        "(float[1,4,2,2] x) => (y) { y = LRN<size=3>(x) }",
        "Mul Pad Slice*3 Add*2 Mul Add Pow Mul",
    ),
    Case("centred", "(float[5,3] x) => (y) <int64[2] s={3, 6}> { y = CenterCropPad(x, s) }", "Slice Pad"),
    Case(
        "the largest along another axis",
        "(float[4,3] x) => (y, i) <int64[1] k={2}> { y, i = TopK<axis=0>(x, k) }",
        "Transpose(perm=[1, 0]) TopK(axis=1) Transpose Transpose",
    ),
    Case(
        "the smallest",
        "(float[3,4] x) => (y, i) <int64[1] k={2}> { y, i = TopK<largest=0>(x, k) }",
        "Neg TopK(axis=1, largest=1) Neg",
    ),
    Case(
        "a convolution of integers",
        "(uint8[1,2,3,3] x, uint8[3,2,2,2] w, uint8 z) => (y) { y = ConvInteger(x, w, z) }",
        "Cast*2 Sub Cast Conv Round Cast",
    ),
    Case(
        "an image of columns",
        "(float[1,4,4] x) => (y) <int64[2] s={3, 3}, int64[2] b={2, 2}> { y = Col2Im(x, s, b) }",
        "Reshape Gemm Reshape",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, decomposed)
