"""Per-channel arithmetic next to a linear operator disappears into its weights.

For y = W x + b and constants a, c per output channel:

1. (W x + b) * a = (a W) x + a b, and likewise for a division;
2. (W x + b) + c = W x + (b + c), and likewise for a subtraction;
3. W (x * a) = (W a) x per input channel; zero padding stays zero under it.

Batch normalisation is case 1 and 2 at once (Ioffe and Szegedy, https://arxiv.org/abs/1502.03167): a = gamma / sqrt(var + epsilon),
c = beta - a mean. Without a linear operator before it, it becomes one Mul and one Add.
W (x + c) is not folded: with zero padding the border would change.
"""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import constant_of
from narrowcast.model import Array, ir
from narrowcast.passes.rewrite import Rewriter, RuleSet, constant_operand, dims, producer_of, sole_consumer

RULES = RuleSet()

LINEAR = ("Conv", "ConvTranspose", "Gemm")


@RULES.rule("BatchNormalization")
def batch_normalization(node: ir.Node, rewriter: Rewriter) -> bool | str:
    """Folds into the linear operator before it, or becomes Mul and Add."""
    source, parameters = node.inputs[0], [constant_of(value) for value in node.inputs[1:5]]
    if source is None or source.shape is None or any(array is None for array in parameters):
        return "the statistics are not constant"
    if node.attributes.get_int("training_mode", 0):
        return "it is in training mode"
    gamma, beta, mean, variance = (np.asarray(array, np.float64) for array in parameters)
    scale = gamma / np.sqrt(variance + node.attributes.get_float("epsilon", 1e-5))
    offset = beta - scale * mean
    linear = _linear_before(source)
    if linear is not None:
        _fold(linear, scale, offset, rewriter)
        return rewriter.replace(node.outputs[0], source)
    shape = (-1, *(1,) * (len(source.shape) - 2))
    rewriter.at(node)
    factor = rewriter.constant(scale.astype(np.float32).reshape(shape), "scale")
    term = rewriter.constant(offset.astype(np.float32).reshape(shape), "offset")
    product = rewriter.op("Mul", source, factor, shape=source.shape, dtype=np.float32)
    return rewriter.replace(node.outputs[0], rewriter.op("Add", product, term, like=node.outputs[0]))


@RULES.rule("Mul", "Div", "Add", "Sub")
def arithmetic_after(node: ir.Node, rewriter: Rewriter) -> bool | str:
    """Cases 1 and 2."""
    found = constant_operand(node)
    if found is None:
        return False
    value, array, index = found
    linear = _linear_before(value)
    if linear is None or array.dtype.kind != "f" or (node.op_type == "Div" and index == 0):
        return False
    channels = _per_channel(array, value, channel_axis=1)
    if channels is None:
        return "the constant is not per channel"
    one, zero = np.ones_like(channels), np.zeros_like(channels)
    scale, offset = {
        "Mul": (channels, zero),
        "Div": (one / channels if (channels != 0).all() else None, zero),
        "Add": (one, channels),
        "Sub": (one, -channels) if index == 1 else (-one, channels),
    }[node.op_type]
    if scale is None:
        return "division by zero"
    _fold(linear, scale, offset, rewriter)
    return rewriter.replace(node.outputs[0], value)


@RULES.rule("Conv")
def scale_before(node: ir.Node, rewriter: Rewriter) -> bool | str:
    """Case 3."""
    source, weights = node.inputs[0], constant_of(node.inputs[1])
    multiply = producer_of(source, "Mul", "Div")
    if multiply is None or source is None or weights is None or sole_consumer(source) is not node:
        return False
    found = constant_operand(multiply)
    if found is None or (multiply.op_type == "Div" and found[2] == 0):
        return False
    value, array, _ = found
    channels = _per_channel(array, value, channel_axis=1)
    if channels is None or (multiply.op_type == "Div" and not (channels != 0).all()):
        return False
    scale = channels if multiply.op_type == "Mul" else 1.0 / channels
    groups = node.attributes.get_int("group", 1)
    per_filter = np.repeat(scale.reshape(groups, -1), weights.shape[0] // groups, axis=0)
    shape = (*per_filter.shape, *(1,) * (weights.ndim - 2))
    scaled = (weights * per_filter.reshape(shape)).astype(weights.dtype)
    rewriter.set_input(node, 1, rewriter.constant(scaled, node.inputs[1].name or "weights"))  # type: ignore[union-attr]
    rewriter.set_input(node, 0, value)
    return True


def _linear_before(value: ir.Value) -> ir.Node | None:
    node = producer_of(value, *LINEAR)
    if node is None or sole_consumer(value) is None or constant_of(node.inputs[1]) is None:
        return None
    if len(node.inputs) > 2 and node.inputs[2] is not None and constant_of(node.inputs[2]) is None:
        return None
    if node.op_type == "Gemm" and (node.attributes.get_float("alpha", 1.0), node.attributes.get_float("beta", 1.0)) != (
        1,
        1,
    ):
        return None
    return node


def _per_channel(array: Array, value: ir.Value, channel_axis: int) -> Array | None:
    """The constant as one float64 per channel of `value`, or None if it varies along another axis."""
    shape = dims(value) or _dims_but_batch(value)
    if shape is None or array.ndim > len(shape):
        return None
    full = (1,) * (len(shape) - array.ndim) + array.shape
    if any(size != 1 for axis, size in enumerate(full) if axis != channel_axis):
        return None
    return np.broadcast_to(array.astype(np.float64).reshape(-1), (shape[channel_axis],)).copy()


def _dims_but_batch(value: ir.Value) -> tuple[int, ...] | None:
    if value.shape is None or not all(isinstance(dim, int) for dim in value.shape.dims[1:]):
        return None
    return (0, *(int(dim) for dim in value.shape.dims[1:]))  # type: ignore[arg-type]


def _fold(node: ir.Node, scale: Array, offset: Array, rewriter: Rewriter) -> None:
    """Makes `node` compute scale * node + offset per output channel."""
    weights = constant_of(node.inputs[1])
    assert weights is not None
    old_bias = constant_of(node.inputs[2]) if len(node.inputs) > 2 else None
    bias = (
        np.zeros(len(scale))
        if old_bias is None
        else np.broadcast_to(old_bias.astype(np.float64).reshape(-1), scale.shape)
    )
    if (scale != 1).any():
        name = node.inputs[1].name or "weights"  # type: ignore[union-attr]
        rewriter.set_input(node, 1, rewriter.constant(_scaled(node, weights, scale), name))
    name = f"{node.outputs[0].name}/bias"
    rewriter.set_input(node, 2, rewriter.constant((scale * bias + offset).astype(weights.dtype), name))


def _scaled(node: ir.Node, weights: Array, scale: Array) -> Array:
    if node.op_type == "Conv":
        factor = scale.reshape(-1, *(1,) * (weights.ndim - 1))
    elif node.op_type == "ConvTranspose":  # weights [in, out / group, ...]
        groups = node.attributes.get_int("group", 1)
        inputs = weights.shape[0] // groups
        factor = np.repeat(scale.reshape(groups, -1), inputs, axis=0).reshape(
            *weights.shape[:2], *(1,) * (weights.ndim - 2)
        )
    else:
        factor = scale.reshape(-1, 1) if node.attributes.get_int("transB", 0) else scale.reshape(1, -1)
    return (weights * factor).astype(weights.dtype)
