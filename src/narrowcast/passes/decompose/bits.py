"""Bits: LiteRT has XOR and shifts to the right, up to 32 bits; the others follow from them.

1. a & b = (a + b - (a ^ b)) / 2, in int32; 32-bit operands in two halves, so that nothing overflows.
   a | b = a + b - (a & b), which wraps rightly. 2. ~a = -1 - a, or the largest value less a.
3. A shift to the left is a product with a power of two out of a table.

Not done: 64 bits, but for shifts to the left.
"""

from __future__ import annotations

import numpy as np

from narrowcast.model import ir
from narrowcast.passes.formula import Formula
from narrowcast.passes.rewrite import Rewriter, RuleSet, producer_of

RULES = RuleSet()

_HALF = 1 << 16


@RULES.rule("BitwiseAnd", "BitwiseOr")
def conjunction(node: ir.Node, rewriter: Rewriter) -> bool | str:
    """Case 1."""
    a, b = node.inputs[:2]
    if a is None or b is None or a.dtype is None or a.dtype.itemsize > 4:
        return "LiteRT has no 64-bit XOR"
    f = Formula(node, rewriter)
    x, y = f.cast(a, np.int32), f.cast(b, np.int32)
    if a.dtype.itemsize < 4:
        both = _both(f, x, y)
    else:
        (high, low), (other_high, other_low) = _halves(f, x), _halves(f, y)
        both = f("Add", f("Mul", _both(f, high, other_high), _HALF), _both(f, low, other_low))
    if node.op_type == "BitwiseOr":
        both = f("Sub", f("Add", x, y), both)
    return f.becomes(f.cast(both, a.dtype.numpy()))


def _halves(f: Formula, x: ir.Value) -> tuple[ir.Value, ir.Value]:
    low = f("Mod", x, _HALF)
    return f("Div", f("Sub", x, low), _HALF), low


def _both(f: Formula, x: ir.Value, y: ir.Value) -> ir.Value:
    return f("Div", f("Sub", f("Add", x, y), f("BitwiseXor", x, y)), 2)


@RULES.rule("BitwiseNot")
def complement(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 2."""
    source = node.inputs[0]
    if source is None or source.dtype is None:
        return False
    info = np.iinfo(source.dtype.numpy())
    f = Formula(node, rewriter)
    return f.becomes(f("Sub", f.constant(-1 if info.min < 0 else info.max, info.dtype), source))


@RULES.rule("BitShift")
def shift(node: ir.Node, rewriter: Rewriter) -> bool | str:
    """Case 3; amounts outside the type's bits shift everything out."""
    source, amount = node.inputs[:2]
    if source is None or amount is None or source.dtype is None:
        return False
    left = node.attributes.get_string("direction", "") == "LEFT"
    dtype, signed = source.dtype.numpy(), source.dtype.is_signed()
    if not left and (not signed or producer_of(amount, "Where", "Cast") is not None):
        return False
    bits = 8 * dtype.itemsize
    if bits > 32 and not left:
        return "LiteRT does not shift 64 bits to the right"
    f = Formula(node, rewriter)
    number = f.cast(amount, np.int32)
    inside = f("And", f("GreaterOrEqual", number, 0), f("Less", number, bits))
    if not left:
        kept = f("Where", inside, number, f.constant(bits - 1, np.int32))
        return f.becomes(f("BitShift", source, f.cast(kept, dtype), direction="RIGHT"))
    powers = f.constant(
        np.array([*(1 << place for place in range(bits)), 0], np.uint64).astype(np.int64), np.int64, "powers"
    )
    factor = f.gather(powers, f("Where", inside, number, f.constant(bits, np.int32)))
    return f.becomes(f.cast(f("Mul", f.cast(source, np.int64), factor), dtype))
