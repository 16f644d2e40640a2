"""Division of whole numbers, as ONNX has it: towards zero, the remainder with the dividend's sign where `fmod` says so.

1. Div in 64 bits is long division by float32 quotients: what is left over shrinks by
   2^22 or more in each round, so that `ROUNDS` leave at most one divisor, which the remainder's sign tells. int64
   arithmetic wraps, and with it what a quotient beyond 2^63 loses. uint32 goes by int64.
2. Mod with fmod=1 is the remainder with the divisor's sign, less the divisor where the signs differ.
3. uint64: half the dividend fits int64, and twice its quotient is at most one too small; where the divisor is 2^63 or
   more, a comparison says all.
4. Pow of int64: squared six times, multiplied where the exponent has a bit.
"""

from __future__ import annotations

import numpy as np

from narrowcast.model import ir
from narrowcast.passes.decompose.bits import halved
from narrowcast.passes.formula import Formula
from narrowcast.passes.rewrite import Rewriter, RuleSet, need, operands, require
from narrowcast.targets.rules import lacks_type

RULES = RuleSet()

ROUNDS = 3
"""63 bits at 22 a round."""
_TOP_BIT = np.iinfo(np.int64).min


@RULES.rule("Div", asks=lacks_type)
def long_division(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 1."""
    a, b = operands(node, 2)
    require(a.dtype in (ir.DataType.INT64, ir.DataType.UINT32))
    f = Formula(node, rewriter)
    dividend, divisor = f.cast(a, np.int64), f.cast(b, np.int64)

    def part(left: ir.Value) -> ir.Value:
        return f.cast(f("Div", f.cast(left, np.float32), f.cast(divisor, np.float32)), np.int64)

    quotient = part(dividend)
    left = f("Sub", dividend, f("Mul", quotient, divisor))
    for _ in range(ROUNDS - 1):
        more = part(left)
        quotient = f("Add", quotient, more)
        left = f("Sub", left, f("Mul", more, divisor))
    down = f("Less", dividend, 0)
    opposite = f("Xor", down, f("Less", divisor, 0))
    sideways = f("Where", down, f("Neg", left), left)
    size = f("Where", f("Less", divisor, 0), f("Neg", divisor), divisor)
    step = f("Sub", f.cast(f("GreaterOrEqual", sideways, size), np.int64), f.cast(f("Less", sideways, 0), np.int64))
    return f.becomes(f.cast(f("Add", quotient, f("Where", opposite, f("Neg", step), step)), f.dtype))


@RULES.rule("Mod")
def remainder(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 2."""
    a, b = operands(node, 2)
    require(node.attributes.get_int("fmod", 0) and need(a.dtype).is_integer())
    f = Formula(node, rewriter)
    found = f("Mod", a, b)
    differs = f("And", f("Not", f("Equal", found, 0)), f("Xor", f("Less", a, 0), f("Less", b, 0)))
    return f.becomes(f("Where", differs, f("Sub", found, b), found))


@RULES.rule("Div", "Mod", asks=lacks_type)
def unsigned(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 3."""
    a, b = operands(node, 2)
    require(a.dtype is ir.DataType.UINT64)
    f = Formula(node, rewriter)
    dividend, divisor = f.cast(a, np.int64), f.cast(b, np.int64)

    def reaches(x: ir.Value) -> ir.Value:
        return f("GreaterOrEqual", f("Add", x, _TOP_BIT), f("Add", divisor, _TOP_BIT))

    large = f("Less", divisor, 0)
    twice = f("Mul", f("Div", halved(f, dividend), f("Where", large, 1, divisor)), 2)
    left = f("Sub", dividend, f("Mul", twice, divisor))
    small = f("Add", twice, f.cast(reaches(left), np.int64))
    quotient = f("Where", large, f.cast(reaches(dividend), np.int64), small)
    if node.op_type == "Div":
        return f.becomes(f.cast(quotient, np.uint64))
    return f.becomes(f.cast(f("Sub", dividend, f("Mul", quotient, divisor)), np.uint64))


@RULES.rule("Pow", asks=lacks_type)
def power(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 4; exponents above 63 matter by their parity alone, those below 0 leave a number of size 1 alone."""
    base, exponent = operands(node, 2)
    require(base.dtype is ir.DataType.INT64 and exponent.dtype is base.dtype)
    f = Formula(node, rewriter)
    size = f("Where", f("Less", exponent, 0), f("Neg", exponent), exponent)
    rest = f.cast(f("Where", f("Greater", size, 63), f("Add", f("Mod", size, 2), 62), size), np.int32)
    result, square = f("Add", f("Mul", base, 0), 1), base
    for _ in range(6):
        bit = f("Mod", rest, 2)
        result = f("Where", f("Equal", bit, 1), f("Mul", result, square), result)
        rest, square = f("Div", f("Sub", rest, bit), 2), f("Mul", square, square)
    fraction = f("And", f("Less", exponent, 0), f("Not", f("Equal", f("Mul", base, base), 1)))
    return f.becomes(f("Where", fraction, f("Mul", base, 0), result))
