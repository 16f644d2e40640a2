"""Where maxima came from, and back there."""

from __future__ import annotations

import pytest

from tests.passes.cases import Case, check, decomposed

CASES = (
    Case(
        "a pool and its places",
        "(float[1,2,4,4] x) => (y, i) { y, i = MaxPool<kernel_shape=[2,2], strides=[2,2]>(x) }",
        "Reshape Pad Gather ArgMax Add Gather Add Reshape ReduceMax Reshape",
    ),
    Case(
        "back to the places",
        "(float[1,1,4,4] x) => (y)"
        "{ p, i = MaxPool<kernel_shape=[2,2], strides=[2,2]>(x) y = MaxUnpool<kernel_shape=[2,2], strides=[2,2]>(p, i)"
        " }",
        "Reshape Pad Gather ArgMax Add Gather ReduceMax Reshape*2 ScatterND Reshape",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, decomposed)
