"""Arguments in one spelling: axes non-negative, Slice and Split and Resize said in full.

1. Negative `axis` attributes and axes inputs -> non-negative. 2. Slice: starts, ends, axes, steps within bounds.
3. Split: its sizes. 4. Resize: sizes for scales, where ONNX computes the same coordinates from them (size = floor(scale
* input), and the scale is the ratio of the sizes); otherwise the scales stay. 5. Sub of a constant -> Add of its
negative.
6. Pow by 2 -> Mul, by 0.5 -> Sqrt. 7. Pad with axes -> Pad of all axes.
"""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import attributes_of, constant_of
from narrowcast.model import ir
from narrowcast.passes.rewrite import Rewriter, RuleSet, constant_operand, dims, scalar_of

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
    value = node.inputs[0]
    given = node.attributes.get_int("axis", _AXIS_DEFAULTS[node.op_type])
    if value is None or value.shape is None or given is None:
        return False
    resolved = given % max(len(value.shape), 1)
    if "axis" in node.attributes and resolved == given:
        return False
    node.attributes["axis"] = ir.AttrInt64("axis", resolved)
    return True


@RULES.rule(*_REDUCTIONS)
def reduction_axes(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 1, inputs: sorted, and there even where all axes are meant."""
    source = node.inputs[0]
    if source is None or source.shape is None:
        return False
    given = node.inputs[1] if len(node.inputs) > 1 else None
    axes = constant_of(given)
    if given is not None and axes is None:
        return False
    rank = len(source.shape)
    if axes is None or axes.size == 0:
        if node.attributes.get_int("noop_with_empty_axes", 0):
            return False
        resolved = list(range(rank))
    else:
        resolved = sorted({int(axis) % rank for axis in axes.reshape(-1)})
    if axes is not None and axes.tolist() == resolved:
        return False
    rewriter.set_input(node, 1, rewriter.at(node).constant(np.array(resolved, np.int64), "axes"))
    return True


@RULES.rule("Slice")
def whole_slice(node: ir.Node, rewriter: Rewriter) -> bool | str:
    """Case 2."""
    source = node.inputs[0]
    arguments = [constant_of(value) for value in node.inputs[1:5]]
    if (
        source is None
        or source.shape is None
        or any(
            array is None and index < len(node.inputs) - 1 and node.inputs[index + 1] is not None
            for index, array in enumerate(arguments)
        )
    ):
        return "its arguments are computed"
    starts, ends = (array.reshape(-1).tolist() for array in arguments[:2] if array is not None)
    rank = len(source.shape)
    axes = (
        [int(a) % rank for a in arguments[2].reshape(-1)]
        if len(arguments) > 2 and arguments[2] is not None
        else list(range(len(starts)))
    )
    steps = arguments[3].reshape(-1).tolist() if len(arguments) > 3 and arguments[3] is not None else [1] * len(starts)
    for index, (position, step) in enumerate(zip(axes, steps, strict=True)):
        size = source.shape[position]
        if not isinstance(size, int):
            continue
        low, high = (0, size) if step > 0 else (-1, size - 1)
        begin = starts[index] + size if starts[index] < 0 else starts[index]
        end = ends[index] + size if ends[index] < 0 else ends[index]
        starts[index] = int(np.clip(begin, 0, size if step > 0 else size - 1))
        ends[index] = int(np.clip(end, low, high)) if not (step < 0 and ends[index] < -size) else -size - 1
    wanted = [starts, ends, axes, steps]
    present = [None if array is None else array.reshape(-1).tolist() for array in arguments]
    if present == wanted and len(node.inputs) == 5:
        return False
    rewriter.at(node)
    for index, values in enumerate(wanted):
        rewriter.set_input(node, index + 1, rewriter.constant(np.array(values, np.int64), "slice"))
    return True


@RULES.rule("Split")
def split_sizes(node: ir.Node, rewriter: Rewriter) -> bool | str:
    """Case 3."""
    if len(node.inputs) > 1 and node.inputs[1] is not None:
        return False if "num_outputs" not in node.attributes else bool(node.attributes.pop("num_outputs"))
    position = node.attributes.get_int("axis", 0)
    sizes = [output.shape[position] if output.shape is not None else None for output in node.outputs]
    if not all(isinstance(size, int) for size in sizes):
        return "the sizes are unknown"
    node.attributes.pop("num_outputs", None)
    rewriter.set_input(node, 1, rewriter.at(node).constant(np.array(sizes, np.int64), "sizes"))
    return True


@RULES.rule("Resize")
def resize_sizes(node: ir.Node, rewriter: Rewriter) -> bool | str:
    """Case 4."""
    source, output = dims(node.inputs[0]), dims(node.outputs[0])
    scales = constant_of(node.inputs[2]) if len(node.inputs) > 2 else None
    if source is None or output is None:
        return "the sizes are unknown"
    if (
        "axes" in node.attributes
        or node.attributes.get_string("coordinate_transformation_mode", "") == "tf_crop_and_resize"
    ):
        return False
    if scales is None or scales.size == 0:
        return False
    if not np.allclose(scales * np.array(source), output, rtol=1e-6):
        return "its scale is not the ratio of its sizes"
    rewriter.at(node)
    sizes = rewriter.constant(np.array(output, np.int64), "sizes")
    attributes = attributes_of(node)
    made = rewriter.op("Resize", node.inputs[0], None, None, sizes, like=node.outputs[0], **attributes)
    return rewriter.replace(node.outputs[0], made)


@RULES.rule("Sub")
def subtract_constant(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 5."""
    found = constant_operand(node)
    if found is None or found[2] != 1 or found[1].dtype.kind != "f":
        return False
    negative = rewriter.at(node).constant(-found[1], node.inputs[1].name or "const")  # type: ignore[union-attr]
    node.op_type = "Add"
    rewriter.set_input(node, 1, negative)
    return True


@RULES.rule("Pow")
def small_powers(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 6."""
    base, power = node.inputs[0], scalar_of(node.inputs[1])
    if base is None or base.shape != node.outputs[0].shape or base.dtype is None or not base.dtype.is_floating_point():
        return False
    rewriter.at(node)
    if power == 2.0:
        return rewriter.replace(node.outputs[0], rewriter.op("Mul", base, base, like=node.outputs[0]))
    if power == 0.5:
        return rewriter.replace(node.outputs[0], rewriter.op("Sqrt", base, like=node.outputs[0]))
    return False


@RULES.rule("Pad")
def pad_all_axes(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 7."""
    source = node.inputs[0]
    if len(node.inputs) < 4 or node.inputs[3] is None or source is None or source.shape is None:
        return False
    amounts, axes = constant_of(node.inputs[1]), constant_of(node.inputs[3])
    if amounts is None or axes is None:
        return False
    rank = len(source.shape)
    full = np.zeros((2, rank), np.int64)
    full[:, axes % rank] = amounts.reshape(2, -1)
    rewriter.set_input(node, 1, rewriter.at(node).constant(full.reshape(-1), "pads"))
    node.resize_inputs(3)
    return True
