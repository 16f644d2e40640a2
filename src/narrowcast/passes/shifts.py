"""Integer groups whose scales are powers of two, spelled in operators on integers: products, sums, shifts and clips.

A product of 8-bit integers is summed in 32 bits, where its scale is 2^e; to store it by 2^f it is rounded to the
nearest multiple of 2^n, n = f - e, halves upwards, and clipped: (x + 2^(n-1)) >> n, as TVM's `relay.quantize` did.
ONNX shifts unsigned integers alone, so x >> n is (x - x mod 2^n) / 2^n, with the remainder of ONNX's Mod, which has the
divisor's sign. QuantizeLinear, which rounds halves to even, is left where floats become integers.

Operands of a sum are brought to the smaller scale by a shift to the left. A mean of N elements is its sum, divided by
N 2^n and rounded likewise. What only moves or picks elements does so with integers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from narrowcast.dialect.build import Builder, attributes_of, constant_of
from narrowcast.model import Array, Model, ir
from narrowcast.passes import tidy
from narrowcast.passes.rewrite import Skip, need, reduced_axes, require, static_shape
from narrowcast.targets.decide import bias_of, decide
from narrowcast.targets.groups import Group, groups_of
from narrowcast.targets.rules import Sharing, Target
from narrowcast.targets.spelling import dequantizer, is_weight, scales_of

__all__ = ["spell_in_shifts"]

ROOM = 30
"""Bits of what is shifted: with a sign, and what is added to round, it stays in 32."""
SATURATED = 256
"""An integer beyond it is clipped, however far it is shifted to the left."""


@dataclass(frozen=True, slots=True)
class Sum:
    """Integers of 32 bits.

    Attributes:
        value: int32.
        exponent: of the scale, 2^exponent, for all or along an axis, in a shape that broadcasts.
        divisor: by which they are still to be divided.
    """

    value: ir.Value
    exponent: Array
    divisor: int = 1


def spell_in_shifts(model: Model, target: Target) -> None:
    """Spells the integer groups of a quantised graph in integers, in place.

    Those whose operator is not known here, or whose shifts leave 32 bits, stay between QuantizeLinear and
    DequantizeLinear, computed in floats.

    Args:
        model: quantised by scales that are powers of two, with zero points of 0.
        target: that its groups are those of.
    """
    decided = [(found, decide(found, target)) for found in groups_of(model.graph, target)]
    for found, verdict in decided:
        moves = verdict.rule is not None and verdict.rule.sharing is Sharing.SAME
        spell = _OPERATORS.get(found.anchor.op_type, _moved if moves else None)
        if verdict.integer and verdict.rule is not None and spell is not None and _by_powers(found):
            with suppress(Skip):
                spell(_Site(Builder(model.graph, anchor=found.anchor), found, bias_of(found, verdict.rule)))
    tidy.sort(model)
    tidy.remove_unused(model)


def _by_powers(found: Group) -> bool:
    """Whether all that a group reads and writes has scales that are powers of two, and zero points of 0."""
    read = [dequantizer(value) for node in found.nodes for value in node.inputs]
    written = [use.node for output in found.outputs for use in output.uses()]
    pairs = [scales_of(node) for node in (*read, *written) if node is not None]
    return all(pair is not None and not pair[1].any() and bool((np.frexp(pair[0])[0] == 0.5).all()) for pair in pairs)


def _exponents(node: ir.Node, shape: Sequence[int] = ()) -> Array:
    """The exponents of a node's scales; several in this shape."""
    found = scales_of(node)
    assert found is not None
    exponents: Array = np.frexp(found[0])[1].astype(np.int64) - 1
    return exponents.reshape(shape) if exponents.size > 1 else exponents.reshape(())


@dataclass(frozen=True, slots=True)
class _Site:
    """A group that is spelled.

    Attributes:
        build: puts nodes before it.
        group: whose it is.
        bias: the node that reads its bias, and at which input.
    """

    build: Builder
    group: Group
    bias: tuple[ir.Node, int] | None

    @property
    def anchor(self) -> ir.Node:
        return self.group.anchor

    def stored(self, index: int) -> tuple[ir.Value, ir.Node]:
        """The integers behind an input of the anchor, and the node that dequantises them."""
        node = dequantizer(self.anchor.inputs[index])
        assert node is not None
        integers = node.inputs[0]
        assert integers is not None
        return integers, node

    def op(self, op_type: str, *inputs: ir.Value | Array | int, like: ir.Value, dtype: str = "int32") -> ir.Value:
        """A node on integers; arrays and numbers become int32 constants."""
        given = [
            item if isinstance(item, ir.Value) else self.build.constant(np.asarray(item, np.int32)) for item in inputs
        ]
        name = f"{self.group.output.name}/{op_type.lower()}"
        made: ir.Value = self.build(op_type, *given, name=name, shape=like.shape, dtype=dtype)
        return made

    def wide(self, index: int) -> Sum:
        """An input of the anchor in 32 bits."""
        integers, node = self.stored(index)
        return Sum(self.cast(integers, "int32"), _exponents(node))

    def cast(self, value: ir.Value, dtype: str) -> ir.Value:
        to = int(ir.DataType.from_numpy(np.dtype(dtype)))
        name = f"{value.name}/{dtype}"
        made: ir.Value = self.build("Cast", value, name=name, shape=value.shape, dtype=dtype, to=to)
        return made

    def biased(self, value: ir.Value, shape: Sequence[int]) -> ir.Value:
        """With the group's bias, of the accumulator's own scale, in a shape that broadcasts."""
        if self.bias is None:
            return value
        stored = dequantizer(self.bias[0].inputs[self.bias[1]])
        integers = constant_of(stored.inputs[0]) if stored is not None else None
        assert integers is not None
        return self.op("Add", value, integers.reshape(shape), like=value)

    def bounds(self, exponent: int) -> tuple[int, int]:
        """Of the stored output, with the group's fused activation."""
        low, high = (-128, 127) if not self.group.activation else (0, 127)
        if self.group.activation == "Clip(0,6)":
            high = min(high, int(np.floor(np.ldexp(6.0, -exponent) + 0.5)))
        return low, high

    def hand_on(self, found: Sum) -> None:
        """Stores a sum as each QuantizeLinear behind the group does."""
        for use in tuple(self.group.output.uses()):
            exponent = int(_exponents(use.node))
            made = self.rounded(found, exponent, self.bounds(exponent))
            use.node.outputs[0].replace_all_uses_with(made)

    def rounded(self, found: Sum, exponent: int, bounds: tuple[int, int]) -> ir.Value:
        """The nearest multiples of 2^exponent, halves upwards, within bounds, as int8."""
        value, right = found.value, exponent - found.exponent
        largest = SATURATED * found.divisor
        require(right.max() <= ROOM and largest * 2.0 ** max(-right.min(), 0) <= 2.0**ROOM)
        if (right < 0).any():
            most = np.where(right < 0, largest, np.iinfo(np.int32).max)
            value = self.op("Max", self.op("Min", value, most, like=value), -most, like=value)
            value = self.op("Mul", value, 2 ** np.maximum(-right, 0), like=value)
        divisor = found.divisor * 2 ** np.maximum(right, 0)
        if (divisor > 1).any():
            value = self.op("Add", value, divisor // 2, like=value)
            whole = self.op("Sub", value, self.op("Mod", value, divisor, like=value), like=value)
            value = self.op("Div", whole, divisor, like=value)
        return self.cast(self.op("Clip", value, *bounds, like=value), "int8")


def _conv(site: _Site) -> None:
    (source, before), (weights, behind) = site.stored(0), site.stored(1)
    output = site.anchor.outputs[0]
    shape = [1, -1] + [1] * (len(output.shape or ()) - 2)
    kept = attributes_of(site.anchor)
    name = f"{output.name}/summed"
    value = site.build("ConvInteger", source, weights, name=name, shape=output.shape, dtype="int32", **kept)
    site.hand_on(Sum(site.biased(value, shape), _exponents(before) + _exponents(behind, shape)))


def _product(site: _Site) -> None:
    (source, before), (weights, behind) = site.stored(0), site.stored(1)
    output = site.anchor.outputs[0]
    stored = constant_of(weights)
    if site.anchor.op_type == "Gemm":
        assert stored is not None
        weights = site.build.constant(np.ascontiguousarray(stored.T), f"{weights.name}/transposed")
    name = f"{output.name}/summed"
    value = site.build("MatMulInteger", source, weights, name=name, shape=output.shape, dtype="int32")
    site.hand_on(Sum(site.biased(value, [-1]), _exponents(before) + _exponents(behind, [-1])))


def _sum(site: _Site) -> None:
    operands, output = [site.wide(0), site.wide(1)], site.anchor.outputs[0]
    least, most = (end(int(operand.exponent) for operand in operands) for end in (min, max))
    require(SATURATED * 2.0 ** (most - least) <= 2.0**ROOM)
    moved = [
        operand.value
        if operand.exponent == least
        else site.op("Mul", operand.value, 2 ** (operand.exponent - least), like=operand.value)
        for operand in operands
    ]
    site.hand_on(Sum(site.op(site.anchor.op_type, *moved, like=output), np.array(least)))


def _multiplied(site: _Site) -> None:
    first, second = site.wide(0), site.wide(1)
    value = site.op("Mul", first.value, second.value, like=site.anchor.outputs[0])
    site.hand_on(Sum(value, first.exponent + second.exponent))


def _mean(site: _Site) -> None:
    found, output = site.wide(0), site.anchor.outputs[0]
    axes, shape = need(reduced_axes(site.anchor)), static_shape(site.stored(0)[0])
    given = site.build.constant(np.array(axes, np.int64), "axes")
    kept = attributes_of(site.anchor)
    name = f"{output.name}/summed"
    value = site.build("ReduceSum", found.value, given, name=name, shape=output.shape, dtype="int32", **kept)
    site.hand_on(Sum(value, found.exponent, int(np.prod([shape[axis] for axis in axes]))))


def _bounded(site: _Site) -> None:
    """A Relu or a clip by itself: bounds in the steps of the output."""
    found = site.wide(0)
    bounds = [constant_of(value) for value in (*site.anchor.inputs[1:3], None, None)[:2]]
    for use in tuple(site.group.output.uses()):
        exponent = int(_exponents(use.node))
        low, high = (
            limit if bound is None else int(np.clip(np.floor(np.ldexp(float(bound), -exponent) + 0.5), -128, 127))
            for bound, limit in zip(bounds, (-128, 127), strict=True)
        )
        low = 0 if site.anchor.op_type == "Relu" else low
        use.node.outputs[0].replace_all_uses_with(site.rounded(found, exponent, (low, high)))


def _joined(site: _Site) -> None:
    """A Concat of integers that are each brought to the scale of the output."""
    for use in tuple(site.group.output.uses()):
        exponent = int(_exponents(use.node))
        parts = []
        for index in range(len(site.anchor.inputs)):
            integers, node = site.stored(index)
            same = int(_exponents(node)) == exponent
            parts.append(integers if same else site.rounded(site.wide(index), exponent, (-128, 127)))
        name, shape = f"{site.group.output.name}/joined", site.group.output.shape
        made = site.build("Concat", *parts, name=name, shape=shape, dtype="int8", **attributes_of(site.anchor))
        use.node.outputs[0].replace_all_uses_with(made)


def _moved(site: _Site) -> None:
    """What only moves or picks elements: the same operator on integers."""
    anchor, (integers, node) = site.anchor, site.stored(0)
    require(anchor.op_type != "Resize" or anchor.attributes.get_string("mode", "nearest") == "nearest")
    require(all(dequantizer(value) is None or is_weight(value) for value in anchor.inputs[1:]))
    names = [f"{output.name}/moved" for output in anchor.outputs]
    count, kept = len(anchor.outputs), attributes_of(anchor)
    made = site.build(anchor.op_type, integers, *anchor.inputs[1:], outputs=count, name=names[0], **kept)
    for output, moved in zip(anchor.outputs, made if count > 1 else (made,), strict=True):
        moved.shape, moved.dtype = output.shape, ir.DataType.INT8
        for use in tuple(output.uses()):
            found = Sum(site.cast(moved, "int32"), _exponents(node))
            exponent = int(_exponents(use.node))
            same = exponent == int(found.exponent)
            use.node.outputs[0].replace_all_uses_with(moved if same else site.rounded(found, exponent, (-128, 127)))


_OPERATORS: dict[str, Callable[[_Site], None]] = {
    "Conv": _conv,
    "Gemm": _product,
    "MatMul": _product,
    "Add": _sum,
    "Mul": _multiplied,
    "ReduceMean": _mean,
    "Relu": _bounded,
    "Clip": _bounded,
    "Concat": _joined,
}
