"""Figures over a stream of samples: accuracy, agreement, signal to noise. All memory is constant."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from narrowcast.errors import DataError
from narrowcast.evaluation.results import Accuracy
from narrowcast.model import Array

__all__ = ["BEST", "SILENCE", "Noise", "TopK", "is_classifier", "ranked"]

BEST = 5
"""Top-5 counts the label among so many."""

SILENCE = 1e-6
"""Outputs whose root mean square is at most this carry no signal; nor does an error count that small."""


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
class TopK:
    """Counts how often the label is the best class, and among the best five; and how often two models agree."""

    samples: int = 0
    labelled: int = 0
    first: int = 0
    among: int = 0
    compared: int = 0
    agreed: int = 0
    classes: int = 0

    def update(self, scores: Array, label: int | None, prediction: int | None) -> int:
        """Takes one sample.

        Args:
            scores: real values, one a class; see `ranked`.
            label: the true class, where it is known.
            prediction: the class that another model predicts, to count agreements with it.

        Returns:
            The predicted class.

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
    """What a written file's output lacks of the source's, summed over samples in float64."""

    signal: float = 0.0
    noise: float = 0.0
    largest: float = 0.0
    elements: int = 0
    samples: int = 0
    agreed: int = 0

    def update(self, source: Array, written: Array) -> None:
        """Takes one sample's outputs, of one shape, in real values.

        NaN and infinities of the source carry no signal, but must be the same in the written output: anything else is
        infinite noise.
        """
        want, have = source.astype(np.float64), written.astype(np.float64)
        finite = np.isfinite(want)
        if not np.isfinite(have[finite]).all() or not np.array_equal(want[~finite], have[~finite], equal_nan=True):
            self.noise = self.largest = np.inf
        difference = np.subtract(want, have, out=np.zeros_like(want), where=finite & np.isfinite(have))
        self.signal += float(np.square(want, out=np.zeros_like(want), where=finite).sum())
        self.noise += float(np.square(difference).sum())
        self.largest = max(self.largest, float(np.abs(difference).max(initial=0.0)))
        self.elements += want.size
        self.samples += 1
        self.agreed += int(ranked(source, 1)[0] == ranked(written, 1)[0]) if want.size else 1

    @property
    def decibels(self) -> float:
        """10 log10(sum s^2 / sum (s - w)^2); infinite where the error is nought or as silent as `SILENCE`.

        A silent source (an output that is 0 throughout) has no ratio: its error alone decides, infinite or minus
        infinite.
        """
        floor = self.elements * SILENCE**2
        if self.noise == 0 or (self.signal <= floor and self.noise <= floor):
            return float("inf")
        if self.signal == 0 or np.isinf(self.noise):
            return float("-inf")
        return float(10 * np.log10(self.signal / self.noise))
