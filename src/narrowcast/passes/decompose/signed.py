"""Integers of 8 bits without a sign, where the target stores the model's scheme with one.

The scale stays, stored numbers and zero point are 128 less.

1. uint8 activations -> int8, where all that reads them dequantises them.
2. uint8 constants -> int8.
"""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import attributes_of, constant_of, input_of
from narrowcast.model import Array, ir
from narrowcast.passes.rewrite import Rewriter, RuleSet, need, require
from narrowcast.targets.rules import Target

RULES = RuleSet()

_SHIFT = 128


def _stores_signed(node: ir.Node, target: Target) -> str:
    """The scheme decides, not the node."""
    return "stores signed integers"


@RULES.rule("QuantizeLinear", asks=_stores_signed)
def signed_activations(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 1."""
    require(rewriter.storage.activations != "uint8")
    output, scale = node.outputs[0], node.inputs[1]
    readers = [use.node for use in output.uses()]
    require(output.dtype is ir.DataType.UINT8 and not output.is_graph_output() and readers)
    step, zero = need(constant_of(scale)), _zero_point(node)
    require(all(_same_step(reader, step, zero) for reader in readers))
    rewriter.at(node)
    shifted = rewriter.constant(_signed(zero), "zero")
    kept = attributes_of(node, "output_dtype") | {"shape": output.shape, "dtype": np.int8, "name": output.name}
    made = rewriter.op("QuantizeLinear", node.inputs[0], scale, shifted, **kept)
    for reader in readers:
        rewriter.set_input(reader, 2, shifted)
    return rewriter.replace(output, made)


@RULES.rule("DequantizeLinear", asks=_stores_signed)
def signed_weights(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 2."""
    require(rewriter.storage.activations != "uint8")
    source = need(node.inputs[0])
    stored = need(constant_of(source))
    require(stored.dtype == np.uint8)
    zero, name = _zero_point(node), source.name or "weights"
    rewriter.at(node)
    inputs = [rewriter.constant(_signed(stored), name), node.inputs[1], rewriter.constant(_signed(zero), "zero")]
    made = rewriter.op("DequantizeLinear", *inputs, like=node.outputs[0], **attributes_of(node))
    return rewriter.replace(node.outputs[0], made)


def _zero_point(node: ir.Node) -> Array:
    """The zero point, of uint8; 0 where it is left out."""
    if input_of(node, 2) is None:
        return np.zeros((), np.uint8)
    zero = need(constant_of(node.inputs[2]))
    require(zero.dtype == np.uint8)
    return zero


def _same_step(reader: ir.Node, step: Array, zero: Array) -> bool:
    return (
        reader.op_type == "DequantizeLinear"
        and np.array_equal(step, need(constant_of(reader.inputs[1])))
        and np.array_equal(zero, _zero_point(reader))
    )


def _signed(array: Array) -> Array:
    return (array.astype(np.int16) - _SHIFT).astype(np.int8)
