"""What a network is for, as a figure: metrics by name, the user's own among them, with 95 % intervals.

A metric looks at one sample at a time: at what the source answers, and at what a file does. It gives terms, numbers
that are summed over samples; its figure is a function of these sums. So a mean, a ratio of counts and a ratio of powers
are metrics alike, and their intervals come out of one method.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from narrowcast.errors import DataError, UsageError, did_you_mean
from narrowcast.evaluation import intervals
from narrowcast.evaluation.metrics import Noise, decibels, is_classifier, ranked
from narrowcast.evaluation.results import Interval, Score
from narrowcast.evaluation.user_code import function_of
from narrowcast.model import Array, Feed

__all__ = ["METRICS", "Metric", "Outputs", "Tally", "metric_of"]

Outputs: TypeAlias = Mapping[str, Array]
"""Real outputs of one sample by name, the first one first, in the source's layout, batch axis included."""

Terms = Callable[[Outputs, Outputs, int | None, Feed], Sequence[float] | Array]
Own = Callable[[Outputs, Outputs, int | None, Feed], Any]

UNITS = ("share", "dB", "")

BLOCKS = 512
"""Samples are summed in at most so many blocks, so that memory does not grow with their number."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure of a file, more being better.

    Attributes:
        name: what it is called.
        terms: from the source's outputs, the file's, the label where there is one, and the feed, to numbers that are
            summed over samples, as many for each sample.
        figure: of the sums.
        unit: "share" for figures in 0..1, "dB", or "" for what only the user knows.
        about: one line for the help.
    """

    name: str
    terms: Terms
    figure: Callable[[Array], float]
    unit: Literal["share", "dB", ""] = "share"
    about: str = ""


METRICS: dict[str, Metric] = {}


def _metric(
    name: str, figure: Callable[[Array], float], unit: Literal["share", "dB", ""], about: str
) -> Callable[[Terms], Terms]:
    """Registers the terms of a metric."""

    def register(terms: Terms) -> Terms:
        METRICS[name] = Metric(name, terms, figure, unit, about)
        return terms

    return register


def _ratio(sums: Array) -> float:
    """The first sum over the second; 1 where both are 0, as nothing was missed."""
    return float(sums[0] / sums[1]) if sums[1] else (1.0 if not sums[0] else float("inf"))


def _mean_ratio(sums: Array) -> float:
    """The mean of the ratios of pairs of sums, over the pairs that have any."""
    above, below = sums.reshape(-1, 2).T
    some = below > 0
    return float((above[some] / below[some]).mean()) if some.any() else 1.0


def _mean_decibels(sums: Array) -> float:
    """The mean of the ratios, in dB, of pairs of powers: one infinite where any is."""
    return float(np.mean([decibels(float(signal), float(noise)) for signal, noise in sums.reshape(-1, 2)]))


@_metric("top1", _ratio, "share", "share of samples whose first class is their label")
def _top1(_source: Outputs, found: Outputs, label: int | None, _feed: Feed) -> Sequence[float]:
    best = _first_class(found, "top1")
    return float(best == _needed(label, "top1", max(_first(found).size, 2))), 1.0


@_metric("agree", _ratio, "share", "share of samples whose first class is the source's")
def _agree(source: Outputs, found: Outputs, _label: int | None, _feed: Feed) -> Sequence[float]:
    return float(_first_class(found, "agree") == _first_class(source, "agree")), 1.0


@_metric(
    "f1",
    _mean_ratio,
    "share",
    "mean F1 of the classes by label; without labels of what is above a half, by the source's",
)
def _f1(source: Outputs, found: Outputs, label: int | None, _feed: Feed) -> Sequence[float] | Array:
    want, have = _first(source), _first(found)
    if label is None or not is_classifier(want.shape):
        wanted, told = want > 0.5, have > 0.5
        return 2.0 * np.count_nonzero(wanted & told), float(np.count_nonzero(wanted) + np.count_nonzero(told))
    classes, best = max(want.size, 2), _first_class(found, "f1")
    counts = np.zeros((classes, 2))
    counts[best, 1] += 1
    counts[_needed(label, "f1", classes), 1] += 1
    counts[best, 0] += 2.0 * (best == label)
    return (counts if want.size > 1 else counts[1:]).reshape(-1)  # of two classes by one score, the positive one's


@_metric("miou", _mean_ratio, "share", "mean intersection over union of the classes of pixels, by the source's")
def _miou(source: Outputs, found: Outputs, _label: int | None, _feed: Feed) -> Array:
    (want, classes), (have, _) = _class_map(_first(source)), _class_map(_first(found))
    both = np.bincount(want[want == have], minlength=classes)
    either = np.bincount(want, minlength=classes) + np.bincount(have, minlength=classes) - both
    return np.stack([both, either], 1).astype(np.float64).reshape(-1)


@_metric("psnr", _mean_decibels, "dB", "peak to noise of the first output, the peak being its range in the source")
def _psnr(source: Outputs, found: Outputs, _label: int | None, _feed: Feed) -> Sequence[float]:
    want = _first(source)
    _, noise = _powers(want, _first(found))
    return float(np.ptp(want)) ** 2 if want.size else 0.0, noise / max(want.size, 1)


@_metric("sqnr", _mean_decibels, "dB", "signal to noise, mean of the float outputs")
def _sqnr(source: Outputs, found: Outputs, _label: int | None, _feed: Feed) -> Array:
    powers = [_powers(want, found[name]) for name, want in source.items() if want.dtype.kind == "f"]
    return np.array(powers, np.float64).reshape(-1)


def _powers(want: Array, have: Array) -> tuple[float, float]:
    """Of the signal, and of what lies beside it."""
    noise = Noise()
    noise.update(want, have)
    return float(noise.signal.sum()), float(noise.noise.sum())


def _first(outputs: Outputs) -> Array:
    return next(iter(outputs.values()))


def _first_class(outputs: Outputs, name: str) -> int:
    scores = _first(outputs)
    if not is_classifier(scores.shape):
        hint = f"{', '.join(METRICS)}, or FILE.py:function"
        raise DataError(f"{name!r} is of class scores, and the first output has the shape {scores.shape}", hint=hint)
    return int(ranked(scores, 1)[0])


def _needed(label: int | None, name: str, classes: int | None = None) -> int:
    if label is None:
        raise DataError(
            f"{name!r} needs labels, which the data lack", hint="'agree' compares with the source's answers"
        )
    if classes is not None and not 0 <= label < classes:
        raise DataError(
            f"a label is {label}, but the model knows the classes 0 to {classes - 1}",
            hint="--label-offset is added to each label; --metric agree needs none",
        )
    return label


def _class_map(scores: Array) -> tuple[Array, int]:
    """The class of each pixel, and how many classes there are; a single channel is of one class where above a half."""
    if scores.ndim < 3:
        raise DataError(f"'miou' is of pixels, and the first output has the shape {scores.shape}")
    if scores.dtype.kind in "iu":
        return scores.reshape(-1).astype(np.int64).clip(0, 4095), 4096
    axis = 1 if scores.ndim == 3 or scores.shape[1] <= scores.shape[-1] else scores.ndim - 1
    if scores.ndim == 3 or scores.shape[axis] == 1:
        return (scores.reshape(-1) > 0.5).astype(np.int64), 2
    return scores.argmax(axis).reshape(-1), scores.shape[axis]


def metric_of(given: str | Own) -> Metric:
    """The metric of a name, of `FILE.py:function`, or of a function.

    A function takes the source's outputs, the file's, the label or None, and the feed, and gives a number, more being
    better, or a pair: an amount, and of how much, whose sums' ratio is the figure. Its attribute `unit`, where it has
    one, is that of a `Metric`.

    Raises:
        UsageError: there is no such metric; or the file cannot be read, or has no such function.
    """
    if isinstance(given, str):
        if given in METRICS:
            return METRICS[given]
        if ":" not in given:
            hint = did_you_mean(given, METRICS) or f"{', '.join(METRICS)}, or FILE.py:function"
            raise UsageError(f"there is no metric {given!r}", hint=hint)
        return _own(function_of(given), given.rpartition(":")[2])
    return _own(given, getattr(given, "__name__", "metric"))


def _own(function: Own, name: str) -> Metric:
    def terms(source: Outputs, found: Outputs, label: int | None, feed: Feed) -> Sequence[float]:
        given = function(source, found, label, feed)
        try:
            amount, whole = given if isinstance(given, tuple | list) else (given, 1.0)
            pair = float(amount), float(whole)
        except (TypeError, ValueError, OverflowError):
            pair = (float("nan"),) * 2
        if np.isnan(pair).any() or pair[1] < 0:
            hint = "a number, or a pair: an amount, and of how much"
            raise DataError(f"the metric {name!r} gives {shown(given)}", hint=hint)
        if unit == "share" and not 0.0 <= pair[0] <= pair[1] * (1 + 1e-9):
            hint = "numbers in 0..1 are, or a pair whose amount is no more than the whole"
            raise DataError(f"the metric {name!r} gives {shown(given)}, which is no share", hint=hint)
        return pair

    def shown(given: object) -> str:
        try:
            return repr(given)[:80]
        except Exception:  # of the user's own class, or of an integer beyond all digits
            return f"a {type(given).__name__}"

    unit: Any = getattr(function, "unit", "")
    if unit not in UNITS:
        raise UsageError(f"the metric {name!r} has the unit {unit!r}", hint=", ".join(map(repr, UNITS)))
    return Metric(name, terms, _ratio, unit)


class Tally:
    """A metric's sums over samples, of one file.

    Samples are summed in blocks, each an every-so-manieth of them, for `Score.change` and `Score.range`.

    Args:
        metric: what is counted.
    """

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self.samples = 0
        self._blocks: list[Array] = []

    def update(self, source: Outputs, found: Outputs, label: int | None, feed: Feed) -> None:
        """Takes one sample.

        Raises:
            DataError: the metric does not apply to the outputs, or needs a label.
        """
        terms = np.asarray(self.metric.terms(source, found, label, feed), np.float64)
        if self.samples < BLOCKS:
            self._blocks.append(terms)
        else:
            self._blocks[self.samples % BLOCKS] += terms
        self.samples += 1

    def result(self, source: Tally | None = None) -> Score:
        """The figure, its interval where there is no source's to compare it with, and that of the change.

        Args:
            source: the source's own, over the same samples; None for the source.
        """
        value, without = self._figures()
        own, change = None, None
        before, before_without = (float("inf"), None) if source is None else source._figures()
        if before_without is not None and np.isfinite(before) and np.isfinite(value):
            change = self._interval(value - before, without - before_without)
        elif np.isfinite(value):
            own = self._interval(value, without)
        return Score(self.metric.name, value, self.samples, change, own, self.metric.unit)

    def _figures(self) -> tuple[float, Array]:
        """The figure of all samples, and that without each block of them."""
        sums = np.sum(self._blocks, axis=0)
        with np.errstate(invalid="ignore"):  # infinite noise less itself
            rest = [self.metric.figure(sums - block) for block in self._blocks]
        return self.metric.figure(sums), np.array(rest)

    def _interval(self, value: float, without: Array) -> Interval | None:
        if self.metric.unit == "share":
            return intervals.paired_share(value, without, self.samples)
        return intervals.jackknife(value, without)
