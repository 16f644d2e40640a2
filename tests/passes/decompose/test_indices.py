"""Operators on positions."""

from __future__ import annotations

import pytest

from tests.passes.cases import Case, check, decomposed

CASES = (
    Case(
        "elements by computed positions",
        "(float[3,4] x, int64[2,4] i) => (y) { y = GatherElements(x, i) }",
        "Reshape Less Add Where Mul Add Gather",
    ),
    Case(
        "elements by constant positions",
        "(float[3,4] x) => (y) <int64[2,2] i={0, 1, -1, 2}> { y = GatherElements<axis=1>(x, i) }",
        "Reshape Gather",
    ),
    Case(
        "slices by positions",
        "(float[3,4,2] x, int64[5,2] i) => (y) { y = GatherND(x, i) }",
        "Split Reshape Less Add Where Mul Reshape Less Add Where Add Reshape Gather",
    ),
    Case(
        "slices by positions in batches",
        "(float[2,3,4] x, int64[2,2,1] i) => (y) { y = GatherND<batch_dims=1>(x, i) }",
        "Reshape Less Add Where Add Reshape Gather",
    ),
    Case(
        "scattered to constant positions",
        "(float[3,4] x, float[2,4] u) => (y) <int64[2,1] i={2, 0}> { y = ScatterND(x, i, u) }",
        "Concat Gather",
    ),
    Case(
        "added at constant positions",
        "(float[3,4] x, float[1,4] u) => (y) <int64[1,4] i={2, 0, 1, 0}>"
        '{ y = ScatterElements<reduction="add">(x, i, u) }',
        "Reshape Pad Gather Reshape Add",
    ),
    Case(
        "scattered to computed positions",
        "(float[3,4] x, int64[1,2] i, float[1,2] u) => (y) { y = ScatterElements<axis=1>(x, i, u) }",
        "Less Add Where Reshape*2 ScatterND Reshape ScatterND Greater Reshape Where",
    ),
    Case(
        "the largest at computed positions",
        '(float[3,4] x, int64[2,1] i, float[2,4] u) => (y) { y = ScatterND<reduction="max">(x, i, u) }',
        "Reshape Less Add Where Reshape Equal Reshape*2 Where ReduceMax Max",
    ),
    Case(
        "sequences turned round",
        "(float[4,2,3] x) => (y) <int64[2] l={2, 4}> { y = ReverseSequence(x, l) }",
        "Reshape Gather(indices=[2, 7, 0, 5, 4, 3, 6, 1]) Reshape",
    ),
    Case(
        "one of many",
        "(int64[2,3] x) => (y) <int64 d={4}, float[2] v={-1, 2}> { y = OneHot(x, d, v) }",
        "Less Add Where Reshape Equal Where",
    ),
    Case("hardmax", "(float[2,3] x) => (y) { y = Hardmax(x) }", "ArgMax Equal Cast"),
    Case(
        "the last of equal",
        "(float[2,3] x) => (y) { y = ArgMax<axis=1, select_last_index=1>(x) }",
        "Slice ArgMax Sub",
    ),
    Case("a triangle", "(float[2,3,3] x) => (y) { y = Trilu<upper=0>(x) }", "Where"),
    Case("a unit matrix", "(float[2,3] x) => (y) { e = EyeLike<k=1>(x) y = Add(x, e) }", "Add"),
    Case(
        "a pad by the edge",
        '(float[2,3] x) => (y) <int64[4] p={1, 0, 0, 2}> { y = Pad<mode="edge">(x, p) }',
        "Gather*2",
    ),
    Case("a pad by what is cut", "(float[4,3] x) => (y) <int64[4] p={-1, 1, 0, 0}> { y = Pad(x, p) }", "Slice Pad"),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, decomposed)
