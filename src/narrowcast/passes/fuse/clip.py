"""Clips.

1. Min and Max with a number -> Clip. 2. Clip(0, inf) -> Relu. 3. A Clip or Relu of a Clip or Relu -> one.
4. Bounds that are missing, or at the end of the type's range, are left out; bounds [1] are scalars.
"""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import constant_of, input_of
from narrowcast.model import ir
from narrowcast.passes.rewrite import (
    Rewriter,
    RuleSet,
    constant_operand,
    dtype_of,
    need,
    producer_of,
    require,
    scalar_of,
    sole_consumer,
)

RULES = RuleSet()
HUGE = 3.0e38
_ENDS = ((1, -np.inf), (2, np.inf))


def bounds_of(node: ir.Node) -> tuple[float, float] | None:
    """The interval that a Clip or Relu maps into; None where a bound is computed."""
    if node.op_type == "Relu":
        return (0.0, np.inf)
    low, high = (scalar_of(value) if (value := input_of(node, i)) is not None else end for i, end in _ENDS)
    if low is None or high is None:
        return None
    return (low if low > -HUGE else -np.inf, high if high < HUGE else np.inf)


@RULES.rule("Min", "Max")
def to_clip(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 1."""
    require(len(node.inputs) == 2)
    value, array, index = need(constant_operand(node))
    require(array.dtype.kind == "f" and value.shape == node.outputs[0].shape)
    bound = need(scalar_of(node.inputs[index]))
    interval = (bound, np.inf) if node.op_type == "Max" else (-np.inf, bound)
    return rewriter.replace(node.outputs[0], _clip(value, interval, node, rewriter))


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
    source, bounds, output = need(node.inputs[0]), need(bounds_of(node)), node.outputs[0]
    if bounds == (-np.inf, np.inf):
        return rewriter.replace(output, source)
    require(need(source.dtype).is_floating_point())
    inner = producer_of(source, "Clip", "Relu")
    before = bounds_of(inner) if inner is not None and sole_consumer(source) is node else None
    if inner is not None and before is not None:
        low, high = (float(np.clip(bound, *bounds)) for bound in before)
        return rewriter.replace(output, _clip(inner.inputs[0], (low, high), node, rewriter))
    superfluous = np.isinf(bounds[1]) and input_of(node, 2) is not None
    require(node.op_type != "Relu" and (bounds == (0.0, np.inf) or superfluous))
    return rewriter.replace(output, _clip(source, bounds, node, rewriter))


def _clip(source: ir.Value | None, bounds: tuple[float, float], node: ir.Node, rewriter: Rewriter) -> ir.Value:
    output = node.outputs[0]
    rewriter.at(node)
    if bounds == (0.0, np.inf):
        return rewriter.op("Relu", source, like=output)
    ends = [None if np.isinf(bound) else rewriter.constant(bound, "bound", dtype_of(output)) for bound in bounds]
    while ends and ends[-1] is None:
        ends.pop()
    return rewriter.op("Clip", source, *ends, like=output)
