"""Networks that were quantised elsewhere come to the dialect's one spelling: docs/architecture.md, "Quantisation".

1. QLinearConv -> DequantizeLinear, Conv, QuantizeLinear; its bias has the scale of the products.
2. Transpose and Reshape of a DequantizeLinear of weights -> the weights permuted, reshaped.
3. MatMul and Gemm by a DequantizeLinear of a matrix [in, out] -> Gemm with weights [out, in].
"""

from __future__ import annotations

from typing import Any

import numpy as np

from narrowcast.dialect.build import attributes_of, constant_of, input_of
from narrowcast.model import Array, ir
from narrowcast.passes.rewrite import Rewriter, RuleSet, dims, need, producer_of, require

RULES = RuleSet()


@RULES.rule("QLinearConv")
def convolution(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 1: x, its scale and zero point, w, its own, y's own, and a bias of int32."""
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = node.inputs[:8]
    x, w, bias, output = need(x), need(w), input_of(node, 8), node.outputs[0]
    steps = [need(constant_of(value), "its scales are computed") for value in (x_scale, w_scale)]
    rewriter.at(node)
    float32 = np.dtype(np.float32)
    source = rewriter.op("DequantizeLinear", x, x_scale, x_zero, shape=x.shape, dtype=float32)
    axis: dict[str, Any] = {"axis": 0} if steps[1].size > 1 else {}
    weights = rewriter.op("DequantizeLinear", w, w_scale, w_zero, shape=w.shape, dtype=float32, **axis)
    inputs = [source, weights]
    if bias is not None:
        product = (steps[0].reshape(-1) * steps[1].reshape(-1)).astype(np.float32)
        scale = rewriter.constant(product if product.size > 1 else product.reshape(()), "scale")
        inputs.append(rewriter.op("DequantizeLinear", bias, scale, shape=bias.shape, dtype=float32, **axis))
    attributes = attributes_of(node)
    made = rewriter.op("Conv", *inputs, shape=output.shape, dtype=float32, **attributes)
    return rewriter.replace(output, rewriter.op("QuantizeLinear", made, y_scale, y_zero, like=output))


def _dequantized(
    rewriter: Rewriter, node: ir.Node, inputs: list[ir.Value | None], shape: object, **more: int
) -> ir.Value:
    attributes = attributes_of(node) | more
    return rewriter.op(
        "DequantizeLinear", *inputs, shape=shape, dtype=np.float32, name=node.outputs[0].name, **attributes
    )


@RULES.rule("Transpose", "Reshape")
def of_weights(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 2."""
    behind, stored, axis = need(matrix_behind(node.inputs[0]))
    shape = need(dims(node.outputs[0]))
    if node.op_type == "Transpose":
        perm = node.attributes.get_ints("perm", tuple(reversed(range(stored.ndim))))
        moved, along = np.ascontiguousarray(stored.transpose(perm)), axis if axis is None else list(perm).index(axis)
    else:
        moved, along = stored.reshape(shape), None
        if axis is not None:
            require(sum(size != 1 for size in stored.shape) <= 1 and stored.shape[axis] in shape)
            along = shape.index(stored.shape[axis])
    return rewriter.replace(node.outputs[0], _moved(rewriter.at(node), behind, moved, along))


def matrix_behind(value: ir.Value | None) -> tuple[ir.Node, Array, int | None] | None:
    """The DequantizeLinear of constants that a value is, the constants, and the axis of their scales, if several."""
    behind = producer_of(value, "DequantizeLinear")
    stored = constant_of(behind.inputs[0]) if behind is not None else None
    scale = constant_of(behind.inputs[1]) if behind is not None else None
    if behind is None or stored is None or scale is None or behind.attributes.get_int("block_size", 0) != 0:
        return None
    axis = behind.attributes.get_int("axis", 1) % max(stored.ndim, 1) if scale.size > 1 else None
    return behind, stored, axis


def _moved(rewriter: Rewriter, behind: ir.Node, moved: Array, axis: int | None) -> ir.Value:
    inputs = [rewriter.constant(moved, need(behind.inputs[0]).name or "weights"), *behind.inputs[1:]]
    return _dequantized(rewriter, behind, inputs, moved.shape, **({} if axis is None else {"axis": axis}))


@RULES.rule("MatMul", "Gemm")
def dense(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 3."""
    attributes, source = node.attributes, node.inputs[0]
    behind, stored, axis = need(matrix_behind(node.inputs[1]))
    require(len(need(dims(source))) == stored.ndim == 2)
    require(not attributes.get_int("transA", 0) and not attributes.get_int("transB", 0))
    require(attributes.get_float("alpha", 1.0) == 1.0)
    turned = _moved(rewriter.at(node), behind, np.ascontiguousarray(stored.T), None if axis is None else 1 - axis)
    kept = attributes_of(node, "transB")
    made = rewriter.op("Gemm", source, turned, *node.inputs[2:], like=node.outputs[0], transB=1, **kept)
    return rewriter.replace(node.outputs[0], made)
