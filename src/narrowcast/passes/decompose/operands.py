"""Operators whose operands come in unusual forms.

1. CastLike -> Cast. 2. Pow by an exponent of another type -> by the base's. 3. MatMul with a vector -> with a matrix of
one row or column. 4. BatchNormalization by computed statistics -> its formula. 5. LRN -> a sum of slices over channels.
6. CenterCropPad -> Slice and Pad. 7. TopK along another axis, or of the smallest -> TopK of the largest along the last.
8. ConvInteger, and QLinearConv by computed scales -> a Conv of floats, exact up to 2^24. 9. Col2Im -> a product with a
constant matrix.
"""

from __future__ import annotations

import math
from functools import reduce

import numpy as np

from narrowcast.dialect.build import attributes_of, constant_of, input_of
from narrowcast.model import ir
from narrowcast.passes.decompose.indices import MANY
from narrowcast.passes.decompose.integers import LONGEST, stored
from narrowcast.passes.formula import Formula
from narrowcast.passes.rewrite import Rewriter, RuleSet, dtype_of, is_read, need, operands, require, static_shape

RULES = RuleSet()


@RULES.rule("CastLike")
def cast_like(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 1."""
    (source, like), f = operands(node, 2), Formula(node, rewriter)
    return f.becomes(f.cast(source, dtype_of(like)))


@RULES.rule("Pow")
def exponent(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 2; integers to fractional powers go by way of floats."""
    (base, power), f = operands(node, 2), Formula(node, rewriter)
    common = np.float32 if need(power.dtype).is_floating_point() else dtype_of(base)
    return f.becomes(f.cast(f("Pow", f.cast(base, common), f.cast(power, common)), f.dtype))


@RULES.rule("MatMul")
def with_vector(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 3."""
    a, b = operands(node, 2)
    left, right = static_shape(a), static_shape(b)
    require(min(len(left), len(right)) == 1)
    f = Formula(node, rewriter)
    one = f.reshape(a, [1, *left]) if len(left) == 1 else a
    other = f.reshape(b, [*right, 1]) if len(right) == 1 else b
    return f.becomes(f.reshape(f.product(one, other), static_shape(node.outputs[0])))


@RULES.rule("BatchNormalization")
def batch_normalization(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 4."""
    source, *statistics = operands(node, 5)
    require(not node.attributes.get_int("training_mode", 0), "it normalises by the batch, as in training")
    shape, f = static_shape(source), Formula(node, rewriter)
    along = [1, shape[1], *(1,) * (len(shape) - 2)]
    scale, bias, mean, variance = (f.reshape(value, along) for value in statistics)
    spread = f("Sqrt", f("Add", variance, node.attributes.get_float("epsilon", 1e-5)))
    return f.becomes(f("Add", f("Mul", f("Sub", source, mean), f("Div", scale, spread)), bias))


@RULES.rule("LRN")
def local_response(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 5."""
    source, shape = need(node.inputs[0]), static_shape(node.inputs[0])
    attributes, f = node.attributes, Formula(node, rewriter)
    size = attributes.get_int("size", 1)
    begins, ends = [0] * len(shape), [0] * len(shape)
    begins[1], ends[1] = (size - 1) // 2, size // 2
    squares = f.pad(f("Mul", source, source), begins, ends)
    total = reduce(lambda a, b: f("Add", a, b), [f.slice(squares, 1, i, i + shape[1]) for i in range(size)])
    scaled = f("Add", f("Mul", total, attributes.get_float("alpha", 1e-4) / size), attributes.get_float("bias", 1.0))
    return f.becomes(f("Mul", source, f("Pow", scaled, -attributes.get_float("beta", 0.75))))


@RULES.rule("CenterCropPad")
def center(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 6."""
    value, f = need(node.inputs[0]), Formula(node, rewriter)
    shape, out = static_shape(value), static_shape(node.outputs[0])
    for axis, (size, wanted) in enumerate(zip(shape, out, strict=True)):
        if size > wanted:
            start = (size - wanted) // 2
            value = f.slice(value, axis, start, start + wanted)
    missing = [max(wanted - size, 0) for size, wanted in zip(shape, out, strict=True)]
    return f.becomes(f.pad(value, [amount // 2 for amount in missing], [amount - amount // 2 for amount in missing]))


@RULES.rule("TopK")
def largest_along_the_last(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 7."""
    source, shape = need(node.inputs[0]), static_shape(node.inputs[0])
    count = need(constant_of(node.inputs[1]), "its shapes are open")
    attributes = node.attributes
    axis, last = attributes.get_int("axis", -1) % len(shape), len(shape) - 1
    largest = attributes.get_int("largest", 1) != 0
    require(largest or need(source.dtype).is_signed(), "the smallest of unsigned integers")
    f = Formula(node, rewriter)
    perm = [i for i in range(len(shape)) if i != axis] + [axis]
    turned = f.transpose(source, perm)
    turned = turned if largest else f("Neg", turned)
    size = [*(shape[i] for i in perm[:-1]), int(count.reshape(-1)[0])]
    values, indices = rewriter.ops("TopK", turned, node.inputs[1], outputs=2, axis=last, largest=1, sorted=1)
    values.shape, values.type = ir.Shape(size), source.type
    indices.shape, indices.dtype = ir.Shape(size), ir.DataType.INT64
    back = [perm.index(i) for i in range(len(shape))]
    for output, value in zip(tuple(node.outputs), (values if largest else f("Neg", values), indices), strict=True):
        if is_read(output):
            rewriter.replace(output, f.transpose(value, back))
    return True


@RULES.rule("ConvInteger", "QLinearConv")
def integer_convolution(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 8."""
    inputs, scaled = [input_of(node, index) for index in range(9)], node.op_type == "QLinearConv"
    x, x_zero, weights, w_zero = (inputs[i] for i in ((0, 2, 3, 5) if scaled else (0, 2, 1, 3)))
    x, weights, rank = need(x), need(weights), len(static_shape(x))
    require(math.prod(static_shape(weights)[1:]) <= LONGEST, "its sums are not exact in floats")
    f = Formula(node, rewriter)

    def each(value: ir.Value, axis: int) -> ir.Value:
        """One for all, or one for each channel along an axis."""
        along = [-1 if place == axis else 1 for place in range(rank)] if math.prod(static_shape(value)) > 1 else []
        return f.cast(f.reshape(value, along), np.float32)

    factors = []
    for value, zero in ((x, x_zero), (weights, w_zero)):
        number = f.cast(value, np.float32)
        factors.append(number if zero is None else f("Sub", number, each(zero, 0)))
    size = node.outputs[0].shape
    made = rewriter.op("Conv", *factors, shape=size, dtype=np.float32, **attributes_of(node))
    if not scaled:
        return f.becomes(f.cast(f("Round", made), f.dtype))
    x_scale, w_scale, y_scale, y_zero = (need(inputs[i]) for i in (1, 4, 6, 7))
    made = made if inputs[8] is None else f("Add", made, each(inputs[8], 1))
    real = f("Mul", made, f("Div", f("Mul", each(x_scale, 1), each(w_scale, 1)), each(y_scale, 1)))
    return f.becomes(stored(f, f("Round", real), each(y_zero, 1), f.dtype))


@RULES.rule("Col2Im")
def columns_to_image(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 9: [batch, channels * block, blocks] -> [batch, channels, *image]."""
    source, shape = need(node.inputs[0]), static_shape(node.inputs[0])
    image, block = (need(constant_of(value), "its sizes are computed") for value in node.inputs[1:3])
    sizes, kernel = image.reshape(-1).tolist(), block.reshape(-1).tolist()
    half, attributes = len(sizes), node.attributes
    dilations, strides = (attributes.get_ints(name, (1,) * half) for name in ("dilations", "strides"))
    pads = attributes.get_ints("pads", (0,) * (2 * half))
    require(math.prod(kernel) * shape[2] * math.prod(sizes) <= MANY, "its image is too large")
    counts = [
        (size + pads[i] + pads[half + i] - dilations[i] * (kernel[i] - 1) - 1) // strides[i] + 1
        for i, size in enumerate(sizes)
    ]
    within, among = np.indices(kernel).reshape(half, -1, 1), np.indices(counts).reshape(half, 1, -1)
    by_axis = [a.reshape(-1, 1, 1) for a in (np.array(dilations), np.array(strides), np.array(pads[:half]))]
    places = within * by_axis[0] + among * by_axis[1] - by_axis[2]  # [axes, block, blocks]
    inside = ((places >= 0) & (places < np.array(sizes).reshape(-1, 1, 1))).all(axis=0)
    flat = np.ravel_multi_index(tuple(np.clip(p, 0, n - 1) for p, n in zip(places, sizes, strict=True)), sizes)
    matrix = np.zeros((flat.size, math.prod(sizes)), np.float32)
    matrix[np.arange(flat.size), flat.reshape(-1)] = inside.reshape(-1)
    channels = shape[1] // math.prod(kernel)
    f = Formula(node, rewriter)
    rows = f.reshape(source, [shape[0] * channels, flat.size])
    made = f.product(rows, f.constant(matrix, np.float32, "places"))
    return f.becomes(f.reshape(made, [shape[0], channels, *sizes]))
