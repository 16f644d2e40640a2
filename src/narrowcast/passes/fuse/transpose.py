"""Transposes sink below what does not care about the order of axes, and cancel.

1. op(Transpose(x)) for a unary op -> Transpose(op(x)).
2. op(Transpose(x), constant) for a binary op -> Transpose(op(x, transposed constant)).
3. op(Transpose(x), Transpose(y)) by the same permutation -> Transpose(op(x, y)).
4. Transpose(Transpose(x)) -> one, or none.
5. Pad(Transpose(x)) by constants -> Transpose(Pad(x)).
6. A Transpose that several nodes read is copied to each, so that 1 to 3 apply.

So batch normalisation written out in NHWC between two transposes comes to stand behind its convolution.
"""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import constant_of
from narrowcast.model import Array, ir
from narrowcast.passes.rewrite import Rewriter, RuleSet, constant_operand, dims, producer_of

RULES = RuleSet()

UNARY = (
    "Abs Ceil Clip Cos Elu Erf Exp Floor Gelu HardSigmoid HardSwish LeakyRelu Log Mish Neg Reciprocal Relu Round Selu "
    "Sigmoid Sign Sin Softplus Softsign Sqrt Tanh"
).split()
BINARY = "Add Sub Mul Div Max Min Pow PRelu".split()


def perm_of(node: ir.Node) -> tuple[int, ...]:
    """The permutation of a Transpose; the default reverses the axes."""
    source = node.inputs[0]
    rank = len(source.shape) if source is not None and source.shape is not None else 0
    return tuple(node.attributes.get_ints("perm", tuple(reversed(range(rank)))))


@RULES.rule("Transpose")
def merge(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 4."""
    source = node.inputs[0]
    perm = perm_of(node)
    if source is None or source.shape is None:
        return False
    if perm == tuple(range(len(perm))):
        return rewriter.replace(node.outputs[0], source)
    inner = producer_of(source, "Transpose")
    if inner is None:
        return False
    first = perm_of(inner)
    rewriter.at(node)
    merged = tuple(first[axis] for axis in perm)
    return rewriter.replace(
        node.outputs[0], rewriter.op("Transpose", inner.inputs[0], like=node.outputs[0], perm=merged)
    )


@RULES.rule(*UNARY)
def below_unary(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 1."""
    transpose = producer_of(node.inputs[0], "Transpose")
    if transpose is None:
        return False
    source = transpose.inputs[0]
    return _sink(node, [source, *node.inputs[1:]], source, perm_of(transpose), rewriter)


@RULES.rule(*BINARY)
def below_binary(node: ir.Node, rewriter: Rewriter) -> bool:
    """Cases 2 and 3."""
    found = constant_operand(node)
    if found is not None:
        value, array, index = found
        transpose = producer_of(value, "Transpose")
        if transpose is None or value.shape is None or array.ndim > len(value.shape):
            return False
        perm = perm_of(transpose)
        moved = rewriter.at(node).constant(_untransposed(array, perm), node.inputs[index].name or "const")  # type: ignore[union-attr]
        inputs: list[ir.Value | None] = [transpose.inputs[0], moved] if index == 1 else [moved, transpose.inputs[0]]
        return _sink(node, inputs, transpose.inputs[0], perm, rewriter)
    first, second = (producer_of(value, "Transpose") for value in node.inputs[:2])
    if first is None or second is None or perm_of(first) != perm_of(second):
        return False
    shapes = [dims(transpose.inputs[0]) for transpose in (first, second)]
    if shapes[0] is None or shapes[0] != shapes[1]:
        return False
    return _sink(node, [first.inputs[0], second.inputs[0]], first.inputs[0], perm_of(first), rewriter)


@RULES.rule("Pad")
def below_pad(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 5."""
    transpose = producer_of(node.inputs[0], "Transpose")
    amounts = constant_of(node.inputs[1]) if len(node.inputs) > 1 else None
    if transpose is None or amounts is None or (len(node.inputs) > 3 and node.inputs[3] is not None):
        return False
    perm = perm_of(transpose)
    back = [perm.index(axis) for axis in range(len(perm))]
    moved = rewriter.at(node).constant(amounts.reshape(2, -1)[:, back].reshape(-1), "pads")
    return _sink(node, [transpose.inputs[0], moved, *node.inputs[2:]], None, perm, rewriter)


def _sink(
    node: ir.Node, inputs: list[ir.Value | None], like: ir.Value | None, perm: tuple[int, ...], rewriter: Rewriter
) -> bool:
    """Replaces `node` by itself on `inputs`, then a Transpose by `perm`."""
    output = node.outputs[0]
    back = [perm.index(axis) for axis in range(len(perm))]
    shape = (
        like.shape if like is not None else [output.shape[axis] for axis in back] if output.shape is not None else None
    )
    attributes = {name: attribute.value for name, attribute in node.attributes.items()}
    rewriter.at(node)
    made = rewriter.op(
        node.op_type,
        *inputs,
        shape=shape,
        dtype=output.dtype.numpy() if output.dtype is not None else None,
        name=f"{output.name}/before_transpose",
        **attributes,
    )
    return rewriter.replace(output, rewriter.op("Transpose", made, like=output, perm=perm))


def _untransposed(array: Array, perm: tuple[int, ...]) -> Array:
    """The constant as it is before a transposition by `perm` of the tensor that it is combined with."""
    full = array.reshape((1,) * (len(perm) - array.ndim) + array.shape)
    return np.asarray(full.transpose([perm.index(axis) for axis in range(len(perm))]), order="C")
