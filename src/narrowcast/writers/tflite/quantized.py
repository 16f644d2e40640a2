"""Whether a quantised graph keeps the target's rules where a group is to be one integer operator."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from narrowcast.dialect.build import constant_of
from narrowcast.model import ir
from narrowcast.targets.groups import Group
from narrowcast.targets.rules import OpRule, Sharing
from narrowcast.targets.spelling import Parameters, dequantizer, is_symmetric, is_weight, parameters_of

__all__ = ["conforms"]


def conforms(found: Group, rule: OpRule) -> bool:
    """Whether a group keeps the target's rules of quantisation, as what the quantiser makes does.

    A network that was quantised elsewhere need not: its operator is then computed in floats.
    """
    anchor = found.anchor
    ins = {step for value in anchor.inputs for step in _steps(dequantizer(value)) if not is_weight(value)}
    outs = {step for value in found.outputs for use in value.uses() for step in _steps(use.node)}
    kinds = {step.dtype for step in ins | outs}
    if not kinds <= {"int8", "int16"} or ("int16" in kinds and not rule.int16):
        return False
    if rule.sharing is Sharing.SAME and len(ins | outs) > 1:
        return False
    if rule.fixed is not None and any(
        (step.scale, step.zero_point) != getattr(rule.fixed, step.dtype) for step in outs
    ):
        return False
    if rule.weights is None or not is_weight(anchor.inputs[rule.weights[0]]):
        return True
    return is_symmetric(anchor.inputs[rule.weights[0]]) and _bias_fits(found, rule)


def _steps(node: ir.Node | None) -> Iterator[Parameters]:
    """How a QuantizeLinear or DequantizeLinear stores, if by one scale."""
    step = parameters_of(node)
    if step is not None:
        yield step


def _bias_fits(found: Group, rule: OpRule) -> bool:
    """A bias in integers has the scale of the products."""
    assert rule.weights is not None
    anchor = found.anchor
    value = anchor.inputs[rule.bias] if rule.bias is not None and len(anchor.inputs) > rule.bias else None
    if found.bias is not None:
        value = next(item for item in found.bias.inputs if is_weight(item))
    if value is None:
        return True
    nodes = [dequantizer(item) for item in (value, anchor.inputs[0], anchor.inputs[rule.weights[0]])]
    scales = [constant_of(node.inputs[1]) if node is not None else None for node in nodes]
    bias, source, weights = scales
    if nodes[0] is None or bias is None or source is None or weights is None:
        return False
    stored = constant_of(nodes[0].inputs[0])
    products = source.reshape(-1) * weights.reshape(-1)
    fits = bias.size in (1, products.size) and np.allclose(bias.reshape(-1), products, rtol=1e-5, atol=0)
    return stored is not None and stored.dtype == np.int32 and bool(fits)
