"""Bits in LiteRT, against NumPy's, up to 64 of them."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.cases import Case, check, decomposed
from tests.passes.decompose.test_division import pairs, run

OPERATORS = {"BitwiseAnd": np.bitwise_and, "BitwiseOr": np.bitwise_or, "BitwiseXor": np.bitwise_xor}
TYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("op_type", OPERATORS)
def test_by_bits(op_type, dtype, tmp_path):
    a, b = pairs(dtype)
    found = run(op_type, dtype, {"x": a, "y": b}, tmp_path)
    np.testing.assert_array_equal(found, OPERATORS[op_type](a, b))


@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64"])
def test_shifts(dtype, direction, tmp_path):
    """By all amounts that the type has bits for, and what shifts everything out."""
    a, _ = pairs(dtype)
    bits = np.iinfo(dtype).bits
    amounts = (np.arange(a.size) % (bits + 1)).astype(dtype)
    found = run("BitShift", dtype, {"x": a, "y": amounts}, tmp_path, direction=direction)
    wide = [int(x) << int(n) if direction == "LEFT" else int(x) >> int(n) for x, n in zip(a, amounts, strict=True)]
    mask = 2**bits - 1
    np.testing.assert_array_equal(found, np.array([x & mask for x in wide], np.uint64).astype(dtype))


CASES = (
    Case("bits of both", "(int32[2,3] x, int32[2,3] z) => (y) { y = BitwiseAnd(x, z) }", "..."),
    Case(
        "bits of either, narrow",
        "(uint8[2,3] x, uint8[2,3] z) => (y) { y = BitwiseOr(x, z) }",
        "Cast*2 Add BitwiseXor Sub Div Sub Cast",
    ),
    Case("bits of one, wide", "(int64[2,3] x, int64[2,3] z) => (y) { y = BitwiseXor(x, z) }", "..."),
    Case("no bits", "(int8[2,3] x) => (y) { y = BitwiseNot(x) }", "Cast Sub Cast"),
    Case("no bits, unsigned", "(uint8[2,3] x) => (y) { y = BitwiseNot(x) }", "Cast Sub Cast"),
    Case(
        "a shift to the left",
        '(uint8[2,3] x, uint8[2,3] z) => (y) { y = BitShift<direction="LEFT">(x, z) }',
        "Cast GreaterOrEqual Less And Where Gather Cast Mul Cast",
    ),
    Case(
        "a shift to the right",
        '(uint32[2,3] x, uint32[2,3] z) => (y) { y = BitShift<direction="RIGHT">(x, z) }',
        "Cast GreaterOrEqual Less And Where Cast BitShift Where",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, decomposed)
