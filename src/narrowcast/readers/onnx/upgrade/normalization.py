"""Softmax and the normalisations."""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import Builder, constant_of
from narrowcast.errors import UnsupportedOpError
from narrowcast.model import ir
from narrowcast.readers.onnx.upgrade.registry import ALWAYS, changed, replace, set_input


@changed(13, "Softmax", "LogSoftmax", "Hardmax")
def over_one_axis(node: ir.Node, build: Builder) -> None:
    """All axes from `axis` (by default 1) on were one; now it is `axis` (by default the last) alone."""
    source = node.inputs[0]
    axis = node.attributes.get_int("axis", 1)
    if source is None or source.shape is None:
        _flattened(node, build, axis)
        return
    rank = len(source.shape)
    if not -rank <= axis <= rank:
        raise UnsupportedOpError(f"has the axis {axis} on a tensor of rank {rank}")
    first = axis if axis >= 0 else axis + rank
    long = [index for index in range(first, rank) if source.shape[index] != 1]
    if len(long) <= 1 and first < rank:
        node.attributes["axis"] = ir.AttrInt64("axis", long[0] if long else rank - 1)
    else:
        _flattened(node, build, axis)


def _flattened(node: ir.Node, build: Builder, axis: int) -> None:
    """Flatten, the operator on rows, and back to the shape."""
    source, output = node.inputs[0], node.outputs[0]
    name = output.name
    shape: ir.Value
    if source is not None and source.shape is not None and source.shape.is_static():
        shape = build.constant(np.array(source.shape.numpy(), np.int64), f"{name}/shape")
    else:
        shape = build("Shape", source, name=f"{name}/shape", dtype=np.int64)
    rows = build(node.op_type, build("Flatten", source, axis=axis, name=f"{name}/rows"), axis=-1, name=f"{name}/flat")
    replace(node, build, "Reshape", rows, shape)


@changed(9, "BatchNormalization")
def batch_normalization_spatial(node: ir.Node, build: Builder) -> None:
    """The attribute spatial went; its default is what is left."""
    spatial = node.attributes.pop("spatial", None)
    if spatial is not None and spatial.as_int() == 0:
        raise UnsupportedOpError("normalises per element (spatial=0)", hint="export the model with opset 9 or newer")


@changed(14, "BatchNormalization")
def batch_normalization_outputs(node: ir.Node, build: Builder) -> None:
    """The outputs of training changed; an inference graph reads the first only."""
    if any(output.uses() or output.is_graph_output() for output in node.outputs[1:]):
        raise UnsupportedOpError("is in training mode", hint="export the model in inference mode")
    node.resize_outputs(1)


@changed(ALWAYS, "BatchNormalization", "Dropout")
def inference(node: ir.Node, build: Builder) -> None:
    """An operator that is told to train is refused in words that help."""
    told = constant_of(node.inputs[2]) if node.op_type == "Dropout" and len(node.inputs) > 2 else None
    ratio = constant_of(node.inputs[1]) if len(node.inputs) > 1 else None
    drops = told is not None and bool(told.any()) and (ratio is None or bool(ratio.any()))
    if drops or node.attributes.get_int("training_mode", 0) != 0:
        raise UnsupportedOpError(
            "was exported in training mode", hint="export the network again after model.eval(), or training=False"
        )


@changed(21, "GroupNormalization")
def group_normalization_per_channel(node: ir.Node, build: Builder) -> None:
    """Scale and bias were one per group, and are one per channel."""
    source = node.inputs[0]
    groups = node.attributes.get_int("num_groups", 1)
    channels = source.shape[1] if source is not None and source.shape is not None and len(source.shape) > 1 else None
    if not isinstance(channels, int) or groups < 1 or channels % groups:
        raise UnsupportedOpError(f"has {channels or 'an unknown number of'} channels in {groups} groups")
    each = channels // groups
    for index, part in ((1, "scale"), (2, "bias")):
        value = node.inputs[index]
        name = f"{node.outputs[0].name}/{part}"
        known = constant_of(value)
        if known is not None:
            repeated = build.constant(np.repeat(known, each), name)
        else:
            groups_of_channels = build.constant(np.repeat(np.arange(groups), each), f"{name}/groups")
            repeated = build("Gather", value, groups_of_channels, axis=0, name=name)
        set_input(node, index, repeated)


@changed(16, "RoiAlign")
def roi_align_coordinates(node: ir.Node, build: Builder) -> None:
    """The half-pixel shift of the region became the default."""
    mode = "coordinate_transformation_mode"
    if mode not in node.attributes:
        node.attributes[mode] = ir.AttrString(mode, "output_half_pixel")
