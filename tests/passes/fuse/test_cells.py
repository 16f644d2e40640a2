"""Steps of an LSTM, written out."""

from __future__ import annotations

import pytest

from tests.passes.cases import Case, canonical, check

GATES = """
    a, b, c, d = Split<axis=1, num_outputs=4>(s)
    i = Sigmoid(a) f = Sigmoid(b) g = Tanh(c) o = Sigmoid(d)
    k = Mul(f, m) n = Mul(i, g) cell = Add(k, n) t = Tanh(cell) hidden = Mul(o, t)
"""
INPUTS = "(float[2,3] x, float[2,4] h, float[2,4] m) => (hidden, cell)"
CASES = (
    Case(
        "a bias behind the sum",
        f"{INPUTS} <float[3,16] w, float[4,16] r, float[16] z> "
        f"{{ p = MatMul(x, w) q = MatMul(h, r) u = Add(p, q) s = Add(u, z) {GATES} }}",
        "Reshape*3 LSTM(hidden_size=4) Reshape*2",
    ),
    Case(
        "two biases, the state first",
        f"{INPUTS} <float[16,3] w, float[16,4] r, float[16] y, float[16] z> "
        f"{{ q = Gemm<transB=1>(h, r, y) p = Gemm<transB=1>(x, w, z) s = Add(q, p) {GATES} }}",
        "Reshape*3 LSTM(hidden_size=4) Reshape*2",
    ),
    Case(
        "a bias for each row of the batch",
        f"{INPUTS} <float[3,16] w, float[4,16] r, float[2,16] z> "
        f"{{ p = MatMul(x, w) q = MatMul(h, r) u = Add(p, q) s = Add(u, z) {GATES} }}",
        "Gemm*2 Add*2 Split Sigmoid*2 Tanh Sigmoid Mul*2 Add Tanh Mul",
    ),
    Case(
        "a split of a vector",
        "(float[8] s) => (y) { a, b, c, d = Split<axis=0, num_outputs=4>(s) "
        "e = Sigmoid(a) f = Sigmoid(b) g = Tanh(c) h = Sigmoid(d) y = Concat<axis=0>(e, f, g, h) }",
        "Split Sigmoid*2 Tanh Sigmoid Concat",
    ),
    Case(
        "a gate that is read elsewhere",
        "(float[2,3] x, float[2,4] h, float[2,4] m) => (hidden, f) <float[3,16] w, float[4,16] r> "
        f"{{ p = MatMul(x, w) q = MatMul(h, r) s = Add(p, q) {GATES} }}",
        "Gemm*2 Add Split Sigmoid*2 Tanh Sigmoid Mul*2 Add Tanh Mul",
    ),
    Case(
        "a state that is looked at twice",
        "(float[2,3] x, float[2,4] h, float[2,4] m) => (hidden, z) <float[3,16] w, float[4,16] r> "
        f"{{ p = MatMul(x, w) q = MatMul(h, r) s = Add(p, q) {GATES} u = Tanh(cell) z = Mul(u, u) }}",
        "...",
    ),
    Case(
        "two gates multiplied",
        "(float[2,3] x, float[2,4] h) => (hidden, cell) <float[3,16] w, float[4,16] r> "
        "{ p = MatMul(x, w) q = MatMul(h, r) s = Add(p, q) a, b, c, d = Split<axis=1, num_outputs=4>(s) "
        "i = Sigmoid(a) f = Sigmoid(b) g = Tanh(c) o = Sigmoid(d) k = Mul(f, o) n = Mul(i, g) cell = Add(k, n) "
        "t = Tanh(cell) hidden = Mul(t, t) }",
        "Gemm*2 Add Split ...",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, canonical)
