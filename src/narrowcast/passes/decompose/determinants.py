"""Det of small matrices by Laplace's expansion, its minors shared (https://onnx.ai/onnx/operators/onnx__Det.html)."""

from __future__ import annotations

import itertools

from narrowcast.model import ir
from narrowcast.passes.formula import Formula
from narrowcast.passes.rewrite import Rewriter, RuleSet, dims

RULES = RuleSet()

LARGEST = 4
"""Larger matrices take too many products, and to be accurate, pivots."""


@RULES.rule("Det")
def determinant(node: ir.Node, rewriter: Rewriter) -> bool | str:
    """All of it: x [..., n, n] -> [...]."""
    source, shape = node.inputs[0], dims(node.inputs[0])
    if source is None or shape is None:
        return "its shape is open"
    size, rank = shape[-1], len(shape)
    if not 1 <= size <= LARGEST:
        return f"it is of matrices of {size} rows"
    f = Formula(node, rewriter)
    rows = [f.slice(source, rank - 2, row, row + 1) for row in range(size)]
    entries = [[f.slice(row, rank - 1, column, column + 1) for column in range(size)] for row in rows]
    minors: dict[tuple[int, ...], ir.Value] = {(column,): entry for column, entry in enumerate(entries[0])}
    for row in range(1, size):
        minors = {
            columns: _expanded(f, minors, entries[row], columns)
            for columns in itertools.combinations(range(size), row + 1)
        }
    return f.becomes(f.reshape(minors[tuple(range(size))], shape[:-2]))


def _expanded(
    f: Formula, minors: dict[tuple[int, ...], ir.Value], row: list[ir.Value], columns: tuple[int, ...]
) -> ir.Value:
    """Along the last row."""
    total: ir.Value | None = None
    for position in reversed(range(len(columns))):
        rest = columns[:position] + columns[position + 1 :]
        term = f("Mul", row[columns[position]], minors[rest])
        even = (len(columns) - 1 - position) % 2 == 0
        total = term if total is None else f("Add" if even else "Sub", total, term)
    assert total is not None
    return total
