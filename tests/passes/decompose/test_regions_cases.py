"""Computed places of an image: the rules alone; more in `test_regions`."""

from __future__ import annotations

import pytest

from tests.passes.cases import Case, check, decomposed

CASES = (
    Case(
        "aligned regions",
        "(float[1,2,4,4] x, float[2,4] r) => (y) <int64[2] i={0, 0}>"
        "{ y = RoiAlign<output_height=2, output_width=2, sampling_ratio=1>(x, r, i) }",
        "...",
        span=(0.0, 3.0),
    ),
    Case(
        "deformed",
        "(float[1,1,3,3] x, float[1,2,3,3] o) => (y) <float[2,1,1,1] w> { y = DeformConv(x, w, o) }",
        "...",
        span=(-1.0, 1.0),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, decomposed)
