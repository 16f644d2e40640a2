"""Einsum."""

from __future__ import annotations

import pytest

from tests.passes.cases import Case, check, decomposed

CASES = (
    Case(
        "a product in batches",
        '(float[2,3,4] x, float[2,4,5] z) => (y) { y = Einsum<equation="bij,bjk->bik">(x, z) }',
        "MatMul",
    ),
    Case("a trace", '(float[3,3] x) => (y) { y = Einsum<equation="ii">(x) }', "Reshape Gather ReduceSum"),
    Case(
        "three operands",
        '(float[2,3] x, float[3,4] z, float[4] w) => (y) { y = Einsum<equation="ij,jk,k->i">(x, z, w) }',
        "MatMul Reshape MatMul Reshape",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, decomposed)
