"""Recurrent layers: the rules alone; more in `test_recurrent`."""

from __future__ import annotations

import pytest

from tests.passes.cases import Case, check, decomposed

CASES = (
    Case(
        "lstm",
        "(float[2,1,3] x) => (y, h, c) <float[1,8,3] w, float[1,8,2] r> { y, h, c = LSTM<hidden_size=2>(x, w, r) }",
        "...",
    ),
    Case(
        "gru, the batch first",
        "(float[1,2,3] x) => (y) <float[1,6,3] w, float[1,6,2] r> { y = GRU<hidden_size=2, layout=1>(x, w, r) }",
        "...",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, decomposed)
