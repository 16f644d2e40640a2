"""Resizing and sampling."""

from __future__ import annotations

from typing import Any

import numpy as np

from narrowcast.dialect.build import Builder, constant_of, dims, input_of
from narrowcast.errors import UnsupportedOpError
from narrowcast.model import Model, ir
from narrowcast.readers.onnx.upgrade.registry import ALWAYS, changed, replace, set_input
from narrowcast.readers.onnx.upgrade.windows import infer_anew

_MODES = {"bilinear": "linear", "bicubic": "cubic"}


@changed(9, "Upsample")
def upsample_scales(node: ir.Node, build: Builder) -> None:
    """The attribute scales became an input."""
    scales = node.attributes.pop("scales", None)
    if scales is not None:
        set_input(node, 1, build.constant(np.array(scales.value, np.float32), f"{node.outputs[0].name}/scales"))


@changed(10, "Upsample")
def upsample_to_resize(node: ir.Node, build: Builder) -> None:
    """Upsample became Resize, which it is with asymmetric coordinates."""
    _resize(node, build, node.inputs[1], "floor")


@changed(11, "Resize")
def resize_from_scales(node: ir.Node, build: Builder) -> None:
    """Resize had asymmetric coordinates; the nearest one was the lower one when enlarging, the upper one when reducing.

    The specification left the rounding open; this is what ONNX Runtime does. Scales of both kinds, or computed ones,
    are split in two: a reduction, then an enlargement.
    """
    scales = node.inputs[1]
    known = constant_of(scales)
    linear = node.attributes.get_string("mode", "nearest") != "nearest"
    if known is not None and (linear or (known >= 1).all()):
        _resize(node, build, scales, "floor")
    elif known is not None and (known <= 1).all():
        _resize(node, build, scales, "ceil")
    elif linear:
        _resize(node, build, scales, "floor")
    else:
        name = node.outputs[0].name
        one = build.constant(np.ones(1, np.float32), f"{name}/one")
        reducing = build("Min", scales, one, name=f"{name}/reducing")
        enlarging = build("Max", scales, one, name=f"{name}/enlarging")
        reduced = build(
            "Resize", node.inputs[0], None, reducing, name=f"{name}/reduced", **_asymmetric("nearest", "ceil")
        )
        node.replace_input_with(0, reduced)
        _resize(node, build, enlarging, "floor")


def _resize(node: ir.Node, build: Builder, scales: ir.Value | None, rounding: str) -> None:
    mode = node.attributes.get_string("mode", "nearest")
    replace(node, build, "Resize", node.inputs[0], None, scales, **_asymmetric(_MODES.get(mode, mode), rounding))


def _asymmetric(mode: str, rounding: str) -> dict[str, Any]:
    nearest = {"nearest_mode": rounding} if mode == "nearest" else {}
    return {"mode": mode, "coordinate_transformation_mode": "asymmetric", **nearest}


@changed(13, "Resize")
def resize_half_pixel_for_nn(node: ir.Node, build: Builder) -> None:
    """`tf_half_pixel_for_nn` went: it is `half_pixel` half a pixel further, which the rounding of "nearest" can say."""
    coordinates = "coordinate_transformation_mode"
    if node.attributes.get_string(coordinates, "") != "tf_half_pixel_for_nn":
        return
    rounding = node.attributes.get_string("nearest_mode", "round_prefer_floor")
    same = {"floor": "round_prefer_ceil", "round_prefer_floor": "ceil"}.get(rounding)
    if node.attributes.get_string("mode", "nearest") != "nearest" or same is None:
        raise UnsupportedOpError(f"resizes with tf_half_pixel_for_nn and the rounding {rounding}")
    node.attributes[coordinates] = ir.AttrString(coordinates, "half_pixel")
    node.attributes["nearest_mode"] = ir.AttrString("nearest_mode", same)


@changed(ALWAYS, "Resize")
def resize_empty_operands(node: ir.Node, build: Builder) -> None:
    """Empty tensors for a region or scales that are not used are written as missing inputs."""
    for index in range(1, len(node.inputs)):
        known = constant_of(node.inputs[index])
        if known is not None and known.size == 0:
            node.replace_input_with(index, None)


@changed(20, "GridSample")
def grid_sample_modes(node: ir.Node, build: Builder) -> None:
    """The modes were renamed when more than two dimensions came."""
    mode = node.attributes.get_string("mode", "bilinear")
    node.attributes["mode"] = ir.AttrString("mode", _MODES.get(mode, mode))


def round_sizes(model: Model) -> None:
    """Gives sizes to a Resize by scales where ONNX's inference, in float64, finds one pixel less than runtimes have.

    5 times the float32 nearest to 1.4 is below 7, and 7 in float32. Where the scales are not the ratios of the sizes,
    which they then have to be, nothing is changed.
    """
    for node in model.graph:
        sizes = _larger(node) if node.op_type == "Resize" and not node.domain else None
        if sizes is not None:
            build = Builder(model.graph, anchor=node)
            set_input(node, 3, build.constant(np.array(sizes, np.int64), f"{node.outputs[0].name}/sizes"))
            set_input(node, 2, None)
            infer_anew(model)


def _larger(node: ir.Node) -> list[int] | None:
    """The sizes, in float32, of an output that was thought to be smaller; None where it was not."""
    before, after, scales = dims(node.inputs[0]), dims(node.outputs[0]), constant_of(input_of(node, 2))
    if before is None or after is None or scales is None or scales.size != len(before) or "axes" in node.attributes:
        return None
    sizes = [int(np.float32(size) * scale) for size, scale in zip(before, scales, strict=True)]
    ratios = [np.float32(size) / np.float32(old) for size, old in zip(sizes, before, strict=True)]
    return None if sizes == list(after) or ratios != scales.tolist() else sizes
