"""Clips and what they are spelled as."""

from __future__ import annotations

import pytest

from tests.passes.cases import Case, canonical, check

CASES = (
    Case("a minimum", "(float[2,3] x) => (y) <float h={0.5}> { y = Min(x, h) }", "Clip(min=None, max=0.5)"),
    Case("a maximum with zero", "(float[2,3] x) => (y) <float l={0}> { y = Max(l, x) }", "Relu"),
    Case(
        "a maximum and a minimum",
        "(float[2,3] x) => (y) <float l={-1}, float h={0.5}> { m = Max(x, l) y = Min(m, h) }",
        "Clip(min=-1.0, max=0.5)",
    ),
    Case("a minimum with many numbers", "(float[2,3] x) => (y) <float[3] h> { y = Min(x, h) }", "Min"),
    Case(
        "bounds of one element",
        "(float[2,3] x) => (y) <float[1] l={-1}, float[1] h={0.5}> { y = Clip(x, l, h) }",
        "Clip(min=-1.0, max=0.5)",
    ),
    Case("a bound below", "(float[2,3] x) => (y) <float l={0}> { y = Clip(x, l) }", "Relu"),
    Case("no bounds", "(float[2,3] x) => (y) { z = Clip(x) y = Tanh(z) }", "Tanh"),
    Case(
        "bounds at the ends of the type",
        "(float[2,3] x) => (y) <float h={3.4e38}> { z = Clip(x, , h) y = Tanh(z) }",
        "Tanh",
    ),
    Case(
        "a clip behind a rectifier",
        "(float[2,3] x) => (y) <float h={1}> { r = Relu(x) y = Clip(r, , h) }",
        "Clip(min=0.0, max=1.0)",
    ),
    Case(
        "a rectifier that others read",
        "(float[2,3] x) => (y, z) <float h={1}> { r = Relu(x) y = Clip(r, , h) z = Tanh(r) }",
        "Relu Clip Tanh",
    ),
    Case("integers without bounds", "(int32[2,3] x) => (y) { z = Clip(x) y = Abs(z) }", "Abs"),
    Case("integers", "(int32[2,3] x) => (y) <int32 l={0}> { y = Clip(x, l) }", "Clip(min=0)"),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, canonical)
