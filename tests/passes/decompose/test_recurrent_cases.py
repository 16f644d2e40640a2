"""Recurrent layers: the rules alone; more in `test_recurrent`."""

from __future__ import annotations

import pytest

from tests.passes.cases import Case, check, decomposed

_NORMALISED = ", ".join([*["w"] * 4, *["r"] * 4, *["b"] * 4, *[""] * 5, *["b"] * 4, *[""] * 2])

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
    Case(
        "normalised in both directions",
        "(float[3,1,2] x) => (float[3,1,4] y, float[2,1,2] c) <float[2,2] w, float[2,2] r, float[2] b> { y, c = "
        f'narrowcast.LSTM<direction="bidirectional", hidden_size=2>(x, {", ".join([_NORMALISED, _NORMALISED])}) }}',
        "...",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, decomposed)
