"""How calibration turns what it remembers of a tensor into the range that its integers shall span.

What is remembered takes the same memory however many samples there are, and is the same in whatever order they come.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from narrowcast.errors import UsageError
from narrowcast.model import Array
from narrowcast.quantization.histograms import LEVELS, Curve, Histogram, least_divergence, least_squares, percentile

__all__ = ["OBSERVERS", "Observer", "Seen", "observer_named"]

UNFELT = 8
"""A change of a step divided by this is not felt: values that are cut off all change to the same side."""


@dataclass(slots=True)
class Seen:
    """What is remembered of a tensor.

    Attributes:
        low, high: the extremes of all samples.
        lows, highs: the sums of each sample's extremes.
        samples: how many there were.
        histogram: of values from everywhere in the tensor, the same places in each sample.
    """

    low: float = np.inf
    high: float = -np.inf
    lows: float = 0.0
    highs: float = 0.0
    samples: int = 0
    histogram: Histogram = field(default_factory=Histogram)

    def widen(self, low: float, high: float) -> None:
        """Takes the extremes of one sample into account."""
        self.low, self.high = min(self.low, low), max(self.high, high)
        self.lows, self.highs, self.samples = self.lows + low, self.highs + high, self.samples + 1

    def by_counts(self, found: tuple[float, float]) -> tuple[float, float]:
        """An interval of the histogram, whose bins reach beyond what was seen."""
        return max(found[0], min(self.low, 0.0)), min(found[1], max(self.high, 0.0))


@dataclass(frozen=True, slots=True)
class Observer:
    """A way to choose a range.

    Attributes:
        of: the lowest and the highest value to represent, by what was seen and the number of levels in between.
        each: whether it asks for the extremes of each sample.
        counts: whether it asks for the histogram.
        curves: whether it asks what the network makes of each value, and so for the histogram of such values.
    """

    of: Callable[[Seen, int], tuple[float, float]]
    each: bool = False
    counts: bool = False
    curves: bool = True

    def behind(self, seen: Seen, curve: Curve, levels: int = LEVELS) -> tuple[float, float]:
        """The range of a tensor that the network knows only behind a curve: what the curve levels out needs none.

        It lies within the range that the observer chooses without, and leaves the least mean square error behind the
        curve of those that change nothing there by more than 1 / `UNFELT` of a step of what the curve gives.
        """
        low, high = self.of(seen, levels)
        numbers, edges = seen.histogram.numbers, seen.histogram.edges
        reached = curve(edges[(edges >= low) & (edges <= high)])
        most = float(np.ptp(reached) if reached.size else 0.0) / (levels - 1) / UNFELT
        return seen.by_counts(least_squares(numbers, edges, (low, high), curve, levels=levels, most=most))


def _extremes(seen: Seen, _levels: int) -> tuple[float, float]:
    return seen.low, seen.high


def _mean_extremes(seen: Seen, _levels: int) -> tuple[float, float]:
    """With equal weights: an exponential moving average, as others take it, depends on the order of samples."""
    count = max(seen.samples, 1)
    return seen.lows / count, seen.highs / count


def _by_counts(criterion: Callable[[Array, Array], tuple[float, float]]) -> Callable[[Seen, int], tuple[float, float]]:
    def of(seen: Seen, _levels: int) -> tuple[float, float]:
        numbers = seen.histogram.numbers
        return seen.by_counts(criterion(numbers, seen.histogram.edges)) if numbers.any() else (seen.low, seen.high)

    return of


def _least_squares(seen: Seen, levels: int) -> tuple[float, float]:
    numbers, edges = seen.histogram.numbers, seen.histogram.edges
    return seen.by_counts(least_squares(numbers, edges, (seen.low, seen.high), levels=levels))


OBSERVERS: dict[str, Observer] = {
    "minmax": Observer(_extremes, curves=False),
    "activation": Observer(_extremes),
    "moving_average": Observer(_mean_extremes, each=True),
    "percentile": Observer(_by_counts(percentile), counts=True),
    "mse": Observer(_least_squares, counts=True),
    "entropy": Observer(_by_counts(least_divergence), counts=True),
}


def observer_named(name: str) -> Observer:
    """The observer of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in OBSERVERS:
        raise UsageError(f"unknown observer {name!r}", hint=f"observers: {', '.join(OBSERVERS)}")
    return OBSERVERS[name]
