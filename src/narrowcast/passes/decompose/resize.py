"""Resizes that no kernel computes: each axis by itself, nearest by Gather, the others by a matrix.

The matrix along an axis holds the interpolation weights that ONNX defines for `Resize`
(https://onnx.ai/onnx/operators/onnx__Resize.html): all modes, coordinate transformations, roundings and anti-aliasing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from narrowcast.dialect.build import attributes_of, constant_of, input_of
from narrowcast.model import Array, ir
from narrowcast.passes.formula import Formula
from narrowcast.passes.rewrite import Rewriter, RuleSet, dims, need, require, static_shape

RULES = RuleSet()
LARGEST = 4096
"""Sides above this are left to the writer: the matrices would be larger than the tensors."""

HALF = 0.5 + 1e-6
"""ONNX Runtime takes what is as near as this to half way between two elements as half way."""


@dataclass(frozen=True, slots=True)
class Axis:
    """How one axis is resized: `scale` is what ONNX computes coordinates with, not always `out / size`.

    Runtimes compute them in float32, and whether 3 / 0.6 is below 5 decides which element is nearest.
    """

    size: int
    out: int
    scale: np.float32
    roi: tuple[np.float32, np.float32]


def axes_of(node: ir.Node) -> list[Axis] | None:
    """Every axis of a Resize; None where an argument is computed."""
    shape, out = dims(node.inputs[0]), dims(node.outputs[0])
    if shape is None or out is None:
        return None
    rank = len(shape)
    axes = [axis % rank for axis in node.attributes.get_ints("axes", tuple(range(rank)))]
    roi, scales, sizes = (_argument(node, index) for index in (1, 2, 3))
    if roi is None or scales is None or sizes is None:
        return None
    factors = [b / a if a else 1.0 for a, b in zip(shape, out, strict=True)]
    policy = node.attributes.get_string("keep_aspect_ratio_policy", "stretch")
    if scales.size:
        factors = _spread(scales, axes, factors)
    elif sizes.size and policy != "stretch":
        wanted = [size / shape[axis] for axis, size in zip(axes, sizes, strict=True)]
        common = min(wanted) if policy == "not_larger" else max(wanted)
        factors = _spread(np.full(len(axes), common), axes, factors)
    starts, ends = [0.0] * rank, [1.0] * rank
    if roi.size == 2 * len(axes):
        starts, ends = _spread(roi[: len(axes)], axes, starts), _spread(roi[len(axes) :], axes, ends)
    rows = zip(shape, out, factors, starts, ends, strict=True)
    return [Axis(a, b, np.float32(f), (np.float32(s), np.float32(e))) for a, b, f, s, e in rows]


def _argument(node: ir.Node, index: int) -> Array | None:
    """A constant argument, empty where it is left out."""
    value = input_of(node, index)
    return np.empty(0) if value is None else constant_of(value)


def _spread(values: Array, axes: list[int], default: list[float]) -> list[float]:
    found = list(default)
    for axis, value in zip(axes, values.tolist(), strict=True):
        found[axis] = float(value)
    return found


def _is_plain(axes: list[Axis]) -> bool:
    return all(abs(axis.scale * axis.size - axis.out) <= 1e-6 * axis.out for axis in axes)


@RULES.rule("Resize")
def by_sizes(node: ir.Node, rewriter: Rewriter) -> bool:
    """Some axes, or a policy, are the sizes of all axes, where coordinates stay what they were."""
    axes, odd = need(axes_of(node)), _odd(node)
    require(odd and _is_plain(axes))
    sizes = rewriter.at(node).constant(np.array([axis.out for axis in axes], np.int64), "sizes")
    made = rewriter.op("Resize", node.inputs[0], None, None, sizes, like=node.outputs[0], **attributes_of(node, *odd))
    return rewriter.replace(node.outputs[0], made)


def _odd(node: ir.Node) -> list[str]:
    return [name for name in ("axes", "keep_aspect_ratio_policy") if name in node.attributes]


@RULES.rule("Resize")
def by_matrices(node: ir.Node, rewriter: Rewriter) -> bool:
    """Axis by axis, of a Resize that is said in full."""
    source, axes = need(node.inputs[0]), need(axes_of(node), "its sizes are computed")
    require(not _odd(node) or not _is_plain(axes))  # `by_sizes` first
    require(max(max(axis.size, axis.out) for axis in axes) <= LARGEST, "a side is too long for a matrix")
    f = Formula(node, rewriter)
    value, outside = source, np.zeros((1,) * len(axes), np.bool_)
    cropped = node.attributes.get_string("coordinate_transformation_mode", "") == "tf_crop_and_resize"
    for index, axis in enumerate(axes):
        if axis.size == axis.out and axis.scale == 1.0 and not cropped:
            continue
        matrix = interpolation(node, axis)
        if node.attributes.get_string("mode", "nearest") == "nearest" and matrix.any(axis=0).all():
            value = f.gather(value, matrix.argmax(axis=0).astype(np.int64), index)
        else:
            value = along(f, value, f.constant(matrix, np.float32, "interpolation"), index)
        places = (-1 if other == index else 1 for other in range(len(axes)))
        outside = outside | ~matrix.any(axis=0).reshape(tuple(places))
    if outside.any():
        value = f("Add", value, outside * node.attributes.get_float("extrapolation_value", 0.0))
    return f.becomes(value)


def along(f: Formula, value: ir.Value, matrix: ir.Value, axis: int) -> ir.Value:
    """A product with a matrix [in, out] along one axis, put last between transposes."""
    rank = len(static_shape(value))
    perm = [index for index in range(rank) if index != axis] + [axis]
    turned = f.transpose(value, perm)
    shape = static_shape(turned)
    flat = f.reshape(turned, [-1, shape[-1]] if rank == 1 else shape)
    made, out = f.product(flat, matrix), static_shape(matrix)[1]
    return f.transpose(f.reshape(made, [*shape[:-1], out]), [perm.index(i) for i in range(rank)])


def interpolation(node: ir.Node, axis: Axis) -> Array:
    """The interpolation weights along an axis, float64 [in, out]; a column of zeros lies outside the region."""
    attributes = node.attributes
    mode = attributes.get_string("mode", "nearest")
    transform = _TRANSFORMS[attributes.get_string("coordinate_transformation_mode", "half_pixel")]
    matrix = np.zeros((axis.size, axis.out))
    for column in range(axis.out):
        x = transform(np.float32(column), axis)
        if transform is _crop and not 0 <= x <= axis.size - 1:
            continue
        if mode == "nearest":
            place = _ROUNDINGS[attributes.get_string("nearest_mode", "round_prefer_floor")](x)
            matrix[int(np.clip(place, 0, axis.size - 1)), column] = 1.0
            continue
        shrink = min(float(axis.scale), 1.0) if attributes.get_int("antialias", 0) else 1.0
        reach = int(np.ceil({"linear": 1, "cubic": 2}[mode] / shrink))
        left = int(np.ceil(x)) - 1
        places = np.arange(left - reach + 1, left + reach + 1)
        distance = np.abs(places - x) * shrink
        weights = (
            _linear(distance) if mode == "linear" else _cubic(distance, attributes.get_float("cubic_coeff_a", -0.75))
        )
        if attributes.get_int("exclude_outside", 0):
            weights = np.where((places >= 0) & (places < axis.size), weights, 0.0)
        np.add.at(matrix[:, column], np.clip(places, 0, axis.size - 1), weights / weights.sum())
    return matrix


def _linear(distance: Array) -> Array:
    return np.clip(1.0 - distance, 0.0, 1.0)


def _cubic(distance: Array, a: float) -> Array:
    """Keys' kernel (https://doi.org/10.1109/TASSP.1981.1163711)."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))


def _crop(x: np.float32, axis: Axis) -> np.float32:
    start, end = axis.roi
    if axis.out == 1:
        return (start + end) * (axis.size - 1) / 2
    return start * (axis.size - 1) + x * (end - start) * (axis.size - 1) / (axis.out - 1)


def _half_pixel(x: np.float32, axis: Axis) -> np.float32:
    return (x + 0.5) / axis.scale - 0.5


def _symmetric(x: np.float32, axis: Axis) -> np.float32:
    adjustment = axis.out / (axis.scale * axis.size)
    return axis.size / 2 * (1 - adjustment) + _half_pixel(x, axis)


def _align_corners(x: np.float32, axis: Axis) -> np.float32:
    return np.float32(0) if axis.out == 1 else x * (axis.size - 1) / (axis.out - 1)


_TRANSFORMS: dict[str, Callable[[np.float32, Axis], np.float32]] = {
    "half_pixel": _half_pixel,
    "half_pixel_symmetric": _symmetric,
    "pytorch_half_pixel": lambda x, axis: np.float32(0) if axis.out == 1 else _half_pixel(x, axis),
    "align_corners": _align_corners,
    "asymmetric": lambda x, axis: x / axis.scale,
    "tf_crop_and_resize": _crop,
}
_ROUNDINGS: dict[str, Callable[[np.float32], float]] = {
    "round_prefer_floor": lambda x: float(np.ceil(float(x) - HALF)),
    "round_prefer_ceil": lambda x: float(np.floor(float(x) + HALF)),
    "floor": lambda x: float(np.floor(x)),
    "ceil": lambda x: float(np.ceil(x)),
}
