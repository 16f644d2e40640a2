"""Transposes sink below what does not care about the order of axes, and cancel.

1. op(Transpose(x)) for a unary op -> Transpose(op(x)).
2. op(Transpose(x), constant) for a binary op -> Transpose(op(x, transposed constant)).
3. op(Transpose(x), Transpose(y)) by the same permutation -> Transpose(op(x, y)).
4. Transpose(Transpose(x)) -> one, or none.
5. Pad(Transpose(x)) by constants -> Transpose(Pad(x)).
6. A Transpose that several nodes read is copied to each, so that 1 to 3 apply, if none of them keeps it.
7. Reshape(Transpose(Reshape(x))) that keeps or splits axes, and one that moves only axes of size 1 -> Reshape first.

So batch normalisation written out in NHWC between two transposes comes to stand behind its convolution.
"""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import constant_of, input_of
from narrowcast.model import Array, ir
from narrowcast.passes.formula import Formula
from narrowcast.passes.rewrite import (
    Rewriter,
    RuleSet,
    constant_operand,
    dims,
    need,
    producer_of,
    require,
    sole_consumer,
)

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
    rank = len(need(need(node.inputs[0]).shape))
    return tuple(node.attributes.get_ints("perm", tuple(reversed(range(rank)))))


@RULES.rule("Transpose")
def merge(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 4."""
    source, output, perm = need(node.inputs[0]), node.outputs[0], perm_of(node)
    if perm == tuple(range(len(perm))):
        return rewriter.replace(output, source)
    inner = need(producer_of(source, "Transpose"))
    first = perm_of(inner)
    merged = tuple(first[axis] for axis in perm)
    return rewriter.replace(output, rewriter.at(node).op("Transpose", inner.inputs[0], like=output, perm=merged))


@RULES.rule(*UNARY, *BINARY, "Pad")
def below(node: ir.Node, rewriter: Rewriter) -> bool:
    """Cases 1, 2, 3, 5 and 6."""
    transposes = {index: producer_of(value, "Transpose") for index, value in enumerate(node.inputs[:2])}
    found = {index: transpose for index, transpose in transposes.items() if transpose is not None}
    first, output = need(next(iter(found.values()), None)), node.outputs[0]
    perm, shape = perm_of(first), need(output.shape)
    if len(found) == 1:
        constants = need(_sinkable(node, first.outputs[0], perm))
    else:
        require(node.op_type in BINARY and _same_turn(*found.values()))
        constants = {}
    require(any(_moves_below_all(transpose.outputs[0]) for transpose in found.values()) and len(shape) == len(perm))
    for position, array in constants.items():
        name = need(node.inputs[position]).name or "const"
        rewriter.set_input(node, position, rewriter.at(node).constant(array, name))
    for position, transpose in found.items():
        rewriter.set_input(node, position, transpose.inputs[0])
    after, output.shape = list(shape), ir.Shape([shape[axis] for axis in inverse(perm)])
    turned = rewriter.at(node).op("Transpose", output, like=output, shape=after, perm=perm)
    rewriter.move_after(turned, node)
    return rewriter.replace(output, turned)


@RULES.rule("Reshape")
def reshape_first(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 7."""
    turned, shape = need(node.inputs[0]), need(dims(node.outputs[0]))
    turn = need(producer_of(turned, "Transpose"))
    source, before = need(turn.inputs[0]), need(dims(turn.inputs[0]))
    require(0 not in before)
    perm = need(_turn_of(before, perm_of(turn), shape))
    f, plain = Formula(node, rewriter), [axis for axis in perm if shape[perm.index(axis)] > 1]
    if plain == sorted(plain):
        return rewriter.replace(node.outputs[0], f.reshape(source, shape))
    require(producer_of(source, "Reshape") is not None and sole_consumer(turned) is node)
    made = f.reshape(source, [shape[perm.index(axis)] for axis in range(len(shape))])
    return rewriter.replace(node.outputs[0], rewriter.op("Transpose", made, like=node.outputs[0], perm=perm))


def _turn_of(before: tuple[int, ...], perm: tuple[int, ...], after: tuple[int, ...]) -> tuple[int, ...] | None:
    """The permutation p such that Reshape(Transpose(x, perm), after) = Transpose(Reshape(x, s), p) for some shape s.

    Axes of size 1 keep their places before and behind the others. None where one is between them, or where an axis of
    `after` joins what is apart in x, or cuts across its axes.
    """
    rest = [(axis, before[axis]) for axis in reversed(perm) if before[axis] > 1]
    large = [index for index, size in enumerate(after) if size > 1]
    if large and large[-1] - large[0] >= len(large):
        return None
    starts: list[tuple[int, int]] = []
    for index in large:
        size, (axis, left) = after[index], rest[-1]
        starts.append((axis, before[axis] // left))
        while size > 1:
            held, left = rest.pop()
            taken = min(size, left)
            if size % taken or left % taken or (held != axis and held != _next(axis, before)):
                return None
            if left > taken:
                rest.append((held, left // taken))
            axis, size = held, size // taken
    places = sorted(range(len(large)), key=starts.__getitem__)
    turned = {large[position]: large[place] for place, position in enumerate(places)}
    return tuple(turned.get(index, index) for index in range(len(after)))


def _next(axis: int, shape: tuple[int, ...]) -> int | None:
    """The axis of more than one position that follows another."""
    return next((index for index in range(axis + 1, len(shape)) if shape[index] > 1), None)


def _moves_below_all(turned: ir.Value) -> bool:
    """Whether nothing keeps a transposed value."""
    return not turned.is_graph_output() and all(_moves(use.node) for use in turned.uses())


def _moves(reader: ir.Node) -> bool:
    """Whether a node that reads a Transpose can read what is before it."""
    if reader.op_type == "Transpose" and not reader.domain:
        return True
    turns = [producer_of(value, "Transpose") for value in reader.inputs[:2]]
    if reader.op_type in BINARY and len(turns) == 2 and turns[0] is not None and turns[1] is not None:
        return _same_turn(turns[0], turns[1])
    turn, value = next((turn, value) for turn, value in zip(turns, reader.inputs, strict=False) if turn is not None)
    return value is not None and _sinkable(reader, value, perm_of(turn)) is not None


def _sinkable(node: ir.Node, value: ir.Value, perm: tuple[int, ...]) -> dict[int, Array] | None:
    """The constants, by input, that `node` needs to read `value` before its transposition; None if it cannot."""
    if node.domain or value.shape is None:
        return None
    if node.op_type in UNARY:
        return {}
    if node.op_type == "Pad":
        amounts = constant_of(node.inputs[1])
        if amounts is None or input_of(node, 3) is not None:
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
