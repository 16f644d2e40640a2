"""Rectifiers with a slope below zero."""

from __future__ import annotations

import pytest

from tests.passes.cases import Case, canonical, check

CASES = (
    Case(
        "the larger of two",
        "(float[2,3] x) => (y) <float a={0.1}> { s = Mul(x, a) y = Max(x, s) }",
        "LeakyRelu(alpha=0.1)",
    ),
    Case(
        "the larger of two, slopes by channel",
        "(float[2,3] x) => (y) <float[3] a={0.1, 0.2, 0.3}> { s = Mul(x, a) y = Max(s, x) }",
        "PRelu",
    ),
    Case(
        "the larger of two, too steep", "(float[2,3] x) => (y) <float a={2}> { s = Mul(x, a) y = Max(x, s) }", "Mul Max"
    ),
    Case(
        "a choice above zero",
        "(float[2,3] x) => (y) <float a={0.1}, float o={0}> { t = Greater(x, o) s = Mul(x, a) y = Where(t, x, s) }",
        "LeakyRelu(alpha=0.1)",
    ),
    Case(
        "a choice below zero",
        "(float[2,3] x) => (y) <float a={10}, float o={0}> { t = LessOrEqual(x, o) s = Div(x, a) y = Where(t, s, x) }",
        "LeakyRelu(alpha=0.1)",
    ),
    Case(
        "a choice elsewhere",
        "(float[2,3] x) => (y) <float a={0.1}, float o={1}> { t = Greater(x, o) s = Mul(x, a) y = Where(t, x, s) }",
        "Greater Mul Where",
    ),
    Case(
        "two rectifiers",
        "(float[2,3] x) => (y) <float[3] a={-0.1, -0.2, -0.3}>"
        "{ r = Relu(x) n = Neg(x) q = Relu(n) s = Mul(q, a) y = Add(r, s) }",
        "PRelu",
    ),
    Case(
        "a rectifier and a minimum",
        "(float[2,3] x) => (y) <float a={0.1}, float o={0}> { r = Relu(x) q = Min(x, o) s = Mul(q, a) y = Add(s, r) }",
        "LeakyRelu(alpha=0.1)",
    ),
    Case(
        "a rectifier and an absolute value",
        "(float[2,3] x) => (y) <float a={0.1}, float h={0.5}>"
        "{ r = Relu(x) b = Abs(x) q = Sub(x, b) s = Mul(q, a) t = Mul(s, h) y = Add(r, t) }",
        "LeakyRelu(alpha=0.1)",
    ),
    Case(
        "a difference",
        "(float[2,3] x) => (y) <float a={0.1}> { r = Relu(x) n = Neg(x) q = Relu(n) s = Mul(q, a) y = Sub(r, s) }",
        "LeakyRelu(alpha=0.1)",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, canonical)
