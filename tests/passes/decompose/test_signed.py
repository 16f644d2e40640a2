"""Integers of 8 bits without a sign, for a target that stores them with one."""

from __future__ import annotations

import pytest

from narrowcast.passes.decompose import decompose
from tests.passes.cases import LITERT, Case, check, operators_of

CASES = (
    Case(
        "unsigned activations",
        "(float[2,3] x) => (y) <float s={0.02}, uint8 z={120}>"
        "{ q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) y = Tanh(d) }",
        "QuantizeLinear(y_zero_point=-8) DequantizeLinear(x_zero_point=-8) Tanh",
    ),
    Case(
        "unsigned activations that others read",
        "(float[2,3] x) => (y, q) <float s={0.02}, uint8 z={120}>"
        "{ q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) y = Tanh(d) }",
        "QuantizeLinear(y_zero_point=120) DequantizeLinear(x_zero_point=120) Tanh",
    ),
    Case(
        "unsigned weights",
        "(float[2,3] x) => (y) <float s={0.02}, uint8 z={120}, uint8[4,3] w>"
        "{ d = DequantizeLinear(w, s, z) y = Gemm<transB=1>(x, d) }",
        "DequantizeLinear(x_zero_point=-8) Gemm",
    ),
)


def prepared(model):
    model.scheme = "int8"
    decompose(model, LITERT)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, prepared)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_scheme_that_is_stored_so_stays(case):
    model = case.model()
    before = operators_of(model, case)
    model.scheme = "uint8"
    decompose(model, LITERT)
    assert operators_of(model, case) == before
