"""Transposes sink, and cancel; more in `test_moves`."""

from __future__ import annotations

import pytest

from tests.passes.cases import Case, canonical, check

CASES = (
    Case("nothing turned", "(float[2,3,4] x) => (y) { t = Transpose<perm=[0, 1, 2]>(x) y = Tanh(t) }", "Tanh"),
    Case(
        "turned twice",
        "(float[2,3,4] x) => (y) { t = Transpose<perm=[0, 2, 1]>(x) y = Transpose<perm=[1, 0, 2]>(t) }",
        "Transpose(perm=[2, 0, 1])",
    ),
    Case(
        "there and back",
        "(float[2,3,4] x) => (y) { t = Transpose<perm=[1, 2, 0]>(x) u = Tanh(t) y = Transpose<perm=[2, 0, 1]>(u) }",
        "Tanh",
    ),
    Case(
        "below a chain",
        "(float[2,3,4] x) => (y) <float[3] c, int64[6] p={1, 0, 0, 2, 0, 0}>"
        "{ t = Transpose<perm=[0, 2, 1]>(x) u = Tanh(t) s = Mul(u, c) d = Pad(s, p) y = Exp(d) }",
        "Tanh Mul Pad(pads=[1, 0, 0, 2, 0, 0]) Exp Transpose(perm=[0, 2, 1])",
    ),
    Case(
        "two of them",
        "(float[2,3,4] x, float[2,3,4] z) => (y)"
        "{ t = Transpose<perm=[0, 2, 1]>(x) u = Transpose<perm=[0, 2, 1]>(z) y = Add(t, u) }",
        "Add Transpose(perm=[0, 2, 1])",
    ),
    Case(
        "two that turn otherwise",
        "(float[2,3,4] x, float[4,3,2] z) => (y)"
        "{ t = Transpose<perm=[0, 2, 1]>(x) u = Transpose<perm=[2, 0, 1]>(z) y = Add(t, u) }",
        "Transpose Transpose Add",
    ),
    Case(
        "read twice",
        "(float[2,3,4] x) => (y) { t = Transpose<perm=[0, 2, 1]>(x) u = Tanh(t) v = Exp(t) y = Add(u, v) }",
        "Tanh Exp Add Transpose(perm=[0, 2, 1])",
    ),
    Case(
        "an output too",
        "(float[2,3,4] x) => (t, y) { t = Transpose<perm=[0, 2, 1]>(x) y = Tanh(t) }",
        "Transpose Tanh",
    ),
    Case(
        "between reshapes that split an axis",
        "(float[2,8,4,6] x) => (y) <int64[3] s={2, 32, 6}, int64[4] t={2, 6, 8, 4}>"
        "{ u = Reshape(x, s) v = Transpose<perm=[0, 2, 1]>(u) y = Reshape(v, t) }",
        "Transpose(perm=[0, 3, 1, 2])",
    ),
    Case(
        "of axes of size 1",
        "(float[8,1,6] x) => (y) <int64[2] t={8, 6}> { v = Transpose<perm=[1, 0, 2]>(x) y = Reshape(v, t) }",
        "Reshape(shape=[8, 6])",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, canonical)
