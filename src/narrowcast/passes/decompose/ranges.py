"""Tensors that are made from numbers known only when the file runs: from a range that counts up from 0.

1. Range -> start + delta * Range(0, count, 1), where the count is never negative.
2. HannWindow, HammingWindow, BlackmanWindow -> sums of cosines. 3. MelWeightMatrix -> a triangle for each band.
4. ConstantOfShape in a type that a target does not fill with -> another, and a Cast.

Where the numbers are constant, all of it is folded long before.
"""

from __future__ import annotations

import math

import numpy as np

from narrowcast.model import ir
from narrowcast.passes.formula import Formula
from narrowcast.passes.rewrite import Rewriter, RuleSet, dtype_of, need, operands, require

RULES = RuleSet()

_WINDOWS = {
    "HannWindow": (0.5, -0.5),
    "HammingWindow": (25 / 46, -21 / 46),
    "BlackmanWindow": (0.42, -0.5, 0.08),
}
"""Coefficients of cos(0), cos(t), cos(2t)."""


def counted(f: Formula, count: ir.Value) -> ir.Value:
    """0, 1, 2 ... below an int64 that is not negative."""
    bound = f("Max", f.reshape(f.cast(count, np.int64), []), 0)
    start, step = f.constant(0), f.constant(1)
    return f.rewriter.op("Range", start, bound, step, shape=[None], dtype=np.int64)


@RULES.rule("Range")
def counted_from_zero(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 1."""
    given, f = operands(node, 3), Formula(node, rewriter)
    if need(given[0].dtype).is_floating_point():
        first, last, step = (f.cast(value, np.float32) for value in given)
        count = f("Ceil", f("Div", f("Sub", last, first), step))
    else:
        first, last, step = (f.cast(value, np.int64) for value in given)
        span = f("Sub", last, first)
        whole = f("Div", span, step)
        rest = f("Sub", span, f("Mul", whole, step))
        upwards = f("And", f("Not", f("Equal", rest, 0)), f("Equal", f("Less", rest, 0), f("Less", step, 0)))
        count = f("Add", whole, f.cast(upwards, np.int64))
    steps = f.cast(counted(f, count), dtype_of(step))
    return f.becomes(f.cast(f("Add", f("Mul", steps, step), first), f.dtype))


@RULES.rule(*_WINDOWS)
def window(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 2."""
    size, f = need(node.inputs[0]), Formula(node, rewriter)
    period = f.cast(f.reshape(size, []), np.float32)
    if not node.attributes.get_int("periodic", 1):
        period = f("Sub", period, 1.0)
    turn = f("Div", f("Mul", f.cast(counted(f, size), np.float32), 2 * math.pi), period)
    constant, first, *others = _WINDOWS[node.op_type]

    def wave(times: int, factor: float) -> ir.Value:
        return f("Mul", f("Cos", f("Mul", turn, float(times))), factor)

    total = f("Add", wave(1, first), constant)
    for times, factor in enumerate(others, start=2):
        total = f("Add", wave(times, factor), total)
    return f.becomes(f.cast(total, f.dtype))


@RULES.rule("MelWeightMatrix")
def mel_bands(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 3: https://onnx.ai/onnx/operators/onnx__MelWeightMatrix.html."""
    f = Formula(node, rewriter)
    bands, length, rate, low, high = (f.reshape(value, []) for value in operands(node, 5))
    low, high = (_mel(f, f.cast(value, np.float32)) for value in (low, high))
    wide = f.cast(bands, np.float32)
    step = f("Div", f("Sub", high, low), f("Add", wide, 2.0))
    scale = f("Div", f("Add", f.cast(length, np.float32), 1.0), f.cast(rate, np.float32))
    number = f.cast(counted(f, bands), np.float32)

    def edge(offset: int) -> ir.Value:
        mel = f("Add", f("Mul", f("Add", number, float(offset)), step), low)
        hertz = f("Mul", f("Sub", f("Exp", f("Mul", mel, math.log(10) / 2595)), 1.0), 700.0)
        return f("Floor", f("Mul", hertz, scale))

    left, centre, right = edge(0), edge(1), edge(2)
    half = f("Add", f("Floor", f("Mul", f.cast(length, np.float32), 0.5)), 1.0)
    bins = f.reshape(f.cast(counted(f, f.cast(half, np.int64)), np.float32), [None, 1])
    rising = f("Div", f("Sub", bins, left), f("Max", f("Sub", centre, left), 1.0))
    falling = f("Div", f("Sub", right, bins), f("Max", f("Sub", right, centre), 1.0))
    zero = f.constant(0.0, np.float32)
    before = f("Where", f("And", f("GreaterOrEqual", bins, left), f("Less", bins, centre)), rising, zero)
    behind = f("Where", f("And", f("Greater", bins, centre), f("Less", bins, right)), falling, before)
    return f.becomes(f.cast(f("Where", f("Equal", bins, centre), f.constant(1.0, np.float32), behind), f.dtype))


def _mel(f: Formula, hertz: ir.Value) -> ir.Value:
    return f("Mul", f("Log", f("Add", f("Div", hertz, 700.0), 1.0)), 2595 / math.log(10))


@RULES.rule("ConstantOfShape")
def filled(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 4."""
    value = node.attributes.get("value")
    array = np.zeros(1, np.float32) if value is None else value.as_tensor().numpy()
    require(array.dtype not in (np.float32, np.int64))
    f = Formula(node, rewriter)
    wide = array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
    made = rewriter.op(
        "ConstantOfShape", node.inputs[0], shape=node.outputs[0].shape, dtype=wide.dtype, value=ir.tensor(wide)
    )
    return f.becomes(f.cast(made, array.dtype))
