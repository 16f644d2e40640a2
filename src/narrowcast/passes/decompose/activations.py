"""Activations and elementwise functions that LiteRT has no kernel for, by those that it has.

Mish x tanh(ln(1 + e^x)); Softplus max(x, 0) + ln(1 + e^-|x|), which does not overflow; Softsign x / (1 + |x|);
Selu and Celu and Elu with alpha by Elu; HardSigmoid clip(alpha x + beta, 0, 1); ThresholdedRelu; Shrink; Reciprocal 1 / x;
Swish x sigmoid(alpha x); the hyperbolic and inverse functions by exp and log; n-ary Sum, Mean, Max, Min pairwise.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from narrowcast.model import NARROWCAST, ir
from narrowcast.passes.rewrite import Rewriter, RuleSet

RULES = RuleSet()


class Formula:
    """Builds arithmetic on tensors of one shape before a node."""

    def __init__(self, node: ir.Node, rewriter: Rewriter) -> None:
        self.node, self.rewriter = node, rewriter.at(node)
        self.output = node.outputs[0]

    def __call__(self, op_type: str, *inputs: ir.Value | float, **attributes: object) -> ir.Value:
        """One operator; numbers become constants of the output's type."""
        dtype = self.output.dtype.numpy() if self.output.dtype is not None else np.dtype(np.float32)
        values = [
            item if isinstance(item, ir.Value) else self.rewriter.constant(item, "number", dtype) for item in inputs
        ]
        return self.rewriter.op(op_type, *values, shape=self.output.shape, dtype=dtype, **attributes)

    def becomes(self, value: ir.Value) -> bool:
        """Ends the formula."""
        return self.rewriter.replace(self.output, value)


def _softplus(f: Formula, x: ir.Value) -> ir.Value:
    return f("Add", f("Relu", x), f("Log", f("Add", f("Exp", f("Neg", f("Abs", x))), 1.0)))


def _elu(f: Formula, x: ir.Value, alpha: float) -> ir.Value:
    """max(x, 0) + alpha elu(min(x, 0))."""
    positive, negative = f("Relu", x), f("Elu", f("Min", x, 0.0))
    return f("Add", positive, f("Mul", negative, alpha) if alpha != 1.0 else negative)


def _celu(f: Formula, x: ir.Value) -> ir.Value:
    alpha = f.node.attributes.get_float("alpha", 1.0)
    return f("Add", f("Relu", x), f("Mul", f("Elu", f("Mul", f("Min", x, 0.0), 1 / alpha)), alpha))


def _selu(f: Formula, x: ir.Value) -> ir.Value:
    attributes = f.node.attributes
    alpha, gamma = (
        attributes.get_float("alpha", 1.67326319217681884765625),
        attributes.get_float("gamma", 1.05070102214813232421875),
    )
    return f("Mul", _elu(f, x, alpha), gamma)


def _hard_sigmoid(f: Formula, x: ir.Value) -> ir.Value:
    attributes = f.node.attributes
    line = f("Add", f("Mul", x, attributes.get_float("alpha", 0.2)), attributes.get_float("beta", 0.5))
    return f("Clip", line, 0.0, 1.0)


def _thresholded(f: Formula, x: ir.Value) -> ir.Value:
    above = f.rewriter.op(
        "Greater",
        x,
        f.rewriter.constant(f.node.attributes.get_float("alpha", 1.0), dtype=np.float32),
        shape=x.shape,
        dtype=np.bool_,
    )
    return f("Where", above, x, 0.0)


def _shrink(f: Formula, x: ir.Value) -> ir.Value:
    """x - bias above lambd, x + bias below -lambd, 0 between."""
    attributes = f.node.attributes
    edge, bias = attributes.get_float("lambd", 0.5), attributes.get_float("bias", 0.0)
    above = f.rewriter.op("Greater", x, f.rewriter.constant(edge, dtype=np.float32), shape=x.shape, dtype=np.bool_)
    below = f.rewriter.op("Less", x, f.rewriter.constant(-edge, dtype=np.float32), shape=x.shape, dtype=np.bool_)
    return f("Where", above, f("Sub", x, bias), f("Where", below, f("Add", x, bias), 0.0))


def _sinh(f: Formula, x: ir.Value) -> ir.Value:
    return f("Mul", f("Sub", f("Exp", x), f("Exp", f("Neg", x))), 0.5)


def _cosh(f: Formula, x: ir.Value) -> ir.Value:
    return f("Mul", f("Add", f("Exp", x), f("Exp", f("Neg", x))), 0.5)


_FORMULAS: dict[str, Callable[[Formula, ir.Value], ir.Value]] = {
    "Mish": lambda f, x: f("Mul", x, f("Tanh", _softplus(f, x))),
    "Softplus": _softplus,
    "Softsign": lambda f, x: f("Div", x, f("Add", f("Abs", x), 1.0)),
    "Selu": _selu,
    "Celu": _celu,
    "HardSigmoid": _hard_sigmoid,
    "ThresholdedRelu": _thresholded,
    "Shrink": _shrink,
    "Reciprocal": lambda f, x: f("Div", 1.0, x),
    "Tan": lambda f, x: f("Div", f("Sin", x), f("Cos", x)),
    "Sinh": _sinh,
    "Cosh": _cosh,
}


@RULES.rule(*_FORMULAS)
def by_formula(node: ir.Node, rewriter: Rewriter) -> bool:
    """One of the table's formulas."""
    source = node.inputs[0]
    if source is None or source.dtype is not ir.DataType.FLOAT:
        return False
    f = Formula(node, rewriter)
    return f.becomes(_FORMULAS[node.op_type](f, source))


@RULES.rule("Elu")
def elu_with_alpha(node: ir.Node, rewriter: Rewriter) -> bool:
    """LiteRT's ELU has alpha 1."""
    alpha, source = node.attributes.get_float("alpha", 1.0), node.inputs[0]
    if alpha == 1.0 or source is None:
        return False
    f = Formula(node, rewriter)
    return f.becomes(_elu(f, source, alpha))


@RULES.rule("Swish")
def swish(node: ir.Node, rewriter: Rewriter) -> bool:
    """x sigmoid(alpha x)."""
    source = node.inputs[0]
    if source is None or node.domain == NARROWCAST:
        return False
    f = Formula(node, rewriter)
    alpha = node.attributes.get_float("alpha", 1.0)
    return f.becomes(f("Mul", source, f("Sigmoid", f("Mul", source, alpha) if alpha != 1.0 else source)))


@RULES.rule("Sum", "Mean", "Max", "Min")
def pairwise(node: ir.Node, rewriter: Rewriter) -> bool:
    """Operators of many operands, two at a time."""
    count = len(node.inputs)
    values = [value for value in node.inputs if value is not None]
    if count != len(values) or (count <= 2 and node.op_type in ("Max", "Min")):
        return False
    step = {"Sum": "Add", "Mean": "Add"}.get(node.op_type, node.op_type)
    f = Formula(node, rewriter)
    total = values[0]
    for value in values[1:]:
        shape = np.broadcast_shapes(*(tuple(int(d) for d in v.shape) for v in (total, value) if v.shape is not None))  # type: ignore[arg-type]
        total = rewriter.op(step, total, value, shape=shape, dtype=value.dtype.numpy() if value.dtype else None)
    return f.becomes(f("Mul", total, 1 / count) if node.op_type == "Mean" else total)
