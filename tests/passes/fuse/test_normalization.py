"""Normalisations and softmax written out in arithmetic."""

from __future__ import annotations

import pytest

from tests.passes.cases import Case, canonical, check

CASES = (
    Case(
        "layer normalisation",
        "(float[2,3,8] x) => (y) <int64[1] a={-1}, float e={1e-5}, float[8] g, float[8] b>"
        "{ m = ReduceMean(x, a) d = Sub(x, m) q = Mul(d, d) v = ReduceMean(q, a) w = Add(v, e) r = Sqrt(w) n = Div(d,"
        " r)"
        " s = Mul(n, g) y = Add(s, b) }",
        "LayerNormalization(axis=2, epsilon=1e-05)",
    ),
    Case(
        "root mean square normalisation",
        "(float[2,3,8] x) => (y) <int64[1] a={-1}, float e={1e-5}, float[8] g>"
        "{ q = Mul(x, x) v = ReduceMean(q, a) w = Add(v, e) r = Sqrt(w) n = Div(x, r) y = Mul(n, g) }",
        "RMSNormalization(axis=2, epsilon=1e-05)",
    ),
    Case(
        "a factor moved in",
        "(float[2,8] x) => (y) <int64[1] a={-1}, float e={1e-3}, float[8] g, float[8] b>"
        "{ m = ReduceMean(x, a) d = Sub(x, m) q = Mul(d, d) v = ReduceMean(q, a) w = Add(v, e) r = Sqrt(w) i ="
        " Reciprocal(r)"
        " k = Mul(i, g) p = Mul(x, k) t = Mul(m, k) u = Sub(b, t) y = Add(p, u) }",
        "LayerNormalization(axis=1)",
    ),
    Case(
        "over channels that come first",
        "(float[2,8,3] x) => (y) <int64[1] a={1}, float e={1e-5}>"
        "{ m = ReduceMean(x, a) d = Sub(x, m) q = Mul(d, d) v = ReduceMean(q, a) w = Add(v, e) r = Sqrt(w) y = Div(d,"
        " r) }",
        "ReduceMean Sub Mul ReduceMean Add Sqrt Div",
    ),
    Case(
        "by the norm",
        "(float[2,8] x) => (y) <int64[1] a={-1}, float e={1e-12}> { n = ReduceL2(x, a) m = Max(n, e) y = Div(x, m) }",
        "LpNormalization(axis=1, p=2)",
    ),
    Case(
        "by the sum of absolute values",
        "(float[2,8] x) => (y) <int64[1] a={-1}, float e={1e-12}>"
        "{ b = Abs(x) n = ReduceSum(b, a) m = Add(n, e) y = Div(x, m) }",
        "LpNormalization(axis=1, p=1)",
    ),
    Case(
        "by the norm, a large bound",
        "(float[2,8] x) => (y) <int64[1] a={-1}, float e={0.1}> { n = ReduceL2(x, a) m = Max(n, e) y = Div(x, m) }",
        "ReduceL2 Clip Div",
    ),
    Case(
        "softmax",
        "(float[2,8] x) => (y) <int64[1] a={-1}>"
        "{ m = ReduceMax(x, a) d = Sub(x, m) e = Exp(d) s = ReduceSum(e, a) y = Div(e, s) }",
        "Softmax(axis=1)",
    ),
    Case("the logarithm of softmax", "(float[2,8] x) => (y) { s = Softmax(x) y = Log(s) }", "LogSoftmax(axis=1)"),
    Case(
        "the logarithm of softmax, written out",
        "(float[2,8] x) => (y) <int64[1] a={-1}>"
        "{ m = ReduceMax(x, a) d = Sub(x, m) e = Exp(d) s = ReduceSum(e, a) l = Log(s) y = Sub(d, l) }",
        "LogSoftmax(axis=1)",
    ),
    Case(
        "softmax that others read",
        "(float[2,8] x) => (y, z) { s = Softmax(x) y = Log(s) z = Tanh(s) }",
        "Softmax Log Tanh",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, canonical)
