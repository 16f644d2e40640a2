"""Operators that keep some of the elements."""

from __future__ import annotations

import pytest

from tests.passes.cases import Case, check, decomposed

CASES = (
    Case("between computed bounds", "(float[5,2] x, int64[1] s, int64[1] e) => (y) { y = Slice(x, s, e) }", "..."),
    Case("what is true", "(float[3,2] x, bool[3] c) => (y) { y = Compress<axis=0>(x, c) }", "NonZero Reshape Gather"),
    Case("what differs", "(float[5] x) => (y, i, n, k) { r = Round(x) y, i, n, k = Unique(r) }", "..."),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, decomposed)
