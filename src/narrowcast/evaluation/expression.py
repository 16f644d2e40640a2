"""`--normalize "(x - 127.5) / 127.5"`: arithmetic in x, read without eval, that must come out as a x + b."""

from __future__ import annotations

import ast
import operator

from narrowcast.errors import DataError

__all__ = ["affine"]

LONGEST = 200
_HINT = 'write it with x, numbers, + - * / and parentheses, as "(x - 127.5) / 127.5"'

Affine = tuple[float, float]


def affine(text: str) -> Affine:
    """The factor a and the term b of an expression equal to a x + b.

    Raises:
        DataError: it holds anything else than x, numbers, + - * / and parentheses, or is not affine in x.
    """
    if len(text) > LONGEST:
        raise DataError(f"the normalisation is longer than {LONGEST} characters", hint=_HINT)
    try:
        tree = ast.parse(text.strip(), mode="eval")
        return _value(tree.body)
    except (SyntaxError, RecursionError, MemoryError, ValueError) as error:
        raise DataError(f"cannot read the normalisation {text!r}", hint=_HINT) from error
    except (ZeroDivisionError, OverflowError) as error:
        raise DataError(f"the normalisation {text!r} divides by zero or overflows", hint=_HINT) from error


def _value(node: ast.expr) -> Affine:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return 0.0, float(number)
        case ast.Name(id="x"):
            return 1.0, 0.0
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            a, b = _value(operand)
            return -a, -b
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand)
        case ast.BinOp(left=left, op=op, right=right):
            return _binary(op, _value(left), _value(right), node.col_offset)
    raise DataError(
        f"the normalisation has something else than x and numbers at column {node.col_offset + 1}", hint=_HINT
    )


def _binary(op: ast.operator, left: Affine, right: Affine, column: int) -> Affine:
    if isinstance(op, ast.Add | ast.Sub):
        combine = operator.add if isinstance(op, ast.Add) else operator.sub
        return combine(left[0], right[0]), combine(left[1], right[1])
    if isinstance(op, ast.Mult) and (left[0] == 0 or right[0] == 0):
        (a, b), factor = (left, right[1]) if right[0] == 0 else (right, left[1])
        return a * factor, b * factor
    if isinstance(op, ast.Div) and right[0] == 0:
        return left[0] / right[1], left[1] / right[1]
    raise DataError(f"the normalisation is not of the form a x + b, at column {column + 1}", hint=_HINT)
