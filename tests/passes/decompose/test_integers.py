"""Integer arithmetic that is spelled by operators of its own."""

from __future__ import annotations

import pytest

from tests.passes.cases import Case, check, decomposed

CASES = (
    Case(
        "dequantised by a computed scale",
        "(uint8[2,3] x, float s, uint8 z) => (y) { y = DequantizeLinear(x, s, z) }",
        "Cast*2 Sub Mul",
    ),
    Case(
        "quantised by computed scales",
        "(float[2,3] x, float[3] s) => (y) <int8[3] z={1, 2, 3}> { y = QuantizeLinear<axis=1>(x, s, z) }",
        "Reshape Div Round Add Clip Cast",
        span=(0.5, 2.0),
    ),
    Case("quantised by its own range", "(float[2,3] x) => (y, s, z) { y, s, z = DynamicQuantizeLinear(x) }", "..."),
    Case(
        "a product of integers",
        "(uint8[2,3] x, int8[3,4] w, uint8 z) => (y) { y = MatMulInteger(x, w, z) }",
        "Cast*2 Sub Cast MatMul Cast",
    ),
    Case(
        "a quantised product",
        "(uint8[2,3] x, uint8[3,4] w) => (y) <float a={0.02}, uint8 p={100}, float b={0.03}, uint8 q={90}, float"
        " c={2}, uint8 r={120}>"
        "{ y = QLinearMatMul(x, a, p, w, b, q, c, r) }",
        "Cast Add Cast Add MatMul Mul Round Add Clip Cast",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, decomposed)
