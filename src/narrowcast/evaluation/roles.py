"""What operators ask of their operands, by operator and operand: bounds, or a way to draw them.

An index lies within its table, and is there once where the order of writing would matter; a divisor is not 0, an
exponent is small, a length fits the sequence; a number that decides a shape is the one that gives the shape declared.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from narrowcast.dialect.build import dims as dims_of
from narrowcast.dialect.build import input_of, scalar_of
from narrowcast.model import Array, ir

__all__ = ["ROLES", "Want"]

Draw = Callable[["np.random.Generator", tuple[int, ...]], Array]


@dataclass(frozen=True, slots=True)
class Want:
    """What a use asks of numbers.

    Attributes:
        low, high: they lie between.
        whole: whether they are whole, whatever their type.
        draw: makes them, where bounds do not suffice: without repetitions, or exactly these.
    """

    low: float
    high: float
    whole: bool = True
    draw: Draw | None = None

    def before(self, scale: float, shift: float) -> Want:
        """What is asked of v where scale * v + shift is used."""
        low, high = sorted(((self.low - shift) / scale, (self.high - shift) / scale))
        return Want(low, high, self.whole, self.draw if (scale, shift) == (1, 0) else None)


def _dims(value: ir.Value | None) -> list[int] | None:
    """A static shape; None where it is not."""
    shape = dims_of(value)
    return None if shape is None else list(shape)


def _stored(node: ir.Node) -> Want | None:
    """Every integer of the type in which a tensor is stored; biases are no inputs."""
    source = node.inputs[0]
    if source is None or source.dtype not in (ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT16):
        return None
    info = np.iinfo(source.dtype.numpy())
    return Want(int(info.min), int(info.max))


def _along(operand: int, default: int = 0, name: str = "axis") -> Callable[[ir.Node], Want | None]:
    """Indices along an axis of an operand."""

    def rule(node: ir.Node) -> Want | None:
        dims = _dims(node.inputs[operand])
        return Want(0, dims[node.attributes.get_int(name, default)] - 1) if dims else None

    return rule


def _coordinates(node: ir.Node) -> Want | None:
    """GatherND, ScatterND: each row is a place; those of ScatterND differ, as the order of writing is free."""
    dims, rows = _dims(node.inputs[0]), _dims(node.inputs[1])
    if not dims or not rows:
        return None
    axes = dims[node.attributes.get_int("batch_dims", 0) :][: rows[-1]]

    def draw(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
        count, places = math.prod(shape[:-1]), math.prod(axes)
        flat = random.permutation(places)[:count] if count <= places <= 2**24 else random.integers(0, places, count)
        return np.stack(np.unravel_index(flat, axes), -1).reshape(shape)

    return Want(0, min(axes) - 1, draw=draw)


def _scattered(node: ir.Node) -> Want | None:
    """ScatterElements: no index twice along the axis, unless repetitions add up or there are too many."""
    dims, shape = _dims(node.inputs[0]), _dims(node.inputs[1])
    if not dims or not shape:
        return None
    axis = node.attributes.get_int("axis", 0)
    length, count = dims[axis], shape[axis]
    if count > length or length > 2**16 or node.attributes.get_string("reduction", "none") != "none":
        return Want(0, length - 1)

    def draw(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
        lines = list(shape)
        lines[axis] = length
        return np.take(random.random(lines).argsort(axis), range(count), axis)

    return Want(0, length - 1, draw=draw)


def _exactly(numbers: Callable[[ir.Node], list[float] | None]) -> Callable[[ir.Node], Want | None]:
    """The very numbers that give the output the shape that it is known to have."""

    def rule(node: ir.Node) -> Want | None:
        found = numbers(node)
        if found is None:
            return None
        return Want(min(found, default=0), max(found, default=0), draw=lambda _random, shape: np.reshape(found, shape))

    return rule


def _out(node: ir.Node) -> list[float] | None:
    dims = _dims(node.outputs[0])
    return None if dims is None else [float(dim) for dim in dims]


def _ratio(node: ir.Node) -> list[float] | None:
    before, after = _dims(node.inputs[0]), _dims(node.outputs[0])
    axes = node.attributes.get_ints("axes", range(len(before or ())))
    return [after[axis] / before[axis] for axis in axes] if before and after and 0 not in before else None


def _depth(node: ir.Node) -> Want | None:
    depth = _classes(node)
    return None if depth is None else Want(0, max(depth[0] - 1, 0))


def _classes(node: ir.Node) -> list[float] | None:
    dims = _dims(node.outputs[0])
    return [float(dims[node.attributes.get_int("axis", -1)])] if dims else None


def _bits(node: ir.Node) -> Want | None:
    dtype = node.inputs[0].dtype if node.inputs[0] is not None else None
    return Want(0, dtype.numpy().itemsize * 8 - 1) if dtype is not None else None


def _divisor(node: ir.Node) -> Want | None:
    dtype = node.inputs[1].dtype if node.inputs[1] is not None else None
    return None if dtype is None or dtype.is_floating_point() else Want(1, 9)


def _exponent(node: ir.Node) -> Want:
    dtype = node.inputs[1].dtype if node.inputs[1] is not None else None
    return Want(-2, 2, whole=False) if dtype is not None and dtype.is_floating_point() else Want(0, 3)


def _sequence(operand: int, axis: int) -> Callable[[ir.Node], Want | None]:
    def rule(node: ir.Node) -> Want | None:
        dims = _dims(node.inputs[operand])
        return Want(1, max(dims[axis], 1)) if dims and axis < len(dims) else None

    return rule


def _axes(node: ir.Node) -> Want | None:
    dims = _dims(node.inputs[0])
    return Want(0, max(len(dims) - 1, 0)) if dims is not None else None


def _unpooled(node: ir.Node) -> Want | None:
    """MaxUnpool: places in the enlarged maps, none twice."""
    dims = _dims(node.outputs[0]) or _dims(node.inputs[0])
    places = math.prod(dims) if dims else 0

    def draw(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
        count = math.prod(shape)
        return (random.permutation(places)[:count] if count <= places else np.arange(count)).reshape(shape)

    return Want(0, max(places - 1, 0), draw=draw) if 0 < places <= 2**24 else None


def _dividend(node: ir.Node) -> Want | None:
    """What is divided is not small; an axis that is taken modulo the rank is below it."""
    divisor = scalar_of(node.inputs[1])
    if node.inputs[0] is None or node.inputs[0].dtype is None or node.inputs[0].dtype.is_floating_point():
        return None
    return Want(0, 99 if divisor is None or node.op_type == "Div" else max(int(divisor) - 1, 0))


def _base(node: ir.Node) -> Want | None:
    dtype = node.inputs[0].dtype if node.inputs[0] is not None else None
    return None if dtype is None or dtype.is_floating_point() else Want(1, 5)


def _region(node: ir.Node) -> Want:
    """Resize: starts before ends, some beyond the edge."""

    def draw(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
        half = shape[0] // 2
        return np.concatenate([random.uniform(-0.1, 0.4, half), random.uniform(0.6, 1.1, shape[0] - half)])

    return Want(-0.1, 1.1, whole=False, draw=draw)


def _boxes(node: ir.Node) -> Want | None:
    """RoiAlign: corners within the image, the upper left one first."""
    dims = _dims(node.inputs[0])
    if dims is None or len(dims) != 4:
        return None
    ends = np.array([dims[3], dims[2]]) / node.attributes.get_float("spatial_scale", 1.0)

    def draw(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
        first, last = (random.uniform(low, low + 0.5, (*shape[:-1], 2)) * ends for low in (0.0, 0.5))
        return np.concatenate([first, last], -1)

    return Want(0, float(ends.min()), whole=False, draw=draw)


def _frequencies(node: ir.Node) -> Want | None:
    """DFT: an axis that gives the output's shape."""
    before, after = _dims(node.inputs[0]), _dims(node.outputs[0])
    if not before or not after:
        return None
    changed = [axis for axis in range(len(before) - 1) if before[axis] != after[axis]]
    return Want(changed[0], changed[0]) if changed else Want(0, max(len(before) - 2, 0))


def _hop(node: ir.Node) -> Want | None:
    """STFT: the step that gives as many frames as the output has."""
    signal, out, window = _dims(node.inputs[0]), _dims(node.outputs[0]), _dims(input_of(node, 2))
    frame = window[0] if window else scalar_of(input_of(node, 3))
    if not signal or not out or frame is None or len(signal) < 2 or len(out) < 2:
        return None
    step = max(int(signal[1] - frame) // max(out[1] - 1, 1), 1)
    return Want(step, step)


def _window(node: ir.Node) -> Want:
    dims = _dims(node.outputs[0])
    return Want(dims[0], dims[0]) if dims else Want(4, 16)


def _bands(node: ir.Node) -> Want:
    """MelWeightMatrix: as many bands as the output has columns."""
    dims = _dims(node.outputs[0])
    return Want(dims[1], dims[1]) if dims else Want(8, 8)


def _points(node: ir.Node) -> Want:
    """MelWeightMatrix: the length of a transform, of which the output has half and one."""
    dims = _dims(node.outputs[0])
    points = max(2 * (dims[0] - 1), 1) if dims else 32
    return Want(points, points)


def _seen(node: ir.Node) -> Want | None:
    """Attention: a mask of truth values shows each query a key."""
    mask = node.inputs[3]
    if mask is None or mask.dtype is not ir.DataType.BOOL:
        return None

    def draw(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
        made = random.integers(0, 2, shape)
        made[..., :1] = 1
        return made

    return Want(0, 1, draw=draw)


_LENGTHS = {(name, 4): _sequence(0, 0) for name in ("LSTM", "GRU", "RNN")}
ROLES: dict[tuple[str, int], Callable[[ir.Node], Want | None]] = {
    ("Gather", 1): _along(0),
    ("GatherElements", 1): _along(0),
    ("GatherND", 1): _coordinates,
    ("ScatterND", 1): _coordinates,
    ("ScatterElements", 1): _scattered,
    ("Scatter", 1): _scattered,
    ("OneHot", 0): _depth,
    ("OneHot", 1): _exactly(_classes),
    ("MaxUnpool", 1): _unpooled,
    ("NegativeLogLikelihoodLoss", 1): _along(0, 1),
    ("SoftmaxCrossEntropyLoss", 1): _along(0, 1),
    ("RoiAlign", 2): _along(0),
    ("RoiAlign", 1): _boxes,
    ("Mod", 0): _dividend,
    ("Div", 0): _dividend,
    ("Mod", 1): _divisor,
    ("Div", 1): _divisor,
    ("Pow", 0): _base,
    ("Pow", 1): _exponent,
    ("BitShift", 1): _bits,
    ("CumSum", 1): _axes,
    ("CumProd", 1): _axes,
    ("TopK", 1): lambda node: _along(0, -1)(node) and Want(1, 1),
    ("DequantizeLinear", 0): _stored,
    ("NonMaxSuppression", 2): lambda _node: Want(1, 4),
    ("NonMaxSuppression", 3): lambda _node: Want(0.2, 0.8, whole=False),
    ("NonMaxSuppression", 4): lambda _node: Want(0, 0.5, whole=False),
    ("NonMaxSuppression", 0): lambda _node: Want(0, 1, whole=False),
    ("Resize", 1): _region,
    ("Resize", 2): _exactly(_ratio),
    ("Resize", 3): _exactly(_out),
    ("Reshape", 1): _exactly(_out),
    ("Expand", 1): _exactly(_out),
    ("ConstantOfShape", 0): _exactly(_out),
    ("Tile", 1): _exactly(_ratio),
    ("Range", 0): lambda _node: Want(0, 0),
    ("Range", 1): lambda _node: Want(1, 8),
    ("Range", 2): lambda _node: Want(1, 2),
    **{(name, 0): _window for name in ("BlackmanWindow", "HammingWindow", "HannWindow")},
    ("MelWeightMatrix", 0): _bands,
    ("MelWeightMatrix", 1): _points,
    ("MelWeightMatrix", 2): lambda _node: Want(8192, 8192),
    ("MelWeightMatrix", 3): lambda _node: Want(10, 100, whole=False),
    ("MelWeightMatrix", 4): lambda _node: Want(2000, 4000, whole=False),
    ("DFT", 2): _frequencies,
    ("STFT", 1): _hop,
    ("Attention", 3): _seen,
    ("Bernoulli", 0): lambda _node: Want(0, 1, whole=False),
    ("ReverseSequence", 1): lambda node: _sequence(0, node.attributes.get_int("time_axis", 0))(node),
    ("Slice", 4): lambda _node: Want(1, 1),
    **_LENGTHS,
}
"""By operator and operand what is asked of it; None where the graph does not tell."""
