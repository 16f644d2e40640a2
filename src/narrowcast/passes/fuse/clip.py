"""Clips.

1. Min and Max with a number -> Clip. 2. Clip(0, inf) -> Relu. 3. A Clip or Relu of a Clip or Relu -> one.
4. Bounds that are missing, or at the end of the type's range, are left out; bounds [1] are scalars.
"""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import constant_of
from narrowcast.model import ir
from narrowcast.passes.rewrite import Rewriter, RuleSet, constant_operand, producer_of, scalar_of, sole_consumer

RULES = RuleSet()
HUGE = 3.0e38


def bounds_of(node: ir.Node) -> tuple[float, float] | None:
    """The interval that a Clip or Relu maps into; None where a bound is computed."""
    if node.op_type == "Relu":
        return (0.0, np.inf)
    low, high = -np.inf, np.inf
    if len(node.inputs) > 1 and node.inputs[1] is not None:
        found = scalar_of(node.inputs[1])
        if found is None:
            return None
        low = found
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        found = scalar_of(node.inputs[2])
        if found is None:
            return None
        high = found
    return (low if low > -HUGE else -np.inf, high if high < HUGE else np.inf)


@RULES.rule("Min", "Max")
def to_clip(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 1."""
    if len(node.inputs) != 2:
        return False
    found = constant_operand(node)
    if found is None or found[1].dtype.kind != "f" or found[0].shape != node.outputs[0].shape:
        return False
    bound = scalar_of(node.inputs[found[2]])
    if bound is None:
        return False
    interval = (bound, np.inf) if node.op_type == "Max" else (-np.inf, bound)
    return rewriter.replace(node.outputs[0], _clip(found[0], interval, node, rewriter))


@RULES.rule("Clip")
def scalar_bounds(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 4: ONNX wants scalars, and runtimes take any single number."""
    given = [(index, constant_of(value)) for index, value in enumerate(node.inputs) if index]
    wide = [(index, array) for index, array in given if array is not None and array.ndim and array.size == 1]
    for index, array in wide:
        rewriter.set_input(node, index, rewriter.at(node).constant(array.reshape(()), "bound"))
    return bool(wide)


@RULES.rule("Clip", "Relu")
def merge(node: ir.Node, rewriter: Rewriter) -> bool:
    """Cases 2 to 4; integers keep their bounds."""
    source, bounds = node.inputs[0], bounds_of(node)
    if source is None or bounds is None or source.dtype is None:
        return False
    if bounds == (-np.inf, np.inf):
        return rewriter.replace(node.outputs[0], source)
    if not source.dtype.is_floating_point():
        return False
    inner = producer_of(source, "Clip", "Relu")
    before = bounds_of(inner) if inner is not None and sole_consumer(source) is node else None
    if inner is not None and before is not None:
        low = float(np.clip(before[0], *bounds))
        merged = (low, float(np.clip(before[1], *bounds)))
        return rewriter.replace(node.outputs[0], _clip(inner.inputs[0], merged, node, rewriter))
    if node.op_type == "Relu":
        return False
    if bounds == (0.0, np.inf) or (len(node.inputs) > 2 and np.isinf(bounds[1]) and node.inputs[2] is not None):
        return rewriter.replace(node.outputs[0], _clip(source, bounds, node, rewriter))
    return False


def _clip(source: ir.Value | None, bounds: tuple[float, float], node: ir.Node, rewriter: Rewriter) -> ir.Value:
    output = node.outputs[0]
    rewriter.at(node)
    if bounds == (0.0, np.inf):
        return rewriter.op("Relu", source, like=output)
    dtype = output.dtype.numpy() if output.dtype is not None else np.float32
    ends = [None if np.isinf(bound) else rewriter.constant(bound, "bound", dtype) for bound in bounds]
    while ends and ends[-1] is None:
        ends.pop()
    return rewriter.op("Clip", source, *ends, like=output)


def is_number(value: ir.Value | None, number: float) -> bool:
    """Whether a constant is this number everywhere, to float32's accuracy."""
    found = scalar_of(value)
    return found is not None and constant_of(value) is not None and abs(found - number) <= 1e-6 * max(1.0, abs(number))
