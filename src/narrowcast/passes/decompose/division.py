"""Division of whole numbers, as ONNX has it: towards zero, the remainder with the dividend's sign where `fmod` says so.

1. Div in 64 bits, for which LiteRT has no kernel, is long division by float32 quotients: what is left over shrinks by
   2^22 or more in each round, so that `ROUNDS` leave at most one divisor, which the remainder's sign tells. int64
   arithmetic wraps, and with it what a quotient beyond 2^63 loses. uint32 goes by int64.
2. Mod with fmod=1 is the remainder with the divisor's sign, less the divisor where the signs differ.
"""

from __future__ import annotations

import numpy as np

from narrowcast.model import ir
from narrowcast.passes.formula import Formula
from narrowcast.passes.rewrite import Rewriter, RuleSet

RULES = RuleSet()

ROUNDS = 3
"""63 bits at 22 a round."""


@RULES.rule("Div")
def long_division(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 1."""
    a, b = node.inputs[:2]
    if a is None or b is None or a.dtype not in (ir.DataType.INT64, ir.DataType.UINT32):
        return False
    f = Formula(node, rewriter)
    dividend, divisor = f.cast(a, np.int64), f.cast(b, np.int64)
    quotient, left = None, dividend
    for _ in range(ROUNDS):
        part = f.cast(f("Div", f.cast(left, np.float32), f.cast(divisor, np.float32)), np.int64)
        quotient = part if quotient is None else f("Add", quotient, part)
        left = f("Sub", left, f("Mul", part, divisor))
    assert quotient is not None
    down = f("Less", dividend, 0)
    opposite = f("Xor", down, f("Less", divisor, 0))
    sideways = f("Where", down, f("Neg", left), left)
    size = f("Where", f("Less", divisor, 0), f("Neg", divisor), divisor)
    step = f("Sub", f.cast(f("GreaterOrEqual", sideways, size), np.int64), f.cast(f("Less", sideways, 0), np.int64))
    return f.becomes(f.cast(f("Add", quotient, f("Where", opposite, f("Neg", step), step)), f.dtype))


@RULES.rule("Mod")
def remainder(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 2."""
    a, b = node.inputs[:2]
    if not node.attributes.get_int("fmod", 0) or a is None or b is None or a.dtype is None or not a.dtype.is_integer():
        return False
    f = Formula(node, rewriter)
    found = f("Mod", a, b)
    differs = f("And", f("Not", f("Equal", found, 0)), f("Xor", f("Less", a, 0), f("Less", b, 0)))
    return f.becomes(f("Where", differs, f("Sub", found, b), found))
