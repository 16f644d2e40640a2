"""Determinants."""

from __future__ import annotations

import pytest

from tests.passes.cases import Case, check, decomposed

CASES = (
    Case(
        "of three rows",
        "(float[2,3,3] x) => (y) { y = Det(x) }",
        "Split*4 Mul*2 Sub Mul*2 Sub Mul*2 Sub Mul*2 Sub Mul Add Reshape",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, decomposed)
