"""Calibration: samples stream through the float graph once, and observers remember the ranges of its tensors.

Cost of min/max, which is the default. Handing every tensor out of ONNX Runtime and looking at it costs as much again as
the forward pass. Two facts avoid most of it, exactly: a tensor that comes out of a Relu or Clip cannot leave the clip's
interval, so a bound that has been reached needs no more looking; and GlobalMaxPool, unlike ReduceMax, runs on ONNX
Runtime's own blocked layout, so a maximum costs one pass over data that is still in the cache. The first samples are
looked at in full; the others by a graph that computes only the bounds that are still open.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from narrowcast.dialect.build import Builder
from narrowcast.errors import DataError, UsageError
from narrowcast.model import Array, Feed, Feeds, Model, ir
from narrowcast.passes.fuse.clip import bounds_of
from narrowcast.quantization.assign import assign
from narrowcast.quantization.members import HUGE
from narrowcast.quantization.observers import MinMax, Observer, observer_named
from narrowcast.quantization.overrides import Overrides, choose
from narrowcast.reference import Reference, open_session
from narrowcast.targets.groups import activation_of, rule_of
from narrowcast.targets.rules import Sharing, Target
from narrowcast.targets.spelling import is_weight

__all__ = ["Ranges", "calibrate", "covers", "everywhere", "recorded"]

FULL_SAMPLES = 4
"""How many samples are looked at in full before only open bounds are computed."""

_NUMBERED = re.compile(r"_\d+$")

Tally = Callable[[int], None]
"""Is told how many samples are done."""


@dataclass(frozen=True, slots=True)
class Ranges:
    """What was observed.

    Attributes:
        ranges: (low, high) by value name.
        samples: how many feeds there were.
        observer: the observer's name.
        notes: what the user should know of the samples.
    """

    ranges: Mapping[str, tuple[float, float]]
    samples: int
    observer: str
    notes: tuple[str, ...] = ()


def observed_values(model: Model, target: Target, overrides: Overrides | None = None) -> list[ir.Value]:
    """All values whose range some scheme of the target needs, and the float inputs and outputs."""
    found: dict[ir.Value, None] = {}
    schemes = {storage.activations: scheme for scheme, storage in target.storage.items()}
    for scheme in [scheme for activations, scheme in schemes.items() if activations != "float32" or overrides]:
        assignment = assign(model, target, choose(model, target, scheme, overrides), integer_ports=True)
        found.update(dict.fromkeys(value for value, _ in assignment.stored))
    ports = (*model.graph.inputs, *model.graph.outputs)
    found.update(dict.fromkeys(value for value in ports if value.dtype is ir.DataType.FLOAT))
    return list(found)


def covers(ranges: Ranges | None, model: Model, target: Target, overrides: Overrides) -> bool:
    """Whether ranges that were calibrated without overrides are all that `quantize` needs with them."""
    wanted = observed_values(model, target, overrides)
    return ranges is not None and all(value.name in ranges.ranges for value in wanted)


def recorded(model: Model, target: Target, scheme: str, overrides: Overrides | None = None) -> Ranges:
    """The ranges that a file said of its activations, in the place of calibrated ones.

    What only moves numbers, picks some, bounds or averages them has the range of what it reads. A value that a rule
    made anew has the old one's name with a number behind it (`Builder.unique`).

    Args:
        model: canonical and decomposed for the target, made of one that was dequantised.
        target: whose rules hold.
        scheme: that the ranges are for.
        overrides: as for `quantize`.

    Raises:
        UsageError: the file does not say them all.
    """
    found = dict(model.ranges)
    names = {output.name or "" for node in model.graph for output in node.outputs}
    for name in names - found.keys():
        before = _NUMBERED.sub("", name)
        if before in found and before not in names:
            found[name] = found[before]
    for node in model.graph:
        rule, sources = rule_of(node, target), [value for value in node.inputs if value is not None and value.dtype]
        same = node.op_type == "ReduceMean" or (rule is not None and rule.sharing is Sharing.SAME)
        within = same or bool(activation_of(node))
        spans = [found[value.name or ""] for value in sources if value.name in found]
        if within and len(spans) == sum(not is_weight(value) for value in sources):
            span = min(low for low, _ in spans), max(high for _, high in spans)
            for output in node.outputs:
                found.setdefault(output.name or "", span)
    assignment = assign(model, target, choose(model, target, scheme, overrides), found)
    missing = [value.name or "" for value, _ in assignment.stored if value.name not in found]
    if missing:
        raise UsageError(
            f"the file says no range of {len(missing)} activations, of {missing[0]!r} for one", hint="give --data PATH"
        )
    return Ranges(found, 0, "recorded", ("the ranges of activations are those that the file had",))


def everywhere(model: Model, target: Target, bound: float, overrides: Overrides | None = None) -> Ranges:
    """One range for all activations, in the place of calibrated ones, as `global_scale` of TVM's `relay.quantize`.

    Args:
        model: canonical and decomposed for the target.
        target: whose rules hold.
        bound: all are taken to lie in [-bound, bound].
        overrides: as for `quantize`.
    """
    names = [value.name or "" for value in observed_values(model, target, overrides)]
    note = f"all activations are taken to lie in [-{bound:g}, {bound:g}]: calibration data would show"
    return Ranges(dict.fromkeys(names, (-bound, bound)), 0, "global", (note,))


def calibrate(
    model: Model,
    feeds: Feeds,
    target: Target,
    *,
    overrides: Overrides | None = None,
    observer: str = "minmax",
    threads: int | None = None,
    progress: Tally | None = None,
) -> Ranges:
    """Runs feeds through a canonical float model and returns the ranges of its tensors.

    Args:
        model: canonical and decomposed for the target, as it will be quantised.
        feeds: taken once, one after the other; none but the first is kept.
        target: whose schemes the ranges are for.
        overrides: as `quantize` will have them.
        observer: a name of `observers.OBSERVERS`.
        threads: for ONNX Runtime; all cores if None.
        progress: is told the number of samples done.

    Raises:
        DataError: there are no feeds, one does not fit, or a tensor becomes NaN or infinite.
        UsageError: there is no such observer.
    """
    make = observer_named(observer)
    values = observed_values(model, target, overrides)
    observers: dict[str, Observer] = {value.name or "": make() for value in values}
    full = Reference(model, list(observers), threads=threads)
    bounds: _OpenBounds | None = None
    count = 0
    spread = _Spread()
    for feed in feeds:
        if bounds is not None:
            bounds.run(feed, count)
        else:
            _look(full, full.checked(feed), observers, count)
        spread.update(feed)
        count += 1
        if count == FULL_SAMPLES and observer == "minmax":
            bounds = _OpenBounds(model, values, observers, full, threads)
        if progress is not None:
            progress(count)
    if count == 0:
        raise DataError("there are no calibration samples", hint="check the path given by --data or --calibrate")
    ranges = {name: _held(*observed.range()) for name, observed in observers.items()}
    return Ranges(ranges, count, observer, tuple(spread.notes(count)))


class _Spread:
    """Whether the samples differ, from each other and in themselves; a loader at fault often gives one for all."""

    def __init__(self) -> None:
        self.first: Feed = {}
        self.differ = False
        self.constant: dict[str, float] = {}

    def update(self, feed: Feed) -> None:
        """Takes one sample into account."""
        if not self.first:
            self.first = {name: np.array(array) for name, array in feed.items()}
            single = {name: array for name, array in self.first.items() if array.size > 1 and array.dtype.kind == "f"}
            self.constant = {name: float(array.flat[0]) for name, array in single.items()}
        self.differ = self.differ or any(not np.array_equal(feed[name], array) for name, array in self.first.items())
        for name in [name for name, number in self.constant.items() if (feed[name] != number).any()]:
            del self.constant[name]

    def notes(self, count: int) -> list[str]:
        """What is to be told of `count` samples."""
        if count > 1 and not self.differ:
            return [f"all {count} calibration samples are equal, so the ranges are those of one: check the data"]
        return [
            f"the input {name!r} is {number:g} throughout in all calibration samples: check the data"
            for name, number in self.constant.items()
        ]


def _held(low: float, high: float) -> tuple[float, float]:
    """A range without bounds beyond `HUGE`: those are padding before a maximum, and any low number is low enough."""
    bounds = [bound for bound in (low, high) if abs(bound) < HUGE] or [0.0]
    return min(bounds), max(bounds)


def _look(reference: Reference, feed: Feed, observers: Mapping[str, Observer], sample: int) -> None:
    found = {**feed, **reference.run(feed)}
    for name, observed in observers.items():
        array = found[name]
        if array.size == 0:
            continue
        low, high = float(array.min()), float(array.max())
        _check(low, high, name, sample)
        if max(-low, high) >= HUGE:
            array = array[np.abs(array) < HUGE]
        observed.update(array if array.size else np.zeros(1, np.float32))


def _check(low: float, high: float, name: str, sample: int) -> None:
    if not np.isfinite(low) or not np.isfinite(high):
        raise DataError(
            f"calibration sample {sample} makes {name!r} NaN or infinite",
            hint="check the sample and the preprocessing",
        )


class _OpenBounds:
    """A copy of the graph that computes the lowest and highest values of tensors where those are still open."""

    def __init__(
        self,
        model: Model,
        values: Sequence[ir.Value],
        observers: Mapping[str, Observer],
        reference: Reference,
        threads: int | None,
    ) -> None:
        self.reference = reference
        self.targets: list[tuple[MinMax, str, float]] = []
        self.fed = [spec.name for spec in model.inputs if spec.name in observers]
        self.observers = observers
        copy = model.ir.clone()
        produced = {value.name: value for node in copy.graph for value in node.outputs}
        del copy.graph.outputs[:]
        build = Builder(copy.graph)
        extremes = []
        for value in values:
            observed = observers[value.name or ""]
            assert isinstance(observed, MinMax)
            if value.name not in produced:
                continue
            low, high = _interval(value)
            if observed.high < high:
                extremes.append(_extreme(build, produced[value.name], 1.0))
                self.targets.append((observed, value.name or "", 1.0))
            if observed.low > low:
                extremes.append(_extreme(build, produced[value.name], -1.0))
                self.targets.append((observed, value.name or "", -1.0))
        copy.graph.outputs.extend(extremes)
        _drop_unread(copy.graph)
        self.session = open_session(copy, threads=threads)
        self.inputs = {value.name for value in copy.graph.inputs}

    def run(self, feed: Feed, sample: int) -> None:
        """Widens the observers by one sample."""
        checked = self.reference.checked(feed)
        for name in self.fed:
            self.observers[name].update(checked[name])
            _check(float(checked[name].min()), float(checked[name].max()), name, sample)
        if not self.targets:
            return
        found = self.session.run(None, {name: array for name, array in checked.items() if name in self.inputs})
        for (observed, name, sign), array in zip(self.targets, found, strict=True):
            extreme = float(array.max())
            _check(extreme, extreme, name, sample)
            if sign > 0:
                observed.widen(np.inf, extreme)
            else:
                observed.widen(-extreme, -np.inf)


def _interval(value: ir.Value) -> tuple[float, float]:
    """What a value cannot leave, because a Relu or Clip makes it."""
    node = value.producer()
    bounds = bounds_of(node) if node is not None and node.op_type in ("Relu", "Clip") else None
    return bounds if bounds is not None else (-np.inf, np.inf)


def _extreme(build: Builder, value: ir.Value, sign: float) -> ir.Value:
    """Adds the nodes for the maximum of `sign` times a value."""
    source: ir.Value = build("Neg", value, name=f"{value.name}/Neg", shape=value.shape) if sign < 0 else value
    spatial = value.shape is not None and len(value.shape) == 4
    name = f"{value.name}/{'high' if sign > 0 else 'low'}"
    made: ir.Value = build("GlobalMaxPool" if spatial else "ReduceMax", source, name=name, dtype=np.float32)
    return made


def _drop_unread(graph: ir.Graph) -> None:
    for node in reversed(list(graph)):
        if not any(output.uses() or output.is_graph_output() for output in node.outputs):
            graph.remove(node, safe=True)


def peak(array: Array) -> float:
    """The largest magnitude."""
    return float(np.abs(array).max()) if array.size else 0.0
