"""Arguments of operators in one spelling."""

from __future__ import annotations

import pytest

from tests.passes.cases import Case, canonical, check

CASES = (
    Case("an axis from behind", "(float[2,3,4] x) => (y) { y = Softmax<axis=-2>(x) }", "Softmax(axis=1)"),
    Case("an axis that is left out", "(float[2,3] x) => (y) { y = Softmax(x) }", "Softmax(axis=1)"),
    Case(
        "axes of a reduction from behind, in any order",
        "(float[2,3,4] x) => (y) <int64[2] a={-1, 1}> { y = ReduceSum(x, a) }",
        "ReduceSum(axes=[1, 2])",
    ),
    Case("a reduction of all", "(float[2,3] x) => (y) { y = ReduceMax(x) }", "ReduceMax(axes=[0, 1])"),
    Case(
        "a slice from behind, beyond the end",
        "(float[2,9] x) => (y) <int64[1] s={-4}, int64[1] e={99}, int64[1] a={-1}> { y = Slice(x, s, e, a) }",
        "Slice(starts=[5], ends=[9], axes=[1], steps=[1])",
    ),
    Case(
        "a slice without axes",
        "(float[4,9] x) => (y) <int64[2] s={1, 2}, int64[2] e={3, -1}> { y = Slice(x, s, e) }",
        "Slice(starts=[1, 2], ends=[3, 8], axes=[0, 1], steps=[1, 1])",
    ),
    Case(
        "a slice backwards",
        "(float[2,9] x) => (y) <int64[1] s={-1}, int64[1] e={-99}, int64[1] a={1}, int64[1] t={-2}>"
        "{ y = Slice(x, s, e, a, t) }",
        "Slice(starts=[8], ends=[-10], axes=[1], steps=[-2])",
    ),
    Case(
        "a split into a number",
        "(float[2,7] x) => (y, z) { y, z = Split<axis=1, num_outputs=2>(x) }",
        "Split(split=[4, 3])",
    ),
    Case(
        "a resize by scales",
        "(float[1,2,3,4] x) => (y) <float[4] s={1, 1, 2, 2}> { y = Resize(x, , s) }",
        "Resize(scales=None, sizes=[1, 2, 6, 8])",
    ),
    Case(
        "a resize by scales that are not the ratio of its sizes",
        "(float[1,2,3,5] x) => (y) <float[4] s={1, 1, 1.5, 1.5}> { y = Resize(x, , s) }",
        "Resize(scales=[1.0, 1.0, 1.5, 1.5])",
    ),
    Case(
        "less a constant", "(float[2,3] x) => (y) <float[3] c={1, 2, 3}> { y = Sub(x, c) }", "Add(B=[-1.0, -2.0, -3.0])"
    ),
    Case("a constant less what is computed", "(float[2,3] x) => (y) <float[3] c> { y = Sub(c, x) }", "Sub"),
    Case("a square", "(float[2,3] x) => (y) <float c={2}> { y = Pow(x, c) }", "Mul"),
    Case("a root", "(float[2,3] x) => (y) <float c={0.5}> { y = Pow(x, c) }", "Sqrt", span=(0.1, 2)),
    Case("a cube", "(float[2,3] x) => (y) <float c={3}> { y = Pow(x, c) }", "Pow"),
    Case(
        "a pad that names its axes",
        "(float[2,3,4] x) => (y) <int64[4] p={1, 2, 3, 4}, float v={7}, int64[2] a={-1, 1}> { y = Pad(x, p, v, a) }",
        "Pad(pads=[0, 2, 1, 0, 4, 3], axes=None)",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, canonical)
