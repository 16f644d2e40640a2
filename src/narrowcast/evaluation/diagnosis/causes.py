"""Why a block loses: a table of small questions to its evidence, one for each known cause.

A cause is a function of `Evidence` under `@cause(name)` that gives None, or the share of the block's own error that it
may account for, why in words, and what to do. Where several apply, the one with the largest share is the likeliest.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from narrowcast.evaluation.diagnosis.evidence import JOINED, TINY, Evidence, Values
from narrowcast.evaluation.diagnosis.plain import span
from narrowcast.evaluation.diagnosis.records import Cause
from narrowcast.model import Array
from narrowcast.targets.spelling import Parameters

__all__ = ["CAUSES", "causes_of"]

MOST = 3
"""Causes that are told of a block."""

MOST_READERS = 4
"""Nodes that are named in an option because they read a block."""

APART = 8.0
"""How far channels or parts have to differ in range for one scale to be too few: 3 of 8 bits."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a question found: the share of the error, why, and what to do."""

    part: float
    why: str
    action: str


Question = Callable[[Evidence], Told | None]
CAUSES: dict[str, Question] = {}


def cause(name: str) -> Callable[[Question], Question]:
    """Registers a question under the name of its cause."""

    def register(question: Question) -> Question:
        CAUSES[name] = question
        return question

    return register


def causes_of(evidence: Evidence) -> tuple[Cause, ...]:
    """The causes that apply to a block, the likeliest first."""
    told = ((name, question(evidence)) for name, question in CAUSES.items())
    found = [Cause(name, one.why, one.action, round(one.part, 3)) for name, one in told if one is not None]
    return tuple(sorted(found, key=lambda one: -one.part)[:MOST])


# What weights lose


@cause("weight channels")
def _weight_channels(evidence: Evidence) -> Told | None:
    weights = evidence.weights
    if weights is None or weights.scales > 1:
        return None
    peaks = weights.peaks[weights.peaks > 0]
    ratio = float(peaks.max() / np.median(peaks)) if peaks.size > 1 else 1.0
    if ratio < APART / 2:
        return None
    spread = float(peaks.max() / peaks.min())
    return Told(
        evidence.by_weights * (1 - 1 / ratio),
        f"the weights of its {len(weights.peaks)} output channels differ {_times(spread)} in range and share one scale",
        "--weights per-channel; where the target has none, --repair equalize",
    )


@cause("weight mean")
def _weight_mean(evidence: Evidence) -> Told | None:
    moved, all_of_it = evidence.shift
    share = moved / max(all_of_it, TINY)
    if share < 0.4:
        return None
    return Told(
        evidence.by_weights * share * 0.9,
        f"rounding its weights moves the means of its channels: {share:.0%} of what they change is the same everywhere",
        "--repair bias, or --repair gptq",
    )


@cause("weight outliers")
def _weight_outliers(evidence: Evidence) -> Told | None:
    weights = evidence.weights
    if weights is None:
        return None
    flat = np.abs(np.moveaxis(weights.floats, weights.axis, 0).reshape(weights.floats.shape[weights.axis], -1))
    usual = np.array([np.median(row[row > 0]) if row.any() else 0.0 for row in flat])
    factor = float(np.median(flat.max(axis=1)[usual > 0] / usual[usual > 0])) if usual.any() else 0.0
    if factor < 20 or weights.scales == 1:
        return None
    return Told(
        evidence.by_weights * 0.6,
        f"single weights are {_times(factor)} as large as is usual in their channel, and take the others' range",
        f"--repair gptq, or {_named(evidence)}",
    )


@cause("weight rounding")
def _weight_rounding(evidence: Evidence) -> Told | None:
    if evidence.by_weights < 0.2:
        return None
    known = evidence.weights
    to = "" if known is None else f" to {known.bits} bits"
    return Told(
        evidence.by_weights * 0.35,
        f"its weights are rounded{to}, {evidence.by_weights:.0%} of its own error",
        "--repair gptq" if known is not None else _named(evidence),
    )


# What activations lose


def _rounding(evidence: Evidence) -> float:
    """The share of activations in the block's own error."""
    return 1 - evidence.by_weights


def _stored(evidence: Evidence) -> Iterator[tuple[Values, Parameters]]:
    """Tensors of the block that are stored in integers and have something to lose, and how they are."""
    for values in evidence.values:
        if values.how is not None and values.noise > 0 and values.signal > 0:
            yield values, values.how


def _largest(
    evidence: Evidence, found: Callable[[Values, Parameters], float]
) -> tuple[float, Values, Parameters] | None:
    """The tensor for which something is largest, which is more than 0."""
    ranked = [(found(values, how), values, how) for values, how in _stored(evidence)]
    best = max(ranked, default=None, key=lambda item: item[0])
    return None if best is None or best[0] <= 0 else best


JOINING = frozenset({"Concat", "Reshape", "Slice", "Split", "Transpose"})
LOBED = frozenset({"HardSwish", "Swish", "Gelu", "Mish", "Sigmoid"})


@cause("negative lobe")
def _negative_lobe(evidence: Evidence) -> Told | None:
    kinds = [node.op_type for node in evidence.pair.floats.nodes]
    gated = not LOBED.isdisjoint(kinds) and ("Mul" in kinds or "Sigmoid" not in kinds)
    if not gated or evidence.values[0].low >= 0 or evidence.values[0].low < -1.5:
        return None
    signal, noise = evidence.values[0].negative
    step = max((how.scale for _, how in _stored(evidence)), default=0.0)
    lobe = -evidence.values[0].low
    if step < lobe / 2 and noise < signal / 4:
        return None
    return Told(
        _rounding(evidence),
        f"the negative lobe of its activation, down to {-lobe:.2g}, rounds away: a step is {step:.2g}",
        f"--observer auto or percentile, or {_named(evidence)}",
    )


SPREADING = frozenset({"Log", "Sqrt", "Reciprocal"})


@cause("before a logarithm")
def _before_log(evidence: Evidence) -> Told | None:
    found = sorted(evidence.after & SPREADING)
    best = _largest(evidence, lambda values, _: values.noise / values.signal)
    if not found or best is None:
        return None
    values = best[1]
    return Told(
        _rounding(evidence),
        f"it is on the way to a {found[0]}, for which small values count as much as large ones: {_lost(values)}",
        f"{_named(evidence)}, and all from the transform before it to the {found[0]}",
    )


@cause("calibration")
def _calibration(evidence: Evidence) -> Told | None:
    best = _largest(evidence, lambda values, how: 0.0 if _fixed(how) else values.clipped / values.noise)
    if best is None or best[0] < 0.3:
        return None
    share, values, how = best
    return Told(
        _rounding(evidence) * share * 0.93,
        f"values reach {_reach(values.low, values.high)}, its integers {_reach(*span(how))}: {share:.0%} of the error "
        "is what was cut off; the calibration data were unlike these, or the observer cut on purpose",
        f"calibrate on more --data, like these, or {_named(evidence, 'wide')}",
    )


@cause("unused range")
def _unused_range(evidence: Evidence) -> Told | None:
    def unused(values: Values, how: Parameters) -> float:
        low, high = span(how)
        return 0.0 if _fixed(how) else (high - low) / max(max(values.high, 0.0) - min(values.low, 0.0), TINY)

    best = _largest(evidence, unused)
    if best is None or best[0] < 3:
        return None
    ratio, values, how = best
    reach = f"its integers reach {_reach(*span(how))}, {_times(ratio)} as far as any value here"
    if evidence.partners and values is evidence.values[0]:
        return None  # of "shared by others"
    return Told(
        _rounding(evidence) * (1 - 1 / ratio),
        f"{reach} ({_reach(values.low, values.high)}): the calibration data were unlike these",
        "calibrate on data like these, --data or --calibrate",
    )


@cause("shared by others")
def _shared_by_others(evidence: Evidence) -> Told | None:
    values = evidence.values[0]
    if values.how is None or _fixed(values.how) or not evidence.partners:
        return None
    low, high = span(values.how)
    ratio = (high - low) / max(max(values.high, 0.0) - min(values.low, 0.0), TINY)
    if ratio < 3:
        return None
    count = len(evidence.partners)
    return Told(
        _rounding(evidence) * (1 - 1 / ratio),
        f"it shares its scale with {count} other tensor{'s' * (count > 1)} ({evidence.partners[0]} for one), whose "
        f"range, {_reach(low, high)}, is {_times(ratio)} as wide as its own, {_reach(values.low, values.high)}",
        _named(evidence),
    )


def _fixed(how: Parameters) -> bool:
    """Whether the scale is one that kernels prescribe."""
    return (how.scale, how.zero_point) in (
        (2.0**-8, -128), (2.0**-8, 0), (2.0**-7, 0), (2.0**-7, 128), (2.0**-15, 0),
    )  # fmt: skip


@cause("fixed step")
def _fixed_step(evidence: Evidence) -> Told | None:
    best = _largest(evidence, lambda values, how: values.noise / values.signal if _fixed(how) else 0.0)
    if best is None:
        return None
    values, step = best[1], best[2].scale
    usual = values.reach(0.1)
    if usual > 8 * step:
        return None
    return Told(
        _rounding(evidence),
        f"kernels fix its step at 1/{1 / step:.0f}, and nine of ten values are below {usual:.2g}: {_lost(values)}",
        _named(evidence),
    )


@cause("outliers")
def _outliers(evidence: Evidence) -> Told | None:
    def stretched(values: Values, how: Parameters) -> float:
        cut = values.clipped > values.noise / 2
        return 0.0 if cut or _fixed(how) else max(-values.low, values.high) / max(values.reach(0.001), TINY)

    best = _largest(evidence, stretched)
    if best is None or best[0] < 3:
        return None
    ratio, values, _ = best
    return Told(
        _rounding(evidence) * (1 - 1 / ratio),
        f"0.1 % of its values hold {1 - 1 / ratio:.0%} of the range: all others are below {values.reach(0.001):.3g}, "
        f"these reach {max(-values.low, values.high):.3g}",
        "--observer percentile or mse",
    )


@cause("shared scale")
def _shared_scale(evidence: Evidence) -> Told | None:
    kinds = {node.op_type for node in evidence.pair.floats.nodes}
    found = _parts(evidence, most=16)
    if found is None or evidence.handed_out or (kinds and kinds.isdisjoint(JOINING)):
        return None
    _, axis, ratio, lost = found
    return Told(
        _rounding(evidence) * (0.9 + 0.1 * lost),
        f"{_side_by_side(axis)} share one scale, though their ranges differ {_times(ratio)}",
        _named(evidence),
    )


@cause("joined outputs")
def _joined_outputs(evidence: Evidence) -> Told | None:
    found = _parts(evidence, most=256)
    if found is None or not evidence.handed_out:
        return None
    values, axis, ratio, lost = found
    if axis != JOINED and len(values.peaks) < 2:
        return None  # scores of classes, one for each
    return Told(
        _rounding(evidence) * (0.9 + 0.1 * lost),
        f"{_side_by_side(axis)} are handed out by one scale, boxes beside scores say, though their ranges differ "
        f"{_times(ratio)}",
        f"{_named(evidence)}, or hand its parts out one by one: --cut-outputs",
    )


@cause("activation channels")
def _activation_channels(evidence: Evidence) -> Told | None:
    found = _parts(evidence, most=4096)
    if found is None:
        return None
    values, axis, ratio, lost = found
    lowest, highest = values.spreads[axis]
    dead = int(((lowest == highest) & (values.signals[axis] > 0)).sum())
    told = f", and {dead} of {len(lowest)} become constant" if dead else ""
    return Told(
        _rounding(evidence) * 0.8 * lost,
        f"its channels differ {_times(ratio)} in range and share one scale{told}",
        f"--repair equalize, or {_named(evidence, 'wide')}",
    )


def _parts(evidence: Evidence, most: int) -> tuple[Values, int, float, float] | None:
    """The tensor and the axis along which few or many parts differ most, how much, and what share of them is lost."""
    best: tuple[Values, int, float, float] | None = None
    for values, _ in _stored(evidence):
        for axis, peaks in values.peaks.items():
            if not 1 < len(peaks) <= most or (peaks <= 0).all():
                continue
            there = peaks[peaks > 0]
            ratio = float(there.max() / np.median(there)) if len(there) > 2 else float(there.max() / there.min())
            lost = _lost_parts(values, axis)
            if ratio >= APART and lost > 0.2 and (best is None or lost * np.log(ratio) > best[3] * np.log(best[2])):
                best = values, axis, ratio, lost
    return best


def _lost_parts(values: Values, axis: int) -> float:
    """The share of an axis's places that keep 12 dB less than the tensor as a whole, or next to nothing beside it."""
    signals, noises = values.signals[axis], values.noises[axis]
    there = signals > 0
    if not there.any():
        return 0.0
    own: Array = noises[there] / signals[there]
    whole = values.noise / values.signal
    return float(((own > 16 * whole) | ((own > 0.25) & (own > 4 * whole))).mean())


@cause("input")
def _input(evidence: Evidence) -> Told | None:
    if evidence.pair.floats.nodes:
        return None
    return Told(
        0.5,
        "it is the network's input, rounded to 8 bits",
        "data that fill its range, or a scheme with wider activations: int16x8",
    )


@cause("rounding")
def _any_rounding(evidence: Evidence) -> Told | None:
    share = _rounding(evidence)
    best = _largest(evidence, lambda values, _: values.noise / values.signal)
    if share < 0.2 or best is None or not evidence.pair.floats.nodes:
        return None
    _, values, how = best
    usual = np.sqrt(values.signal / max(sum(map(float, values.magnitudes)), 1))
    return Told(
        share * 0.3,
        f"values of {usual:.2g} on average are stored in steps of {how.scale:.2g}, over {_reach(*span(how))}",
        f"{_named(evidence, 'wide')}; tune chooses which blocks are worth it",
    )


def _side_by_side(axis: int) -> str:
    return "the tensors that it joins" if axis == JOINED else f"its parts along axis {axis}"


def _named(evidence: Evidence, option: str = "keep-float") -> str:
    """An option for all nodes of a block, and for those that read it where it loses by how they have it stored."""
    if not evidence.pair.nodes:
        return "the scheme int8, whose inputs and outputs are floats"
    worst = max((values.noise / values.signal for values, _ in _stored(evidence)), default=0.0)
    handed = evidence.values[0]
    lost = handed.how is not None and handed.noise >= worst * handed.signal / 2
    read = [use.node.name for use in evidence.pair.floats.outputs[0].uses() if use.node.name] if lost else []
    names = dict.fromkeys((*evidence.pair.nodes, *read[:MOST_READERS]))
    return " ".join(f"--{option} {shlex.quote(name)}" for name in names)


def _lost(values: Values) -> str:
    return f"{values.lost / max(values.used, 1):.0%} of the values become 0"


def _times(ratio: float) -> str:
    return f"{ratio:,.0f} times" if ratio < 1e6 else "millions of times"


def _reach(low: float, high: float) -> str:
    return f"{low:.3g}..{high:.3g}"
