"""Losses."""

from __future__ import annotations

import pytest

from tests.passes.cases import Case, check, decomposed

CASES = (
    Case(
        "a loss of scores",
        "(float[2,3] x, int64[2] t) => (y) { y = SoftmaxCrossEntropyLoss(x, t) }",
        "Reshape Transpose LogSoftmax Transpose Reshape Equal Where ReduceSum Neg ReduceMean",
    ),
    Case(
        "a loss of each, weighted",
        '(float[2,3,4] x, int64[2,4] t, float[3] w) => (y){ y = NegativeLogLikelihoodLoss<reduction="none">(x, t, w) }',
        "Reshape Equal Reshape Where ReduceSum Where ReduceSum Neg Mul",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, decomposed)
