"""Normalisations, as means and products.

1. LayerNormalization over the axes from `axis` on: (x - mean) / sqrt(var + epsilon) * scale + bias (Ba et al.,
   https://arxiv.org/abs/1607.06450), with its mean and inverse deviation where they are read; RMSNormalization x /
   sqrt(mean(x^2) + epsilon) * scale.
2. InstanceNormalization over each channel's map (https://arxiv.org/abs/1607.08022).
3. GroupNormalization over groups of channels, by way of [N, groups, channels / group, ...] (https://arxiv.org/abs/1803.08494).
4. LpNormalization by the L1 norm.
5. MeanVarianceNormalization: (x - mean) / (deviation + 1e-9).

The deviation is squared by a product with itself: exact, and quantisable.
"""

from __future__ import annotations

from collections.abc import Sequence

from narrowcast.model import ir
from narrowcast.passes.formula import Formula
from narrowcast.passes.rewrite import Rewriter, RuleSet, dims, is_read, need, require, static_shape

RULES = RuleSet()

SMALLEST_NORM, SMALLEST_DEVIATION = 1e-12, 1e-9


def normalised(
    f: Formula, x: ir.Value, axes: Sequence[int], *, centred: bool = True
) -> tuple[ir.Value, ir.Value | None, ir.Value]:
    """X minus its mean, over the root of its mean square; the mean; the root."""
    x, mean, power = _power(f, x, axes, centred=centred)
    root = f("Sqrt", f("Add", power, f.node.attributes.get_float("epsilon", 1e-5)))
    return f("Div", x, root), mean, root


def _power(
    f: Formula, x: ir.Value, axes: Sequence[int], *, centred: bool = True
) -> tuple[ir.Value, ir.Value | None, ir.Value]:
    """X minus its mean, the mean, and the mean square of the first."""
    mean = None
    if centred:
        mean = f.reduce("ReduceMean", x, axes)
        x = f("Sub", x, mean)
    return x, mean, f.reduce("ReduceMean", f("Mul", x, x), axes)


def _per_channel(f: Formula, x: ir.Value, rank: int) -> ir.Value:
    """Multiplied by the node's second input and shifted by its third, one for each channel."""
    for op_type, value in (("Mul", f.node.inputs[1]), ("Add", f.node.inputs[2])):
        if value is not None:
            x = f(op_type, x, f.reshape(value, [1, (dims(value) or (-1,))[0], *(1,) * (rank - 2)]))
    return x


@RULES.rule("LayerNormalization", "RMSNormalization")
def layer(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 1."""
    source = need(node.inputs[0])
    rank = len(need(source.shape))
    axes = range(node.attributes.get_int("axis", -1) % rank, rank)
    f = Formula(node, rewriter)
    made, mean, root = normalised(f, source, axes, centred=node.op_type == "LayerNormalization")
    for op_type, value in zip(("Mul", "Add"), node.inputs[1:], strict=False):
        made = f(op_type, made, value) if value is not None else made
    if len(node.outputs) > 1 and is_read(node.outputs[1]):
        rewriter.replace(node.outputs[1], need(mean))
    if len(node.outputs) > 2 and is_read(node.outputs[2]):
        rewriter.replace(node.outputs[2], f("Div", 1.0, root))
    return f.becomes(made)


@RULES.rule("InstanceNormalization")
def instance(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 2."""
    source = need(node.inputs[0])
    rank = len(need(source.shape))
    f = Formula(node, rewriter)
    return f.becomes(_per_channel(f, normalised(f, source, range(2, rank))[0], rank))


@RULES.rule("GroupNormalization")
def group(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 3."""
    source, shape = need(node.inputs[0]), static_shape(node.inputs[0])
    groups = node.attributes.get_int("num_groups", 1)
    f = Formula(node, rewriter)
    opened = f.reshape(source, [shape[0], groups, shape[1] // groups, *shape[2:]])
    made = f.reshape(normalised(f, opened, range(2, len(shape) + 1))[0], shape)
    return f.becomes(_per_channel(f, made, len(shape)))


@RULES.rule("LpNormalization")
def l1(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 4."""
    source = need(node.inputs[0])
    require(node.attributes.get_int("p", 2) == 1)
    axis = node.attributes.get_int("axis", -1) % len(need(source.shape))
    f = Formula(node, rewriter)
    norm = f.reduce("ReduceSum", f("Abs", source), [axis])
    return f.becomes(f("Div", source, f("Max", norm, SMALLEST_NORM)))


@RULES.rule("MeanVarianceNormalization")
def mean_variance(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 5."""
    source = need(node.inputs[0])
    rank = len(need(source.shape))
    axes = [axis % rank for axis in node.attributes.get_ints("axes", (0, 2, 3))]
    f = Formula(node, rewriter)
    centred, _, power = _power(f, source, axes)
    return f.becomes(f("Div", centred, f("Add", f("Sqrt", power), SMALLEST_DEVIATION)))
