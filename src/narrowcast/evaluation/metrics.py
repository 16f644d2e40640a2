"""Figures over a stream of samples: accuracy, agreement, signal to noise. All memory is constant."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter

import numpy as np

from narrowcast.errors import DataError
from narrowcast.evaluation import intervals
from narrowcast.evaluation.results import Accuracy, Interval, LayerParity, PartParity
from narrowcast.model import Array

__all__ = ["BEST", "WHOLE", "Noise", "Parts", "Steps", "TopK", "decibels", "is_classifier", "ranked"]

BEST = 5
"""Top-5 counts the label among so many."""


def is_classifier(shape: tuple[int | None, ...]) -> bool:
    """Whether an output [1, classes] (or [1, 1, 1, classes] and the like) scores classes of one sample."""
    return len(shape) >= 2 and shape[0] in (None, 1) and sum(dim != 1 for dim in shape[1:]) <= 1


def ranked(scores: Array, count: int = BEST) -> Array:
    """The best classes, best first.

    Args:
        scores: probabilities or logits, in any shape. A single one is the probability of class 1 (the sigmoid of two
            classes): above a half, class 1 comes first.
        count: how many.

    Returns:
        int64 indices; equal scores in the order of their indices, NaN last.
    """
    flat = scores.reshape(-1).astype(np.float64)
    if flat.size == 1:
        flat = np.array([0.5, flat[0]])
    return np.argsort(-flat, kind="stable")[:count]


@dataclass(slots=True)
class _Right:
    """How often a guess is right, and how often it is while the source's is not, and the reverse."""

    count: int = 0
    gained: int = 0
    lost: int = 0

    def update(self, right: bool, source: bool) -> None:
        self.count += right
        self.gained += right and not source
        self.lost += source and not right

    def change(self, total: int) -> Interval | None:
        return intervals.paired(self.gained, self.lost, total)


@dataclass(slots=True)
class TopK:
    """Counts how often the label is the best class, and among the best five; and how two models differ."""

    samples: int = 0
    labelled: int = 0
    compared: int = 0
    agreed: int = 0
    classes: int = 0
    first: _Right = field(default_factory=_Right)
    among: _Right = field(default_factory=_Right)

    def update(self, scores: Array, label: int | None, source: Array | None) -> Array:
        """Takes one sample.

        Args:
            scores: real values, one a class; see `ranked`.
            label: the true class, where it is known.
            source: the best classes of another model, to compare with it.

        Returns:
            The best classes.

        Raises:
            DataError: there is no such class as the label.
        """
        best = ranked(scores)
        self.samples += 1
        self.classes = max(scores.size, 2)
        if label is not None:
            if not 0 <= label < self.classes:
                raise DataError(
                    f"a label is {label}, but the model knows the classes 0 to {self.classes - 1}",
                    hint="--label-offset is added to each label",
                )
            self.labelled += 1
            other = best if source is None else source
            self.first.update(bool(best[0] == label), bool(other[0] == label))
            self.among.update(label in best, label in other)
        if source is not None:
            self.compared += 1
            self.agreed += int(best[0] == source[0])
        return best

    def result(self) -> Accuracy:
        """The fractions with their intervals; top-5 only where there are more than five classes."""
        labelled, compared = self.labelled, self.compared
        five = labelled and self.classes > BEST
        return Accuracy(
            samples=self.samples,
            top1=self.first.count / labelled if labelled else None,
            top5=self.among.count / labelled if five else None,
            agreement=self.agreed / compared if compared else None,
            top1_change=self.first.change(labelled) if compared else None,
            agreement_range=intervals.share(self.agreed, compared),
            top5_change=self.among.change(labelled) if compared and five else None,
            top1_range=intervals.share(self.first.count, labelled),
        )


@dataclass(frozen=True, slots=True)
class Parts:
    """Where an output is cut into parts that are judged each by itself.

    Attributes:
        axis: that is cut.
        starts: where each part begins; the first at 0.
        size: of the axis.
        branches: whether they come from different computations (a Concat's inputs); channels of one otherwise.
    """

    axis: int
    starts: tuple[int, ...]
    size: int
    branches: bool

    def name(self, first: int, last: int) -> str:
        """Parts `first` to `last` in words."""
        begin, end = self.starts[first], (*self.starts[1:], self.size)[last] - 1
        return f"{begin}..{end} of axis {self.axis}" if end > begin else f"{begin} of axis {self.axis}"


WHOLE = Parts(0, (0,), 1, branches=False)
"""Of an output that is judged as one."""


class Noise:
    """What one run's output lacks of another's, summed over samples in float64, for each part of it.

    Args:
        parts: where the output is cut.
        classes: whether it scores classes, so that agreements are counted.
    """

    def __init__(self, parts: Parts = WHOLE, *, classes: bool = False) -> None:
        self.parts, self.classes = parts, classes
        self.signal = np.zeros(len(parts.starts))
        self.noise = np.zeros(len(parts.starts))
        self._extremes = [np.full(len(parts.starts), limit) for limit in (np.inf, -np.inf, np.inf, -np.inf)]
        self.largest = 0.0
        self.samples = self.agreed = 0

    def update(self, wanted: Array, found: Array) -> None:
        """Takes one sample's outputs, of one shape, in real values.

        NaN and infinities that are wanted carry no signal, but must be the same in what is found: anything else is
        infinite noise.
        """
        want, have = np.array(wanted, np.float64), np.array(found, np.float64)
        finite = np.isfinite(want)
        if not np.isfinite(have[finite]).all() or not np.array_equal(want[~finite], have[~finite], equal_nan=True):
            self.noise[:] = self.largest = np.inf
        want[~finite] = 0
        difference = np.subtract(want, have, out=np.zeros_like(want), where=finite & np.isfinite(have))
        self.largest = max(self.largest, float(np.abs(difference).max(initial=0.0)))
        self.samples += 1
        if self.classes:
            self.agreed += int(want.size == 0 or ranked(wanted, 1)[0] == ranked(found, 1)[0])
        if want.size:
            self.signal += self._summed(np.square(want))
            self.noise += self._summed(np.square(difference))
            for extreme, (reduce, array) in zip(self._extremes, self._ends(want, have), strict=True):
                reduce(extreme, reduce.reduceat(self._rows(array, reduce), self.parts.starts), out=extreme)

    @staticmethod
    def _ends(want: Array, have: Array) -> tuple[tuple[np.ufunc, Array], ...]:
        return (np.minimum, want), (np.maximum, want), (np.minimum, have), (np.maximum, have)

    def _summed(self, array: Array) -> Array:
        summed: Array = np.add.reduceat(self._rows(array, np.add), self.parts.starts)
        return summed

    def _rows(self, array: Array, reduce: np.ufunc) -> Array:
        """One number for each place on the axis that is cut; a single one for all."""
        if self.parts.size == 1:
            return np.atleast_1d(reduce.reduce(array, axis=None))
        rows: Array = reduce.reduce(array, axis=tuple(axis for axis in range(array.ndim) if axis != self.parts.axis))
        return rows

    @property
    def decibels(self) -> float:
        """10 log10(sum w^2 / sum (w - f)^2); infinite where there is no error, minus infinite where no signal."""
        return decibels(float(self.signal.sum()), float(self.noise.sum()))

    @property
    def agreement(self) -> float | None:
        """How often the first class is the same; None where no classes are scored."""
        return self.agreed / self.samples if self.classes and self.samples else None

    def lost(self, usual: float | None) -> tuple[PartParity, ...]:
        """Parts that keep less than `usual` dB: branches, and channels that vary no more; neighbours as one."""
        low, high, found_low, found_high = self._extremes
        varied, vanished = high > low, found_low == found_high
        if usual is None or self.parts.size == 1:
            return ()
        gone = [
            bool(varied[k])
            and decibels(self.signal[k], self.noise[k]) < usual
            and bool(self.parts.branches or vanished[k])
            for k in range(len(self.signal))
        ]
        runs = [(key, [k for k, _ in run]) for key, run in groupby(enumerate(gone), key=itemgetter(1))]
        return tuple(
            PartParity(
                self.parts.name(run[0], run[-1]), decibels(float(self.signal[run].sum()), float(self.noise[run].sum()))
            )
            for key, run in runs
            if key
        )

    def worst(self, resolution: Noise | None = None, times: float = 1.0) -> float:
        """The SQNR of the part that has least, of those whose noise exceeds `times` that of `resolution`.

        What is allowed is a share of the signal, so that `resolution` may have seen other samples too.
        """
        allowed = np.zeros_like(self.noise)
        if resolution is not None:
            share = np.full_like(self.noise, self.samples / max(resolution.samples, 1))
            np.divide(self.signal, resolution.signal, out=share, where=resolution.signal > 0)
            allowed = resolution.noise * times * share
        beyond = self.noise > allowed
        found = [decibels(s, n) for s, n in zip(self.signal[beyond], self.noise[beyond], strict=True)]
        return min(found, default=float("inf"))


def decibels(signal: float, noise: float) -> float:
    """10 log10(signal / noise) of two powers; infinite without noise, minus infinite without a signal."""
    if noise == 0:
        return float("inf")
    return float("-inf") if signal == 0 or np.isinf(noise) else float(10 * np.log10(signal / noise))


@dataclass(slots=True)
class Steps:
    """How far integers are from others, in steps of their common scale.

    Attributes:
        tolerance: the difference, in steps, that roundings account for.
        mean_allowed: the mean difference that they do.
    """

    tolerance: int
    mean_allowed: float
    elements: int = 0
    within: int = 0
    largest: int = 0
    total: int = 0

    def update(self, wanted: Array, found: Array) -> None:
        """Takes one sample's integers, of one shape and type."""
        difference = found.astype(np.int32) - wanted.astype(np.int32)
        self.elements += difference.size
        self.within += int((np.abs(difference) <= self.tolerance).sum())
        self.largest = max(self.largest, int(np.abs(difference).max(initial=0)))
        self.total += int(difference.sum(dtype=np.int64))

    def result(self, name: str) -> LayerParity:
        """The figures of the layer `name`."""
        count = max(self.elements, 1)
        within = self.within / count if self.elements else 1.0
        return LayerParity(name, self.tolerance, within, self.largest, self.total / count, self.mean_allowed)
