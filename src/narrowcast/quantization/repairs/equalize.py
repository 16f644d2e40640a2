"""Cross-layer equalisation: channels that a tensor's one scale would lose are enlarged, and their readers take it back.

What multiplies a channel where it is made, and divides it where it is read, changes nothing in between that is
proportional: sums, Relu, pools (M. Nagel et al., Data-Free Quantization Through Weight Equalization and Bias
Correction, https://arxiv.org/abs/1906.04721, section 4.1; E. Meller et al., Same, Same But Different,
https://arxiv.org/abs/1902.01917). Each channel's factor sqrt(r2 / r1) makes its range r1 in the weights before as wide
as its range r2 in those after, both in units of their tensor's.

Clip(0, 6) is proportional only as far as nothing is clipped, and clips of a height for each channel would be an
operator of their own. So a channel that reaches the bound on calibration samples keeps its size, and any other grows
at most until it would: the ranges that need it are those of channels that hardly ever speak. For the same reason no
activation gets a wider range, and no bias is so large beside it that it had to be absorbed (section 4.1.3).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from narrowcast.dialect.build import constant_of, dims
from narrowcast.model import Array, Model, ir
from narrowcast.quantization.repairs import Evidence
from narrowcast.quantization.repairs.peaks import channel_peaks
from narrowcast.targets.groups import activation_of

__all__ = ["repair"]

ROUNDS = 20
MARGIN = 1.1
"""How much more than on the samples a channel may reach elsewhere."""
FULL = 0.999
"""Of a bound: who comes so near reaches it."""
LARGEST = 1e4
"""Of a factor, either way."""
NOTHING = 1e-12
"""Of weights and activations: channels that nobody makes, or nobody reads, have no range of their own to keep."""
SETTLED = 0.01
"""Logarithms of factors that change nothing any more."""


@dataclass(slots=True)
class _Tie:
    """Values whose channels, along axis 1, have one factor, and the constants around them with their channels' axis.

    Attributes:
        before: weights that make the channels.
        added: biases, which grow as the channels do.
        after: weights that read them.
        seen: values that will be quantised, each with the height of the Clip that it comes from.
        whole: whether all that makes or reads the values is known to be proportional.
    """

    before: list[tuple[ir.Value, int]] = field(default_factory=list)
    added: list[tuple[ir.Value, int]] = field(default_factory=list)
    after: list[tuple[ir.Value, int]] = field(default_factory=list)
    seen: list[tuple[ir.Value, float]] = field(default_factory=list)
    whole: bool = True

    def take(self, other: _Tie) -> None:
        """Becomes the tie of both."""
        self.before += other.before
        self.added += other.added
        self.after += other.after
        self.seen += other.seen
        self.whole &= other.whole


def repair(model: Model, evidence: Evidence) -> Model:
    """A copy of a float model with channels of like ranges; see `repairs.repaired`."""
    copy = model.clone()
    ties = [tie for tie in _ties(copy.graph) if tie.whole and tie.before and tie.after]
    if not ties:
        return copy
    rooms = [_room(tie, peaks) for tie, peaks in zip(ties, _peaks(copy, ties, evidence), strict=True)]
    arrays = {value: _exact(value) for tie in ties for value, _ in (*tie.before, *tie.added, *tie.after)}
    for _ in range(ROUNDS):
        changes = [_equalize(tie, room, arrays) for tie, room in zip(ties, rooms, strict=True)]
        if max(changes) < SETTLED:
            break
    for value, array in arrays.items():
        value.const_value = ir.Tensor(array.astype(np.float32), name=value.name)
    return copy


def _equalize(tie: _Tie, room: Array, arrays: dict[ir.Value, Array]) -> float:
    """Applies one tie's factors to the arrays, and takes them off the room that is left; the largest, as a log."""
    before, after = (np.maximum(_ranges(arrays, side), NOTHING) for side in (tie.before, tie.after))
    factors = np.clip(np.sqrt(after / before), *room)
    for value, axis in (*tie.before, *tie.added):
        arrays[value] = arrays[value] * _along(factors, arrays[value], axis)
    for value, axis in tie.after:
        arrays[value] = arrays[value] / _along(factors, arrays[value], axis)
    room /= factors
    return float(np.abs(np.log(factors)).max(initial=0.0))


def _ranges(arrays: dict[ir.Value, Array], side: list[tuple[ir.Value, int]]) -> Array:
    """The widest range of each channel, in units of its tensor's."""
    rows = [
        np.abs(np.moveaxis(arrays[value], axis, 0)).reshape(arrays[value].shape[axis], -1).max(1)
        for value, axis in side
    ]
    found: Array = np.max([row / max(row.max(initial=0.0), 1e-30) for row in rows], axis=0)
    return found


def _room(tie: _Tie, peaks: list[Array]) -> Array:
    """How little and how much each channel may become of what it was. Shape [2, channels]."""
    least, most = (np.full(peaks[0].shape, end) for end in (1 / LARGEST, LARGEST))
    for (_, bound), peak in zip(tie.seen, peaks, strict=True):
        high = bound / MARGIN if np.isfinite(bound) else peak.max(initial=0.0)
        most = np.minimum(most, np.maximum(high / np.maximum(peak, NOTHING), 1.0))
        least[peak >= FULL * bound] = most[peak >= FULL * bound] = 1.0
    return np.array([least, most])


def _peaks(model: Model, ties: list[_Tie], evidence: Evidence) -> list[list[Array]]:
    """For each tie, the largest magnitude in each channel of each of its values, on calibration samples."""
    peaks = channel_peaks(model, {value.name or "": 1 for tie in ties for value, _ in tie.seen}, evidence)
    return [[peaks[value.name or ""] for value, _ in tie.seen] for tie in ties]


def _ties(graph: ir.Graph) -> list[_Tie]:
    """All values of a graph, tied together by what is proportional."""
    ties: dict[ir.Value, _Tie] = {}

    def tie_of(value: ir.Value) -> _Tie:
        return ties.setdefault(value, _Tie(whole=not value.is_graph_input() and not value.is_graph_output()))

    def join(first: ir.Value, second: ir.Value) -> None:
        one, other = tie_of(first), tie_of(second)
        if one is not other:
            one.take(other)
            ties.update({value: one for value, tie in ties.items() if tie is other})

    for node in graph:
        given = [value for value in node.inputs if value is not None and constant_of(value) is None]
        output = node.outputs[0]
        if (sides := _sides(node)) is not None:
            made, read = tie_of(output), tie_of(given[0])
            weights = node.inputs[1]
            assert weights is not None
            made.before.append((weights, sides[0]))
            read.after.append((weights, sides[1]))
            if len(node.inputs) > 2 and node.inputs[2] is not None:
                made.added.append((node.inputs[2], 0))
        elif _is_proportional(node):
            for value in given:
                join(output, value)
        else:
            for value in (*given, *node.outputs):
                tie_of(value).whole = False
        if not _is_inside(output):
            name = activation_of(node)
            bound = float(name[7:-1]) if name.startswith("Clip(0,") else np.inf
            tie_of(output).seen.append((output, bound))
    return list({id(tie): tie for tie in ties.values()}.values())


def _sides(node: ir.Node) -> tuple[int, int] | None:
    """The axes of output and input channels of the weights of a layer; None for one that is no such layer."""
    weights = (
        constant_of(node.inputs[1]) if node.op_type in ("Conv", "ConvTranspose", "Gemm") and not node.domain else None
    )
    rest = [value for value in node.inputs[1:3] if value is not None]
    if weights is None or constant_of(node.inputs[0]) is not None or any(len(list(value.uses())) > 1 for value in rest):
        return None
    if any(constant_of(value) is None for value in rest):
        return None
    shape, group = dims(node.inputs[0]), node.attributes.get_int("group", 1)
    if node.op_type == "Gemm":
        return (0, 1) if node.attributes.get_int("transB", 0) and len(rest) == 2 else None
    if group == 1:
        return (0, 1) if node.op_type == "Conv" else (1, 0)
    depthwise = shape is not None and node.op_type == "Conv" and group == shape[1] == weights.shape[0]
    return (0, 0) if depthwise else None


def _is_proportional(node: ir.Node) -> bool:
    """Whether a node hands on c times as much in a channel where it is given c times as much, c > 0."""
    kind, shapes = node.op_type, [dims(value) for value in (*node.inputs[:2], node.outputs[0])]
    if node.domain or shapes[0] is None or len(shapes[0]) < 2:
        return False
    name = activation_of(node)
    if name:
        return name == "Relu" or name.startswith("Clip(0,")
    if kind == "Add":
        return shapes[0] == shapes[1] and all(constant_of(value) is None for value in node.inputs)
    if kind in ("ReduceMean", "ReduceSum"):
        axes = constant_of(node.inputs[1]) if len(node.inputs) > 1 else None
        return axes is not None and node.attributes.get_int("keepdims", 1) == 1 and not {0, 1} & set(axes.tolist())
    if kind == "Reshape":  # of one pixel
        return len(shapes[-1] or ()) > 1 and shapes[0][:2] == (shapes[-1] or ())[:2] and set(shapes[0][2:]) <= {1}
    return kind in ("LeakyRelu", "MaxPool", "AveragePool")


def _is_inside(value: ir.Value) -> bool:
    """Whether a value only goes into a clip, with which it is one operator."""
    uses = list(value.uses())
    return len(uses) == 1 and bool(activation_of(uses[0].node))


def _exact(value: ir.Value) -> Array:
    array = constant_of(value)
    assert array is not None
    exact: Array = array.astype(np.float64)
    return exact


def _along(factors: Array, array: Array, axis: int) -> Array:
    shape = [1] * array.ndim
    shape[axis] = -1
    return factors.reshape(shape)
