"""How a graph spells quantisation: DequantizeLinear behind what is stored in integers, QuantizeLinear before it."""

from __future__ import annotations

from narrowcast.dialect.build import tensor_of
from narrowcast.model import ir

__all__ = ["dequantizer", "dequantizer_after", "is_weight", "quantizer_before"]


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
