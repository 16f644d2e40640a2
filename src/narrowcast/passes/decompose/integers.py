"""Integer arithmetic that is spelled by operators of its own, in floats that hold its integers exactly.

1. QuantizeLinear and DequantizeLinear by computed scales, per tensor or along an axis, or by blocks -> their formula
   (https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html); others stay, as the dialect spells them so.
2. DynamicQuantizeLinear -> the range of the tensor, then the same.
3. MatMulInteger, QLinearMatMul -> a product of floats, exact up to 2^24: `LONGEST` terms of 8-bit numbers.
"""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import constant_of, input_of
from narrowcast.model import ir
from narrowcast.passes.formula import Formula
from narrowcast.passes.rewrite import Rewriter, RuleSet, dims, is_read, need, operands, require, static_shape

RULES = RuleSet()

LONGEST = 257
"""2^24 / 255^2, less one: so many products of 8-bit numbers add up exactly in float32."""


@RULES.rule("QuantizeLinear", "DequantizeLinear")
def by_computed_scale(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 1."""
    (source, scale), zero = operands(node, 2), input_of(node, 2)
    shape, block = static_shape(source), node.attributes.get_int("block_size", 0)
    require(block or constant_of(scale) is None)
    f = Formula(node, rewriter)
    axis = node.attributes.get_int("axis", 1) % max(len(shape), 1)

    def spread(value: ir.Value) -> ir.Value:
        """As float32, broadcasting along the source."""
        if block:
            return f.cast(f.gather(value, np.arange(shape[axis]) // block, axis), np.float32)
        per_axis = len(dims(value) or ()) == 1 and (dims(value) or (1,))[0] != 1
        along = [dim if place == axis else 1 for place, dim in enumerate(shape)]
        return f.cast(f.reshape(value, along if per_axis else []), np.float32)

    step, offset = spread(scale), None if zero is None else spread(zero)
    number = f.cast(source, np.float32)
    if node.op_type == "DequantizeLinear":
        number = number if offset is None else f("Sub", number, offset)
        return f.becomes(f.cast(f("Mul", number, step), f.dtype))
    return f.becomes(stored(f, f("Round", f("Div", number, step)), offset, f.dtype))


def stored(f: Formula, rounded: ir.Value, offset: ir.Value | None, dtype: np.dtype) -> ir.Value:
    """Rounded values with the zero point, within the ends of the type."""
    info = np.iinfo(dtype)
    moved = rounded if offset is None else f("Add", rounded, offset)
    return f.cast(f("Min", f("Max", moved, float(info.min)), float(info.max)), dtype)


@RULES.rule("DynamicQuantizeLinear")
def dynamic(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 2."""
    source, shape = need(node.inputs[0]), static_shape(node.inputs[0])
    f = Formula(node, rewriter)
    axes = list(range(len(shape)))
    low = f("Min", f.reduce("ReduceMin", source, axes), 0.0)
    high = f("Max", f.reduce("ReduceMax", source, axes), 0.0)
    step = f("Div", f("Sub", high, low), 255.0)
    zero = f("Min", f("Max", f("Round", f("Div", f("Neg", low), step)), 0.0), 255.0)
    levels = stored(f, f("Round", f("Div", source, step)), zero, np.dtype(np.uint8))
    made = (levels, f.reshape(step, []), f.reshape(f.cast(zero, np.uint8), []))
    for output, value in zip(tuple(node.outputs), made, strict=False):
        if is_read(output):
            rewriter.replace(output, value)
    return True


@RULES.rule("MatMulInteger", "QLinearMatMul")
def product(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 3."""
    inputs = [input_of(node, index) for index in range(8)]
    steps: tuple[ir.Value | None, ...] = ()
    y_zero: ir.Value | None = None
    if node.op_type == "MatMulInteger":
        a, b, a_zero, b_zero = inputs[:4]
    else:
        a, a_step, a_zero, b, b_step, b_zero, y_step, y_zero = inputs[:8]
        steps = (a_step, b_step, y_step)
    a, b, left, right = need(a), need(b), static_shape(a), static_shape(b)
    require(min(len(left), len(right)) >= 2)
    require(left[-1] <= LONGEST, f"its sums of {left[-1]} products are not exact in floats")
    single = all(static_shape(value) in ((), (1,)) for value in (a_zero, b_zero, *steps) if value)
    require(single, "its scales or zero points are per row or column")
    f = Formula(node, rewriter)
    one, other = _moved(f, a, a_zero), _moved(f, b, b_zero)
    total = f.product(one, other)
    if not steps:
        return f.becomes(f.cast(total, f.dtype))
    a_scale, b_scale, y_scale = (f.cast(f.reshape(step, []), np.float32) for step in steps if step is not None)
    real = f("Mul", total, f("Div", f("Mul", a_scale, b_scale), y_scale))
    offset = f.cast(f.reshape(y_zero, []), np.float32) if y_zero is not None else None
    return f.becomes(stored(f, f("Round", real), offset, f.dtype))


def _moved(f: Formula, value: ir.Value, zero: ir.Value | None) -> ir.Value:
    number = f.cast(value, np.float32)
    return number if zero is None else f("Sub", number, f.cast(f.reshape(zero, []), np.float32))
