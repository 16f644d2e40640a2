"""What the values of a block look like: gathered for the worst blocks alone, sample by sample."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from narrowcast.dialect.build import constant_of
from narrowcast.evaluation.diagnosis.branches import Copier, Rounding, computing, ports, segment
from narrowcast.evaluation.diagnosis.pairing import Pair, Pairing
from narrowcast.evaluation.diagnosis.plain import span
from narrowcast.evaluation.diagnosis.records import Histogram
from narrowcast.evaluation.metrics import WHOLE, Parts
from narrowcast.evaluation.parts import parts_of
from narrowcast.evaluation.real import THREADS
from narrowcast.model import Array, Feed, Model, ir
from narrowcast.reference import Reference
from narrowcast.targets.spelling import Parameters, axis_of, dequantizer, real_of, weights_behind

__all__ = ["JOINED", "Evidence", "Values", "Weights", "evidence_of"]

BINS = 96
"""Of a histogram that is shown."""

FINE = 4096
"""Of the one by which ranges are told: 32 for a factor of 2."""

LONGEST_AXIS = 4096
"""Along axes that are longer, parts are not told apart."""

TINY = 1e-30
JOINED = -1
"""In the place of an axis: the parts that a tensor was put together from."""


@dataclass(slots=True)
class Values:
    """A tensor's float values over all samples, and what rounding does to them.

    Attributes:
        name: in the float graph.
        how: it is stored; None for floats.
        low, high: the lowest and the highest value.
        signal, noise: sums of squares, of the values and of what rounding changes.
        clipped: the part of the noise that lies beyond the range of the integers.
        negative: signal and noise of the negative values.
        lost: how many values that are not 0 become 0.
        used: how many are not 0.
        joined: the parts that it was put together from.
        peaks: by axis, the largest magnitude at each of its places; of `joined` parts by `JOINED`.
        signals, noises: likewise sums of squares.
        spreads: likewise the lowest and the highest value as rounded.
        before, after: counts of `histogram`.
        magnitudes: counts by the logarithm of the magnitude.
    """

    name: str
    how: Parameters | None
    joined: Parts = WHOLE
    low: float = math.inf
    high: float = -math.inf
    signal: float = 0.0
    noise: float = 0.0
    clipped: float = 0.0
    negative: Array = field(default_factory=lambda: np.zeros(2))
    lost: int = 0
    used: int = 0
    peaks: dict[int, Array] = field(default_factory=dict)
    signals: dict[int, Array] = field(default_factory=dict)
    noises: dict[int, Array] = field(default_factory=dict)
    spreads: dict[int, Array] = field(default_factory=dict)
    bins: tuple[float, float, int] = (0.0, 0.0, 0)
    before: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    after: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    magnitudes: Array = field(default_factory=lambda: np.zeros(FINE, np.int64))

    def update(self, floats: Array, found: Array) -> None:
        """Takes a sample: the values of the float network and those of the quantised one."""
        floats = np.where(np.isfinite(floats) & (np.abs(floats) < 1e30), floats, 0).astype(np.float64)
        if not floats.size:
            return
        self.low, self.high = min(self.low, float(floats.min())), max(self.high, float(floats.max()))
        rounded = floats if self.how is None else _rounded(floats, self.how)
        error = np.square(rounded - floats)
        self.signal += float(np.square(floats).sum())
        self.noise += float(error.sum())
        if self.how is not None:
            low, high = span(self.how)
            beyond = (floats < low - self.how.scale / 2) | (floats > high + self.how.scale / 2)
            self.clipped += float(error[beyond].sum())
        below = floats < 0
        self.negative += (np.square(floats[below]).sum(), error[below].sum())
        self.used += int(np.count_nonzero(floats))
        self.lost += int(np.count_nonzero(floats[rounded == 0]))
        for axis in range(floats.ndim):
            if 1 < floats.shape[axis] <= LONGEST_AXIS:
                self._along(axis, floats, rounded, error, np.arange(floats.shape[axis]))
        if self.joined.branches and floats.shape[self.joined.axis] == self.joined.size:
            self._along(self.joined.axis, floats, rounded, error, np.array(self.joined.starts), JOINED)
        self._count(floats, np.nan_to_num(found.astype(np.float64)))

    def _along(
        self, axis: int, floats: Array, rounded: Array, error: Array, starts: Array, key: int | None = None
    ) -> None:
        """Takes the places of an axis into account, from one start to the next."""
        key, size = axis if key is None else key, len(starts)
        others = tuple(other for other in range(floats.ndim) if other != axis)
        if key not in self.peaks or len(self.peaks[key]) != size:
            self.peaks[key], self.signals[key], self.noises[key] = (np.zeros(size) for _ in range(3))
            self.spreads[key] = np.stack([np.full(size, np.inf), np.full(size, -np.inf)])

        def reduced(reduce: np.ufunc, array: Array) -> Array:
            found: Array = reduce.reduceat(reduce.reduce(array, axis=others), starts)
            return found

        np.maximum(self.peaks[key], reduced(np.maximum, np.abs(floats)), out=self.peaks[key])
        self.signals[key] += reduced(np.add, np.square(floats))
        self.noises[key] += reduced(np.add, error)
        lowest, highest = self.spreads[key]
        np.minimum(lowest, reduced(np.minimum, rounded), out=lowest)
        np.maximum(highest, reduced(np.maximum, rounded), out=highest)

    def _count(self, floats: Array, found: Array) -> None:
        if self.bins[2] == 0:
            self.bins = _bins(self.low, self.high, self.how)
            self.before, self.after = (np.zeros(self.bins[2], np.int64) for _ in range(2))
        low, width, count = self.bins
        for counts, values in ((self.before, floats), (self.after, found)):
            places = np.clip(np.floor((values.reshape(-1) - low) / width), 0, count - 1)
            counts += np.bincount(places.astype(np.int64), minlength=count)
        exponents = np.log2(np.abs(floats.reshape(-1)) + 2.0**-64)
        self.magnitudes += np.bincount(
            np.clip((exponents + 64) * (FINE / 128), 0, FINE - 1).astype(np.int64), minlength=FINE
        )

    @property
    def histogram(self) -> Histogram | None:
        """The counts with their bins; None for floats."""
        if self.how is None or not len(self.before):
            return None
        low, width, _ = self.bins
        return Histogram(low, width, tuple(self.before.tolist()), tuple(self.after.tolist()), span(self.how))

    def reach(self, share: float) -> float:
        """The magnitude that all but such a share of the values stay below, to within 2 %."""
        counts = np.cumsum(self.magnitudes)
        if not counts[-1]:
            return 0.0
        place = int(np.searchsorted(counts, counts[-1] * (1 - share)))
        return float(2.0 ** ((place + 1) * 128 / FINE - 64))


def _rounded(array: Array, how: Parameters) -> Array:
    low, high = span(how)
    stored: Array = np.clip(np.rint(array / how.scale) * how.scale, low, high)
    return stored


def _bins(low: float, high: float, how: Parameters | None) -> tuple[float, float, int]:
    """Where bins begin, how wide they are, and how many: of whole steps, so that none has more of them than others."""
    if how is not None:
        bottom, top = span(how)
        low, high = min(low, bottom), max(high, top)
        steps = max(1, math.ceil((high - low) / how.scale / BINS))
        width = steps * how.scale
        first = math.floor((low - bottom) / width) * width + bottom - how.scale / 2
        return first, width, max(1, math.ceil((high - first) / width))
    width = (high - low) / BINS or 1.0
    return low, width, BINS


@dataclass(frozen=True, slots=True)
class Weights:
    """The constants that a block multiplies by.

    Attributes:
        floats: of the float network.
        rounded: of the quantised one, in the same order.
        axis: of the output channels.
        scales: how many scales there are.
        bits: of an integer.
    """

    floats: Array
    rounded: Array
    axis: int
    scales: int
    bits: int

    @property
    def peaks(self) -> Array:
        """The largest magnitude of each output channel."""
        others = tuple(axis for axis in range(self.floats.ndim) if axis != self.axis)
        found: Array = np.abs(self.floats).max(axis=others, initial=0.0)
        return found


@dataclass(slots=True)
class Evidence:
    """What is known of a block.

    Attributes:
        pair: the block.
        values: of its tensors, what leaves it first.
        weights: None where it has none, or others than the float network's in shape.
        shift: the power of what weights change in the mean of each output channel, and all that they change.
        own: the power that quantised weights add to what leaves it, and what its roundings do.
        after: operators that read what leaves it, through those that only move it.
        handed_out: whether it leaves the network so.
        partners: other tensors that are stored by the scale of what leaves it.
    """

    pair: Pair
    values: list[Values]
    weights: Weights | None
    own: tuple[float, float]
    after: frozenset[str]
    handed_out: bool
    partners: tuple[str, ...] = ()
    shift: Array = field(default_factory=lambda: np.zeros(2))

    @property
    def by_weights(self) -> float:
        """The share of the weights in the block's own error."""
        return self.own[0] / max(sum(self.own), TINY)


MOVERS = frozenset({"Concat", "Expand", "Gather", "Identity", "Pad", "Reshape", "Slice", "Split", "Tile", "Transpose"})
CARRIERS = MOVERS | {"Abs", "Add", "Clip", "Max", "Mul", "Pow", "ReduceMean", "ReduceSum", "ReduceSumSquare", "Relu"}
"""Operators behind which small values are still small: a power spectrum on its way to its logarithm."""


def evidence_of(
    pairing: Pairing, chosen: Sequence[int], own: Sequence[tuple[float, float]], feeds: Iterable[Feed]
) -> list[Evidence]:
    """Runs samples and looks at the tensors of some blocks.

    Args:
        pairing: both graphs.
        chosen: which pairs.
        own: for each of these the power that its weights and its roundings add.
        feeds: taken once.
    """
    if not chosen:
        return []
    copy, plain = Copier("evidence"), pairing.plain
    given, real, found = ports(copy, pairing)
    copy.nodes(computing(pairing.floats.graph), real)
    copy.nodes(computing(plain.model.graph), found, Rounding(plain.stored, plain.edges))
    ideal = {there: given.get(there) or real[here] for pair in pairing.pairs for here, there in pair.outputs}
    order = {node: at for at, node in enumerate(plain.model.graph)}
    loose = {value: found[value] for value in plain.model.graph.inputs if value not in ideal}
    made: list[Evidence] = []
    wanted: list[tuple[Values, ir.Value, ir.Value]] = []
    shifts: list[tuple[Evidence, ir.Value, ir.Value]] = []
    for at, powers in zip(chosen, own, strict=True):
        pair = pairing.pairs[at]
        both = [(here, there, ideal[there]) for here, there in pair.outputs]
        both += [(here, there, real[here]) for here, there in pair.inner]
        values = [Values(here.name or "", plain.stored.get(there), parts_of(here)) for here, there, _ in both]
        wanted += [(value, floats, found[there]) for value, (_, there, floats) in zip(values, both, strict=True)]
        last = pair.outputs[0][1]
        nodes, read = segment([last], ideal, order)
        how = plain.stored.get(last)
        partners = tuple(
            value.name or "" for value, other in plain.stored.items() if other == how and value not in (last, *read)
        )
        evidence = Evidence(pair, values, _weights(pair, nodes), powers, *_after(last), partners)
        made.append(evidence)
        if evidence.weights is not None:
            known = {**loose, **{value: what for value, what in ideal.items() if value is not last}}
            copy.nodes(nodes, known)
            shifts.append((evidence, known[last], ideal[last]))
    handed = list(dict.fromkeys(value for _, *pair in (*wanted, *shifts) for value in pair))
    inputs = {value.name for value in copy.build.graph.inputs}
    outputs = [
        copy.build("Identity", value, name=f"{value.name}/seen") if value.name in inputs else value for value in handed
    ]
    names = {value: output.name or "" for value, output in zip(handed, outputs, strict=True)}
    model = copy.build.finish(outputs)
    reference = Reference(Model(model), threads=THREADS, integers=False)
    for feed in feeds:
        got = reference.run(feed)
        for tensor, one, other in wanted:
            tensor.update(got[names[one]], got[names[other]])
        for evidence, one, other in shifts:
            evidence.shift += _shift(got[names[one]], got[names[other]])
    return made


def _shift(found: Array, wanted: Array) -> Array:
    """The power of what differs in the mean of each channel, and of all that differs."""
    error = found.astype(np.float64) - wanted
    axis = 1 if error.ndim > 2 else error.ndim - 1
    others = tuple(other for other in range(error.ndim) if other != axis)
    mean = error.mean(axis=others, keepdims=True) if others else error
    spread = error.size / max(mean.size, 1)
    return np.array([np.square(mean).sum() * spread, np.square(error).sum()])


def _weights(pair: Pair, nodes: Sequence[ir.Node]) -> Weights | None:
    """The weights of the operator that does the work, and of its counterpart."""
    anchor = pair.floats.nodes[0] if pair.floats.nodes else None
    if anchor is None or anchor.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
        return None
    other = next((node for node in nodes if node.op_type == anchor.op_type), None)
    step = dequantizer(other.inputs[1]) if other is not None else None
    floats, rounded = constant_of(weights_behind(anchor.inputs[1])), real_of(step) if step is not None else None
    if step is None or floats is None or rounded is None or floats.shape != rounded.shape:
        return None
    stored = step.inputs[0]
    bits = stored.dtype.bitwidth if stored is not None and stored.dtype is not None else 8
    axis = {"Conv": 0, "Gemm": 0 if anchor.attributes.get_int("transB", 0) else 1}.get(anchor.op_type, 1)
    axis = floats.ndim - 1 if anchor.op_type == "MatMul" else axis
    along = axis_of(step)
    return Weights(floats, rounded, axis, 1 if along is None else floats.shape[along], bits)


def _after(value: ir.Value) -> tuple[frozenset[str], bool]:
    """The operators that read a value through those that move it, and whether it is handed out so."""
    pending, kinds, seen, out = [(value, 0)], set(), {value}, value.is_graph_output()
    while pending:
        current, depth = pending.pop()
        for use in current.uses():
            node = use.node
            kinds.add(node.op_type if depth == 0 or node.op_type not in CARRIERS else "")
            if node.op_type in CARRIERS and depth < 4:
                for output in node.outputs:
                    out = out or (depth == 0 and node.op_type in MOVERS and output.is_graph_output())
                    if output not in seen:
                        seen.add(output)
                        pending.append((output, depth + (node.op_type not in MOVERS)))
    return frozenset(kinds - {""}), out
