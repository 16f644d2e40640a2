"""NonMaxSuppression."""

from __future__ import annotations

import pytest

from tests.passes.cases import Case, check, decomposed

CASES = (
    Case(
        "boxes by centre and size",
        "(float[1,6,4] x, float[1,2,6] s) => (y) <int64 n={3}, float t={0.5}>"
        "{ y = NonMaxSuppression<center_point_box=1>(x, s, n, t) }",
        "Split Mul Sub Add Concat NonMaxSuppression",
        span=(0.0, 1.0),
    ),
    Case("at most none", "(float[1,6,4] x, float[1,2,6] s) => (y) { y = NonMaxSuppression(x, s) }", "Identity"),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, decomposed)
