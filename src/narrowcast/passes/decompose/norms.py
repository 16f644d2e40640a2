"""Normalisations, as means and products.

LayerNormalization over the axes from `axis` on: (x - mean) / sqrt(var + epsilon) * scale + bias (Ba et al.,
https://arxiv.org/abs/1607.06450); InstanceNormalization over each channel's map; GroupNormalization over groups of channels;
RMSNormalization x / sqrt(mean(x^2) + epsilon) * scale; LpNormalization by the L1 norm.
The deviation is squared by a product with itself: exact, and quantisable.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from narrowcast.dialect.build import constant_of
from narrowcast.model import ir
from narrowcast.passes.rewrite import Rewriter, RuleSet, dims

RULES = RuleSet()


def normalised(
    x: ir.Value, axes: Sequence[int], epsilon: float, rewriter: Rewriter, *, centred: bool = True
) -> ir.Value:
    """(x - mean) / sqrt(mean of squares + epsilon) over `axes`."""
    shape = dims(x)
    assert shape is not None
    small = [1 if axis in axes else dim for axis, dim in enumerate(shape)]
    over = rewriter.constant(np.array(axes, np.int64), "axes")

    def op(op_type: str, *inputs: ir.Value, out: Sequence[int], **attributes: object) -> ir.Value:
        return rewriter.op(op_type, *inputs, shape=out, dtype=np.float32, **attributes)

    if centred:
        x = op("Sub", x, op("ReduceMean", x, over, out=small, keepdims=1), out=shape)
    power = op("ReduceMean", op("Mul", x, x, out=shape), over, out=small, keepdims=1)
    root = op("Sqrt", op("Add", power, rewriter.constant(np.float32(epsilon), "epsilon"), out=small), out=small)
    return op("Div", x, root, out=shape)


def scaled(
    x: ir.Value, scale: ir.Value | None, bias: ir.Value | None, shape: Sequence[int], rewriter: Rewriter
) -> ir.Value:
    """x * scale + bias, both reshaped to broadcast along `shape`."""
    for op_type, value in (("Mul", scale), ("Add", bias)):
        if value is not None:
            x = rewriter.op(op_type, x, _reshaped(value, shape, rewriter), shape=x.shape, dtype=np.float32)
    return x


def _reshaped(value: ir.Value, shape: Sequence[int], rewriter: Rewriter) -> ir.Value:
    array = constant_of(value)
    if array is not None:
        return rewriter.constant(array.reshape(shape), value.name or "const")
    target = rewriter.constant(np.array(shape, np.int64), "shape")
    return rewriter.op("Reshape", value, target, shape=shape, dtype=np.float32)


@RULES.rule("LayerNormalization", "RMSNormalization")
def layer(node: ir.Node, rewriter: Rewriter) -> bool:
    """Over the last axes."""
    source = node.inputs[0]
    shape = dims(source)
    if source is None or shape is None or any(out.uses() or out.is_graph_output() for out in node.outputs[1:]):
        return False
    axis = node.attributes.get_int("axis", -1) % len(shape)
    rewriter.at(node)
    made = normalised(
        source,
        range(axis, len(shape)),
        node.attributes.get_float("epsilon", 1e-5),
        rewriter,
        centred=node.op_type == "LayerNormalization",
    )
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    scale = node.inputs[1]
    kept = [value for value in (scale, bias) if value is not None]
    if all(dims(value) == shape[axis:] for value in kept):
        return rewriter.replace(node.outputs[0], scaled(made, scale, bias, shape[axis:], rewriter))
    for op_type, value in (("Mul", scale), ("Add", bias)):
        if value is not None:
            made = rewriter.op(op_type, made, value, shape=shape, dtype=np.float32)
    return rewriter.replace(node.outputs[0], made)


@RULES.rule("InstanceNormalization")
def instance(node: ir.Node, rewriter: Rewriter) -> bool:
    """Over each channel's map."""
    source = node.inputs[0]
    shape = dims(source)
    if source is None or shape is None:
        return False
    rewriter.at(node)
    epsilon = node.attributes.get_float("epsilon", 1e-5)
    made = normalised(source, range(2, len(shape)), epsilon, rewriter)
    channel = (1, shape[1], *(1,) * (len(shape) - 2))
    return rewriter.replace(node.outputs[0], scaled(made, node.inputs[1], node.inputs[2], channel, rewriter))


@RULES.rule("GroupNormalization")
def group(node: ir.Node, rewriter: Rewriter) -> bool:
    """Over each group of channels, by way of [N, groups, channels / group, ...]."""
    source = node.inputs[0]
    shape = dims(source)
    groups = node.attributes.get_int("num_groups", 1)
    if source is None or shape is None:
        return False
    rewriter.at(node)
    opened = (shape[0], groups, shape[1] // groups, *shape[2:])
    split = rewriter.op(
        "Reshape", source, rewriter.constant(np.array(opened, np.int64)), shape=opened, dtype=np.float32
    )
    made = normalised(split, range(2, len(opened)), node.attributes.get_float("epsilon", 1e-5), rewriter)
    joined = rewriter.op("Reshape", made, rewriter.constant(np.array(shape, np.int64)), shape=shape, dtype=np.float32)
    channel = (1, shape[1], *(1,) * (len(shape) - 2))
    return rewriter.replace(node.outputs[0], scaled(joined, node.inputs[1], node.inputs[2], channel, rewriter))


@RULES.rule("LpNormalization")
def l1(node: ir.Node, rewriter: Rewriter) -> bool:
    """x / sum |x|; LiteRT has a kernel for p = 2."""
    source = node.inputs[0]
    shape = dims(source)
    if source is None or shape is None or node.attributes.get_int("p", 2) != 1:
        return False
    axis = node.attributes.get_int("axis", -1) % len(shape)
    rewriter.at(node)
    small = [1 if index == axis else dim for index, dim in enumerate(shape)]
    over = rewriter.constant(np.array([axis], np.int64), "axes")
    magnitudes = rewriter.op("Abs", source, shape=shape, dtype=np.float32)
    norm = rewriter.op("ReduceSum", magnitudes, over, shape=small, dtype=np.float32, keepdims=1)
    floor = rewriter.op("Max", norm, rewriter.constant(np.float32(1e-12)), shape=small, dtype=np.float32)
    return rewriter.replace(node.outputs[0], rewriter.op("Div", source, floor, like=node.outputs[0]))
