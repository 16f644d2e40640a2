"""Activations and elementwise functions by simpler ones.

1. Gelu by the error function or by tanh; Mish x tanh(softplus(x)); Softplus max(x, 0) + ln(1 + e^-|x|), which does not
   overflow; Softsign x / (1 + |x|).
2. Selu, Celu and Elu of any alpha by Elu of 1; HardSigmoid clip(a x + b, 0, 1); ThresholdedRelu; Shrink.
3. Reciprocal 1 / x; Swish x sigmoid(a x); tangent and the hyperbolic functions by sine, cosine and exponentials.
4. Erf by Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26: |error| <= 1.5e-7. Atan by the reduction
   and polynomial of Cephes' atanf: 2e-7; Asin and Acos by it; Asinh, Acosh, Atanh by logarithms.
5. n-ary Sum, Mean, Max, Min pairwise; Clip by computed bounds as Max and Min; Mod with the dividend's sign; Xor, IsNaN,
   IsInf.

All in float32. Not done: integers, which have no kernels to go to either.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from narrowcast.model import ir
from narrowcast.passes.formula import Formula
from narrowcast.passes.rewrite import Rewriter, RuleSet, need, operands, require

RULES = RuleSet()


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
    return f("Where", f("Greater", x, f.node.attributes.get_float("alpha", 1.0)), x, 0.0)


def _shrink(f: Formula, x: ir.Value) -> ir.Value:
    """Gives x - bias above lambd, x + bias below -lambd, 0 between."""
    attributes = f.node.attributes
    edge, bias = attributes.get_float("lambd", 0.5), attributes.get_float("bias", 0.0)
    above, below = f("Greater", x, edge), f("Less", x, -edge)
    return f("Where", above, f("Sub", x, bias), f("Where", below, f("Add", x, bias), 0.0))


def _sinh(f: Formula, x: ir.Value) -> ir.Value:
    return f("Mul", f("Sub", f("Exp", x), f("Exp", f("Neg", x))), 0.5)


def _cosh(f: Formula, x: ir.Value) -> ir.Value:
    return f("Mul", f("Add", f("Exp", x), f("Exp", f("Neg", x))), 0.5)


def _erf(f: Formula, x: ir.Value) -> ir.Value:
    size = f("Abs", x)
    t = f("Div", 1.0, f("Add", f("Mul", size, 0.3275911), 1.0))
    series = _horner(f, t, (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592))
    tail = f("Mul", f("Mul", series, t), f("Exp", f("Neg", f("Mul", x, x))))
    return f("Mul", f("Sign", x), f("Sub", 1.0, tail))


def _horner(f: Formula, x: ir.Value, coefficients: tuple[float, ...]) -> ir.Value:
    """A polynomial, highest degree first."""
    value = f("Add", f("Mul", x, coefficients[0]), coefficients[1])
    for coefficient in coefficients[2:]:
        value = f("Add", f("Mul", value, x), coefficient)
    return value


def _atan(f: Formula, x: ir.Value) -> ir.Value:
    size = f("Abs", x)
    steep, middle = f("Greater", size, math.tan(3 * math.pi / 8)), f("Greater", size, math.tan(math.pi / 8))
    shifted = f("Div", f("Sub", size, 1.0), f("Add", size, 1.0))
    reduced = f("Where", steep, f("Div", -1.0, f("Max", size, 1.0)), f("Where", middle, shifted, size))
    start = f("Where", steep, math.pi / 2, f("Where", middle, math.pi / 4, 0.0))
    square = f("Mul", reduced, reduced)
    series = _horner(f, square, (8.05374449538e-2, -1.38776856032e-1, 1.99777106478e-1, -3.33329491539e-1))
    angle = f("Add", f("Mul", f("Mul", series, square), reduced), reduced)
    return f("Mul", f("Sign", x), f("Add", start, angle))


def _asin(f: Formula, x: ir.Value) -> ir.Value:
    """Through the arctangent of x / sqrt((1 - x) (1 + x))."""
    return _atan(f, f("Div", x, f("Sqrt", f("Mul", f("Sub", 1.0, x), f("Add", x, 1.0)))))


def _asinh(f: Formula, x: ir.Value) -> ir.Value:
    size = f("Abs", x)
    return f("Mul", f("Sign", x), f("Log", f("Add", size, f("Sqrt", f("Add", f("Mul", x, x), 1.0)))))


def _acosh(f: Formula, x: ir.Value) -> ir.Value:
    return f("Log", f("Add", x, f("Sqrt", f("Mul", f("Sub", x, 1.0), f("Add", x, 1.0)))))


def _atanh(f: Formula, x: ir.Value) -> ir.Value:
    return f("Mul", f("Log", f("Div", f("Add", x, 1.0), f("Sub", 1.0, x))), 0.5)


def _is_infinite(f: Formula, x: ir.Value) -> ir.Value:
    attributes = f.node.attributes
    above = attributes.get_int("detect_positive", 1), f("Greater", x, _LARGEST)
    below = attributes.get_int("detect_negative", 1), f("Less", x, -_LARGEST)
    wanted = [test for asked, test in (above, below) if asked]
    return f("Or", *wanted) if len(wanted) == 2 else wanted[0] if wanted else f("Less", f("Abs", x), -1.0)


def _gelu(f: Formula, x: ir.Value) -> ir.Value:
    """Half of x (1 + erf(x / sqrt 2)), or with tanh(sqrt(2 / pi) (x + 0.044715 x^3)) for the error function."""
    if f.node.attributes.get_string("approximate", "none") == "tanh":
        cube = f("Mul", f("Mul", f("Mul", x, x), x), 0.044715)
        bell = f("Tanh", f("Mul", f("Add", x, cube), math.sqrt(2 / math.pi)))
    else:
        bell = f("Erf", f("Mul", x, math.sqrt(0.5)))
    return f("Mul", f("Mul", x, 0.5), f("Add", bell, 1.0))


_LARGEST = float.fromhex("0x1.fffffep+127")

_FORMULAS: dict[str, Callable[[Formula, ir.Value], ir.Value]] = {
    "Mish": lambda f, x: f("Mul", x, f("Tanh", _softplus(f, x))),
    "Gelu": _gelu,
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
    "Erf": _erf,
    "Atan": _atan,
    "Asin": _asin,
    "Acos": lambda f, x: f("Sub", math.pi / 2, _asin(f, x)),
    "Asinh": _asinh,
    "Acosh": _acosh,
    "Atanh": _atanh,
    "IsNaN": lambda f, x: f("Not", f("Equal", x, x)),
    "IsInf": _is_infinite,
}


@RULES.rule(*_FORMULAS)
def by_formula(node: ir.Node, rewriter: Rewriter) -> bool:
    """Cases 1 to 5, one of the table's formulas."""
    source = need(node.inputs[0])
    require(source.dtype is ir.DataType.FLOAT, "it is not in float32")
    f = Formula(node, rewriter)
    return f.becomes(_FORMULAS[node.op_type](f, source))


@RULES.rule("Elu")
def elu_with_alpha(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 2."""
    alpha, source = node.attributes.get_float("alpha", 1.0), need(node.inputs[0])
    require(alpha != 1.0)
    f = Formula(node, rewriter)
    return f.becomes(_elu(f, source, alpha))


@RULES.rule("Swish")
def swish(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 3."""
    source, f = need(node.inputs[0]), Formula(node, rewriter)
    alpha = node.attributes.get_float("alpha", 1.0)
    return f.becomes(f("Mul", source, f("Sigmoid", f("Mul", source, alpha) if alpha != 1.0 else source)))


@RULES.rule("Sum", "Mean", "Max", "Min")
def pairwise(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 5."""
    values = [value for value in node.inputs if value is not None]
    step = {"Sum": "Add", "Mean": "Add"}.get(node.op_type, node.op_type)
    if step == node.op_type and len(values) == 2:
        return False
    f = Formula(node, rewriter)
    total = values[0]
    for value in values[1:]:
        total = f(step, total, value)
    return f.becomes(f("Mul", total, 1 / len(values)) if node.op_type == "Mean" else total)


@RULES.rule("Clip")
def computed_bounds(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 5."""
    value, f = need(node.inputs[0]), Formula(node, rewriter)
    for bound, op_type in zip(node.inputs[1:], ("Max", "Min"), strict=False):
        value = f(op_type, value, bound) if bound is not None else value
    return f.becomes(value)


@RULES.rule("Mod")
def remainder(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 5: sign(x) (|x| - |y| floor(|x| / |y|))."""
    x, y = operands(node, 2)
    require(node.attributes.get_int("fmod", 0) and x.dtype is ir.DataType.FLOAT)
    f = Formula(node, rewriter)
    a, b = f("Abs", x), f("Abs", y)
    return f.becomes(f("Mul", f("Sign", x), f("Sub", a, f("Mul", b, f("Floor", f("Div", a, b))))))


@RULES.rule("Xor")
def exclusive_or(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 5: one of them, and not both."""
    a, b = operands(node, 2)
    f = Formula(node, rewriter)
    return f.becomes(f("And", f("Or", a, b), f("Not", f("And", a, b))))
