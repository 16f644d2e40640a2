"""One step of an LSTM, written out in its gates, becomes the operator.

    i, f, g, o = split(W x + R h + b);  c' = sigmoid(f) c + sigmoid(i) tanh(g);  h' = sigmoid(o) tanh(c')

The parts may come in any order. Targets unroll what they lack; in integer schemes its gates and states then stay in
float, as in 8 bits they lose what they add up from step to step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from narrowcast.dialect.build import constant_of, dims
from narrowcast.model import Array, ir
from narrowcast.passes.formula import Formula
from narrowcast.passes.rewrite import Rewriter, RuleSet, need, producer_of, require, sole_consumer

RULES = RuleSet(idiom=True)
T = TypeVar("T")


MOST_TERMS = 6
"""Sums of more nodes are no gates."""


@dataclass(slots=True)
class _Sum:
    """The terms of the gates [batch, 4 hidden]: products by constant matrices [4 hidden, features], and a constant."""

    width: int
    products: list[tuple[ir.Value, Array]] = field(default_factory=list)
    constant: Array = field(default_factory=lambda: np.zeros(1, np.float32))

    def gather(self, value: ir.Value) -> None:
        """Takes a sum apart, as far as nothing else reads its parts."""
        pending, nodes = [value], 0
        while pending:
            value = pending.pop()
            array, nodes = constant_of(value), nodes + 1
            if array is not None:
                require(array.size in (1, self.width))
                self.constant = self.constant + array.reshape(-1)
                continue
            node = need(producer_of(value, "Add", "Gemm"))
            require(nodes <= MOST_TERMS and sole_consumer(value) is not None)
            if node.op_type == "Gemm":
                self._product(node)
            terms = node.inputs if node.op_type == "Add" else node.inputs[2:]
            pending += [term for term in terms if term is not None]

    def _product(self, node: ir.Node) -> None:
        attributes, x, matrix = node.attributes, need(node.inputs[0]), need(constant_of(node.inputs[1]))
        plain = attributes.get_float("alpha", 1.0) == attributes.get_float("beta", 1.0) == 1.0
        turned = attributes.get_int("transB", 0) == 1 and attributes.get_int("transA", 0) == 0
        require(plain and turned and matrix.shape == (self.width, need(dims(x))[1]))
        self.products.append((x, matrix))


@RULES.rule("Split")
def cell(node: ir.Node, rewriter: Rewriter) -> bool:
    """The parts of a split are the gates."""
    source = need(node.inputs[0])
    shape = need(dims(source))
    require(len(shape) == 2 and source.dtype is ir.DataType.FLOAT)
    batch, width = shape
    hidden = width // 4
    require([dims(part) for part in node.outputs] == [(batch, hidden)] * 4)
    functions = [need(sole_consumer(part)) for part in node.outputs]
    require(sorted(function.op_type for function in functions) == ["Sigmoid"] * 3 + ["Tanh"])
    places = {function.outputs[0]: place for place, function in enumerate(functions)}
    candidate = next(function for function in functions if function.op_type == "Tanh").outputs[0]

    fresh = need(sole_consumer(candidate))
    total = need(sole_consumer(need(fresh.outputs[0])))
    kept = need(producer_of(_other(total, fresh.outputs[0]), "Mul"))
    seen = _only([use.node for use in total.outputs[0].uses() if use.node.op_type == "Tanh"])
    made = need(sole_consumer(seen.outputs[0]))
    require((fresh.op_type, total.op_type, made.op_type) == ("Mul", "Add", "Mul"))
    admitted, output = _other(fresh, candidate), _other(made, seen.outputs[0])
    forget = _only([value for value in kept.inputs if value in places])
    gates = (admitted, output, forget, candidate)
    require(set(gates) == set(places) and all(sole_consumer(gate) is not None for gate in gates))

    terms = _Sum(width)
    terms.gather(source)
    require(len(terms.products) == 2)
    (x, weights), (h, recurrent) = sorted(terms.products, key=lambda product: dims(product[0]) == (batch, hidden))
    require(dims(h) == (batch, hidden))
    rows = np.concatenate([np.arange(hidden) + places[gate] * hidden for gate in gates])
    bias = np.broadcast_to(terms.constant, width)[rows]

    f = Formula(made, rewriter)
    constants = [f.constant(array[rows][None], np.float32, "weights") for array in (weights, recurrent)]
    both = f.constant(np.concatenate([bias, np.zeros_like(bias)])[None], np.float32, "bias")
    state = _other(kept, forget)
    given = [f.reshape(value, [1, *need(dims(value))]) for value in (x, h, state)]
    found = rewriter.ops("LSTM", given[0], *constants, both, None, *given[1:], outputs=3, hidden_size=hidden)
    for value, shape in zip(found, ((1, 1, batch, hidden), (1, batch, hidden), (1, batch, hidden)), strict=True):
        value.shape, value.dtype = ir.Shape(shape), ir.DataType.FLOAT
    flat = [f.reshape(value, [batch, hidden]) for value in found[1:]]
    rewriter.replace(made.outputs[0], flat[0])
    return rewriter.replace(total.outputs[0], flat[1])


def _only(found: Sequence[T | None]) -> T:
    require(len(found) == 1)
    return need(found[0])


def _other(node: ir.Node, value: ir.Value) -> ir.Value:
    """The other operand of a product or a sum of two."""
    require(len(node.inputs) == 2)
    return need(node.inputs[1] if node.inputs[0] is value else node.inputs[0])
