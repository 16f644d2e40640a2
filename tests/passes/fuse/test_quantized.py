"""Networks that were quantised elsewhere; more in `test_quantized_networks`."""

from __future__ import annotations

import pytest

from tests.passes.cases import Case, canonical, check

CASES = (
    Case(
        "a convolution",
        "(uint8[1,2,4,4] x) => (y) <float s={0.02}, uint8 z={120}, int8[3,2,1,1] w, float[3] t={0.01, 0.02, 0.03},"
        " int8[3] v={0, 0, 0}, float u={0.5}, uint8 a={100}, int32[3] b={100, 200, -300}>"
        "{ y = QLinearConv(x, s, z, w, t, v, u, a, b) }",
        "DequantizeLinear DequantizeLinear(axis=0) DequantizeLinear(axis=0, x_scale=[0.0002, 0.0004, 0.0006]) Conv"
        " QuantizeLinear",
    ),
    Case(
        "weights that are turned",
        "(float[2,3] x) => (y) <float[4] s, int8[3,4] w>"
        "{ d = DequantizeLinear<axis=1>(w, s) t = Transpose<perm=[1, 0]>(d) y = Gemm<transB=1>(x, t) }",
        "DequantizeLinear(axis=0) Gemm",
        tolerance=1e-4,
    ),
    Case(
        "weights that are reshaped",
        "(float[2,3] x) => (y) <float s={0.02}, int8[12] w, int64[2] h={4, 3}>"
        "{ d = DequantizeLinear(w, s) t = Reshape(d, h) y = Gemm<transB=1>(x, t) }",
        "DequantizeLinear Gemm",
    ),
    Case(
        "a matrix as it comes",
        "(float[2,3] x) => (y) <float[4] s, int8[3,4] w, float[4] b>"
        "{ d = DequantizeLinear<axis=1>(w, s) y = Gemm(x, d, b) }",
        "DequantizeLinear(axis=0) Gemm(transB=1)",
    ),
    Case(
        "a product by a matrix",
        "(float[2,3] x) => (y) <float[4] s, int8[3,4] w> { d = DequantizeLinear<axis=1>(w, s) y = MatMul(x, d) }",
        "DequantizeLinear(axis=0) Gemm(transB=1)",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, canonical)
