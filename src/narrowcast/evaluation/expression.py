"""`--normalize "(x - 127.5) / 127.5"`: arithmetic in x, read without eval, that must come out as a x + b."""

from __future__ import annotations

import ast
import math
import operator
import re

from narrowcast.errors import DataError

__all__ = ["LONGEST", "affine"]

LONGEST = 200
"""Characters; it bounds the depth of the expression too."""

_FOREIGN = re.compile(r"[^0-9.eE+\-*/()x \t]")
_HINT = 'write it with x, numbers, + - * / and parentheses, as "(x - 127.5) / 127.5"'

Affine = tuple[float, float]


def affine(text: str) -> Affine:
    """The factor a and the term b of an expression equal to a x + b.

    Products of x with x and divisions by x are refused even where x would cancel.

    Raises:
        DataError: it holds anything else than x, numbers, + - * / and parentheses, is not affine in x, divides by zero
            or overflows; the message gives the column, counted from 1.
    """
    if len(text) > LONGEST:
        raise DataError(f"the normalisation is longer than {LONGEST} characters", hint=_HINT)
    foreign = _FOREIGN.search(text)
    if foreign is not None:
        raise _refusal(text, f"{foreign[0]!r} has no place in it", foreign.start())
    try:
        tree = ast.parse(text.strip(" \t"), mode="eval")
    except (SyntaxError, MemoryError, RecursionError) as error:
        raise _refusal(text, "it cannot be read", (getattr(error, "offset", None) or 1) - 1) from error
    indent = len(text) - len(text.lstrip(" \t"))
    factor, term = _value(tree.body, text, indent)
    if not (math.isfinite(factor) and math.isfinite(term)):
        raise _refusal(text, "it overflows", 0)
    return factor, term


def _refusal(text: str, reason: str, offset: int) -> DataError:
    return DataError(f"normalisation {text!r}, column {offset + 1}: {reason}", hint=_HINT)


def _value(node: ast.expr, text: str, indent: int) -> Affine:
    match node:
        case ast.Constant(value=int() | float() as number):
            return 0.0, float(number)
        case ast.Name(id="x"):
            return 1.0, 0.0
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            a, b = _value(operand, text, indent)
            return -a, -b
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand, text, indent)
        case ast.BinOp(left=left, op=op, right=right):
            return _binary(op, _value(left, text, indent), _value(right, text, indent), text, indent + right.col_offset)
    raise _refusal(text, "only x, numbers, + - * / and parentheses are known", indent + node.col_offset)


def _binary(op: ast.operator, left: Affine, right: Affine, text: str, column: int) -> Affine:
    match op:
        case ast.Add() | ast.Sub():
            combine = operator.add if isinstance(op, ast.Add) else operator.sub
            return combine(left[0], right[0]), combine(left[1], right[1])
        case ast.Mult() if left[0] == 0:
            return right[0] * left[1], right[1] * left[1]
        case ast.Mult() if right[0] == 0:
            return left[0] * right[1], left[1] * right[1]
        case ast.Div() if right == (0, 0):
            raise _refusal(text, "it divides by zero", column)
        case ast.Div() if right[0] == 0:
            return left[0] / right[1], left[1] / right[1]
    raise _refusal(text, "it is not of the form a x + b", column)
