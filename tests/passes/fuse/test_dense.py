"""Dense layers."""

from __future__ import annotations

import pytest

from tests.passes.cases import Case, canonical, check

CASES = (
    Case("a product by a matrix", "(float[2,3] x) => (y) <float[3,4] w> { y = MatMul(x, w) }", "Gemm(transB=1)"),
    Case("of more axes", "(float[2,5,3] x) => (y) <float[3,4] w> { y = MatMul(x, w) }", "MatMul"),
    Case("of two tensors", "(float[2,3] x, float[3,4] w) => (y) { y = MatMul(x, w) }", "MatMul"),
    Case(
        "weights as they come",
        "(float[2,3] x) => (y) <float[3,4] w, float[4] b> { y = Gemm(x, w, b) }",
        "Gemm(transB=1)",
    ),
    Case(
        "factors",
        "(float[2,3] x) => (y) <float[3,4] w, float[4] b> { y = Gemm<alpha=0.5, beta=2.0>(x, w, b) }",
        "Gemm(alpha=None, beta=None, transB=1)",
    ),
    Case(
        "turned",
        "(float[3,2] x) => (y) <float[3,4] w> { y = Gemm<transA=1>(x, w) }",
        "Transpose Gemm(transA=None, transB=1)",
    ),
    Case("a bias of one row", "(float[2,3] x) => (y) <float[3,4] w, float[1,4] b> { y = Gemm(x, w, b) }", "Gemm"),
    Case(
        "a bias of one number",
        "(float[2,3] x) => (y) <float[4,3] w, float b={2}> { y = Gemm<transB=1>(x, w, b) }",
        "Gemm(C=[2.0, 2.0, 2.0, 2.0])",
    ),
    Case("a bias of each row", "(float[2,3] x) => (y) <float[3,4] w, float[2,4] b> { y = Gemm(x, w, b) }", "Gemm Add"),
    Case(
        "computed weights",
        "(float[2,3] x, float[4,3] w, float[4] b) => (y) { y = Gemm<alpha=0.5, beta=2.0, transB=1>(x, w, b) }",
        "Transpose MatMul Mul Mul Reshape Add",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, canonical)
