"""Einsum as transposes, sums and matrix products.

Operands are taken in pairs from the left. Of a pair's letters those in both and in the result (or a later operand) are
the batch, those in both and nowhere else are contracted, the others are free: [batch, free, contracted] x [batch,
contracted, free]. Letters that only one operand has and nobody needs are summed first.
A letter that stands twice in one operand means its diagonal, which is taken before.
"""

from __future__ import annotations

import math

import numpy as np

from narrowcast.model import ir
from narrowcast.passes.formula import Formula
from narrowcast.passes.rewrite import Rewriter, RuleSet, need, require, static_shape

RULES = RuleSet()

_SPARE = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@RULES.rule("Einsum")
def einsum(node: ir.Node, rewriter: Rewriter) -> bool:
    """All of it."""
    values = [need(value) for value in node.inputs]
    terms, result = _letters(node.attributes.get_string("equation", ""), [len(static_shape(value)) for value in values])
    require(len(set(result)) == len(result), "a letter stands twice in its result")
    f = Formula(node, rewriter)
    operands = [_diagonal(f, *operand) for operand in zip(terms, values, strict=True)]
    term, value = operands[0]
    for position in range(1, len(operands)):
        needed = set(result).union(*(later for later, _ in operands[position + 1 :]))
        term, value = _pair(f, (term, value), operands[position], needed)
    term, value = _summed(f, term, value, set(result))
    return f.becomes(f.transpose(value, [term.index(letter) for letter in result]))


def _letters(equation: str, ranks: list[int]) -> tuple[list[str], str]:
    """One letter per axis for each operand and the result, ellipses spelled out."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if not arrow:
        right = "".join(sorted(letter for letter in set(left) - {",", "."} if left.count(letter) == 1))
        right = ("..." if "..." in left else "") + right
    spare = [letter for letter in _SPARE if letter not in equation]
    hidden = [rank - len(term) + 3 if "..." in term else 0 for term, rank in zip(terms, ranks, strict=True)]
    most = max(hidden, default=0)
    names = "".join(spare[:most])
    spelled = [term.replace("...", names[most - count :]) for term, count in zip(terms, hidden, strict=True)]
    return spelled, right.replace("...", names)


def _diagonal(f: Formula, term: str, value: ir.Value) -> tuple[str, ir.Value]:
    """Each letter once."""
    while double := next((letter for letter in term if term.count(letter) > 1), ""):
        first, second = term.index(double), term.rindex(double)
        rest = [axis for axis in range(len(term)) if axis not in (first, second)]
        shape = static_shape(value)
        size, others = shape[first], [shape[axis] for axis in rest]
        square = f.reshape(f.transpose(value, [*rest, first, second]), [*others, size * size])
        value = f.gather(square, np.arange(size) * (size + 1), len(rest))
        term = "".join(term[axis] for axis in rest) + double
    return term, value


def _summed(f: Formula, term: str, value: ir.Value, needed: set[str]) -> tuple[str, ir.Value]:
    """Without the letters that nobody needs."""
    axes = [axis for axis, letter in enumerate(term) if letter not in needed]
    if not axes:
        return term, value
    return "".join(letter for letter in term if letter in needed), f.reduce("ReduceSum", value, axes, keep=False)


def _pair(
    f: Formula, left: tuple[str, ir.Value], right: tuple[str, ir.Value], needed: set[str]
) -> tuple[str, ir.Value]:
    """The product of two operands: its letters, and its value."""
    a, x = _summed(f, *left, needed | set(right[0]))
    b, y = _summed(f, *right, needed | set(a))
    batch = [letter for letter in a if letter in b and letter in needed]
    inner = [letter for letter in a if letter in b and letter not in needed]
    rows, columns = [letter for letter in a if letter not in b], [letter for letter in b if letter not in a]
    sizes = dict(zip(a + b, static_shape(x) + static_shape(y), strict=True))

    def arranged(term: str, value: ir.Value, first: list[str], second: list[str]) -> ir.Value:
        turned = f.transpose(value, [term.index(letter) for letter in (*batch, *first, *second)])
        return f.reshape(turned, [*of(batch), math.prod(of(first)), math.prod(of(second))])

    def of(letters: list[str]) -> list[int]:
        return [sizes[letter] for letter in letters]

    made = f.product(arranged(a, x, rows, inner), arranged(b, y, inner, columns))
    letters = [*batch, *rows, *columns]
    return "".join(letters), f.reshape(made, of(letters))
