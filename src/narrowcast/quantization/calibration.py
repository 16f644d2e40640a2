"""Calibration: samples stream through the float graph once, and what is remembered of its tensors gives their ranges.

All observers choose by the same memory, so that one pass serves any number of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import numpy as np

from narrowcast.errors import DataError, UsageError
from narrowcast.model import Feed, Feeds, Model, ir
from narrowcast.quantization.assign import assign
from narrowcast.quantization.curves import Function, function_behind
from narrowcast.quantization.histograms import LEVELS
from narrowcast.quantization.observers import Seen, observer_named
from narrowcast.quantization.overrides import Overrides, choose
from narrowcast.quantization.probes import Probe
from narrowcast.targets.groups import activation_of, rule_of
from narrowcast.targets.rules import Sharing, Target
from narrowcast.targets.spelling import is_weight

__all__ = ["Observed", "Ranges", "Watch", "calibrate", "covers", "everywhere", "recorded"]

FIRST = 4
"""After so many samples, bounds that have been reached are no longer looked for."""

WIDEST = 1e6
"""A bound for all activations is between one over this and this."""

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


def covers(observed: Observed | None, model: Model, target: Target, overrides: Overrides) -> bool:
    """Whether what was observed without overrides is all that `quantize` needs with them."""
    wanted = observed_values(model, target, overrides)
    return observed is not None and all(value.name in observed.seen for value in wanted)


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

    Raises:
        UsageError: the bound is none that activations have: products of scales as far from 1 leave float32.
    """
    if not 1 / WIDEST <= bound <= WIDEST:
        raise UsageError(f"no activations lie in [-{bound:g}, {bound:g}]", hint=f"from {1 / WIDEST:g} to {WIDEST:g}")
    names = [value.name or "" for value in observed_values(model, target, overrides)]
    note = f"all activations are taken to lie in [-{bound:g}, {bound:g}]: calibration data would show"
    return Ranges(dict.fromkeys(names, (-bound, bound)), 0, "global", (note,))


@dataclass(frozen=True, slots=True)
class Observed:
    """What calibration remembers, by which any observer that was asked for chooses ranges.

    Attributes:
        seen: by value name.
        functions: what the network makes of some values, by name.
        samples: how many feeds there were.
        notes: what the user should know of the samples.
    """

    seen: Mapping[str, Seen]
    functions: Mapping[str, Function]
    samples: int
    notes: tuple[str, ...]

    def ranges(self, observer: str, levels: int = LEVELS) -> Ranges:
        """The ranges that an observer chooses for integers of so many levels."""
        chosen, found = observer_named(observer), {}
        for name, seen in self.seen.items():
            function = self.functions.get(name) if chosen.curves and levels <= LEVELS else None
            low, high = chosen.of(seen, levels) if function is None else chosen.behind(seen, function, levels)
            found[name] = (low, high) if low <= high else (0.0, 0.0)
        return Ranges(found, self.samples, observer, self.notes)


class Watch:
    """A float model that runs samples, and what is remembered of its tensors meanwhile.

    Args:
        model: canonical and decomposed for the target, as it will be quantised; it is not changed.
        target: whose schemes the ranges are for.
        overrides: as `quantize` will have them.
        observers: names of `observers.OBSERVERS`, any of which may be asked for ranges.
        threads: for ONNX Runtime; all cores if None.

    Raises:
        UsageError: there is no such observer.
    """

    def __init__(
        self,
        model: Model,
        target: Target,
        *,
        overrides: Overrides | None = None,
        observers: Sequence[str] = ("minmax",),
        threads: int | None = None,
    ) -> None:
        asked = [observer_named(name) for name in observers]
        values = {value.name or "": value for value in observed_values(model, target, overrides)}
        self.seen = {name: Seen() for name in values}
        curved = values.items() if any(observer.curves for observer in asked) else ()
        self.functions = {name: made for name, value in curved if (made := function_behind(value)) is not None}
        self.each = any(observer.each for observer in asked)
        counted = self.seen.keys() if any(observer.counts for observer in asked) else self.functions.keys()
        self._open = partial(Probe, model, self.seen, each=self.each, counted=counted, threads=threads)
        self._probe = self._open()
        self._spread, self._count = _Spread(), 0

    def look(self, feeds: Feeds, progress: Tally | None = None) -> None:
        """Runs more samples, in any order and in as many parts as may be.

        Args:
            feeds: taken once, one after the other; none but the very first is kept.
            progress: is told the number of samples done.

        Raises:
            DataError: a feed does not fit, or a tensor becomes NaN or infinite.
        """
        for feed in feeds:
            if self._count == FIRST and not self.each:
                self._probe.finish()
                self._probe = self._open()
            self._probe.run(feed, self._count)
            self._spread.update(feed)
            self._count += 1
            if progress is not None:
                progress(self._count)

    def observed(self) -> Observed:
        """What is remembered so far; later samples do not change it.

        Raises:
            DataError: there were no feeds.
        """
        if self._count == 0:
            raise DataError("there are no calibration samples", hint="check the path given by --data or --calibrate")
        self._probe.finish()
        return Observed(deepcopy(self.seen), self.functions, self._count, tuple(self._spread.notes(self._count)))


def calibrate(
    model: Model,
    feeds: Feeds,
    target: Target,
    *,
    overrides: Overrides | None = None,
    observer: str = "minmax",
    levels: int = LEVELS,
    threads: int | None = None,
    progress: Tally | None = None,
) -> Ranges:
    """The ranges that one observer chooses for integers of so many levels; see `Watch`.

    Raises:
        DataError: there are no feeds, one does not fit, or a tensor becomes NaN or infinite.
        UsageError: there is no such observer.
    """
    watch = Watch(model, target, overrides=overrides, observers=(observer,), threads=threads)
    watch.look(feeds, progress)
    return watch.observed().ranges(observer, levels)


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
