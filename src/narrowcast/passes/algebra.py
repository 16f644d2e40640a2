"""Reads arithmetic whatever tree it was written as: products as powers, polynomials as coefficients.

`x * 0.5 * (1 + erf(x / sqrt(2)))` has dozens of spellings in exported graphs. The rules of `fuse` compare what this
module reads, so that one row recognises them all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from narrowcast.dialect.build import constant_of
from narrowcast.model import ir
from narrowcast.passes.rewrite import producer_of, scalar_of

__all__ = ["Product", "near", "polynomial", "product_of", "variable_of"]

LARGEST = 12
"""A product or polynomial of more nodes is not read to its end, so that long chains stay linear."""


def near(number: float | None, wanted: float) -> bool:
    """Whether a number equals another to float32's accuracy (exporters round constants; some keep four digits)."""
    return number is not None and math.isclose(number, wanted, rel_tol=2e-5, abs_tol=1e-7)


@dataclass(frozen=True, slots=True)
class Product:
    """coefficient * product of value ** power."""

    coefficient: float
    powers: dict[ir.Value, float]

    def is_only(self, value: ir.Value, power: float = 1.0, coefficient: float | None = 1.0) -> bool:
        """Whether this is coefficient * value ** power (any coefficient if None)."""
        return self.powers == {value: power} and (coefficient is None or near(self.coefficient, coefficient))


def product_of(value: ir.Value) -> Product:
    """Takes a tree of Mul, Div, Neg, Pow, Sqrt and Reciprocal apart.

    Only values that nothing outside the tree reads are taken apart; numbers go into the coefficient; constants of more
    than one value are factors. What is under a root stays whole.
    """
    coefficient, budget = 1.0, LARGEST
    powers: dict[ir.Value, float] = {}
    stack = [(value, 1.0)]
    while stack:
        factor, power = stack.pop()
        number = scalar_of(factor)
        if number is not None and (number != 0.0 or power > 0) and (number > 0 or power == int(power)):
            coefficient *= number**power
            continue
        node = factor.producer()
        parts = _parts(node, power) if node is not None and budget > 0 and _inner(factor, value) else None
        if parts is None:
            powers[factor] = powers.get(factor, 0.0) + power
            continue
        budget -= 1
        if node is not None and node.op_type == "Neg":
            coefficient *= (-1.0) ** power
        stack.extend(parts)
    return Product(coefficient, {factor: power for factor, power in powers.items() if power != 0.0})


def _inner(factor: ir.Value, root: ir.Value) -> bool:
    readers = {use.node for use in factor.uses()}
    return factor is root or (len(readers) == 1 and not factor.is_graph_output())


def _parts(node: ir.Node, power: float) -> list[tuple[ir.Value, float]] | None:
    """The factors of one node with their powers; None if it is no product."""
    if node.domain or any(value is None for value in node.inputs):
        return None
    first, whole = node.inputs[0], power == int(power)
    second = node.inputs[1] if len(node.inputs) > 1 else None
    if first is None:
        return None
    if node.op_type == "Mul" and second is not None and whole:
        return [(first, power), (second, power)]
    if node.op_type == "Div" and second is not None and whole:
        return [(first, power), (second, -power)]
    if node.op_type == "Neg" and whole:
        return [(first, power)]
    if node.op_type == "Reciprocal":
        return [(first, -power)]
    if node.op_type == "Sqrt" and whole:
        return [(first, power / 2)]
    exponent = scalar_of(second) if node.op_type == "Pow" else None
    return [(first, power * exponent)] if exponent is not None and whole else None


def variable_of(value: ir.Value) -> ir.Value:
    """What a line like `2 * x + 1` is a line of: its operand behind all additions and products with numbers."""
    for _ in range(LARGEST):
        node = producer_of(value, "Add", "Sub", "Mul", "Div", "Neg")
        if node is None:
            return value
        open_ = [operand for operand in node.inputs if operand is not None and scalar_of(operand) is None]
        if len(open_) != 1 or (node.op_type == "Div" and open_[0] is not node.inputs[0]):
            return value
        value = open_[0]
    return value


def polynomial(value: ir.Value, variable: ir.Value) -> dict[int, float] | None:
    """The coefficients, by degree, of a value that is a polynomial of `variable`; None if it is none."""
    return _polynomial(value, variable, [LARGEST])


def _polynomial(value: ir.Value | None, x: ir.Value, budget: list[int]) -> dict[int, float] | None:
    if value is x:
        return {1: 1.0}
    if constant_of(value) is not None:
        number = scalar_of(value)
        return None if number is None else {0: number}
    node = producer_of(value, "Add", "Sub", "Mul", "Div", "Neg", "Pow")
    budget[0] -= 1
    if node is None or budget[0] < 0:
        return None
    left = _polynomial(node.inputs[0], x, budget)
    if left is None:
        return None
    if node.op_type == "Neg":
        return _times(left, {0: -1.0})
    right = _polynomial(node.inputs[1], x, budget)
    if right is None:
        return None
    if node.op_type in ("Add", "Sub"):
        sign = 1.0 if node.op_type == "Add" else -1.0
        return {degree: left.get(degree, 0.0) + sign * right.get(degree, 0.0) for degree in {*left, *right}}
    if node.op_type == "Mul":
        return _times(left, right)
    number = right.get(0, 0.0) if set(right) == {0} else 0.0
    if node.op_type == "Div":
        return _times(left, {0: 1 / number}) if number else None
    if number not in (1.0, 2.0, 3.0):
        return None
    power = left
    for _ in range(int(number) - 1):
        power = _times(power, left)
    return power


def _times(left: dict[int, float], right: dict[int, float]) -> dict[int, float]:
    product: dict[int, float] = {}
    for i, a in left.items():
        for j, b in right.items():
            product[i + j] = product.get(i + j, 0.0) + a * b
    return product
