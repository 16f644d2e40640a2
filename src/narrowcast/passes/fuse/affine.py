"""Per-channel arithmetic next to a linear operator disappears into its weights; elsewhere it is one Mul and one Add.

For y = W x + b and constants a, c per channel, computed in float64:

1. (W x + b) * a = (a W) x + a b, and likewise for a division;
2. (W x + b) + c = W x + (b + c), and likewise for a subtraction;
3. W (x * a) = (W a) x per input channel; zero padding stays zero under it;
4. W (x + c) = W x + W c, where there is no padding (for a MatMul: an Add behind it);
5. (x + c) * a = x * a + c a, (x * a) * b = x * (a b), (x + c) + d = x + (c + d), where no linear operator is near.

Batch normalisation is cases 1 and 2 at once (Ioffe and Szegedy, https://arxiv.org/abs/1502.03167): a = gamma / sqrt(var
+ epsilon), c = beta - a mean. Linear operators: Conv, ConvTranspose, Gemm, and MatMul by a constant matrix, whose bias
is the one Add after it. Not done: case 4 under padding (the border would change) and for ConvTranspose; a constant that
varies along another axis than the channels'; a value that other nodes read too.
"""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import constant_of, input_of, tensor_of
from narrowcast.model import Array, ir
from narrowcast.passes.rewrite import (
    Rewriter,
    RuleSet,
    Skip,
    constant_operand,
    dtype_of,
    need,
    producer_of,
    require,
    sole_consumer,
)

RULES = RuleSet(rounds=True)

ARITHMETIC = ("Mul", "Div", "Add", "Sub")
_Affine = tuple[Array, Array]
"""A scale and an offset in float64: x -> scale * x + offset."""


@RULES.rule("BatchNormalization")
def batch_normalization(node: ir.Node, rewriter: Rewriter) -> bool:
    """Folds into the linear operator before it, or becomes Mul and Add."""
    source = need(node.inputs[0])
    parameters = [need(constant_of(value), "the statistics are not constant") for value in node.inputs[1:5]]
    require(not node.attributes.get_int("training_mode", 0), "it is in training mode")
    gamma, beta, mean, variance = (array.astype(np.float64) for array in parameters)
    scale = gamma / np.sqrt(variance + node.attributes.get_float("epsilon", 1e-5))
    offset = beta - scale * mean
    linear = _linear_before(source)
    rank = len(need(source.shape))
    if linear is not None and linear.op_type != "MatMul" and (linear.op_type != "Gemm" or rank == 2):
        _fold(linear, (scale, offset), rewriter)
        return rewriter.replace(node.outputs[0], source)
    shape = (-1, *(1,) * (rank - 2))
    dtype = dtype_of(source)
    rewriter.at(node)
    factor = rewriter.constant(scale.astype(dtype).reshape(shape), "scale")
    term = rewriter.constant(offset.astype(dtype).reshape(shape), "offset")
    product = rewriter.op("Mul", source, factor, like=source, name=f"{node.outputs[0].name}/scaled")
    return rewriter.replace(node.outputs[0], rewriter.op("Add", product, term, like=node.outputs[0]))


@RULES.rule(*ARITHMETIC)
def after_linear(node: ir.Node, rewriter: Rewriter) -> bool:
    """Cases 1 and 2, for all arithmetic that follows one another at once."""
    value = need(constant_operand(node))[0]
    linear = need(_linear_before(value))
    total, steps, step = _per_channel(node, value, linear), 1, node
    while True:
        value = step.outputs[0]
        following = sole_consumer(value)
        if following is None or following.domain or following.op_type not in ARITHMETIC:
            break
        try:
            scale, offset = _per_channel(following, value, linear)
        except Skip:
            break
        total, steps, step = (scale * total[0], scale * total[1] + offset), steps + 1, following
    if linear.op_type == "MatMul":
        return _fold_matmul(linear, total, value, steps, node, rewriter)
    _fold(linear, total, rewriter)
    return rewriter.replace(value, linear.outputs[0])


def _linear_before(value: ir.Value) -> ir.Node | None:
    """The linear operator that computes a value which nothing else reads."""
    node = producer_of(value, "Conv", "ConvTranspose", "Gemm", "MatMul")
    weights = tensor_of(node.inputs[1]) if node is not None and sole_consumer(value) is not None else None
    if node is None or weights is None or weights.dtype.numpy().kind != "f":
        return None
    if not _can_take_bias(node):
        return None
    if node.op_type == "MatMul" and len(weights.shape) != 2:
        return None
    return node if node.op_type != "Gemm" or _is_canonical_gemm(node) else None


def _can_take_bias(node: ir.Node) -> bool:
    """Whether there is no bias yet, or a constant one for each channel."""
    bias = input_of(node, 2)
    return bias is None or (tensor_of(bias) is not None and len(bias.shape or ()) == 1)


def _is_canonical_gemm(node: ir.Node) -> bool:
    attributes = node.attributes
    plain = attributes.get_float("alpha", 1.0) == attributes.get_float("beta", 1.0) == 1.0
    return plain and not attributes.get_int("transA", 0) and attributes.get_int("transB", 0) == 1


def _per_channel(step: ir.Node, value: ir.Value, linear: ir.Node) -> _Affine:
    """What an arithmetic node beside a linear one does to each channel of the value between them."""
    _, array, index = need(constant_operand(step), "its operand is not constant")
    require(array.dtype.kind == "f")
    shape = need(value.shape)
    axis = 1 if linear.op_type.startswith("Conv") else len(shape) - 1
    scale, offset = (_along(part, axis, shape) for part in _affine(step, array, index))
    return scale, offset


def _affine(node: ir.Node, array: Array, index: int) -> _Affine:
    """(scale, offset) of a node with a constant operand at `index`."""
    wide = array.astype(np.float64)
    if node.op_type == "Mul":
        return wide, np.zeros_like(wide)
    if node.op_type == "Div":
        require(index == 1 and (wide != 0).all(), "it divides by zero, or by what is computed")
        return 1 / wide, np.zeros_like(wide)
    if node.op_type == "Add":
        return np.ones_like(wide), wide
    return (np.ones_like(wide), -wide) if index == 1 else (-np.ones_like(wide), wide)


def _along(array: Array, axis: int, shape: ir.Shape) -> Array:
    """A constant beside a tensor as one number per position of an axis; it may not vary along another one."""
    size = shape[axis]
    if not isinstance(size, int):
        raise Skip("the number of channels is open")
    full = (1,) * (len(shape) - array.ndim) + array.shape
    fits = len(full) == len(shape) and all(dim == 1 for position, dim in enumerate(full) if position != axis)
    require(fits and full[axis] in (1, size), "its constant is not per channel")
    return np.repeat(array.reshape(-1), size // full[axis])


def _fold(node: ir.Node, affine: _Affine, rewriter: Rewriter) -> None:
    """Makes `node` compute scale * node + offset per output channel."""
    scale, offset = affine
    weights, bias = need(tensor_of(node.inputs[1])), constant_of(input_of(node, 2))
    if (scale != 1).any():
        _scale_weights(node, _per_output(node, weights, scale), rewriter)
    if bias is not None:
        offset = scale * bias + offset
    if bias is not None or offset.any():
        dtype = weights.dtype.numpy()
        rewriter.set_input(node, 2, rewriter.constant(offset.astype(dtype), f"{node.outputs[0].name}/bias"))


def _fold_matmul(
    linear: ir.Node, affine: _Affine, value: ir.Value, steps: int, first: ir.Node, rewriter: Rewriter
) -> bool:
    """The same for a MatMul, whose bias stays an Add of [out]; False if it is that already."""
    scale, offset = affine
    scaled = bool((scale != 1).any())
    added = constant_operand(first)
    if steps == 1 and not scaled and first.op_type == "Add" and added is not None and added[1].shape == offset.shape:
        return False
    if scaled:
        _scale_weights(linear, scale, rewriter)
    result = linear.outputs[0]
    if offset.any():
        bias = rewriter.at(first).constant(offset.astype(dtype_of(need(linear.inputs[1]))), f"{value.name}/bias")
        result = rewriter.op("Add", result, bias, like=value)
    return rewriter.replace(value, result)


def _scale_weights(node: ir.Node, factor: Array, rewriter: Rewriter) -> None:
    """Multiplies the weights of a linear operator by float64 factors that broadcast to them."""
    value = need(node.inputs[1])

    def product(array: Array) -> Array:
        scaled = np.empty_like(array)
        np.multiply(array, factor, out=scaled, casting="same_kind")
        return scaled

    rewriter.set_input(node, 1, rewriter.derived(product, value, value.name or "weights"))


def _per_output(node: ir.Node, weights: ir.TensorProtocol, scale: Array) -> Array:
    """One number per output channel, shaped to multiply the weights."""
    shape = weights.shape.numpy()
    if node.op_type != "ConvTranspose":
        return scale.reshape(-1, *(1,) * (len(shape) - 1))
    groups = node.attributes.get_int("group", 1)  # weights [in, out / group, ...]
    factor = np.repeat(scale.reshape(groups, -1), shape[0] // groups, axis=0)
    return factor.reshape(*shape[:2], *(1,) * (len(shape) - 2))


@RULES.rule("Conv", "ConvTranspose", "Gemm", "MatMul")
def before_linear(node: ir.Node, rewriter: Rewriter) -> bool:
    """Cases 3 and 4, one node at a time."""
    source = need(node.inputs[0])
    step, weights = need(producer_of(source, *ARITHMETIC)), need(tensor_of(node.inputs[1]))
    require(weights.dtype.numpy().kind == "f" and sole_consumer(source) is not None)
    operand = need(constant_operand(step))[0]
    require(operand.shape == source.shape)
    require(_is_canonical_gemm(node) if node.op_type == "Gemm" else node.op_type != "MatMul" or len(weights.shape) == 2)
    scale, offset = _per_channel(step, source, node)
    bordered = node.op_type == "ConvTranspose" or (node.op_type == "Conv" and _is_padded(node))
    require(
        not offset.any() or not bordered,
        "a constant added before it would be wrong at the border, or has no bias to go to",
    )
    per_weight = _per_input(node, weights, scale)
    if offset.any() and node.op_type == "MatMul":
        _add_after(node, offset @ weights.numpy(), rewriter)
    elif offset.any():
        require(_can_take_bias(node))
        bias = constant_of(input_of(node, 2))
        shift = (weights.numpy() * _per_input(node, weights, offset)).reshape(weights.shape[0], -1).sum(axis=1)
        total = (shift if bias is None else shift + bias).astype(weights.dtype.numpy())
        rewriter.set_input(node, 2, rewriter.constant(total, f"{node.outputs[0].name}/bias"))
    if (scale != 1).any():
        _scale_weights(node, per_weight, rewriter)
    rewriter.set_input(node, 0, operand)
    return True


def _add_after(node: ir.Node, term: Array, rewriter: Rewriter) -> None:
    """Adds a constant to what a node computes."""
    output = node.outputs[0]
    bias = rewriter.at(node).constant(term.astype(dtype_of(output)), f"{output.name}/bias")
    added = rewriter.op("Add", output, bias, like=output)
    rewriter.move_after(added, node)
    rewriter.replace(output, added)


def _is_padded(node: ir.Node) -> bool:
    return "pads" not in node.attributes or any(node.attributes.get_ints("pads", ()))


def _per_input(node: ir.Node, weights: ir.TensorProtocol, values: Array) -> Array:
    """One number per input channel, shaped to multiply the weights."""
    shape = weights.shape.numpy()
    if node.op_type == "Gemm":
        return values
    if node.op_type == "MatMul":
        return values.reshape(-1, 1)
    ones = (1,) * (len(shape) - 2)
    if node.op_type == "ConvTranspose":
        return values.reshape(-1, 1, *ones)
    groups = node.attributes.get_int("group", 1)
    return np.repeat(values.reshape(groups, -1), shape[0] // groups, axis=0).reshape(*shape[:2], *ones)


@RULES.rule("Mul", "Add")
def chain(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 5."""
    between, second, place = need(constant_operand(node))
    inner, output = need(producer_of(between, *ARITHMETIC)), node.outputs[0]
    value, first, index = need(constant_operand(inner))
    require(first.dtype.kind == second.dtype.kind == "f" and sole_consumer(between) is node)
    require(value.shape == output.shape and (node.op_type == "Mul" or inner.op_type in ("Add", "Sub")))
    (a, b), (c, d) = _affine(inner, first, index), _affine(node, second, place)
    scale, offset, dtype = a * c, b * c + d, second.dtype
    rewriter.at(node)
    if (scale != 1).any():
        value = rewriter.op("Mul", value, rewriter.constant(scale.astype(dtype), "scale"), like=output)
    if offset.any():
        value = rewriter.op("Add", value, rewriter.constant(offset.astype(dtype), "offset"), like=output)
    return rewriter.replace(output, value)
