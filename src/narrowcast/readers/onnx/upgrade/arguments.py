"""Attributes that became inputs."""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import Builder
from narrowcast.model import ir
from narrowcast.readers.onnx.upgrade.registry import changed, set_input, to_input, typed

_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")


@changed(13, "Squeeze", "Unsqueeze", "ReduceSum")
@changed(18, *(f"Reduce{name}" for name in _REDUCTIONS))
def axes(node: ir.Node, build: Builder) -> None:
    """The axes."""
    to_input(node, build, "axes", 1)


@changed(13, "Split")
def split(node: ir.Node, build: Builder) -> None:
    """The sizes of the parts."""
    to_input(node, build, "split", 1)


@changed(18, "Split")
def split_count(node: ir.Node, build: Builder) -> None:
    """Without sizes the number of parts must be said."""
    if len(node.inputs) < 2 or node.inputs[1] is None:
        node.attributes["num_outputs"] = ir.AttrInt64("num_outputs", len(node.outputs))


@changed(11, "Clip")
def clip_bounds(node: ir.Node, build: Builder) -> None:
    """The bounds."""
    typed(node, build, "min", 1)
    typed(node, build, "max", 2)


@changed(11, "Pad")
def pad_amounts(node: ir.Node, build: Builder) -> None:
    """The amounts and the value."""
    to_input(node, build, "pads", 1)
    typed(node, build, "value", 2)


@changed(10, "Slice")
def slice_bounds(node: ir.Node, build: Builder) -> None:
    """Starts, ends and axes."""
    for index, name in enumerate(("starts", "ends", "axes"), start=1):
        to_input(node, build, name, index)


@changed(10, "TopK")
def top_k(node: ir.Node, build: Builder) -> None:
    """How many, as a tensor of rank 1."""
    to_input(node, build, "k", 1, scalar_to_1d=True)


@changed(12, "Dropout")
def dropout_ratio(node: ir.Node, build: Builder) -> None:
    """The ratio, which an inference graph does not use."""
    node.attributes.pop("ratio", None)


@changed(20, "DFT")
def dft_axis(node: ir.Node, build: Builder) -> None:
    """The axis; its default was 1 and is -2."""
    axis = node.attributes.pop("axis", None)
    name = f"{node.outputs[0].name}/axis"
    set_input(node, 2, build.constant(np.array(1 if axis is None else axis.as_int(), np.int64), name))
