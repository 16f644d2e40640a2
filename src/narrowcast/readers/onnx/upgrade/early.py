"""Opsets 1 to 6: arguments that became inputs, in-place hints that went, and broadcasting by an axis.

ONNX infers no shapes for operators of opset 1, so that nodes are brought to opset 6 before shapes are known; what needs
them comes with opset 7.
"""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import Builder, constant_of
from narrowcast.errors import UnsupportedOpError
from narrowcast.model import ir
from narrowcast.readers.onnx.upgrade.registry import changed, replace, set_input, to_input

_IN_PLACE = """
    Abs Add BatchNormalization Ceil Clip Div Dropout Elu Exp Floor HardSigmoid InstanceNormalization LeakyRelu Log Max
    Mean Min Mul Neg PRelu Reciprocal Relu Sigmoid Sqrt Sub Sum Tanh
"""
_BROADCASTING = "Add And Div Equal Greater Less Mul Or Pow Sub Xor"
MOST_COPIES = 4096
"""Of a tensor, where it is repeated."""
_SELU = {"alpha": 1.6732, "gamma": 1.0507}
"""Its defaults in opset 1."""


@changed(6, *_IN_PLACE.split())
def written_in_place(node: ir.Node, build: Builder) -> None:
    """Which inputs might be overwritten."""
    node.attributes.pop("consumed_inputs", None)


@changed(6, "Selu")
def selu(node: ir.Node, build: Builder) -> None:
    """The defaults got more digits."""
    node.attributes.pop("consumed_inputs", None)
    for name, number in _SELU.items():
        node.attributes.setdefault(name, ir.AttrFloat32(name, number))


@changed(6, "Cast")
def cast(node: ir.Node, build: Builder) -> None:
    """Types were named."""
    name = node.attributes.get_string("to", "").upper()
    if name not in ir.DataType.__members__:
        raise UnsupportedOpError(f"casts to the unknown type {name!r}")
    node.attributes["to"] = ir.AttrInt64("to", int(ir.DataType[name]))


@changed(6, "Tile")
def tile(node: ir.Node, build: Builder) -> None:
    """One axis, and how often it is repeated: copies side by side, as nothing is known of the other axes."""
    times, axis = (constant_of(value) for value in node.inputs[1:3])
    if times is None or axis is None or times.size != 1 or axis.size != 1 or not 1 <= times.item() <= MOST_COPIES:
        raise UnsupportedOpError(f"repeats an axis that is computed, or not 1 to {MOST_COPIES} times")
    copies = [node.inputs[0]] * int(times.item())
    replace(node, build, "Concat", *copies, axis=int(axis.item()))


@changed(5, "Reshape")
def reshape(node: ir.Node, build: Builder) -> None:
    """The shape was an attribute."""
    node.attributes.pop("consumed_inputs", None)
    if "shape" not in node.attributes:
        raise UnsupportedOpError("has no shape")
    to_input(node, build, "shape", 1)


@changed(4, "Concat")
def concat(node: ir.Node, build: Builder) -> None:
    """The axis was 1 where none was given."""
    node.attributes.setdefault("axis", ir.AttrInt64("axis", 1))


@changed(2, "Pad")
def pad(node: ir.Node, build: Builder) -> None:
    """The amounts had another name."""
    amounts = node.attributes.pop("paddings")
    node.attributes["pads"] = ir.AttrInt64s("pads", amounts.as_ints())


@changed(2, "Split")
def split(node: ir.Node, build: Builder) -> None:
    """The sizes might be an input."""
    if len(node.inputs) > 1 and node.inputs[1] is not None:
        sizes = constant_of(node.inputs[1])
        if sizes is None:
            raise UnsupportedOpError("splits into parts of computed sizes")
        node.attributes["split"] = ir.AttrInt64s("split", [int(size) for size in sizes.reshape(-1)])
    node.resize_inputs(1)


@changed(2, "LpPool", "GlobalLpPool")
def norm_of_a_pool(node: ir.Node, build: Builder) -> None:
    """Which norm, once a fraction."""
    p = node.attributes.pop("p", None)
    if p is not None and p.as_float() != int(p.as_float()):
        raise UnsupportedOpError(f"pools by the norm of {p.as_float():g}, no whole number")
    if p is not None:
        node.attributes["p"] = ir.AttrInt64("p", int(p.as_float()))


@changed(7, "GRU", "LSTM", "RNN")
def recurrent(node: ir.Node, build: Builder) -> None:
    """Whether the whole sequence is an output shows in the outputs."""
    node.attributes.pop("output_sequence", None)


@changed(7, "BatchNormalization", "Dropout")
def mode(node: ir.Node, build: Builder) -> None:
    """Whether it is a test: a graph that is converted is for inference, whatever it says."""
    node.attributes.pop("is_test", None)


@changed(7, "Upsample")
def upsample(node: ir.Node, build: Builder) -> None:
    """One scale for all axes."""
    height, width = (node.attributes.pop(name).as_float() for name in ("height_scale", "width_scale"))
    node.attributes["scales"] = ir.AttrFloat32s("scales", [1.0, 1.0, height, width])


@changed(7, "Gemm")
def gemm(node: ir.Node, build: Builder) -> None:
    """A bias always broadcasts."""
    node.attributes.pop("broadcast", None)


@changed(7, "PRelu")
def slopes(node: ir.Node, build: Builder) -> None:
    """A slope for each channel stood along the second axis, and now along the last."""
    source, slope = node.inputs[:2]
    if slope is not None and slope.shape is not None and len(slope.shape) == 1 and slope.shape[0] != 1:
        _align(node, build, source, slope, 1)


@changed(7, *_BROADCASTING.split())
def broadcast(node: ir.Node, build: Builder) -> None:
    """The second operand began at an axis of the first."""
    node.attributes.pop("broadcast", None)
    axis, (source, other) = node.attributes.pop("axis", None), node.inputs[:2]
    if axis is not None and other is not None and other.shape is not None and len(other.shape):
        _align(node, build, source, other, axis.as_int())


def _align(node: ir.Node, build: Builder, source: ir.Value | None, other: ir.Value, axis: int) -> None:
    """Puts axes of size 1 behind those of the second operand."""
    if source is None or source.shape is None or other.shape is None:
        raise UnsupportedOpError("broadcasts along an axis of a tensor of unknown rank")
    rank, begins = len(source.shape), len(other.shape)
    behind = rank - (axis if axis >= 0 else axis + rank) - begins
    if behind < 0:
        raise UnsupportedOpError(f"broadcasts a tensor of rank {begins} from axis {axis} of one of rank {rank}")
    if behind:
        places = build.constant(np.arange(begins, begins + behind), f"{node.outputs[0].name}/axes")
        set_input(node, 1, build("Unsqueeze", other, places, name=f"{node.outputs[0].name}/aligned"))
