"""Arguments in one spelling: axes non-negative, Slice and Split and Resize said in full.

1. Negative `axis` attributes and axes inputs -> non-negative. 2. Slice: starts, ends, axes, steps within bounds.
3. Split: its sizes. 4. Resize: sizes for scales, where ONNX computes the same coordinates from them (size = floor(scale
* input), and the scale is the ratio of the sizes); otherwise the scales stay. 5. Sub of a constant -> Add of its
negative.
6. Pow by 2 -> Mul, by 0.5 -> Sqrt. 7. Pad with axes -> Pad of all axes.
"""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import attributes_of, constant_of, input_of
from narrowcast.model import ir
from narrowcast.passes.rewrite import (
    Rewriter,
    RuleSet,
    constant_operand,
    dims,
    need,
    reduced_axes,
    require,
    scalar_of,
)

RULES = RuleSet()

_AXIS_DEFAULTS = {
    "Concat": None,
    "Softmax": -1,
    "LogSoftmax": -1,
    "Hardmax": -1,
    "Split": 0,
    "Gather": 0,
    "ArgMax": 0,
    "ArgMin": 0,
    "LpNormalization": -1,
    "GatherElements": 0,
    "ScatterElements": 0,
    "TopK": -1,
}
_REDUCTIONS = [
    f"Reduce{name}" for name in ("Mean", "Sum", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum", "LogSumExp")
]


@RULES.rule(*_AXIS_DEFAULTS)
def axis(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 1, attributes."""
    shape = need(need(node.inputs[0]).shape)
    given = need(node.attributes.get_int("axis", _AXIS_DEFAULTS[node.op_type]))
    resolved = given % max(len(shape), 1)
    require("axis" not in node.attributes or resolved != given)
    node.attributes["axis"] = ir.AttrInt64("axis", resolved)
    return True


@RULES.rule(*_REDUCTIONS)
def reduction_axes(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 1, inputs: sorted, and there even where all axes are meant."""
    resolved, given = list(need(reduced_axes(node))), constant_of(input_of(node, 1))
    require(resolved and (given is None or given.tolist() != resolved))
    rewriter.set_input(node, 1, rewriter.at(node).constant(np.array(resolved, np.int64), "axes"))
    return True


@RULES.rule("Slice")
def whole_slice(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 2."""
    shape = need(need(node.inputs[0]).shape)
    given = [_numbers(node, index) for index in range(1, 5)]
    starts, ends = list(need(given[0])), list(need(given[1]))
    axes = list(range(len(starts))) if given[2] is None else [axis % len(shape) for axis in given[2]]
    steps = given[3] or [1] * len(starts)
    for index, (position, step) in enumerate(zip(axes, steps, strict=True)):
        size = shape[position]
        if not isinstance(size, int):
            continue
        low, high = (0, size) if step > 0 else (-1, size - 1)
        begin = starts[index] + size if starts[index] < 0 else starts[index]
        end = ends[index] + size if ends[index] < 0 else ends[index]
        starts[index] = int(np.clip(begin, 0, size if step > 0 else size - 1))
        ends[index] = int(np.clip(end, low, high)) if not (step < 0 and ends[index] < -size) else -size - 1
    wanted = [starts, ends, axes, steps]
    require(given != wanted)
    rewriter.at(node)
    for index, values in enumerate(wanted):
        rewriter.set_input(node, index + 1, rewriter.constant(np.array(values, np.int64), "slice"))
    return True


def _numbers(node: ir.Node, index: int) -> list[int] | None:
    """A constant argument as a list; None where it is left out."""
    given = input_of(node, index)
    array = constant_of(given)
    require(given is None or array is not None, "its arguments are computed")
    return None if array is None else array.reshape(-1).tolist()


@RULES.rule("Split")
def split_sizes(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 3."""
    require(input_of(node, 1) is None)
    position = node.attributes.get_int("axis", 0)
    sizes = [need(output.shape, "the sizes are unknown")[position] for output in node.outputs]
    require(all(isinstance(size, int) for size in sizes), "the sizes are unknown")
    node.attributes.pop("num_outputs", None)
    rewriter.set_input(node, 1, rewriter.at(node).constant(np.array(sizes, np.int64), "sizes"))
    return True


@RULES.rule("Resize")
def resize_sizes(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 4."""
    source, output = (need(dims(value), "the sizes are unknown") for value in (node.inputs[0], node.outputs[0]))
    crops = node.attributes.get_string("coordinate_transformation_mode", "") == "tf_crop_and_resize"
    scales = need(constant_of(input_of(node, 2)))
    require("axes" not in node.attributes and not crops and scales.size)
    require(np.allclose(scales * source, output, rtol=1e-6), "its scale is not the ratio of its sizes")
    rewriter.at(node)
    sizes = rewriter.constant(np.array(output, np.int64), "sizes")
    attributes = attributes_of(node)
    made = rewriter.op("Resize", node.inputs[0], None, None, sizes, like=node.outputs[0], **attributes)
    return rewriter.replace(node.outputs[0], made)


@RULES.rule("Sub")
def subtract_constant(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 5."""
    _, array, index = need(constant_operand(node))
    require(index == 1 and array.dtype.kind == "f")
    negative = rewriter.at(node).constant(-array, need(node.inputs[1]).name or "const")
    node.op_type = "Add"
    rewriter.set_input(node, 1, negative)
    return True


@RULES.rule("Pow")
def small_powers(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 6."""
    base, output = need(node.inputs[0]), node.outputs[0]
    require(base.shape == output.shape and need(base.dtype).is_floating_point())
    operator, count = need({2.0: ("Mul", 2), 0.5: ("Sqrt", 1)}.get(need(scalar_of(node.inputs[1]))))
    return rewriter.replace(output, rewriter.at(node).op(operator, *[base] * count, like=output))


@RULES.rule("Pad")
def pad_all_axes(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 7."""
    amounts, axes = need(constant_of(node.inputs[1])), need(constant_of(input_of(node, 3)))
    rank = len(need(need(node.inputs[0]).shape))
    full = np.zeros((2, rank), np.int64)
    full[:, axes % rank] = amounts.reshape(2, -1)
    rewriter.set_input(node, 1, rewriter.at(node).constant(full.reshape(-1), "pads"))
    node.resize_inputs(3)
    return True
