"""Bits, from exclusive or and shifts to the right, of up to 32 bits.

1. a & b = (a + b - (a ^ b)) / 2, in int32; 32-bit operands in two halves, so that nothing overflows.
   a | b = a + b - (a & b), which wraps rightly. 2. ~a = -1 - a, or the largest value less a.
3. A shift to the left is a product with a power of two out of a table.
4. 64-bit operands go in two halves of 32. 5. So a shift of them to the right is a division, rounded down, by a power of
   two; one of uint64 is done by one bit first, which leaves the sign bit clear.
"""

from __future__ import annotations

import numpy as np

from narrowcast.model import ir
from narrowcast.passes.formula import Formula
from narrowcast.passes.rewrite import Rewriter, RuleSet, dtype_of, need, operands, require
from narrowcast.targets.rules import lacks_kernel

RULES = RuleSet()

_HALF = 1 << 16
_WORD = 1 << 32
_TOP_BIT = np.iinfo(np.int64).min


@RULES.rule("BitwiseAnd", "BitwiseOr")
def conjunction(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 1."""
    a, b = operands(node, 2)
    dtype = dtype_of(a)
    require(dtype.itemsize <= 4)
    f = Formula(node, rewriter)
    x, y = f.cast(a, np.int32), f.cast(b, np.int32)
    if dtype.itemsize < 4:
        both = _both(f, x, y)
    else:
        (high, low), (other_high, other_low) = _halves(f, x), _halves(f, y)
        both = f("Add", f("Mul", _both(f, high, other_high), _HALF), _both(f, low, other_low))
    if node.op_type == "BitwiseOr":
        both = f("Sub", f("Add", x, y), both)
    return f.becomes(f.cast(both, dtype))


def _halves(f: Formula, x: ir.Value) -> tuple[ir.Value, ir.Value]:
    low = f("Mod", x, _HALF)
    return f("Div", f("Sub", x, low), _HALF), low


def _both(f: Formula, x: ir.Value, y: ir.Value) -> ir.Value:
    return f("Div", f("Sub", f("Add", x, y), f("BitwiseXor", x, y)), 2)


@RULES.rule("BitwiseAnd", "BitwiseOr", "BitwiseXor", asks=lacks_kernel)
def by_words(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 4: the upper half as int32, the lower one as uint32."""
    a, b = operands(node, 2)
    dtype = dtype_of(a)
    require(dtype.itemsize == 8)
    f = Formula(node, rewriter)
    (high, low), (other_high, other_low) = (_words(f, f.cast(value, np.int64)) for value in (a, b))
    upper, lower = f(node.op_type, high, other_high), f(node.op_type, low, other_low)
    both = f("Add", f("Mul", f.cast(upper, np.int64), _WORD), f.cast(lower, np.int64))
    return f.becomes(f.cast(both, dtype))


def _words(f: Formula, x: ir.Value) -> tuple[ir.Value, ir.Value]:
    low = f("Mod", x, _WORD)
    return f.cast(f("Div", f("Sub", x, low), _WORD), np.int32), f.cast(low, np.uint32)


@RULES.rule("BitwiseNot")
def complement(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 2."""
    source, f = need(node.inputs[0]), Formula(node, rewriter)
    info = np.iinfo(dtype_of(source))
    return f.becomes(f("Sub", f.constant(-1 if info.min < 0 else info.max, info.dtype), source))


@RULES.rule("BitShift", asks=lacks_kernel)
def shift(node: ir.Node, rewriter: Rewriter) -> bool:
    """Cases 3 and 5; amounts outside the type's bits shift everything out."""
    source, amount = operands(node, 2)
    left = node.attributes.get_string("direction", "") == "LEFT"
    dtype = dtype_of(source)
    signed = dtype.kind == "i"
    bits, f = 8 * dtype.itemsize, Formula(node, rewriter)
    if bits > 32 and not left:
        return f.becomes(f.cast(_shifted(f, f.cast(source, np.int64), f.cast(amount, np.int64), signed), dtype))
    number = f.cast(amount, np.int32)
    inside = f("And", f("GreaterOrEqual", number, 0), f("Less", number, bits))
    if not left:
        kept = f("Where", inside, number, f.constant(bits - 1, np.int32))
        moved = f("BitShift", source, f.cast(kept, dtype), direction="RIGHT")
        return f.becomes(moved if signed else f("Where", inside, moved, 0))
    powers = f.constant(
        np.array([*(1 << place for place in range(bits)), 0], np.uint64).astype(np.int64), np.int64, "powers"
    )
    factor = f.gather(powers, f("Where", inside, number, f.constant(bits, np.int32)))
    return f.becomes(f.cast(f("Mul", f.cast(source, np.int64), factor), dtype))


def _shifted(f: Formula, x: ir.Value, amount: ir.Value, signed: bool) -> ir.Value:
    """64 bits to the right."""
    inside = f("And", f("GreaterOrEqual", amount, 0), f("Less", amount, 63 if signed else 64))
    places = f("Where", inside, amount if signed else f("Max", f("Sub", amount, 1), 0), 0)
    powers = f.constant(1 << np.arange(63, dtype=np.int64), name="powers")
    power, number = f.gather(powers, places), x if signed else halved(f, x)
    moved = f("Div", f("Sub", number, f("Mod", number, power)), power)
    zero = f("Mul", x, 0)
    if signed:
        return f("Where", inside, moved, f("Where", f("Less", x, 0), f("Sub", zero, 1), zero))
    return f("Where", f("Equal", amount, 0), x, f("Where", inside, moved, zero))


def halved(f: Formula, x: ir.Value) -> ir.Value:
    """Half of the uint64 that has the bits of an int64, rounded down: it fits int64."""
    half = f("Div", f("Sub", x, f("Mod", x, 2)), 2)
    return f("Where", f("Less", x, 0), f("Add", half, _TOP_BIT), half)
