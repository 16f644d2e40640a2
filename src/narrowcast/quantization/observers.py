"""What calibration remembers of a tensor: the range that its integers shall span.

All observers are fed array by array, hold memory independent of how many there are, and give the same range in
whatever order the samples come.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from narrowcast.errors import UsageError
from narrowcast.model import Array

__all__ = ["OBSERVERS", "Histogram", "MinMax", "MovingAverage", "Observer", "observer_named"]

BINS = 4096
LEVELS = 256


class Observer(Protocol):
    """Watches one tensor."""

    def update(self, array: Array) -> None:
        """Takes one sample's values into account."""

    def range(self) -> tuple[float, float]:
        """The lowest and the highest value to represent."""


@dataclass(slots=True)
class MinMax:
    """The lowest and the highest value ever seen."""

    low: float = np.inf
    high: float = -np.inf

    def update(self, array: Array) -> None:
        """See `Observer`."""
        self.widen(float(array.min()), float(array.max()))

    def widen(self, low: float, high: float) -> None:
        """Takes a range that was found elsewhere into account."""
        self.low, self.high = min(self.low, low), max(self.high, high)

    def range(self) -> tuple[float, float]:
        """See `Observer`."""
        return self.low, self.high


@dataclass(slots=True)
class MovingAverage:
    """The mean of the samples' lowest and of their highest values.

    An exponential moving average, as others take it, weighs the last samples most, so its result depends on their
    order; with equal weights it does not.
    """

    lows: float = 0.0
    highs: float = 0.0
    samples: int = 0

    def update(self, array: Array) -> None:
        """See `Observer`."""
        self.lows += float(array.min())
        self.highs += float(array.max())
        self.samples += 1

    def range(self) -> tuple[float, float]:
        """See `Observer`."""
        count = max(self.samples, 1)
        return self.lows / count, self.highs / count


@dataclass(slots=True)
class Histogram:
    """Counts over a power-of-two grid that doubles as wider values come; a criterion picks the range from them.

    Bin width is 2^e, and bins lie on multiples of it, so merging neighbours is exact and the order of samples does not
    matter.
    """

    criterion: Callable[[Array, Array], tuple[float, float]]
    low: float = np.inf
    high: float = -np.inf
    exponent: int = -40
    first: int = 0
    counts: Array = field(default_factory=lambda: np.zeros(0, np.int64))

    def update(self, array: Array) -> None:
        """See `Observer`."""
        values = array.reshape(-1)
        if values.dtype != np.float32:
            values = values.astype(np.float64)
        low, high = float(values.min()), float(values.max())
        self.low, self.high = min(self.low, low), max(self.high, high)
        self._fit()
        index = np.floor(values * values.dtype.type(2.0**-self.exponent)).astype(np.int64)
        index -= self.first
        self.counts += np.bincount(index, minlength=self.counts.size)

    def _fit(self) -> None:
        """Widens the grid so that all values seen fit into `BINS` bins."""
        while np.floor(self.high / 2.0**self.exponent) - np.floor(self.low / 2.0**self.exponent) + 1 > BINS:
            self.exponent += 1
            if self.counts.size:
                start = self.first // 2
                index = (np.arange(self.first, self.first + self.counts.size) // 2) - start
                self.counts = np.bincount(index, weights=self.counts).astype(np.int64)
                self.first = start
        width = 2.0**self.exponent
        first, last = int(np.floor(self.low / width)), int(np.floor(self.high / width))
        if self.counts.size:
            first, last = min(first, self.first), max(last, self.first + self.counts.size - 1)
        if (first, last - first + 1) != (self.first, self.counts.size):
            grown = np.zeros(last - first + 1, np.int64)
            if self.counts.size:
                grown[self.first - first : self.first - first + self.counts.size] = self.counts
            self.first, self.counts = first, grown

    def range(self) -> tuple[float, float]:
        """See `Observer`."""
        if not self.counts.size:
            return self.low, self.high
        width = 2.0**self.exponent
        edges = (self.first + np.arange(self.counts.size + 1)) * width
        low, high = self.criterion(self.counts, edges)
        return max(low, self.low), min(high, self.high)


def percentile(counts: Array, edges: Array, share: float = 99.99) -> tuple[float, float]:
    """The interval that leaves out (100 - share) / 2 per cent of the values at either end."""
    cumulative = np.cumsum(counts) / counts.sum()
    tail = (1 - share / 100) / 2
    first = int(np.searchsorted(cumulative, tail, side="right"))
    last = int(np.searchsorted(cumulative, 1 - tail, side="left"))
    return float(edges[min(first, counts.size - 1)]), float(edges[min(last, counts.size - 1) + 1])


def least_squares(counts: Array, edges: Array) -> tuple[float, float]:
    """The interval whose quantisation error has the least mean square: rounding, step^2 / 12, and clipping."""
    centres = (edges[:-1] + edges[1:]) / 2
    return _best(counts, edges, lambda low, high: _squared_error(counts, centres, low, high))


def _squared_error(counts: Array, centres: Array, low: float, high: float) -> float:
    step = (high - low) / (LEVELS - 1)
    if step <= 0:
        return np.inf
    outside = np.maximum(low - centres, 0) + np.maximum(centres - high, 0)
    inside = outside == 0
    return float((counts * (outside**2 + inside * step**2 / 12)).sum())


def _best(counts: Array, edges: Array, error: Callable[[float, float], float]) -> tuple[float, float]:
    """Shrinks the full interval towards zero, both ends by the same share, then each end on its own."""
    occupied = np.flatnonzero(counts)
    low, high = float(edges[occupied[0]]), float(edges[occupied[-1] + 1])
    low, high = min(low, 0.0), max(high, 0.0)
    shares = np.linspace(1.0, 0.02, 99)
    best = min(shares, key=lambda share: error(low * share, high * share))
    low, high = low * best, high * best
    best_low = min(shares, key=lambda share: error(low * share, high))
    best_high = min(shares, key=lambda share: error(low * best_low, high * share))
    return float(low * best_low), float(high * best_high)


def least_divergence(counts: Array, edges: Array) -> tuple[float, float]:
    """The interval whose quantised distribution diverges least (Kullback-Leibler) from the real one.

    Source: S. Migacz, 8-bit inference with TensorRT, GTC 2017: values beyond the interval are counted in its outer
    bins of the real distribution, and are missing from the quantised one.
    """
    occupied = np.flatnonzero(counts)
    first, last = int(occupied[0]), int(occupied[-1]) + 1
    zero = int(np.clip(np.searchsorted(edges, 0.0), first, last))
    best, found = np.inf, (first, last)
    for share in np.linspace(1.0, 0.05, 96):
        begin = zero - round((zero - first) * share)
        end = zero + round((last - zero) * share)
        if end - begin < LEVELS // 2:
            break
        divergence = _divergence(counts, begin, end)
        if divergence < best:
            best, found = divergence, (begin, end)
    return float(edges[found[0]]), float(edges[found[1]])


def _divergence(counts: Array, begin: int, end: int) -> float:
    inside = counts[begin:end].astype(np.float64)
    real = inside.copy()
    real[0] += counts[:begin].sum()
    real[-1] += counts[end:].sum()
    groups = np.minimum(np.arange(inside.size) * LEVELS // inside.size, LEVELS - 1)
    filled = inside > 0
    sums = np.bincount(groups, weights=inside, minlength=LEVELS)
    members = np.bincount(groups, weights=filled, minlength=LEVELS)
    quantised = np.where(filled, (sums / np.maximum(members, 1))[groups], 0.0)
    real, quantised = _smoothed(real), _smoothed(quantised)
    return float((real * np.log(real / quantised)).sum())


def _smoothed(distribution: Array) -> Array:
    """Zeros become a little, taken from the others; the sum is 1."""
    shifted: Array = distribution + 1e-4 * max(distribution.sum(), 1.0) / distribution.size
    shifted /= shifted.sum()
    return shifted


OBSERVERS: dict[str, Callable[[], Observer]] = {
    "minmax": MinMax,
    "moving_average": MovingAverage,
    "percentile": lambda: Histogram(percentile),
    "mse": lambda: Histogram(least_squares),
    "entropy": lambda: Histogram(least_divergence),
}


def observer_named(name: str) -> Callable[[], Observer]:
    """Makes observers of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in OBSERVERS:
        raise UsageError(f"unknown observer {name!r}", hint=f"observers: {', '.join(OBSERVERS)}")
    return OBSERVERS[name]
