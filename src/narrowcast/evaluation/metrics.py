"""Figures over a stream of samples: accuracy, agreement, signal to noise. All memory is constant."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from narrowcast.evaluation.results import Accuracy
from narrowcast.model import Array

__all__ = ["Noise", "TopK", "classes_of", "is_classifier", "ranked"]

BEST = 5


def is_classifier(shape: tuple[int | None, ...]) -> bool:
    """Whether an output [1, classes] (or [1, 1, 1, classes] and the like) scores classes."""
    sizes = [dim for dim in shape[1:] if dim != 1]
    return len(shape) >= 2 and len(sizes) <= 1


def classes_of(scores: Array) -> int:
    """The predicted class; one score alone is that of class 1, above a half."""
    flat = scores.reshape(-1)
    return int(flat[0] > 0.5) if flat.size == 1 else int(flat.argmax())


def ranked(scores: Array, count: int = BEST) -> Array:
    """The indices of the best classes, best first; equal scores in order of their index."""
    flat = scores.reshape(-1)
    if flat.size == 1:
        best = int(flat[0] > 0.5)
        return np.array([best, 1 - best])[:count]
    return np.argsort(-flat, kind="stable")[:count]


@dataclass(slots=True)
class TopK:
    """Counts how often the label is the best class, and among the best five."""

    samples: int = 0
    labelled: int = 0
    first: int = 0
    among: int = 0
    compared: int = 0
    agreed: int = 0
    classes: int = 0

    def update(self, scores: Array, label: int | None, prediction: int | None) -> int:
        """Takes one sample's scores; returns the predicted class."""
        best = ranked(scores)
        self.samples += 1
        self.classes = scores.size
        if label is not None:
            self.labelled += 1
            self.first += int(best[0] == label)
            self.among += int(label in best)
        if prediction is not None:
            self.compared += 1
            self.agreed += int(best[0] == prediction)
        return int(best[0])

    def result(self) -> Accuracy:
        """The fractions; top-5 only where there are more than five classes."""
        top1 = self.first / self.labelled if self.labelled else None
        top5 = self.among / self.labelled if self.labelled and self.classes > BEST else None
        return Accuracy(self.samples, top1, top5, self.agreed / self.compared if self.compared else None)


@dataclass(slots=True)
class Noise:
    """Signal to quantisation noise: 10 log10(sum s^2 / sum (s - w)^2), in dB, and the largest error."""

    signal: float = 0.0
    noise: float = 0.0
    largest: float = 0.0
    samples: int = 0
    agreed: int = 0

    def update(self, source: Array, written: Array) -> None:
        """Takes one sample's outputs, of one shape; values that are not finite in the source must be the same."""
        want, have = source.astype(np.float64), written.astype(np.float64)
        finite = np.isfinite(want)
        same = np.array_equal(want[~finite], have[~finite], equal_nan=True)
        difference = np.where(finite & np.isfinite(have), want - have, 0.0)
        if not same or not np.isfinite(have[finite]).all():
            self.noise = np.inf
            self.largest = np.inf
        self.signal += float((want[finite] ** 2).sum())
        self.noise += float((difference**2).sum())
        self.largest = max(self.largest, float(np.abs(difference).max(initial=0.0)))
        self.samples += 1
        self.agreed += int(classes_of(source) == classes_of(written))

    @property
    def decibels(self) -> float:
        """Infinite for equal outputs."""
        if self.noise == 0:
            return float("inf")
        if self.signal == 0 or np.isinf(self.noise):
            return float("-inf")
        return float(10 * np.log10(self.signal / self.noise))
