"""Recurrent layers with the batch first."""

from __future__ import annotations

import pytest

from tests.passes.cases import Case, canonical, check

CASES = (
    Case(
        "a batch of one first",
        "(float[1,2,3] x) => (y) <float[1,6,3] w, float[1,6,2] r> { y = GRU<hidden_size=2, layout=1>(x, w, r) }",
        "Transpose GRU(layout=None) Transpose",
    ),
    Case(
        "a batch and states first",
        "(float[4,2,3] x, float[4,1,2] h) => (y, last) <float[1,2,3] w, float[1,2,2] r> "
        "{ y, last = RNN<hidden_size=2, layout=1>(x, w, r, , , h) }",
        "Transpose*2 RNN(layout=None) Transpose*2",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, canonical)
