"""Det of small matrices by Laplace's expansion, its minors shared (https://onnx.ai/onnx/operators/onnx__Det.html)."""

from __future__ import annotations

import itertools

from narrowcast.model import ir
from narrowcast.passes.formula import Formula
from narrowcast.passes.rewrite import Rewriter, RuleSet, need, require, static_shape

RULES = RuleSet()

LARGEST = 4
"""Larger matrices take too many products, and to be accurate, pivots."""


@RULES.rule("Det")
def determinant(node: ir.Node, rewriter: Rewriter) -> bool:
    """All of it: x [..., n, n] -> [...]."""
    source, shape = need(node.inputs[0]), static_shape(node.inputs[0])
    size, rank = shape[-1], len(shape)
    require(1 <= size <= LARGEST, f"it is of matrices of {size} rows")
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
    total, last = f("Mul", row[columns[-1]], minors[columns[:-1]]), len(columns) - 1
    for position in reversed(range(last)):
        term = f("Mul", row[columns[position]], minors[columns[:position] + columns[position + 1 :]])
        total = f("Sub" if (last - position) % 2 else "Add", total, term)
    return total
