"""Pools that kernels of two axes cannot say."""

from __future__ import annotations

import pytest

from tests.passes.cases import Case, check, decomposed

CASES = (
    Case(
        "a dilated pool",
        "(float[1,2,5,5] x) => (y) { y = MaxPool<kernel_shape=[2,2], dilations=[2,2]>(x) }",
        "Slice*2 Max Slice*2 Max",
    ),
    Case(
        "an average of three axes",
        "(float[1,2,3,4,4] x) => (y) { y = AveragePool<kernel_shape=[2,2,2], pads=[1,0,0,0,0,0]>(x) }",
        "Pad Slice*2 Add Slice*2 Add Slice*2 Add Mul",
    ),
    Case(
        "a norm of windows",
        "(float[1,2,4,4] x) => (y) { y = LpPool<kernel_shape=[2,2]>(x) }",
        "Mul Slice*2 Add Slice*2 Add Sqrt",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, decomposed)
