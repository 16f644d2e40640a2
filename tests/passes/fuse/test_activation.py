"""Activations written out in arithmetic."""

from __future__ import annotations

import pytest

from tests.passes.cases import Case, canonical, check

CASES = (
    Case(
        "a clip as last step",
        "(float[2,8] x) => (y) <float a={0.2}, float b={0.5}, float z={0}, float o={1}>"
        "{ m = Mul(x, a) l = Add(m, b) y = Clip(l, z, o) }",
        "HardSigmoid(alpha=0.2, beta=0.5)",
    ),
    Case(
        "a scaled clip",
        "(float[2,8] x) => (y) <float a={3}, float b={6}, float z={0}, float o={6}>"
        "{ m = Add(x, a) l = Clip(m, z, o) y = Div(l, b) }",
        "HardSigmoid(alpha=0.166667, beta=0.5)",
    ),
    Case(
        "hard swish",
        "(float[2,8] x) => (y) <float a={3}, float b={6}, float z={0}, float o={6}>"
        "{ m = Add(x, a) l = Clip(m, z, o) p = Mul(x, l) y = Div(p, b) }",
        "HardSwish",
    ),
    Case(
        "gelu by erf",
        "(float[2,8] x) => (y) <float r={1.4142135}, float o={1}, float h={0.5}>"
        "{ d = Div(x, r) e = Erf(d) s = Add(e, o) p = Mul(x, s) y = Mul(p, h) }",
        "Gelu",
    ),
    Case(
        "gelu by tanh",
        "(float[2,8] x) => (y) <float c={0.044715}, float k={0.7978846}, float o={1}, float h={0.5}, float t={3}>"
        "{ u = Pow(x, t) v = Mul(u, c) w = Add(x, v) a = Mul(w, k) e = Tanh(a) s = Add(e, o) p = Mul(x, h)"
        " y = Mul(p, s) }",
        'Gelu(approximate="tanh")',
    ),
    Case(
        "mish",
        "(float[2,8] x) => (y) <float o={1}> { e = Exp(x) s = Add(e, o) l = Log(s) t = Tanh(l) y = Mul(x, t) }",
        "Mish",
    ),
    Case("softplus", "(float[2,8] x) => (y) <float o={1}> { e = Exp(x) s = Add(o, e) y = Log(s) }", "Softplus"),
    Case(
        "sigmoid by a reciprocal",
        "(float[2,8] x) => (y) <float o={1}> { n = Neg(x) e = Exp(n) s = Add(o, e) y = Reciprocal(s) }",
        "Sigmoid",
    ),
    Case(
        "a product by what is sigmoid",
        "(float[2,8] x, float[2,8] z) => (y) <float o={1}> { n = Neg(x) e = Exp(n) s = Add(e, o) y = Div(z, s) }",
        "Sigmoid Mul",
    ),
    Case(
        "another slope than that of hard swish",
        "(float[2,8] x) => (y) <float a={3}, float b={5}, float z={0}, float o={6}>"
        "{ m = Add(x, a) l = Clip(m, z, o) p = Mul(x, l) y = Div(p, b) }",
        "Add Clip Mul Div",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, canonical)
