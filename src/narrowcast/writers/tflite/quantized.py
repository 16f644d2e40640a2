"""How a graph spells quantisation: DequantizeLinear behind what is stored in integers, QuantizeLinear before it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from narrowcast.dialect.build import constant_of, tensor_of
from narrowcast.model import ir
from narrowcast.targets.groups import Group
from narrowcast.targets.rules import OpRule, Sharing

__all__ = ["conforms", "dequantizer", "dequantizer_after", "is_symmetric", "is_weight", "quantizer_before"]

Step = tuple[str, float, int]
"""Storage type, scale and zero point of an activation."""


def is_weight(value: ir.Value | None) -> bool:
    """Whether a value is an initialiser, or one behind a DequantizeLinear or Cast."""
    if value is None:
        return False
    node = value.producer()
    if node is not None:
        return node.op_type in ("DequantizeLinear", "Cast") and not node.domain and is_weight(node.inputs[0])
    return tensor_of(value) is not None


def dequantizer(value: ir.Value | None) -> ir.Node | None:
    """The DequantizeLinear that a value comes from, or None."""
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type == "DequantizeLinear" and not node.domain else None


_MOVERS = ("Transpose", "Reshape", "Identity")
"""What the layout puts between quantised integers; they keep their scale."""


def quantizer_before(value: ir.Value) -> ir.Node | None:
    """The QuantizeLinear that integers come from, through operators that only move them."""
    node = value.producer()
    while node is not None and node.op_type in _MOVERS and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    return node if node is not None and node.op_type == "QuantizeLinear" else None


def dequantizer_after(value: ir.Value) -> ir.Node | None:
    """A DequantizeLinear that integers go to, through operators that only move them."""
    pending = [value]
    while pending:
        for use in pending.pop().uses():
            if use.node.op_type == "DequantizeLinear":
                return use.node
            if use.node.op_type in _MOVERS:
                pending.append(use.node.outputs[0])
    producer = value.producer()
    if producer is not None and producer.op_type in _MOVERS and producer.inputs[0] is not None:
        return dequantizer_after(producer.inputs[0])
    return None


def is_symmetric(value: ir.Value | None) -> bool:
    """Whether all zero points of weights are 0."""
    node = dequantizer(value)
    zero = constant_of(node.inputs[2]) if node is not None and len(node.inputs) > 2 else None
    return zero is None or not zero.any()


def conforms(found: Group, rule: OpRule) -> bool:
    """Whether a group keeps the target's rules of quantisation, as what the quantiser makes does.

    A network that was quantised elsewhere need not: its operator is then computed in floats.
    """
    anchor = found.anchor
    ins = {step for value in anchor.inputs for step in _steps(dequantizer(value)) if not is_weight(value)}
    outs = {step for value in found.outputs for use in value.uses() for step in _steps(use.node)}
    kinds = {step[0] for step in ins | outs}
    if not kinds <= {"int8", "int16"} or ("int16" in kinds and not rule.int16):
        return False
    if rule.sharing is Sharing.SAME and len(ins | outs) > 1:
        return False
    if rule.fixed is not None and any(step[1:] != getattr(rule.fixed, step[0]) for step in outs):
        return False
    if rule.weights is None or not is_weight(anchor.inputs[rule.weights[0]]):
        return True
    return is_symmetric(anchor.inputs[rule.weights[0]]) and _bias_fits(found, rule)


def _steps(node: ir.Node | None) -> Iterator[Step]:
    """The step of a QuantizeLinear or DequantizeLinear per tensor."""
    if node is None or node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
        return
    scale, zero = constant_of(node.inputs[1]), constant_of(node.inputs[2]) if len(node.inputs) > 2 else None
    if scale is not None and scale.size == 1:
        kind = zero.dtype.name if zero is not None else "uint8"
        yield kind, float(scale.reshape(())), int(zero.reshape(())) if zero is not None else 0


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
