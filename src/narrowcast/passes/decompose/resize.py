"""Resizes that LiteRT computes otherwise than ONNX: each axis by itself, nearest by Gather, the others by a matrix.

The matrix along an axis holds ONNX's interpolation weights, taken from ONNX Runtime itself: the identity matrix's rows,
resized along that axis, are its columns. So all modes, coordinate transformations and roundings are exact.
"""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import Builder, constant_of
from narrowcast.model import Array, ir
from narrowcast.passes.rewrite import Rewriter, RuleSet, dims

RULES = RuleSet()
LARGEST = 4096
"""Sides above this are left to the writer: the matrices would be larger than the tensors."""


def kernel_computes(node: ir.Node) -> bool:
    """Whether RESIZE_BILINEAR or RESIZE_NEAREST_NEIGHBOR computes the same."""
    shape, out = dims(node.inputs[0]), dims(node.outputs[0])
    attributes = node.attributes
    if shape is None or out is None or len(shape) != 4 or shape[:2] != out[:2]:
        return False
    mode = attributes.get_string("mode", "nearest")
    transform = attributes.get_string("coordinate_transformation_mode", "half_pixel")
    if attributes.get_int("antialias", 0) or mode not in ("nearest", "linear"):
        return False
    if transform == "pytorch_half_pixel" and min(out[2:]) > 1:
        transform = "half_pixel"
    if len(node.inputs) > 2 and node.inputs[2] is not None and not _ratio_is_scale(node, shape, out):
        return False
    if mode == "linear":
        return transform in ("half_pixel", "align_corners", "asymmetric")
    rounding = attributes.get_string("nearest_mode", "round_prefer_floor")
    growing = all(o % s == 0 for o, s in zip(out[2:], shape[2:], strict=True))
    return {
        "asymmetric": rounding == "floor",
        "half_pixel": rounding == "round_prefer_ceil" or (rounding == "round_prefer_floor" and growing),
        "align_corners": rounding == "round_prefer_ceil",
    }.get(transform, False)


def _ratio_is_scale(node: ir.Node, shape: tuple[int, ...], out: tuple[int, ...]) -> bool:
    scales = constant_of(node.inputs[2])
    return scales is None or scales.size == 0 or bool(np.allclose(scales * np.array(shape), out, rtol=1e-6))


@RULES.rule("Resize")
def by_matrices(node: ir.Node, rewriter: Rewriter) -> bool | str:
    """Axis by axis."""
    source = node.inputs[0]
    shape, out = dims(source), dims(node.outputs[0])
    if source is None or shape is None or out is None or kernel_computes(node):
        return False
    if max(*shape, *out) > LARGEST or "axes" in node.attributes:
        return "a side is too long for a matrix"
    changed = [axis for axis, (a, b) in enumerate(zip(shape, out, strict=True)) if a != b]
    matrices = {axis: _matrix(node, axis, shape, out) for axis in changed}
    rewriter.at(node)
    value = source
    now = list(shape)
    for axis, matrix in matrices.items():
        now[axis] = out[axis]
        if node.attributes.get_string("mode", "nearest") == "nearest":
            indices = rewriter.constant(matrix.argmax(axis=0).astype(np.int64), "indices")
            value = rewriter.op("Gather", value, indices, shape=now, dtype=np.float32, axis=axis)
        else:
            value = _product(value, matrix, axis, now, rewriter)
    return rewriter.replace(node.outputs[0], value)


def _product(value: ir.Value, matrix: Array, axis: int, shape: list[int], rewriter: Rewriter) -> ir.Value:
    """A product along one axis, put last between transposes."""
    rank = len(shape)
    perm = [index for index in range(rank) if index != axis] + [axis]
    before = dims(value)
    assert before is not None
    turned = rewriter.op("Transpose", value, shape=[before[i] for i in perm], dtype=np.float32, perm=perm)
    weights = rewriter.constant(matrix.astype(np.float32), "interpolation")
    made = rewriter.op("MatMul", turned, weights, shape=[shape[i] for i in perm], dtype=np.float32)
    return rewriter.op("Transpose", made, shape=shape, dtype=np.float32, perm=[perm.index(i) for i in range(rank)])


def _matrix(node: ir.Node, axis: int, shape: tuple[int, ...], out: tuple[int, ...]) -> Array:
    """The interpolation weights along an axis, [in, out]: what ONNX Runtime makes of the identity matrix."""
    size = shape[axis]
    build = Builder.new("axis")
    x = build.input("x", (1, 1, size, size))
    attributes = {name: attribute.value for name, attribute in node.attributes.items()}
    scales = constant_of(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] is not None else None
    inputs: list[ir.Value | None] = [x, None]
    if scales is not None and scales.size:
        inputs.append(build.constant(np.array([1, 1, 1, scales[axis]], np.float32)))
    else:
        inputs.extend([None, build.constant(np.array([1, 1, size, out[axis]], np.int64))])
    y = build("Resize", *inputs, **attributes)
    y.dtype = ir.DataType.FLOAT
    import onnxruntime

    data = ir.to_proto(build.finish([y])).SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    result: Array = np.squeeze(session.run(None, {"x": np.eye(size, dtype=np.float32)[None, None]})[0], (0, 1))
    return result
