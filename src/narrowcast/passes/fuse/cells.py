"""One step of an LSTM, written out in its gates, becomes the operator.

    i, f, g, o = split(W x + R h + b);  c' = sigmoid(f) c + sigmoid(i) tanh(g);  h' = sigmoid(o) tanh(c')

The parts may come in any order. Targets unroll what they lack; in integer schemes its gates and states then stay in
float, as in 8 bits they lose what they add up from step to step.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from narrowcast.dialect.build import constant_of, dims
from narrowcast.model import Array, ir
from narrowcast.passes.formula import Formula
from narrowcast.passes.rewrite import Rewriter, RuleSet, need, producer_of, require, sole_consumer

RULES = RuleSet(idiom=True)


@dataclass(slots=True)
class _Sum:
    """The terms of the gates: products by constant matrices [4 hidden, features], and a constant."""

    products: list[tuple[ir.Value, Array]] = field(default_factory=list)
    constant: Array | float = 0.0

    def add(self, value: ir.Value) -> None:
        """Adds a term, or those of a sum that nothing else reads."""
        array, node = constant_of(value), producer_of(value, "Add", "Gemm")
        if array is not None:
            self.constant = self.constant + array
            return
        node = need(node)
        require(sole_consumer(value) is not None)
        terms = node.inputs if node.op_type == "Add" else node.inputs[2:]
        if node.op_type == "Gemm":
            self.products.append((need(node.inputs[0]), need(constant_of(node.inputs[1]))))
        for term in terms:
            self.add(need(term))


@RULES.rule("Split")
def cell(node: ir.Node, rewriter: Rewriter) -> bool:
    """The parts of a split are the gates."""
    shape = need(dims(node.inputs[0]))
    require(len(shape) == 2)
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
    (seen,) = [use.node for use in total.outputs[0].uses() if use.node.op_type == "Tanh"] or [need(None)]
    made = need(sole_consumer(seen.outputs[0]))
    require((fresh.op_type, total.op_type, made.op_type) == ("Mul", "Add", "Mul"))
    admitted, output = _other(fresh, candidate), _other(made, seen.outputs[0])
    (forget,) = [value for value in kept.inputs if value in places] or [need(None)]
    gates = (admitted, output, forget, candidate)
    require(set(gates) == set(places) and all(sole_consumer(gate) is not None for gate in gates))

    terms = _Sum()
    terms.add(need(node.inputs[0]))
    require(len(terms.products) == 2)
    (x, weights), (h, recurrent) = sorted(terms.products, key=lambda product: dims(product[0]) == (batch, hidden))
    require(dims(h) == (batch, hidden) and weights.ndim == recurrent.ndim == 2)
    rows = np.concatenate([np.arange(hidden) + places[gate] * hidden for gate in gates])
    bias = np.broadcast_to(np.asarray(terms.constant, np.float32), (1, width)).reshape(-1)[rows]

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


def _other(node: ir.Node, value: ir.Value) -> ir.Value:
    """The other operand of a product or a sum of two."""
    require(len(node.inputs) == 2)
    return need(node.inputs[1] if node.inputs[0] is value else node.inputs[0])
