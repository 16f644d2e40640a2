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
from narrowcast.passes.rewrite import Rewriter, RuleSet, constant_operand, dims, producer_of, sole_consumer

RULES = RuleSet()

UNARY = [
    "Abs",
    "Ceil",
    "Clip",
    "Cos",
    "Elu",
    "Erf",
    "Exp",
    "Floor",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "LeakyRelu",
    "Log",
    "Mish",
    "Neg",
    "Reciprocal",
    "Relu",
    "Round",
    "Selu",
    "Sigmoid",
    "Sign",
    "Sin",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Tanh",
]
BINARY = ["Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "PRelu"]


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


@RULES.rule("Transpose")
def below_chain(node: ir.Node, rewriter: Rewriter) -> bool:
    """Cases 1, 2 and 5 for all that follows one another, without a new node."""
    source, turned, perm = node.inputs[0], node.outputs[0], perm_of(node)
    if source is None or turned.is_graph_output():
        return False
    value, last = turned, None
    while (following := sole_consumer(value)) is not None:
        constants = _sinkable(following, value, perm)
        output = following.outputs[0]
        if constants is None or output.shape is None or len(output.shape) != len(perm):
            break
        for index, array in constants.items():
            name = following.inputs[index].name or "const"  # type: ignore[union-attr]
            rewriter.set_input(following, index, rewriter.at(following).constant(array, name))
        output.shape = ir.Shape([output.shape[axis] for axis in inverse(perm)])
        value, last = output, following
    if last is None:
        return False
    shape = [value.shape[axis] for axis in perm]  # type: ignore[index]
    first = next(iter(turned.uses()))
    first.node.replace_input_with(first.idx, source)
    node.replace_input_with(0, value)
    turned.shape = ir.Shape(shape)
    rewriter.replace(value, turned)
    rewriter.move_after(turned, last)
    rewriter.touch(source, value)
    return True


@RULES.rule(*UNARY, *BINARY, "Pad")
def below_one(node: ir.Node, rewriter: Rewriter) -> bool:
    """Cases 1, 2, 3 and 5 for a Transpose that other nodes read too, and for two of them."""
    transposes = {index: producer_of(value, "Transpose") for index, value in enumerate(node.inputs[:2])}
    found = {index: transpose for index, transpose in transposes.items() if transpose is not None}
    if not found:
        return False
    index, first = next(iter(found.items()))
    value, perm, output = node.inputs[index], perm_of(first), node.outputs[0]
    constants: dict[int, Array] | None = {}
    if len(found) == 1:
        constants = _sinkable(node, value, perm) if value is not None else None
    elif node.op_type not in BINARY or not _same_turn(*found.values()):
        return False
    if constants is None or output.shape is None or len(output.shape) != len(perm):
        return False
    for position, array in constants.items():
        name = node.inputs[position].name or "const"  # type: ignore[union-attr]
        rewriter.set_input(node, position, rewriter.at(node).constant(array, name))
    for position, transpose in found.items():
        rewriter.set_input(node, position, transpose.inputs[0])
    after, output.shape = list(output.shape), ir.Shape([output.shape[axis] for axis in inverse(perm)])
    turned = rewriter.at(node).op("Transpose", output, like=output, shape=after, perm=perm)
    rewriter.move_after(turned, node)
    return rewriter.replace(output, turned)


def _sinkable(node: ir.Node, value: ir.Value, perm: tuple[int, ...]) -> dict[int, Array] | None:
    """The constants, by input, that `node` needs to read `value` before its transposition; None if it cannot."""
    if node.domain or value.shape is None:
        return None
    if node.op_type in UNARY:
        return {}
    if node.op_type == "Pad":
        amounts = constant_of(node.inputs[1])
        if amounts is None or (len(node.inputs) > 3 and node.inputs[3] is not None):
            return None
        return {1: amounts.reshape(2, -1)[:, inverse(perm)].reshape(-1)}
    found = constant_operand(node) if node.op_type in BINARY and len(node.inputs) == 2 else None
    if found is None or found[1].ndim > len(perm):
        return None
    return {found[2]: _untransposed(found[1], perm)} if found[1].size > 1 else {}


def _same_turn(first: ir.Node, second: ir.Node) -> bool:
    shape = dims(first.inputs[0])
    return perm_of(first) == perm_of(second) and shape is not None and shape == dims(second.inputs[0])


def inverse(perm: tuple[int, ...]) -> tuple[int, ...]:
    """The permutation that undoes another."""
    return tuple(perm.index(axis) for axis in range(len(perm)))


def _untransposed(array: Array, perm: tuple[int, ...]) -> Array:
    """The constant as it is before a transposition by `perm` of the tensor that it is combined with."""
    full = array.reshape((1,) * (len(perm) - array.ndim) + array.shape)
    return np.asarray(full.transpose(inverse(perm)), order="C")
