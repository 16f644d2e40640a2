"""Normalisations."""

from __future__ import annotations

import pytest

from tests.passes.cases import Case, check, decomposed

CASES = (
    Case(
        "layer normalisation",
        "(float[2,3,4] x, float[4] g, float[4] b) => (y) { y = LayerNormalization(x, g, b) }",
        "ReduceMean Sub Mul ReduceMean Add Sqrt Div Reshape Mul Reshape Add",
    ),
    Case(
        "root mean square",
        "(float[2,3,4] x, float[4] g) => (y) { y = RMSNormalization(x, g) }",
        "Mul ReduceMean Add Sqrt Div Reshape Mul",
    ),
    Case(
        "layer normalisation, its deviation",
        "(float[2,3,4] x, float[4] g) => (y, m, d) { y, m, d = LayerNormalization(x, g) }",
        "ReduceMean Sub Mul ReduceMean Add Sqrt Div Reshape Mul Div",
    ),
    Case(
        "instance",
        "(float[2,3,4,5] x) => (y) <float[3] g, float[3] b> { y = InstanceNormalization(x, g, b) }",
        "ReduceMean Sub Mul ReduceMean Add Sqrt Div Mul Add",
    ),
    Case(
        "groups",
        "(float[2,4,3,3] x) => (y) <float[4] g, float[4] b> { y = GroupNormalization<num_groups=2>(x, g, b) }",
        "Reshape ReduceMean Sub Mul ReduceMean Add Sqrt Div Reshape Mul Add",
    ),
    Case(
        "the sum of absolute values",
        "(float[2,3] x) => (y) { y = LpNormalization<p=1>(x) }",
        "Abs ReduceSum(axes=[1], keepdims=1) Clip Div",
    ),
    Case("the norm", "(float[2,3] x) => (y) { y = LpNormalization(x) }", "LpNormalization"),
    Case(
        "mean and variance",
        "(float[2,3,4,5] x) => (y) { y = MeanVarianceNormalization(x) }",
        "ReduceMean Sub Mul ReduceMean Sqrt Add Div",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, decomposed)
