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

from narrowcast.dialect.build import constant_of, tensor_of
from narrowcast.model import Array, ir
from narrowcast.passes.rewrite import Rewriter, RuleSet, constant_operand, producer_of, sole_consumer

RULES = RuleSet()

ARITHMETIC = ("Mul", "Div", "Add", "Sub")
_Affine = tuple[Array, Array]
"""A scale and an offset in float64: x -> scale * x + offset."""


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
    rank = len(source.shape)
    if linear is not None and linear.op_type != "MatMul" and (linear.op_type != "Gemm" or rank == 2):
        _fold(linear, (scale, offset), rewriter)
        return rewriter.replace(node.outputs[0], source)
    shape = (-1, *(1,) * (rank - 2))
    dtype = source.dtype.numpy() if source.dtype is not None else np.dtype(np.float32)
    rewriter.at(node)
    factor = rewriter.constant(scale.astype(dtype).reshape(shape), "scale")
    term = rewriter.constant(offset.astype(dtype).reshape(shape), "offset")
    product = rewriter.op("Mul", source, factor, like=source, name=f"{node.outputs[0].name}/scaled")
    return rewriter.replace(node.outputs[0], rewriter.op("Add", product, term, like=node.outputs[0]))


@RULES.rule(*ARITHMETIC)
def after_linear(node: ir.Node, rewriter: Rewriter) -> bool | str:
    """Cases 1 and 2, for all arithmetic that follows one another at once."""
    found = constant_operand(node)
    linear = _linear_before(found[0]) if found is not None else None
    if found is None or linear is None:
        return False
    value: ir.Value = found[0]
    total, steps, step = None, 0, node
    while True:
        affine = _per_channel(step, value, linear)
        if isinstance(affine, str):
            break
        total = affine if total is None else (affine[0] * total[0], affine[0] * total[1] + affine[1])
        value, steps = step.outputs[0], steps + 1
        following = sole_consumer(value)
        if following is None or following.domain or following.op_type not in ARITHMETIC:
            break
        step = following
    if total is None:
        return affine if isinstance(affine, str) else False
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
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        bias = constant_of(node.inputs[2])
        if bias is None or bias.ndim != 1:
            return None
    if node.op_type == "MatMul" and len(weights.shape) != 2:
        return None
    return node if node.op_type != "Gemm" or _is_canonical_gemm(node) else None


def _is_canonical_gemm(node: ir.Node) -> bool:
    attributes = node.attributes
    plain = attributes.get_float("alpha", 1.0) == attributes.get_float("beta", 1.0) == 1.0
    return plain and not attributes.get_int("transA", 0) and attributes.get_int("transB", 0) == 1


def _per_channel(step: ir.Node, value: ir.Value, linear: ir.Node) -> _Affine | str:
    """What an arithmetic node after a linear one does to each of its channels; in words, why that cannot be said."""
    found = constant_operand(step)
    if found is None or found[0] is not value or value.shape is None or found[1].dtype.kind != "f":
        return "its operand is not constant"
    axis = 1 if linear.op_type.startswith("Conv") else len(value.shape) - 1
    affine = _affine(step, found[1], found[2])
    if affine is None:
        return "it divides by zero, or by what is computed"
    size = value.shape[axis]
    if not isinstance(size, int):
        return "the number of channels is open"
    parts = [_along(part, axis, len(value.shape), size) for part in affine]
    scale, offset = parts
    return "its constant is not per channel" if scale is None or offset is None else (scale, offset)


def _affine(node: ir.Node, array: Array, index: int) -> _Affine | None:
    """(scale, offset) of a node with a constant operand at `index`; None where it is no affine function."""
    wide = array.astype(np.float64)
    if node.op_type == "Mul":
        return wide, np.zeros_like(wide)
    if node.op_type == "Div":
        return (1 / wide, np.zeros_like(wide)) if index == 1 and (wide != 0).all() else None
    if node.op_type == "Add":
        return np.ones_like(wide), wide
    return (np.ones_like(wide), -wide) if index == 1 else (-np.ones_like(wide), wide)


def _along(array: Array, axis: int, rank: int, size: int) -> Array | None:
    """A constant as one number per position of an axis, or None if it varies along another one."""
    if array.ndim > rank:
        return None
    full = (1,) * (rank - array.ndim) + array.shape
    if any(dim != 1 for position, dim in enumerate(full) if position != axis) or full[axis] not in (1, size):
        return None
    return np.repeat(array.reshape(-1), size // full[axis])


def _fold(node: ir.Node, affine: _Affine, rewriter: Rewriter) -> None:
    """Makes `node` compute scale * node + offset per output channel."""
    scale, offset = affine
    weights = tensor_of(node.inputs[1])
    assert weights is not None
    bias = constant_of(node.inputs[2]) if len(node.inputs) > 2 else None
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
    weights = tensor_of(linear.inputs[1])
    assert weights is not None
    scaled = bool((scale != 1).any())
    added = constant_operand(first)
    if steps == 1 and not scaled and first.op_type == "Add" and added is not None and added[1].shape == offset.shape:
        return False
    if scaled:
        _scale_weights(linear, scale, rewriter)
    result = linear.outputs[0]
    if offset.any():
        bias = rewriter.at(first).constant(offset.astype(weights.dtype.numpy()), f"{value.name}/bias")
        result = rewriter.op("Add", result, bias, like=value)
    return rewriter.replace(value, result)


def _scale_weights(node: ir.Node, factor: Array, rewriter: Rewriter) -> None:
    """Multiplies the weights of a linear operator by float64 factors that broadcast to them."""
    value, weights = node.inputs[1], tensor_of(node.inputs[1])
    assert value is not None
    assert weights is not None

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
def before_linear(node: ir.Node, rewriter: Rewriter) -> bool | str:
    """Cases 3 and 4, one node at a time."""
    source, weights = node.inputs[0], tensor_of(node.inputs[1])
    step = producer_of(source, *ARITHMETIC)
    if source is None or step is None or weights is None or sole_consumer(source) is None:
        return False
    if weights.dtype.numpy().kind != "f":
        return False
    found = constant_operand(step)
    if found is None or source.shape is None or found[0].shape != source.shape:
        return False
    if node.op_type == "Gemm" and not _is_canonical_gemm(node):
        return False
    if node.op_type == "MatMul" and len(weights.shape) != 2:
        return False
    spatial = node.op_type.startswith("Conv")
    axis = 1 if spatial else len(source.shape) - 1
    size, affine = source.shape[axis], _affine(step, found[1], found[2])
    if affine is None or not isinstance(size, int):
        return False
    scale, offset = (_along(part, axis, len(source.shape), size) for part in affine)
    if scale is None or offset is None:
        return "the arithmetic before it is not per channel"
    if offset.any() and (node.op_type == "ConvTranspose" or (spatial and _is_padded(node))):
        return "a constant added before it would be wrong at the border, or has no bias to go to"
    per_weight = _per_input(node, weights, scale)
    if offset.any() and node.op_type == "MatMul":
        _add_after(node, offset @ weights.numpy(), rewriter)
    elif offset.any():
        bias = constant_of(node.inputs[2]) if len(node.inputs) > 2 else None
        if len(node.inputs) > 2 and node.inputs[2] is not None and (bias is None or bias.ndim != 1):
            return False
        shift = (weights.numpy() * _per_input(node, weights, offset)).reshape(weights.shape[0], -1).sum(axis=1)
        total = (shift if bias is None else shift + bias).astype(weights.dtype.numpy())
        rewriter.set_input(node, 2, rewriter.constant(total, f"{node.outputs[0].name}/bias"))
    if (scale != 1).any():
        _scale_weights(node, per_weight, rewriter)
    rewriter.set_input(node, 0, found[0])
    return True


def _add_after(node: ir.Node, term: Array, rewriter: Rewriter) -> None:
    """Adds a constant to what a node computes."""
    output = node.outputs[0]
    dtype = output.dtype.numpy() if output.dtype is not None else term.dtype
    bias = rewriter.at(node).constant(term.astype(dtype), f"{output.name}/bias")
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
    found = constant_operand(node)
    inner = producer_of(found[0], *ARITHMETIC) if found is not None else None
    if found is None or inner is None or sole_consumer(found[0]) is not node or found[1].dtype.kind != "f":
        return False
    before = constant_operand(inner)
    if before is None or before[1].dtype.kind != "f" or before[0].shape != node.outputs[0].shape:
        return False
    if node.op_type == "Add" and inner.op_type == "Mul":
        return False
    first, second = _affine(inner, before[1], before[2]), _affine(node, found[1], found[2])
    if first is None or second is None:
        return False
    scale, offset = first[0] * second[0], first[1] * second[0] + second[1]
    if node.op_type == "Add" and inner.op_type == "Div":
        return False
    output, dtype = node.outputs[0], found[1].dtype
    rewriter.at(node)
    value = before[0]
    if (scale != 1).any():
        value = rewriter.op("Mul", value, rewriter.constant(scale.astype(dtype), "scale"), like=output)
    if offset.any():
        value = rewriter.op("Add", value, rewriter.constant(offset.astype(dtype), "offset"), like=output)
    return rewriter.replace(output, value)
