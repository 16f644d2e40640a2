"""Dense layers: Gemm for rank 2, MatMul + Add for more.

1. MatMul of a rank-2 tensor by a constant matrix -> Gemm with weights [out, in].
2. Gemm with transA, alpha, beta or untransposed weights -> the canonical one.
3. A Gemm whose weights are computed -> MatMul and Add.
"""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import constant_of, input_of, tensor_of
from narrowcast.model import Array, ir
from narrowcast.passes.fuse.quantized import matrix_behind
from narrowcast.passes.rewrite import Rewriter, RuleSet, dtype_of, need, require
from narrowcast.targets.spelling import weights_behind

RULES = RuleSet()


@RULES.rule("MatMul")
def matmul_to_gemm(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 1."""
    source, matrix = need(node.inputs[0]), need(node.inputs[1])
    weights = need(tensor_of(matrix))
    require(len(need(source.shape)) == len(weights.shape) == 2 and tensor_of(source) is None)
    require(weights.dtype.numpy().kind == "f")
    rewriter.at(node)
    turned = rewriter.derived(np.transpose, matrix, matrix.name or "weights", weights.shape.numpy()[::-1])
    return rewriter.replace(node.outputs[0], rewriter.op("Gemm", source, turned, like=node.outputs[0], transB=1))


@RULES.rule("Gemm")
def canonical(node: ir.Node, rewriter: Rewriter) -> bool:
    """Cases 2 and 3."""
    attributes = node.attributes
    alpha, beta = attributes.get_float("alpha", 1.0), attributes.get_float("beta", 1.0)
    turn_a, turn_b = attributes.get_int("transA", 0) != 0, attributes.get_int("transB", 0) != 0
    a, b, c, output = need(node.inputs[0]), need(node.inputs[1]), input_of(node, 2), node.outputs[0]
    weights, bias, dtype = tensor_of(b), constant_of(c), dtype_of(output)
    shape, width = need(a.shape, "a shape is unknown"), need(output.shape, "a shape is unknown")[1]
    fine = weights_behind(b) is not None and turn_b and not turn_a and alpha == 1.0 and beta == 1.0
    require(not fine or (c is not None and (weights_behind(c) is None or c.shape != (width,))))
    by_quantized = matrix_behind(b) is not None and alpha == 1.0 and not turn_a and not turn_b
    require(not by_quantized)  # `quantized` turns the weights
    rewriter.at(node)
    if turn_a:
        a = rewriter.op("Transpose", a, shape=shape[::-1], dtype=dtype, perm=[1, 0])
    row = _row(bias, beta, width) if bias is not None else None
    if weights is not None and weights.dtype.numpy().kind == "f" and (c is None or row is not None):

        def matrix(array: Array) -> Array:
            turned = array if turn_b else array.T
            return turned if alpha == 1.0 else turned * dtype.type(alpha)

        size = weights.shape.numpy() if turn_b else weights.shape.numpy()[::-1]
        inputs = [a, rewriter.derived(matrix, b, b.name or "weights", size)]
        if row is not None:
            inputs.append(rewriter.constant(row, f"{output.name}/bias"))
        return rewriter.replace(output, rewriter.op("Gemm", *inputs, like=output, transB=1))
    if turn_b:
        b = rewriter.op("Transpose", b, shape=need(b.shape)[::-1], dtype=dtype, perm=[1, 0])
    product = rewriter.op("MatMul", a, b, shape=output.shape, dtype=dtype)
    if alpha != 1.0:
        product = rewriter.op("Mul", product, rewriter.constant(alpha, dtype=dtype), shape=output.shape, dtype=dtype)
    if c is not None:
        if beta != 1.0:
            c = rewriter.op("Mul", c, rewriter.constant(beta, dtype=dtype), shape=c.shape, dtype=dtype)
        product = rewriter.op("Add", product, c, like=output)
    return rewriter.replace(output, product)


def _row(bias: Array, beta: float, width: object) -> Array | None:
    """The bias as [out], if it is the same for every row."""
    if not isinstance(width, int) or (bias.ndim == 2 and bias.shape[0] != 1) or bias.ndim > 2:
        return None
    return np.asarray(np.broadcast_to(bias.reshape(-1), (width,)) * bias.dtype.type(beta), order="C")
