"""What operators ask of their inputs, so that random samples are ones that a network can be run on.

An index lies within its table, and is there once where the order of writing would matter; a divisor is not 0, an
exponent is small, a length fits the sequence; a number that decides a shape is the one that gives the shape declared.
An input is followed through casts, reshapes and sums with constants to the operator that asks something of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from narrowcast.dialect.build import dims, input_of, scalar_of
from narrowcast.model import Array, Model, ir

__all__ = ["Draw", "roles_of"]

Draw = Callable[["np.random.Generator", tuple[int, ...]], Array]
"""Numbers of a shape, to be cast to the input's type."""
_Role = Callable[[ir.Node], Draw | None]

_PASSES = frozenset({"Cast", "Expand", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
DEEPEST = 16
"""Operators between an input and the one that asks something of it."""


@dataclass(frozen=True, slots=True)
class _Use:
    """A node, at which of its inputs a graph input arrives there, and what was added to it on the way."""

    node: ir.Node
    index: int
    added: float


def roles_of(model: Model) -> dict[str, Draw]:
    """How to draw those inputs, by name, of which an operator asks something; those that nothing reads are 0."""
    found: dict[str, Draw] = {}
    for value in model.graph.inputs:
        draws = [draw for use in _uses(value, 0.0, DEEPEST) if (draw := _draw(use)) is not None]
        if draws:
            found[value.name or ""] = draws[0]
        elif not value.uses() and not value.is_graph_output():
            found[value.name or ""] = _exactly(0)
    return found


def _uses(value: ir.Value, added: float, depth: int) -> Iterator[_Use]:
    for node, index in value.uses():
        yield _Use(node, index, added)
        if node.domain or depth == 0:
            continue
        if node.op_type in _PASSES and index == 0:
            yield from _uses(node.outputs[0], added, depth - 1)
        elif node.op_type in ("Add", "Sub"):
            number = scalar_of(input_of(node, 1 - index))
            if number is not None and (node.op_type == "Add" or index == 0):
                yield from _uses(node.outputs[0], added + (number if node.op_type == "Add" else -number), depth - 1)


def _draw(use: _Use) -> Draw | None:
    role = _ROLES.get((use.node.op_type, use.index)) if not use.node.domain else None
    draw = role(use.node) if role is not None else None
    if draw is None or not use.added:
        return draw
    return lambda random, shape: draw(random, shape) - use.added


def _below(count: int | None, least: int = 0) -> Draw | None:
    """Whole numbers from `least` on."""
    if count is None:
        return None
    return lambda random, shape: random.integers(least, max(count, least + 1), shape)


def _between(low: float, high: float) -> Draw:
    return lambda random, shape: random.uniform(low, high, shape)


def _exactly(number: Array | float) -> Draw:
    return lambda random, shape: np.broadcast_to(np.asarray(number), shape).copy()


def _size(value: ir.Value | None, axis: int) -> int | None:
    """One dimension; None where it is not known."""
    shape = dims(value)
    return shape[axis] if shape is not None and -len(shape) <= axis < len(shape) else None


def _is_whole(node: ir.Node) -> bool:
    value = node.inputs[0]
    return value is not None and value.dtype is not None and value.dtype.is_integer()


def _index(node: ir.Node) -> Draw | None:
    """Gather and its kin, along an axis."""
    return _below(_size(node.inputs[0], node.attributes.get_int("axis", 0)))


def _rows(node: ir.Node) -> Draw | None:
    """GatherND: each index within its own axis."""
    shape, batch = dims(node.inputs[0]), node.attributes.get_int("batch_dims", 0)
    if shape is None:
        return None
    return lambda random, size: random.integers(0, np.maximum(shape[batch : batch + size[-1]], 1), size)


def _once_along(node: ir.Node) -> Draw | None:
    """ScatterElements: no place twice."""
    shape = dims(node.inputs[0])
    if shape is None:
        return None
    axis = node.attributes.get_int("axis", 0) % len(shape)

    def draw(random: np.random.Generator, size: tuple[int, ...]) -> Array:
        order = random.random((*size[:axis], max(shape[axis], size[axis]), *size[axis + 1 :])).argsort(axis)
        return np.take(order, np.arange(size[axis]), axis) % max(shape[axis], 1)

    return draw


def _rows_once(node: ir.Node) -> Draw | None:
    """ScatterND: no row twice."""
    shape = dims(node.inputs[0])
    if shape is None:
        return None

    def draw(random: np.random.Generator, size: tuple[int, ...]) -> Array:
        rows, count = shape[: size[-1]], math.prod(size[:-1])
        places = random.choice(math.prod(rows), count, replace=count > math.prod(rows))
        return np.stack(np.unravel_index(places, rows), -1).reshape(size)

    return draw


def _places_once(node: ir.Node) -> Draw | None:
    """MaxUnpool: no place of the output twice."""
    shape = dims(node.outputs[0])
    if shape is None:
        return None
    total = math.prod(shape)
    return lambda random, size: random.choice(total, size, replace=math.prod(size) > total)


def _depth(node: ir.Node) -> Draw | None:
    """OneHot: the depth that the output has."""
    axis = node.attributes.get_int("axis", -1)
    count = _size(node.outputs[0], axis)
    return None if count is None else _exactly(count)


def _dividend(node: ir.Node) -> Draw | None:
    """What is divided by a constant is less than it where that counts places, as an axis by the rank."""
    divisor = scalar_of(node.inputs[1])
    if not _is_whole(node):
        return None
    return _below(100) if divisor is None or node.op_type == "Div" else _below(max(int(divisor), 1))


def _divisor(node: ir.Node) -> Draw | None:
    """Not 0, and of either sign where there is one."""
    if not _is_whole(node):
        return None
    assert node.inputs[1] is not None
    assert node.inputs[1].dtype is not None
    signed = node.inputs[1].dtype.is_signed()
    return lambda random, shape: random.integers(1, 10, shape) * (random.choice([-1, 1], shape) if signed else 1)


def _base(node: ir.Node) -> Draw | None:
    return _below(6, 1) if _is_whole(node) else None


def _exponent(node: ir.Node) -> Draw | None:
    whole = node.inputs[1] is not None and node.inputs[1].dtype is not None and node.inputs[1].dtype.is_integer()
    return _below(4) if whole else _between(0.0, 3.0)


def _bits(node: ir.Node) -> Draw | None:
    dtype = node.inputs[0].dtype if node.inputs[0] is not None else None
    return None if dtype is None else _below(dtype.bitwidth)


def _axis(node: ir.Node) -> Draw | None:
    shape = dims(node.inputs[0])
    return None if shape is None else _below(len(shape))


def _lengths(node: ir.Node) -> Draw | None:
    """Of the sequences of a recurrent layer: at least one step."""
    steps = _size(node.inputs[0], node.attributes.get_int("layout", 0))
    return None if steps is None else _below(steps + 1, 1)


def _reversed_lengths(node: ir.Node) -> Draw | None:
    steps = _size(node.inputs[0], node.attributes.get_int("time_axis", 0))
    return None if steps is None else _below(steps + 1, 1)


def _scales(node: ir.Node) -> Draw | None:
    """Resize: those that give the output's sizes."""
    before, after = dims(node.inputs[0]), dims(node.outputs[0])
    if before is None or after is None:
        return None
    axes = node.attributes.get_ints("axes", tuple(range(len(before))))
    return _exactly(np.array([after[axis] / max(before[axis], 1) for axis in axes], np.float32))


def _region(node: ir.Node) -> Draw | None:
    """Resize: starts before ends, some beyond the edge."""

    def draw(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
        half = shape[0] // 2
        return np.concatenate([random.uniform(-0.1, 0.4, half), random.uniform(0.6, 1.1, shape[0] - half)])

    return draw


def _boxes(node: ir.Node) -> Draw | None:
    """RoiAlign: corners within the image, the upper left one first."""
    height, width = _size(node.inputs[0], 2), _size(node.inputs[0], 3)
    if height is None or width is None:
        return None
    ends = np.array([width, height]) / node.attributes.get_float("spatial_scale", 1.0)

    def draw(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
        first, last = (random.uniform(low, low + 0.5, (*shape[:-1], 2)) * ends for low in (0.0, 0.5))
        return np.concatenate([first, last], -1)

    return draw


def _image(node: ir.Node) -> Draw | None:
    return _below(_size(node.inputs[0], 0))


def _frequency_axis(node: ir.Node) -> Draw | None:
    """DFT: an axis that gives the output's shape."""
    before, after = dims(node.inputs[0]), dims(node.outputs[0])
    if before is None or after is None:
        return None
    changed = [axis for axis in range(len(before) - 1) if before[axis] != after[axis]]
    return _exactly(changed[0]) if changed else _below(len(before) - 1)


def _hop(node: ir.Node) -> Draw | None:
    """STFT: the step that gives as many frames as the output has."""
    length, frames = _size(node.inputs[0], 1), _size(node.outputs[0], 1)
    window, size = _size(input_of(node, 2), 0), scalar_of(input_of(node, 3))
    frame = window if window is not None else size
    if length is None or frames is None or frame is None:
        return None
    return _exactly(max(int(length - frame) // max(frames - 1, 1), 1))


def _filled(node: ir.Node) -> Draw | None:
    """ConstantOfShape: the output's shape, or a small one."""
    shape = dims(node.outputs[0])
    return _below(5, 1) if shape is None else _exactly(np.array(shape, np.int64))


def _window(node: ir.Node) -> Draw | None:
    size = _size(node.outputs[0], 0)
    return _below(17, 4) if size is None else _exactly(size)


def _bands(node: ir.Node) -> Draw | None:
    """MelWeightMatrix: as many bands as the output has columns."""
    size = _size(node.outputs[0], 1)
    return _exactly(8 if size is None else size)


def _points(node: ir.Node) -> Draw | None:
    """MelWeightMatrix: the length of a transform, of which the output has half and one."""
    size = _size(node.outputs[0], 0)
    return _exactly(32 if size is None else max(2 * (size - 1), 1))


def _seen(node: ir.Node) -> Draw | None:
    """Attention: a mask of truth values shows each query a key."""
    mask = node.inputs[3]
    if mask is None or mask.dtype is not ir.DataType.BOOL:
        return None

    def draw(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
        made = random.integers(0, 2, shape)
        made[..., :1] = 1
        return made

    return draw


def _always(draw: Draw | None) -> _Role:
    return lambda node: draw


_ROLES: dict[tuple[str, int], _Role] = {
    ("Gather", 1): _index,
    ("GatherElements", 1): _index,
    ("GatherND", 1): _rows,
    ("ScatterElements", 1): _once_along,
    ("ScatterND", 1): _rows_once,
    ("MaxUnpool", 1): _places_once,
    ("OneHot", 1): _depth,
    ("Mod", 0): _dividend,
    ("Div", 0): _dividend,
    ("Mod", 1): _divisor,
    ("Div", 1): _divisor,
    ("Pow", 0): _base,
    ("Pow", 1): _exponent,
    ("BitShift", 1): _bits,
    ("CumSum", 1): _axis,
    **{(name, 4): _lengths for name in ("GRU", "LSTM", "RNN")},
    ("ReverseSequence", 1): _reversed_lengths,
    ("NonMaxSuppression", 0): _always(_between(0.0, 1.0)),
    ("NonMaxSuppression", 3): _always(_between(0.2, 0.8)),
    ("Resize", 1): _region,
    ("Resize", 2): _scales,
    ("RoiAlign", 1): _boxes,
    ("RoiAlign", 2): _image,
    ("DFT", 2): _frequency_axis,
    ("STFT", 1): _hop,
    ("Range", 0): _always(_below(4)),
    ("Range", 1): _always(_below(12, 6)),
    ("Range", 2): _always(_below(4, 1)),
    ("ConstantOfShape", 0): _filled,
    **{(name, 0): _window for name in ("BlackmanWindow", "HammingWindow", "HannWindow")},
    ("MelWeightMatrix", 0): _bands,
    ("MelWeightMatrix", 1): _points,
    ("MelWeightMatrix", 2): _always(_exactly(8192)),
    ("MelWeightMatrix", 3): _always(_between(10.0, 100.0)),
    ("MelWeightMatrix", 4): _always(_between(2000.0, 4000.0)),
    ("Attention", 3): _seen,
}
"""For each operator and index of an input how that is drawn."""
