"""The one spelling of quantisation in a graph (docs/architecture.md), read and written here.

What is stored in integers lies behind a DequantizeLinear, weights in float16 behind a Cast; what becomes integers goes
through a QuantizeLinear first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from narrowcast.dialect.build import Builder, constant_of, tensor_of
from narrowcast.model import Array, ir

__all__ = [
    "Parameters",
    "Speller",
    "axis_of",
    "becomes_float",
    "block_of",
    "dequantizer",
    "dequantizer_after",
    "hold_roundings",
    "holds_roundings",
    "is_asymmetric",
    "is_mover",
    "is_quantizer",
    "is_symmetric",
    "is_weight",
    "keep_in_float",
    "kept_in_float",
    "let_roundings",
    "note_explicit",
    "note_operator",
    "noted_operator",
    "parameters_of",
    "quantizer_before",
    "real_of",
    "scales_of",
    "weights_behind",
]


@dataclass(frozen=True, slots=True)
class Parameters:
    """How a tensor is stored: real = scale * (stored - zero_point)."""

    scale: float
    zero_point: int
    dtype: str


def is_quantizer(node: ir.Node | None) -> bool:
    """Whether a node is a QuantizeLinear or a DequantizeLinear."""
    return node is not None and node.op_type in ("QuantizeLinear", "DequantizeLinear") and not node.domain


def dequantizer(value: ir.Value | None) -> ir.Node | None:
    """The DequantizeLinear that a value comes from, or None."""
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type == "DequantizeLinear" and not node.domain else None


def weights_behind(value: ir.Value | None) -> ir.Value | None:
    """The initialiser that a value is, itself or behind DequantizeLinear and Cast; None for an activation."""
    while value is not None and (node := value.producer()) is not None:
        if node.op_type not in ("DequantizeLinear", "Cast") or node.domain:
            return None
        value = node.inputs[0]
    return value if tensor_of(value) is not None else None


def is_weight(value: ir.Value | None) -> bool:
    """Whether a value is an initialiser, or one behind a DequantizeLinear or Cast."""
    return weights_behind(value) is not None


def scales_of(node: ir.Node) -> tuple[Array, Array] | None:
    """Scale and zero point of a QuantizeLinear or DequantizeLinear, in float32 and int64, both of shape [channels].

    None where the scale is computed.
    """
    scale = constant_of(node.inputs[1])
    if scale is None:
        return None
    zero = constant_of(node.inputs[2]) if len(node.inputs) > 2 else None
    zero = np.zeros(1, np.int64) if zero is None else zero.reshape(-1).astype(np.int64)
    scale = scale.reshape(-1).astype(np.float32)
    return scale, np.broadcast_to(zero, scale.shape).copy()


def parameters_of(node: ir.Node | None) -> Parameters | None:
    """How a QuantizeLinear or DequantizeLinear by one constant scale stores; None for any other node."""
    if node is None or not is_quantizer(node):
        return None
    scale, zero = constant_of(node.inputs[1]), constant_of(node.inputs[2]) if len(node.inputs) > 2 else None
    if scale is None or scale.size != 1:
        return None
    if zero is None:
        return Parameters(float(scale.reshape(())), 0, "uint8")
    return Parameters(float(scale.reshape(())), int(zero.reshape(())), zero.dtype.name)


def axis_of(node: ir.Node) -> int | None:
    """The axis along which a QuantizeLinear or DequantizeLinear has scales of its own; None for one scale in all."""
    source, scale = node.inputs[0], tensor_of(node.inputs[1])
    if source is None or source.shape is None or scale is None or scale.size == 1:
        return None
    return node.attributes.get_int("axis", 1) % max(len(source.shape), 1)


def is_symmetric(value: ir.Value | None) -> bool:
    """Whether all zero points of weights are 0."""
    node = dequantizer(value)
    zero = constant_of(node.inputs[2]) if node is not None and len(node.inputs) > 2 else None
    return zero is None or not zero.any()


_KEPT = "narrowcast.float"


def keep_in_float(node: ir.Node, why: str) -> None:
    """Notes on a node that it computes in floats, although what it reads and writes is quantised.

    Args:
        node: the anchor of its group.
        why: in words that follow "as".
    """
    node.metadata_props[_KEPT] = why


def kept_in_float(node: ir.Node) -> str:
    """Why a node is to compute in floats, "" for one without such a note."""
    return node.metadata_props.get(_KEPT, "")


_EXPLICIT = "narrowcast.explicit"


def becomes_float(value: ir.Value | None) -> bool:
    """Whether stored weights are floats again before an operator computes with them, as their `Storage.explicit` says.

    Other integer weights beside floats are multiplied as they are, with activations that are quantised as they come.
    """
    node = dequantizer(value)
    return node is not None and _EXPLICIT in node.metadata_props


def note_explicit(value: ir.Value) -> None:
    """Notes on the DequantizeLinear that weights come from that they become floats."""
    node = dequantizer(value)
    assert node is not None
    node.metadata_props[_EXPLICIT] = "1"


def block_of(node: ir.Node) -> int:
    """How many elements along the axis of a DequantizeLinear share a scale; 0 where all of a slice, or of all, do."""
    return node.attributes.get_int("block_size", 0)


def real_of(node: ir.Node) -> Array | None:
    """The floats that a DequantizeLinear, or a Cast from float16, makes of constants; None for other nodes."""
    stored = constant_of(node.inputs[0])
    if stored is None or node.domain:
        return None
    if node.op_type == "Cast" and stored.dtype == np.float16:
        return stored.astype(np.float32)
    scales = scales_of(node) if node.op_type == "DequantizeLinear" else None
    if scales is None:
        return None
    if block := block_of(node):
        return _of_blocks(stored, scales, node, block)
    along, axis = [1] * stored.ndim, axis_of(node)
    if axis is not None:
        along[axis] = -1
    scale, zero_point = (array.reshape(along if axis is not None else ()) for array in scales)
    real: Array = ((stored.astype(np.int64) - zero_point) * scale.astype(np.float64)).astype(np.float32)
    return real


def _of_blocks(stored: Array, scales: tuple[Array, Array], node: ir.Node, block: int) -> Array | None:
    axis, shape = node.attributes.get_int("axis", 1) % max(stored.ndim, 1), list(stored.shape)
    shape[axis] = -(-shape[axis] // block)
    if scales[0].size != np.prod(shape):
        return None
    scale, zero = (
        np.repeat(array.reshape(shape), block, axis).take(range(stored.shape[axis]), axis) for array in scales
    )
    real: Array = ((stored.astype(np.int64) - zero) * scale.astype(np.float64)).astype(np.float32)
    return real


_ROUNDINGS = "narrowcast.roundings"
_OPERATOR = "narrowcast.operator"
_ASYMMETRIC = "narrowcast.asymmetric"


def hold_roundings(graph: ir.Graph) -> None:
    """Notes on a graph that was read from a quantised file that the order in which its floats are computed stays."""
    graph.meta[_ROUNDINGS] = True


def let_roundings(graph: ir.Graph) -> None:
    """Takes `hold_roundings` back."""
    graph.meta.pop(_ROUNDINGS, None)


def holds_roundings(graph: ir.Graph) -> bool:
    """Whether rules leave a graph's arithmetic in its order."""
    return bool(graph.meta.get(_ROUNDINGS))


def note_operator(node: ir.Node, name: str, *, asymmetric: bool) -> None:
    """Notes on a node which operator of its file it was, for a writer that has several for one.

    Args:
        node: the node.
        name: as the file's format calls it.
        asymmetric: whether activations that are quantised as they come get a zero point.
    """
    node.metadata_props[_OPERATOR] = name
    if asymmetric:
        node.metadata_props[_ASYMMETRIC] = "1"


def noted_operator(node: ir.Node) -> str:
    """The operator of its file that a node was, "" where nobody noted it."""
    return node.metadata_props.get(_OPERATOR, "")


def is_asymmetric(node: ir.Node) -> bool:
    """Whether activations that are quantised as they come get a zero point."""
    return _ASYMMETRIC in node.metadata_props


_MOVERS = ("Transpose", "Reshape", "Identity")
"""What the layout puts between quantised integers; they keep their scale."""


def is_mover(node: ir.Node) -> bool:
    """Whether a node only moves what it is given, integers of a scale for one."""
    return node.op_type in _MOVERS and not node.domain


def quantizer_before(value: ir.Value) -> ir.Node | None:
    """The QuantizeLinear that integers come from, through operators that only move them."""
    node = value.producer()
    while node is not None and node.op_type in _MOVERS and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    return node if node is not None and node.op_type == "QuantizeLinear" else None


def dequantizer_after(value: ir.Value) -> ir.Node | None:
    """A DequantizeLinear that integers go to, through operators that only move them."""
    pending = [value]
    while pending:
        for use in pending.pop().uses():
            if use.node.op_type == "DequantizeLinear":
                return use.node
            if use.node.op_type in _MOVERS:
                pending.append(use.node.outputs[0])
    producer = value.producer()
    if producer is not None and producer.op_type in _MOVERS and producer.inputs[0] is not None:
        return dequantizer_after(producer.inputs[0])
    return None


class Speller:
    """Writes quantisation into a graph; equal scales are one initialiser."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self._scales: dict[Parameters, tuple[ir.Value, ir.Value]] = {}

    def scale(self, found: Parameters) -> tuple[ir.Value, ir.Value]:
        """Scale and zero point as initialisers."""
        if found not in self._scales:
            build = Builder(self.graph)
            scale = build.constant(np.array(found.scale, np.float32), "scale")
            self._scales[found] = scale, build.constant(np.array(found.zero_point, found.dtype), "zero")
        return self._scales[found]

    def quantized(self, value: ir.Value, found: Parameters, name: str) -> ir.Value:
        """The integers of a float value."""
        made: ir.Value = Builder(self.graph)(
            "QuantizeLinear", value, *self.scale(found), name=name, shape=value.shape, dtype=np.dtype(found.dtype)
        )
        return made

    def dequantized(self, integers: ir.Value, found: Parameters, name: str) -> ir.Value:
        """The float value of integers."""
        made: ir.Value = Builder(self.graph)(
            "DequantizeLinear", integers, *self.scale(found), name=name, shape=integers.shape, dtype=np.float32
        )
        return made

    def pair(self, value: ir.Value, found: Parameters) -> ir.Value:
        """QuantizeLinear and DequantizeLinear after a value; returns what comes out of the latter."""
        name = value.name or "value"
        integers = self.quantized(value, found, f"{name}/quantized")
        return self.dequantized(integers, found, f"{name}/dequantized")

    def stored(
        self, tensor: ir.TensorProtocol, scale: Array, zero_point: int, axis: int | None, name: str, block: int = 0
    ) -> ir.Value:
        """A DequantizeLinear of a new integer initialiser.

        Args:
            tensor: the integers; int32 ones, biases, have no zero point, nor have blocks.
            scale: of shape [channels], or [1] for one scale in all, or that of the tensor with blocks along `axis`.
            zero_point: the same for all channels.
            axis: of the channels or blocks, None for one scale in all.
            name: of the float value that the integers stand for.
            block: how many elements along `axis` share a scale; 0 where `axis` is that of the channels.
        """
        build = Builder(self.graph, anchor=next(iter(self.graph), None))
        shape = tensor.shape.numpy()
        integers = build.initializer(tensor, name)
        factor = scale.astype(np.float32)
        factor = factor if block else factor.reshape(-1 if axis is not None else ())
        scales = [build.constant(factor, "scale")]
        if tensor.dtype is not ir.DataType.INT32 and not block:
            scales.append(build.constant(np.full(factor.shape, zero_point, tensor.dtype.numpy()), "zero"))
        made: ir.Value = build(
            "DequantizeLinear",
            integers,
            *scales,
            name=f"{name}/dequantized",
            shape=shape,
            dtype=np.float32,
            axis=axis,
            block_size=block or None,
        )
        return made
