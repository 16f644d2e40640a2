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
        "a gate that is read elsewhere",
        "(float[2,3] x, float[2,4] h, float[2,4] m) => (hidden, f) <float[3,16] w, float[4,16] r> "
        f"{{ p = MatMul(x, w) q = MatMul(h, r) s = Add(p, q) {GATES} }}",
        "Gemm*2 Add Split Sigmoid*2 Tanh Sigmoid Mul*2 Add Tanh Mul",
    ),
    Case("a split of a vector", "(float[8] x) => (a, b) { a, b = Split<axis=0, num_outputs=2>(x) }", "Split"),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, canonical)
