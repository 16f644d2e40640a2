"""Types that kernels lack: the rules alone; more in `test_dtypes`."""

from __future__ import annotations

import pytest

from tests.passes.cases import Case, check, decomposed

CASES = (
    Case(
        "short integers",
        "(int16[2,3] x, int16[2,3] z) => (y) { y = Sub(x, z) }",
        "Cast(to=6) Cast(to=6) Sub Cast(to=5)",
    ),
    Case("bytes", "(uint8[2,3] x) => (y) { y = Abs(x) }", "Cast Abs Cast"),
    Case("order of unsigned", "(uint64[2,3] x, uint64[2,3] z) => (y) { y = Less(x, z) }", "Cast Add Cast Add Less"),
    Case("half floats", "(float16[2,3] x) => (y) { y = Tanh(x) }", "Cast Tanh Cast"),
    Case("doubles", "(double[2,3] x, double[2,3] z) => (y) { y = Mul(x, z) }", "Cast*2 Mul Cast"),
    Case("unsigned to float", "(uint64[2,3] x) => (y) { y = Cast<to=1>(x) }", "Cast*2 Less Add Where"),
    Case(
        "float to unsigned",
        "(float[2,3] x) => (y) { y = Cast<to=13>(x) }",
        "Add Cast GreaterOrEqual Add Cast Where Cast",
        span=(0.0, 99.0),
    ),
    Case(
        "there and back",
        "(float[2,3] x) => (y) { h = Cast<to=10>(x) f = Cast<to=1>(h) y = Tanh(f) }",
        "Cast*2 Tanh",
        tolerance=0.001,
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, decomposed)
