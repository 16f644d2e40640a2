"""Dense layers: Gemm for rank 2, MatMul + Add for more.

1. MatMul of a rank-2 tensor by a constant matrix -> Gemm with weights [out, in].
2. Gemm with transA, alpha, beta or untransposed weights -> the canonical one.
3. A Gemm whose weights are computed -> MatMul and Add.
"""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import constant_of, tensor_of
from narrowcast.model import Array, ir
from narrowcast.passes.fuse.quantized import matrix_behind
from narrowcast.passes.rewrite import Rewriter, RuleSet
from narrowcast.targets.spelling import weights_behind

RULES = RuleSet()


@RULES.rule("MatMul")
def matmul_to_gemm(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 1."""
    source, matrix, weights = node.inputs[0], node.inputs[1], tensor_of(node.inputs[1])
    if source is None or source.shape is None or len(source.shape) != 2 or matrix is None or weights is None:
        return False
    if len(weights.shape) != 2 or tensor_of(source) is not None or weights.dtype.numpy().kind != "f":
        return False
    rewriter.at(node)
    turned = rewriter.derived(np.transpose, matrix, matrix.name or "weights", weights.shape.numpy()[::-1])
    return rewriter.replace(node.outputs[0], rewriter.op("Gemm", source, turned, like=node.outputs[0], transB=1))


@RULES.rule("Gemm")
def canonical(node: ir.Node, rewriter: Rewriter) -> bool | str:
    """Cases 2 and 3."""
    attributes = node.attributes
    alpha, beta = attributes.get_float("alpha", 1.0), attributes.get_float("beta", 1.0)
    turn_a, turn_b = attributes.get_int("transA", 0) != 0, attributes.get_int("transB", 0) != 0
    a, b = node.inputs[0], node.inputs[1]
    c = node.inputs[2] if len(node.inputs) > 2 else None
    weights, bias = tensor_of(b), constant_of(c)
    output = node.outputs[0]
    if a is None or b is None or a.shape is None or output.shape is None or output.dtype is None:
        return "a shape is unknown"
    fine = weights_behind(b) is not None and turn_b and not turn_a and alpha == 1.0 and beta == 1.0
    stored = weights_behind(c)
    if fine and (c is None or (stored is not None and c.shape == (output.shape[1],))):
        return False
    if matrix_behind(b) is not None and alpha == 1.0 and not turn_a and not turn_b:
        return False  # `quantized` turns the weights
    rewriter.at(node)
    dtype = output.dtype.numpy()
    if turn_a:
        a = rewriter.op("Transpose", a, shape=[a.shape[1], a.shape[0]], dtype=dtype, perm=[1, 0])
    row = _row(bias, beta, output) if c is not None and bias is not None else None
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
        shape = b.shape
        b = rewriter.op(
            "Transpose", b, shape=[shape[1], shape[0]] if shape is not None else None, dtype=dtype, perm=[1, 0]
        )
    product = rewriter.op("MatMul", a, b, shape=output.shape, dtype=dtype)
    if alpha != 1.0:
        product = rewriter.op("Mul", product, rewriter.constant(alpha, dtype=dtype), shape=output.shape, dtype=dtype)
    if c is not None:
        if beta != 1.0:
            c = rewriter.op("Mul", c, rewriter.constant(beta, dtype=dtype), shape=c.shape, dtype=dtype)
        product = rewriter.op("Add", product, c, like=output)
    return rewriter.replace(output, product)


def _row(bias: Array, beta: float, output: ir.Value) -> Array | None:
    """The bias as [out], if it is the same for every row."""
    width = output.shape[1] if output.shape is not None else None
    if not isinstance(width, int) or (bias.ndim == 2 and bias.shape[0] != 1) or bias.ndim > 2:
        return None
    return np.asarray(np.broadcast_to(bias.reshape(-1), (width,)) * bias.dtype.type(beta), order="C")
