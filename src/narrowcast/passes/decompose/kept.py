"""Operators of a file's own making, of domain `narrowcast`: images are channel-last in them, as in the file.

1. MaxPoolWithArgmax(x [N, H, W, C]) -> y, places. A place is that of the maximum in its window, row by row, plus 0.1;
   of equal ones that of the first column, as the kernel has it that is there to be run, and there the first row.
2. MaxUnpool(x [N, H, W, C], places) -> y [N, H * kernel, W * kernel, C]: zeros, and each number at its place.
3. ConvTransposeBias(x [N, H, W, in], w [in, out, kH, kW], b [out]) -> y.
4. DetectionPostProcess(codes [1, N, 4 or more], scores [1, N, classes], anchors [N, 4]) -> boxes [1, M, 4],
   classes [1, M], scores [1, M], count [1]. Codes and anchors are (y, x, height, width), boxes their corners. They are
   suppressed by the highest of their scores, or for each class (`use_regular_nms`); zeros are behind what is left.

`schemas.custom` says where they come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from narrowcast.dialect.build import attributes_of, dims
from narrowcast.dialect.control import all_graphs
from narrowcast.dialect.windows import same_pads
from narrowcast.model import NARROWCAST, Model, ir
from narrowcast.passes.decompose.fourier import magnitude
from narrowcast.passes.formula import Formula
from narrowcast.passes.rewrite import Rewriter, RuleSet, is_read, need, operands, require, static_shape

__all__ = ["RULES", "opened_kept"]

RULES = RuleSet()

_LOWEST = float(np.finfo(np.float32).min)
_TO_FIRST, _TO_LAST = (0, 3, 1, 2), (0, 2, 3, 1)


def opened_kept(model: ir.Model) -> ir.Model:
    """A copy with these operators, and magnitudes, in others, for ONNX Runtime; the graph itself if it has none."""
    rules = RuleSet({**RULES.by_operator, f"{NARROWCAST}::Magnitude": [magnitude]})
    names = {f"{node.domain}::{node.op_type}" for graph in all_graphs(model.graph) for node in graph}
    if not names & rules.by_operator.keys():
        return model
    copy = model.clone()
    for graph in list(all_graphs(copy.graph)):
        Rewriter(Model(ir.Model(graph, ir_version=copy.ir_version)), rules).run()
    return copy


@RULES.rule("narrowcast::MaxPoolWithArgmax")
def pool_with_places(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 1: a MaxPool, and a comparison with each pixel of its windows."""
    source, shape = need(node.inputs[0]), static_shape(node.inputs[0])
    batch, height, width, channels = shape
    options, f = attributes_of(node), Formula(node, rewriter)
    kernel, strides = options["kernel_shape"], options["strides"]
    same = same_pads((height, width), kernel, strides, (1, 1)) if options["padding"] == "SAME" else (0,) * 4
    whole = [size + same[axis] + same[2 + axis] for axis, size in enumerate((height, width))]
    outs = [(size - taps) // stride + 1 for size, taps, stride in zip(whole, kernel, strides, strict=True)]
    pooled = rewriter.op(
        "MaxPool",
        f.transpose(source, _TO_FIRST),
        shape=(batch, channels, *outs),
        dtype=f.dtype,
        kernel_shape=list(kernel),
        strides=list(strides),
        pads=list(same),
        dilations=[1, 1],
    )
    highest = f.transpose(pooled, _TO_LAST)
    if len(node.outputs) > 1 and is_read(node.outputs[1]):
        padded = f.pad(source, (0, *same[:2], 0), (0, *same[2:], 0), _LOWEST)
        found: ir.Value | None = None
        order = sorted(range(kernel[0] * kernel[1]), key=lambda place: (place % kernel[1], place), reverse=True)
        for place in order:
            part = padded
            for axis, start in enumerate(divmod(place, kernel[1])):
                stop = start + (outs[axis] - 1) * strides[axis] + 1
                part = f.slice(part, 1 + axis, start, stop, strides[axis])
            number = f.constant(float(np.float32(place) + np.float32(0.1)), f.dtype)
            found = number if found is None else f("Where", f("Equal", part, highest), number, found)
        places = need(found)
        if kernel[0] * kernel[1] == 1:
            places = f("Add", f("Mul", highest, 0.0), places)
        rewriter.replace(node.outputs[1], places)
    return f.becomes(highest)


@RULES.rule("narrowcast::MaxUnpool")
def unpool(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 2: all places of a window side by side, and each number where its own place is."""
    (source, places), options = operands(node, 2), attributes_of(node)
    rows, columns = options["kernel_shape"]
    require([rows, columns] == list(options["strides"]), "its windows overlap")
    batch, height, width, channels = static_shape(source)
    f = Formula(node, rewriter)
    apart = (batch, height, 1, width, 1, channels)
    numbers = np.arange(rows * columns, dtype=np.int32).reshape(1, 1, rows, 1, columns, 1)
    here = f("Equal", f.cast(f.reshape(places, apart), np.int32), f.constant(numbers, np.int32))
    spread = f("Where", here, f.reshape(source, apart), f.constant(0.0, f.dtype))
    return f.becomes(f.reshape(spread, (batch, height * rows, width * columns, channels)))


@RULES.rule("narrowcast::ConvTransposeBias")
def transposed_convolution(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 3."""
    (source, kernel, bias), options = operands(node, 3), attributes_of(node)
    f, window, strides = Formula(node, rewriter), static_shape(kernel)[2:], options["strides"]
    begins, ends = [], []
    for size, taps, stride in zip(static_shape(source)[1:3], window, strides, strict=True):
        total = max(taps - (size - 1) % stride - 1, 0) if options["padding"] == "SAME" else 0
        begins.append(total // 2)
        ends.append(total - total // 2)
    shape = need(dims(node.outputs[0]))
    made = rewriter.op(
        "ConvTranspose",
        f.transpose(source, _TO_FIRST),
        kernel,
        bias,
        shape=[shape[axis] for axis in _TO_FIRST],
        dtype=f.dtype,
        kernel_shape=list(window),
        strides=list(strides),
        pads=[*begins, *ends],
        dilations=[1, 1],
        group=1,
    )
    return f.becomes(f.transpose(made, _TO_LAST))


@RULES.rule("narrowcast::DetectionPostProcess")
def detections(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 4: one suppression, whose result is a mask; the best of what it leaves are taken by TopK."""
    (codes, given, anchors), options = operands(node, 3), attributes_of(node)
    f = Formula(node, rewriter)
    boxes = _decoded(f, codes, anchors, options)
    count, classes = static_shape(given)[1:]
    scores = f.reshape(f.slice(given, 2, classes - options["num_classes"], classes), (count, options["num_classes"]))
    if options["use_regular_nms"]:
        lists, most = f.transpose(scores, (1, 0)), options["detections_per_class"]
    else:
        lists, most = f.reshape(f.reduce("ReduceMax", scores, (1,)), (1, count)), options["max_detections"]
    total = static_shape(lists)[0] * count
    left = f.reshape(f("Where", _suppressed(f, boxes, lists, most, options), lists, _LOWEST), (total,))
    found = min(options["max_detections"], total)
    best, places = _largest(f, left, found)
    there, box = f("Greater", best, _LOWEST), f("Mod", places, f.constant(count))
    if options["use_regular_nms"]:
        each = 1
        values, labels = (f.reshape(x, (found, 1)) for x in (best, f("Div", places, f.constant(count))))
    else:
        each = min(options["max_classes_per_detection"], options["num_classes"])
        values, labels = _largest(f, f.gather(scores, box), each)
    corners = f.reshape(f.gather(boxes, box), (found, 1, 4))
    corners = rewriter.op("Expand", corners, f.constant([found, each, 4]), shape=(found, each, 4), dtype=f.dtype)
    results = []
    for value in (corners, f.cast(labels, f.dtype), values):
        mask = f.reshape(there, (found, *[1] * (len(static_shape(value)) - 1)))
        results.append(f("Where", mask, value, 0.0))
    filled = [_filled(f, value, static_shape(output)) for output, value in zip(node.outputs, results, strict=False)]
    number = f.reshape(f.reduce("ReduceSum", f.cast(there, f.dtype), (0,)), (1,))
    for output, value in zip(node.outputs, [*filled, number], strict=True):
        if is_read(output):
            rewriter.replace(output, value)
    return True


def _largest(f: Formula, values: ir.Value, count: int) -> tuple[ir.Value, ir.Value]:
    """The largest along the last axis, and their places, int64."""
    shape = (*static_shape(values)[:-1], count)
    best, places = f.rewriter.ops("TopK", values, f.constant([count]), outputs=2, shape=shape, dtype=f.dtype, axis=-1)
    places.shape, places.dtype = ir.Shape(shape), ir.DataType.INT64
    return best, places


def _filled(f: Formula, value: ir.Value, shape: tuple[int, ...]) -> ir.Value:
    """Rows of results as an output has them, zeros behind."""
    rows = int(np.prod(static_shape(value)) // np.prod(shape[2:], dtype=int))
    value = f.reshape(value, (1, rows, *shape[2:]))
    return f.pad(value, [0] * len(shape), [0, shape[1] - rows, *[0] * (len(shape) - 2)])


def _decoded(f: Formula, codes: ir.Value, anchors: ir.Value, options: Mapping[str, Any]) -> ir.Value:
    """The corners [N, 4] of boxes, by anchors: centres are moved by their sizes, sizes multiplied by an exponential."""
    count, width = static_shape(codes)[1:]
    codes = f.slice(f.reshape(codes, (count, width)), 1, 0, 4)
    centre, size = (f.slice(anchors, 1, start, start + 2) for start in (0, 2))
    scales = np.array([1 / options[f"{axis}_scale"] for axis in "yxhw"], np.float32)
    moved = f("Mul", f.slice(codes, 1, 0, 2), scales[:2])
    grown = f("Mul", f.slice(codes, 1, 2, 4), scales[2:])
    middle = f("Add", f("Mul", moved, size), centre)
    half = f("Mul", f("Mul", f("Exp", grown), size), 0.5)
    return f.concat([f("Sub", middle, half), f("Add", middle, half)], 1)


def _suppressed(f: Formula, boxes: ir.Value, lists: ir.Value, most: int, options: Mapping[str, Any]) -> ir.Value:
    """Which scores of which list [lists, N] are left, bool: those whose boxes overlap none of a higher score."""
    shape = static_shape(lists)
    lowest = float(np.nextafter(np.float32(options["nms_score_threshold"]), -np.inf))  # the kernel's is inclusive
    found = f.rewriter.op(
        "NonMaxSuppression",
        f.reshape(boxes, (1, *static_shape(boxes))),
        f.reshape(lists, (1, *shape)),
        f.constant([most]),
        f.constant(np.array([options["nms_iou_threshold"]]), np.float32),
        f.constant(np.array([lowest]), np.float32),
        shape=("count", 3),
        dtype=np.int64,
    )
    bounds = [f.constant([number]) for number in (1, 3, 1, 1)]
    places = f.rewriter.op("Slice", found, *bounds, shape=("count", 2), dtype=np.int64)
    none = f.rewriter.op("Gather", found, f.constant(0), shape=("count",), dtype=np.int64, axis=1)
    ones = f("Add", f.cast(none, np.float32), f.constant(1.0, np.float32))
    zeros = f.constant(np.zeros(shape), np.float32)
    mask = f.rewriter.op("ScatterND", zeros, places, ones, shape=shape, dtype=np.float32, reduction="add")
    return f("Greater", mask, f.constant(0.0, np.float32))
