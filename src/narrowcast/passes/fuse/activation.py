"""Activations written out in arithmetic become one operator. Coefficients are compared to float32's accuracy.

1. clip(a x + b, 0, 1), also as a scaled clip(c x + d, 0, e)  -> HardSigmoid(x; a, b)
2. x * hard_sigmoid(x; 1/6, 1/2), e.g. x * relu6(x + 3) / 6   -> HardSwish(x)          (https://arxiv.org/abs/1905.02244)
3. x * (1 + erf(x / sqrt 2)) / 2                              -> Gelu(x)               (https://arxiv.org/abs/1606.08415)
4. x * (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2        -> Gelu(x; tanh)
5. ln(1 + e^x) -> Softplus(x);  x * tanh(softplus(x))         -> Mish(x)               (https://arxiv.org/abs/1908.08681)
6. 1 / (1 + e^-x) -> Sigmoid(x)

Numbers may be factored out or multiplied in anywhere. Not done: x * sigmoid(c x), which every target computes as it
stands; forms whose inner numbers differ between channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from narrowcast.model import ir
from narrowcast.passes.algebra import Product, near, polynomial, product_of, variable_of
from narrowcast.passes.fuse.clip import bounds_of
from narrowcast.passes.rewrite import Rewriter, RuleSet, dtype_of, need, producer_of, require

RULES = RuleSet(idiom=True)

_TANH_1, _TANH_3 = math.sqrt(2 / math.pi), 0.044715 * math.sqrt(2 / math.pi)


@RULES.rule("Clip")
def hard_sigmoid(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 1, where the clip is the last step."""
    x, alpha, beta = need(_clipped_line(node.outputs[0], 1.0))
    return _becomes(node, rewriter, "HardSigmoid", x, alpha=alpha, beta=beta)


@RULES.rule("Mul", "Div")
def product(node: ir.Node, rewriter: Rewriter) -> bool:
    """Cases 1 to 6, where a product is the last step."""
    found = product_of(node.outputs[0])
    if len(found.powers) == 1:
        (gate, power), k = next(iter(found.powers.items())), found.coefficient
        line = _clipped_line(gate, k) if power == 1.0 else None
        if line is not None:
            return _becomes(node, rewriter, "HardSigmoid", line[0], alpha=line[1], beta=line[2])
    if any(gated(node, rewriter, x, gate, found.coefficient) for x, gate in _pairs(found) for gated in GATED):
        return True
    return sigmoid(node, rewriter)


@RULES.rule("Reciprocal")
def sigmoid(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 6."""
    found = product_of(node.outputs[0])
    below = [value for value, power in found.powers.items() if power == -1.0]
    require(len(below) == 1 and near(found.coefficient, 1.0))
    exponential = need(producer_of(variable_of(below[0]), "Exp"))
    require(_is_line(polynomial(below[0], exponential.outputs[0]), 1.0, 1.0))
    argument = product_of(need(exponential.inputs[0]))
    x = need(next(iter(argument.powers), None))
    require(argument.is_only(x, coefficient=-1.0) and x.shape == node.outputs[0].shape)
    others = [value for value in found.powers if value is not below[0]]
    if not others:
        return _becomes(node, rewriter, "Sigmoid", x)
    require(len(others) == 1 and found.powers[others[0]] == 1.0)
    gate = rewriter.at(node).op("Sigmoid", x, shape=x.shape, dtype=dtype_of(x))
    return rewriter.replace(node.outputs[0], rewriter.op("Mul", others[0], gate, like=node.outputs[0]))


@RULES.rule("Log")
def softplus(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 5, its first half."""
    source = need(node.inputs[0])
    exponential = need(producer_of(variable_of(source), "Exp"))
    require(_is_line(polynomial(source, exponential.outputs[0]), 1.0, 1.0))
    return _becomes(node, rewriter, "Softplus", need(exponential.inputs[0]))


def _hard_swish(node: ir.Node, rewriter: Rewriter, x: ir.Value, gate: ir.Value, k: float) -> bool:
    inner = producer_of(gate, "HardSigmoid")
    if inner is not None:
        alpha, beta = inner.attributes.get_float("alpha", 0.2), inner.attributes.get_float("beta", 0.5)
        fits = inner.inputs[0] is x and near(alpha, 1 / 6) and near(beta, 0.5) and near(k, 1.0)
        return fits and _becomes(node, rewriter, "HardSwish", x)
    line = _clipped_line(gate, k)
    fits = line is not None and line[0] is x and near(line[1], 1 / 6) and near(line[2], 0.5)
    return fits and _becomes(node, rewriter, "HardSwish", x)


def _gelu(node: ir.Node, rewriter: Rewriter, x: ir.Value, gate: ir.Value, k: float) -> bool:
    function = producer_of(variable_of(gate), "Erf", "Tanh")
    if function is None or not _is_line(polynomial(gate, function.outputs[0]), 0.5 / k, 0.5 / k):
        return False
    inner = polynomial(need(function.inputs[0]), x)
    if inner is None:
        return False
    if function.op_type == "Erf":
        return _are(inner, {1: math.sqrt(0.5)}) and _becomes(node, rewriter, "Gelu", x)
    return _are(inner, {1: _TANH_1, 3: _TANH_3}) and _becomes(node, rewriter, "Gelu", x, approximate="tanh")


def _mish(node: ir.Node, rewriter: Rewriter, x: ir.Value, gate: ir.Value, k: float) -> bool:
    tanh = producer_of(gate, "Tanh")
    soft = producer_of(tanh.inputs[0], "Softplus") if tanh is not None else None
    fits = soft is not None and soft.inputs[0] is x and near(k, 1.0)
    return fits and _becomes(node, rewriter, "Mish", x)


GATED: tuple[Callable[[ir.Node, Rewriter, ir.Value, ir.Value, float], bool], ...] = (_hard_swish, _gelu, _mish)
"""Recognisers of k * x * gate(x)."""


def _pairs(found: Product) -> Iterator[tuple[ir.Value, ir.Value]]:
    """Both ways to see a product of two as x times a gate."""
    if list(found.powers.values()) == [1.0, 1.0] and found.coefficient > 0:
        first, second = found.powers
        yield first, second
        yield second, first


def _clipped_line(gate: ir.Value, k: float) -> tuple[ir.Value, float, float] | None:
    """(x, a, b) if k * gate = clip(a x + b, 0, 1)."""
    clip = producer_of(gate, "Clip")
    bounds = bounds_of(clip) if clip is not None else None
    if clip is None or bounds is None or k <= 0 or not near(bounds[0], 0.0) or not near(k * bounds[1], 1.0):
        return None
    source = need(clip.inputs[0])
    x = variable_of(source)
    line = polynomial(source, x)
    if line is None or set(line) != {0, 1} or line[1] == 0.0 or x.dtype is not ir.DataType.FLOAT:
        return None
    return x, k * line[1], k * line[0]


def _is_line(line: dict[int, float] | None, slope: float, offset: float) -> bool:
    return line is not None and _are(line, {1: slope, 0: offset})


def _are(found: dict[int, float], wanted: dict[int, float]) -> bool:
    return set(found) <= {*wanted, 0, 1, 2, 3} and all(
        near(found.get(degree, 0.0), wanted.get(degree, 0.0)) for degree in {*found, *wanted}
    )


def _becomes(node: ir.Node, rewriter: Rewriter, op_type: str, x: ir.Value, **attributes: object) -> bool:
    output = node.outputs[0]
    require(need(x.shape) == output.shape and need(x.dtype).is_floating_point())
    return rewriter.replace(output, rewriter.at(node).op(op_type, x, like=output, **attributes))
