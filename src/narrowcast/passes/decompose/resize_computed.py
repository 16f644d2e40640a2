"""Resizes whose scales or region are computed: the weights along each axis are computed, too.

The output's shape is static, so a ramp of its positions is constant, and what follows is arithmetic in float32, as ONNX
Runtime has it: positions in the source (https://onnx.ai/onnx/operators/onnx__Resize.html), distances to all elements,
weights [in, out], and a product; or a Gather for the nearest.

Aligned corners go by the size before it is rounded, which is how ONNX's reference reads the standard; ONNX Runtime
takes the rounded one, and with whole sizes they agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np

from narrowcast.dialect.build import constant_of, input_of
from narrowcast.model import ir
from narrowcast.passes.decompose.resize import HALF, along
from narrowcast.passes.formula import Formula
from narrowcast.passes.rewrite import Rewriter, RuleSet, need, require, static_shape

RULES = RuleSet()

LARGEST = 4096
"""Longer sides are refused: the weights would be larger than the tensors."""
_CROP = "tf_crop_and_resize"


@dataclass(frozen=True, slots=True)
class _Axis:
    """One axis: its place and sizes, and [1, 1] tensors, or numbers, of what is computed."""

    place: int
    size: int
    out: int
    scale: ir.Value | float
    start: ir.Value | float = 0.0
    end: ir.Value | float = 1.0


@RULES.rule("Resize")
def by_computed_weights(node: ir.Node, rewriter: Rewriter) -> bool:
    """Axis by axis."""
    source, f = need(node.inputs[0]), Formula(node, rewriter)
    axes = _axes(node, f)
    nearest = node.attributes.get_string("mode", "nearest") == "nearest"
    require(max(max(axis.size, axis.out) for axis in axes) <= LARGEST, "a side is too long for a matrix")
    require(nearest or source.dtype is ir.DataType.FLOAT, "it interpolates integers")
    value, rank = source, len(static_shape(source))
    outside: list[ir.Value] = []
    for axis in axes:
        x = _positions(node, f, axis)
        if node.attributes.get_string("coordinate_transformation_mode", "") == _CROP:
            beyond = f("Or", f("Less", x, 0.0), f("Greater", x, float(axis.size - 1)))
            outside.append(f.reshape(beyond, [-1 if place == axis.place else 1 for place in range(rank)]))
            x = f("Min", f("Max", x, 0.0), float(axis.size - 1))
        if nearest:
            value = f.gather(value, f.reshape(_nearest(node, f, x, axis), [axis.out]), axis.place)
        else:
            value = along(f, value, _weights(node, f, x, axis), axis.place)
    if outside:
        number = f.constant(node.attributes.get_float("extrapolation_value", 0.0), f.dtype)
        value = f("Where", reduce(lambda a, b: f("Or", a, b), outside), number, value)
    return f.becomes(value)


def _axes(node: ir.Node, f: Formula) -> list[_Axis]:
    """The axes that are resized, where something is computed."""
    shape, out = static_shape(node.inputs[0]), static_shape(node.outputs[0])
    roi, scales, sizes = (input_of(node, index) for index in range(1, 4))
    require(any(value is not None and constant_of(value) is None for value in (roi, scales, sizes)))
    transform = node.attributes.get_string("coordinate_transformation_mode", "half_pixel")
    require(node.attributes.get_string("keep_aspect_ratio_policy", "stretch") == "stretch")
    places = [axis % len(shape) for axis in node.attributes.get_ints("axes", tuple(range(len(shape))))]

    def number(value: ir.Value, index: int) -> ir.Value | float:
        array = constant_of(value)
        if array is not None:
            return float(array.reshape(-1)[index])
        return f.cast(f.reshape(f.slice(value, 0, index, index + 1), [1, 1]), np.float32)

    found = []
    for index, place in enumerate(places):
        size, wide = shape[place], out[place]
        if size == wide == 1 and transform != _CROP:
            continue
        scale = number(scales, index) if scales is not None else float(np.float32(wide) / np.float32(size))
        region: tuple[ir.Value | float, ...] = ()
        if roi is not None and transform == _CROP:
            region = (number(roi, index), number(roi, len(places) + index))
        found.append(_Axis(place, size, wide, scale, *region))
    return found


def _positions(node: ir.Node, f: Formula, axis: _Axis) -> ir.Value:
    """Where the output's elements lie in the source, [1, out]."""
    transform = node.attributes.get_string("coordinate_transformation_mode", "half_pixel")
    ramp = f.constant(np.arange(axis.out)[None], np.float32, "ramp")
    last = float(axis.size - 1)
    if transform == _CROP:
        ends = f.constant(np.array([[axis.start]]), np.float32) if isinstance(axis.start, float) else axis.start
        width = f("Sub", axis.end, ends)
        if axis.out == 1:
            return f("Mul", f("Add", ends, axis.end), last / 2)
        return f("Add", f("Mul", ends, last), f("Div", f("Mul", ramp, f("Mul", width, last)), float(axis.out - 1)))
    if axis.out == 1 and transform in ("align_corners", "pytorch_half_pixel"):
        return f("Mul", ramp, 0.0)
    if transform == "align_corners":
        steps = axis.scale * axis.size - 1 if isinstance(axis.scale, float) else f("Mul", axis.scale, float(axis.size))
        return f("Div", f("Mul", ramp, last), steps if isinstance(steps, float) else f("Sub", steps, 1.0))
    if transform == "asymmetric":
        return f("Div", ramp, axis.scale)
    centred = f("Sub", f("Div", f("Add", ramp, 0.5), axis.scale), 0.5)
    if transform != "half_pixel_symmetric" or isinstance(axis.scale, float):
        return centred
    kept = f("Div", float(axis.out), f("Mul", axis.scale, float(axis.size)))
    return f("Add", f("Mul", f("Sub", 1.0, kept), axis.size / 2), centred)


def _nearest(node: ir.Node, f: Formula, x: ir.Value, axis: _Axis) -> ir.Value:
    rounding = node.attributes.get_string("nearest_mode", "round_prefer_floor")
    whole = {
        "round_prefer_floor": lambda: f("Ceil", f("Sub", x, HALF)),
        "round_prefer_ceil": lambda: f("Floor", f("Add", x, HALF)),
        "floor": lambda: f("Floor", x),
        "ceil": lambda: f("Ceil", x),
    }[rounding]()
    return f.cast(f("Min", f("Max", whole, 0.0), float(axis.size - 1)), np.int64)


def _weights(node: ir.Node, f: Formula, x: ir.Value, axis: _Axis) -> ir.Value:
    """Weights [size, out]; those of places before the first and behind the last element count for these."""
    attributes = node.attributes
    cubic = attributes.get_string("mode", "nearest") == "cubic"
    reach, shrink = 2 if cubic else 1, None
    if attributes.get_int("antialias", 0):
        reach = int(np.ceil(reach * max(axis.size / axis.out, 1.0)))
        shrink = min(axis.scale, 1.0) if isinstance(axis.scale, float) else f("Min", axis.scale, 1.0)
    margin = 0 if attributes.get_int("exclude_outside", 0) else reach + 1
    places = np.arange(-margin, axis.size + margin)
    distance = f("Abs", f("Sub", f.constant(places[:, None], np.float32, "places"), x))
    distance = distance if shrink is None else f("Mul", distance, shrink)
    if cubic:
        a = attributes.get_float("cubic_coeff_a", -0.75)
        square = f("Mul", distance, distance)
        near = f("Add", f("Mul", f("Sub", f("Mul", distance, a + 2), a + 3), square), 1.0)
        far = f("Mul", distance, f("Add", f("Mul", distance, f("Sub", f("Mul", distance, a), 5 * a)), 8 * a))
        further = f("Where", f("Less", distance, 2.0), f("Sub", far, 4 * a), f.constant(0.0, np.float32))
        weights = f("Where", f("LessOrEqual", distance, 1.0), near, further)
    else:
        weights = f("Max", f("Sub", 1.0, distance), 0.0)
    weights = f("Div", weights, f.reduce("ReduceSum", weights, [0]))
    if not margin:
        return weights
    at_edge = np.clip(places, 0, axis.size - 1) == np.arange(axis.size)[:, None]
    return f.product(f.constant(at_edge, np.float32, "edges"), weights)
