"""Resizes: the rules alone; more in `test_resize`."""

from __future__ import annotations

import pytest

from tests.passes.cases import Case, check, decomposed

CASES = (
    Case(
        "another rounding",
        "(float[1,2,3,4] x) => (y) <float[4] s={1, 1, 2, 2}>"
        '{ y = Resize<mode="nearest", nearest_mode="ceil">(x, , s) }',
        "Gather(axis=2, indices=[0, 1, 1, 2, 2, 2]) Gather(axis=3)",
    ),
    Case(
        "cubic",
        '(float[1,1,3,4] x) => (y) <float[4] s={1, 1, 2, 2}> { y = Resize<mode="cubic">(x, , s) }',
        "Transpose MatMul Transpose MatMul",
    ),
    Case(
        "some axes",
        '(float[1,2,3,4] x) => (y) <int64[2] s={6, 8}> { y = Resize<mode="linear", axes=[2,3]>(x, , , s) }',
        "Resize(axes=None, sizes=[1, 2, 6, 8])",
    ),
    Case(
        "a computed region",
        "(float[1,1,3,4] x, float[8] r) => (y) <int64[4] s={1, 1, 2, 2}>"
        '{ y = Resize<mode="linear", coordinate_transformation_mode="tf_crop_and_resize">(x, r, , s) }',
        "...",
        span=(0.1, 0.9),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, decomposed)
