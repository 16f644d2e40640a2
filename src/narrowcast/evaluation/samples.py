"""Random samples that a model can be run on: plausible floats, and numbers that the graph can use as it does.

What an input is used for bounds it: an index lies within its table, a length within its sequence, a divisor is not 0.
Uses are followed through casts, moves and arithmetic with a constant.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from narrowcast.dialect.build import constant_of
from narrowcast.errors import UsageError
from narrowcast.evaluation.pixels import image_layout
from narrowcast.model import Array, Feed, Layout, Model, Preprocessing, TensorSpec, ir

__all__ = ["LARGEST_SAMPLE", "closed_shape", "random_feeds"]

OPEN_SIDES, OPEN_LENGTHS = (96, 75, 130), (480, 333, 1024)
"""Sizes of dimensions that stay open, of images and of others."""
LARGEST_SAMPLE = 2**30
"""No random input is larger, in bytes."""

Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]


@dataclass(frozen=True, slots=True)
class _Want:
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

    def before(self, scale: float, shift: float) -> _Want:
        """What is asked of v where scale * v + shift is used."""
        low, high = sorted(((self.low - shift) / scale, (self.high - shift) / scale))
        return _Want(low, high, self.whole, self.draw if (scale, shift) == (1, 0) else None)


def random_feeds(model: Model, count: int, seed: int = 0) -> Iterator[Feed]:
    """Plausible samples, the same for the same seed.

    Floats are preprocessed random pixels where the preprocessing is known, in [-1, 1] for other image-like inputs, and
    normal ones otherwise; integers are 0 and 1. What their use asks for comes before that.
    """
    random = np.random.default_rng(seed)
    wants = {value.name: list(_wants(value)) for value in model.graph.inputs}
    for number in range(count):
        specs = [replace(spec, shape=closed_shape(spec.shape, number)) for spec in model.inputs]
        yield {spec.name: _random(random, spec, model.preprocessing, wants[spec.name]) for spec in specs}


def closed_shape(shape: tuple[int | None, ...], number: int = 0) -> tuple[int, ...]:
    """A shape without open dimensions: a batch of 1, and other sizes that differ from sample to sample."""
    side = (OPEN_SIDES if len(shape) > 3 else OPEN_LENGTHS)[number % len(OPEN_SIDES)]
    return tuple((side if axis else 1) if dim is None else dim for axis, dim in enumerate(shape))


def _random(
    random: np.random.Generator, spec: TensorSpec, preprocessing: Preprocessing | None, wants: list[_Want]
) -> Array:
    shape = tuple(dim or 0 for dim in spec.shape)
    if math.prod(shape) * spec.dtype.itemsize > LARGEST_SAMPLE:
        raise UsageError(
            f"a sample of the input {spec.name!r}, {'x'.join(map(str, shape))}, does not fit into memory beside others",
            hint="give it another shape, or leave the verification out",
        )
    if wants:
        return _within(random, shape, wants).astype(spec.dtype)
    if spec.dtype.kind != "f":
        return random.integers(0, 256 if spec.dtype == np.uint8 else 2, shape).astype(spec.dtype)
    layout = image_layout(spec.shape)
    if layout is None:
        return random.normal(size=shape).astype(spec.dtype)
    if preprocessing is None:
        return random.uniform(-1, 1, shape).astype(spec.dtype)
    axes = (-1, 1, 1) if layout is Layout.CHANNELS_FIRST else (-1,)
    mean, std = (np.reshape(values, axes) for values in (preprocessing.mean, preprocessing.std))
    pixels: Array = (random.uniform(0, 255, shape) - mean) / std
    return pixels.astype(spec.dtype)


def _within(random: np.random.Generator, shape: tuple[int, ...], wants: list[_Want]) -> Array:
    """Numbers that all uses take; those of the first where they contradict one another."""
    drawn = next((want.draw for want in wants if want.draw is not None), None)
    if drawn is not None:
        return drawn(random, shape)
    low, high = max(want.low for want in wants), min(want.high for want in wants)
    if low > high:
        low, high = wants[0].low, wants[0].high
    if any(want.whole for want in wants):
        low = math.ceil(low)
        return random.integers(low, max(math.floor(high), low) + 1, shape)
    return random.uniform(low, high, shape)


_MOVES = """
    Cast Reshape Transpose Identity Squeeze Unsqueeze Flatten Expand Slice Split Concat Floor Round Ceil Clip Tile
"""
_CARRIERS = frozenset(_MOVES.split())
"""Operators whose numbers are those of their first operand."""


def _wants(value: ir.Value, scale: float = 1.0, shift: float = 0.0, depth: int = 0) -> Iterator[_Want]:
    """What the uses of a value ask of it, where scale * v + shift of a graph's input v is the value."""
    for node, index in value.uses():
        if node.domain:
            continue
        rule = _USES.get((node.op_type, index))
        found = rule(node) if rule is not None else None
        if found is not None:
            yield found.before(scale, shift)
        if depth > DEEPEST:
            continue
        if node.op_type in _CARRIERS and (index == 0 or node.op_type == "Concat"):
            kept = node.op_type in ("Cast", "Identity")
            for want in (want for output in node.outputs for want in _wants(output, scale, shift, depth + 1)):
                yield want if kept else _Want(want.low, want.high, want.whole)
        else:
            made = _affine(node, index, scale, shift)
            if made is not None:
                yield from _wants(node.outputs[0], *made, depth + 1)


DEEPEST = 12
"""Operators between an input and where it is used as a number; more are not followed."""


def _affine(node: ir.Node, index: int, scale: float, shift: float) -> tuple[float, float] | None:
    """The same line after arithmetic with a constant number."""
    if node.op_type == "Neg":
        return -scale, -shift
    if node.op_type not in ("Add", "Sub", "Mul", "Div") or len(node.inputs) != 2:
        return None
    constant = constant_of(node.inputs[1 - index])
    if constant is None or constant.size != 1 or constant.dtype.kind not in "fiu":
        return None
    number = float(constant.reshape(()))
    if node.op_type == "Add":
        return scale, shift + number
    if node.op_type == "Sub":
        return (scale, shift - number) if index == 0 else (-scale, number - shift)
    if number == 0 or not math.isfinite(number) or (node.op_type == "Div" and index == 1):
        return None
    number = 1 / number if node.op_type == "Div" else number
    return scale * number, shift * number


def _dims(value: ir.Value | None) -> list[int] | None:
    """A static shape; None where it is not."""
    if value is None or value.shape is None:
        return None
    dims = [dim for dim in value.shape if isinstance(dim, int)]
    return dims if len(dims) == len(value.shape) else None


def _along(operand: int, default: int = 0, name: str = "axis") -> Callable[[ir.Node], _Want | None]:
    """Indices along an axis of an operand."""

    def rule(node: ir.Node) -> _Want | None:
        dims = _dims(node.inputs[operand])
        return _Want(0, dims[node.attributes.get_int(name, default)] - 1) if dims else None

    return rule


def _coordinates(node: ir.Node) -> _Want | None:
    """GatherND, ScatterND: each row is a place; those of ScatterND differ, as the order of writing is free."""
    dims, rows = _dims(node.inputs[0]), _dims(node.inputs[1])
    if not dims or not rows:
        return None
    axes = dims[node.attributes.get_int("batch_dims", 0) :][: rows[-1]]

    def draw(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
        count, places = math.prod(shape[:-1]), math.prod(axes)
        flat = random.permutation(places)[:count] if count <= places <= 2**24 else random.integers(0, places, count)
        return np.stack(np.unravel_index(flat, axes), -1).reshape(shape)

    return _Want(0, min(axes) - 1, draw=draw)


def _scattered(node: ir.Node) -> _Want | None:
    """ScatterElements: no index twice along the axis, unless repetitions add up or there are too many."""
    dims, shape = _dims(node.inputs[0]), _dims(node.inputs[1])
    if not dims or not shape:
        return None
    axis = node.attributes.get_int("axis", 0)
    length, count = dims[axis], shape[axis]
    if count > length or length > 2**16 or node.attributes.get_string("reduction", "none") != "none":
        return _Want(0, length - 1)

    def draw(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
        lines = list(shape)
        lines[axis] = length
        return np.take(random.random(lines).argsort(axis), range(count), axis)

    return _Want(0, length - 1, draw=draw)


def _exactly(numbers: Callable[[ir.Node], list[float] | None]) -> Callable[[ir.Node], _Want | None]:
    """The very numbers that give the output the shape that it is known to have."""

    def rule(node: ir.Node) -> _Want | None:
        found = numbers(node)
        if found is None:
            return None
        return _Want(min(found, default=0), max(found, default=0), draw=lambda _random, shape: np.reshape(found, shape))

    return rule


def _out(node: ir.Node) -> list[float] | None:
    dims = _dims(node.outputs[0])
    return None if dims is None else [float(dim) for dim in dims]


def _ratio(node: ir.Node) -> list[float] | None:
    before, after = _dims(node.inputs[0]), _dims(node.outputs[0])
    axes = node.attributes.get_ints("axes", range(len(before or ())))
    return [after[axis] / before[axis] for axis in axes] if before and after and 0 not in before else None


def _depth(node: ir.Node) -> _Want | None:
    depth = _classes(node)
    return None if depth is None else _Want(0, max(depth[0] - 1, 0))


def _classes(node: ir.Node) -> list[float] | None:
    dims = _dims(node.outputs[0])
    return [float(dims[node.attributes.get_int("axis", -1)])] if dims else None


def _bits(node: ir.Node) -> _Want | None:
    dtype = node.inputs[0].dtype if node.inputs[0] is not None else None
    return _Want(0, dtype.numpy().itemsize * 8 - 1) if dtype is not None else None


def _divisor(node: ir.Node) -> _Want | None:
    dtype = node.inputs[1].dtype if node.inputs[1] is not None else None
    return None if dtype is None or dtype.is_floating_point() else _Want(1, 9)


def _exponent(node: ir.Node) -> _Want:
    dtype = node.inputs[1].dtype if node.inputs[1] is not None else None
    return _Want(-2, 2, whole=False) if dtype is not None and dtype.is_floating_point() else _Want(0, 3)


def _sequence(operand: int, axis: int) -> Callable[[ir.Node], _Want | None]:
    def rule(node: ir.Node) -> _Want | None:
        dims = _dims(node.inputs[operand])
        return _Want(1, max(dims[axis], 1)) if dims and axis < len(dims) else None

    return rule


def _axes(node: ir.Node) -> _Want | None:
    dims = _dims(node.inputs[0])
    return _Want(0, max(len(dims) - 1, 0)) if dims is not None else None


def _unpooled(node: ir.Node) -> _Want | None:
    """MaxUnpool: places in the enlarged maps, none twice."""
    dims = _dims(node.outputs[0]) or _dims(node.inputs[0])
    places = math.prod(dims) if dims else 0

    def draw(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
        count = math.prod(shape)
        return (random.permutation(places)[:count] if count <= places else np.arange(count)).reshape(shape)

    return _Want(0, max(places - 1, 0), draw=draw) if 0 < places <= 2**24 else None


_LENGTHS = {(name, 4): _sequence(0, 0) for name in ("LSTM", "GRU", "RNN")}
_USES: dict[tuple[str, int], Callable[[ir.Node], _Want | None]] = {
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
    ("Mod", 1): _divisor,
    ("Div", 1): _divisor,
    ("Pow", 1): _exponent,
    ("BitShift", 1): _bits,
    ("CumSum", 1): _axes,
    ("CumProd", 1): _axes,
    ("TopK", 1): lambda node: _along(0, -1)(node) and _Want(1, 1),
    ("NonMaxSuppression", 2): lambda _node: _Want(1, 4),
    ("NonMaxSuppression", 3): lambda _node: _Want(0.2, 0.8, whole=False),
    ("NonMaxSuppression", 4): lambda _node: _Want(0, 0.5, whole=False),
    ("Resize", 2): _exactly(_ratio),
    ("Resize", 3): _exactly(_out),
    ("Reshape", 1): _exactly(_out),
    ("Expand", 1): _exactly(_out),
    ("ConstantOfShape", 0): _exactly(_out),
    ("Tile", 1): _exactly(_ratio),
    ("Range", 0): lambda _node: _Want(0, 0),
    ("Range", 1): lambda _node: _Want(1, 8),
    ("Range", 2): lambda _node: _Want(1, 2),
    ("Bernoulli", 0): lambda _node: _Want(0, 1, whole=False),
    ("ReverseSequence", 1): lambda node: _sequence(0, node.attributes.get_int("time_axis", 0))(node),
    ("Slice", 4): lambda _node: _Want(1, 1),
    **_LENGTHS,
}
"""By operator and operand what is asked of it; None where the graph does not tell."""
