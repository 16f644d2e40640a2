"""Counts of a tensor's values over a grid of fixed size, and the intervals that criteria pick from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from narrowcast.model import Array

__all__ = ["Histogram", "least_divergence", "least_squares", "percentile"]

BINS = 4096
LEVELS = 256
FURTHEST = 2.0**52
"""The highest number of a bin, counted from 0, so that edges are exact: values of a narrow range may lie far off."""
SHARES = np.concatenate([np.linspace(1.0, 0.1, 46), np.geomspace(0.1, 0.004, 19)[1:]])
"""The parts of an interval that a search tries for either end: finely where little is cut, and down to a step."""

Curve = Callable[[Array], Array]
"""What a network makes of a tensor, value by value: floats of any shape to floats of the same."""


@dataclass(slots=True)
class Histogram:
    """Counts over a power-of-two grid that doubles as wider values come.

    Bin width is 2^e, and bins lie on multiples of it, so merging neighbours is exact and neither the order of values
    nor their parting into arrays matters.

    Some values stand for all, which leaves the rare ones to chance; the extremes of each part of each sample are few
    and tell the tails: where more of them lie beyond a value than the sample lets expect, that many do.

    Attributes:
        low, high: the extremes.
        exponent: e.
        first: the lowest bin is [first, first + 1) 2^e.
        counts: of values, of parts' lowest and of parts' highest; int64 of shape [3, bins], of at most `BINS` bins.
        total: how many values there are, of which those counted are some.
    """

    low: float = np.inf
    high: float = -np.inf
    exponent: int = -40
    first: int = 0
    counts: Array = field(default_factory=lambda: np.zeros((3, 0), np.int64))
    total: int = 0

    def add(self, values: Array, total: int | None = None) -> None:
        """Counts floats of shape [n], n > 0, that stand for `total`, or for themselves."""
        self._count(0, values)
        self.total += values.size if total is None else total

    def add_extremes(self, lows: Array, highs: Array) -> None:
        """Counts the extremes of parts, floats of shapes [n] and [m], perhaps 0."""
        for row, values in ((1, lows), (2, highs)):
            if values.size:
                self._count(row, values)

    def _count(self, row: int, values: Array) -> None:
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        self._fit()
        bins = values * values.dtype.type(2.0**-self.exponent)
        np.floor(bins, out=bins)
        bins -= bins.dtype.type(self.first)
        self.counts[row] += np.bincount(bins.astype(np.intp), minlength=self.counts.shape[1])

    def _fit(self) -> None:
        """Widens the grid so that all values seen fit into `BINS` bins."""
        exponent, size = self.exponent, self.counts.shape[1]
        reach = max(-self.low, self.high)
        while (
            reach / 2.0**exponent > FURTHEST
            or np.floor(self.high / 2.0**exponent) - np.floor(self.low / 2.0**exponent) + 1 > BINS
        ):
            exponent += 1
        first, last = int(np.floor(self.low / 2.0**exponent)), int(np.floor(self.high / 2.0**exponent))
        if (exponent, first, last - first + 1) != (self.exponent, self.first, size):
            bins = (np.arange(self.first, self.first + size) >> (exponent - self.exponent)) - first
            grown = [np.bincount(bins, weights=row, minlength=last - first + 1) for row in self.counts]
            self.exponent, self.first, self.counts = exponent, first, np.array(grown).astype(np.int64)

    @property
    def edges(self) -> Array:
        """The bounds of the bins, float64 of shape [bins + 1]."""
        found: Array = (self.first + np.arange(self.counts.shape[1] + 1)) * 2.0**self.exponent
        return found

    @property
    def numbers(self) -> Array:
        """How many of all values lie in each bin, by what is known; float64 of shape [bins]."""
        values: Array
        values, lows, highs = self.counts.astype(np.float64)
        if not values.any():
            extremes: Array = lows + highs
            return extremes
        scaled = values * (self.total / values.sum())
        upto = np.maximum(np.cumsum(scaled), np.cumsum(lows))
        beyond = np.maximum(np.cumsum(scaled[::-1]), np.cumsum(highs[::-1]))[::-1]
        middle = int(np.searchsorted(np.cumsum(values), values.sum() / 2))
        below, above = np.diff(upto, prepend=0.0), -np.diff(beyond, append=0.0)
        found: Array = np.concatenate([below[:middle], scaled[middle : middle + 1], above[middle + 1 :]])
        return found


def percentile(counts: Array, edges: Array, share: float = 99.99) -> tuple[float, float]:
    """The interval that leaves out (100 - share) / 2 per cent of the values at either end."""
    cumulative = np.cumsum(counts) / counts.sum()
    tail = (1 - share / 100) / 2
    first = int(np.searchsorted(cumulative, tail, side="right"))
    last = int(np.searchsorted(cumulative, 1 - tail, side="left"))
    return float(edges[min(first, counts.size - 1)]), float(edges[min(last, counts.size - 1) + 1])


def least_squares(
    counts: Array,
    edges: Array,
    within: tuple[float, float],
    curve: Curve | None = None,
    *,
    levels: int = LEVELS,
    most: float = np.inf,
) -> tuple[float, float]:
    """The interval whose quantisation error has the least mean square behind a curve.

    Inside, rounding to steps of s leaves f'(x)^2 s^2 / 12; outside, clipping leaves (f(bound) - f(x))^2. All pairs of
    bounds are tried that are `SHARES` of `within`'s.

    Args:
        counts: of shape [bins].
        edges: of the bins, [bins + 1].
        within: the widest interval.
        curve: f; the identity if None.
        levels: of the integers.
        most: what a bound may change of any f(x), at most.
    """
    centres = (edges[:-1] + edges[1:]) / 2
    taken = np.flatnonzero((counts > 0) & (edges[1:] > within[0]) & (edges[:-1] <= within[1]))
    low, high = min(within[0], 0.0), max(within[1], 0.0)
    if low == high or not taken.size:
        return low, high
    curved = (lambda x: x) if curve is None else curve
    number, x = counts[taken].astype(np.float64), centres[taken]
    rises = (curved(edges[1:][taken]) - curved(edges[:-1][taken])) ** 2 / (edges[1] - edges[0]) ** 2
    y = curved(x)
    lows, highs = np.unique(low * SHARES), np.unique(high * SHARES)
    begins, ends = np.searchsorted(x, lows), np.searchsorted(x, highs, side="right")
    parts = (number, number * y, number * y**2, number * rises)
    sums = [np.concatenate([[0.0], np.cumsum(part)]) for part in parts]
    below = _clipped(curved(lows), *(part[begins] for part in sums[:3]))
    above = _clipped(curved(highs), *(part[-1] - part[ends] for part in sums[:3]))
    below[1:][_most_change(y, curved(lows), begins, 1)[1:] > most] = np.inf
    above[:-1][_most_change(y, curved(highs), ends, -1)[:-1] > most] = np.inf
    steps = (highs - lows[:, None]) / (levels - 1)
    rounded = np.maximum(sums[3][ends] - sums[3][begins][:, None], 0) * steps**2 / 12
    error = below[:, None] + above + rounded
    error[steps <= 0] = np.inf
    first, second = np.unravel_index(np.argmin(error), error.shape)
    return float(lows[first]), float(highs[second])


def _clipped(bound: Array, number: Array, total: Array, squares: Array) -> Array:
    """The sum of (bound - y)^2 over some y, by their number, sum and sum of squares."""
    found: Array = np.maximum(bound**2 * number - 2 * bound * total + squares, 0)
    return found


def _most_change(y: Array, bound: Array, at: Array, side: int) -> Array:
    """The largest |bound - y| over the values before `at` (side 1) or from there on (side -1); 0 where there are none.

    Args:
        y: in order, [values].
        bound: [bounds].
        at: the index into `y` of each bound, [bounds].
        side: which are cut off.
    """
    ordered, count = y[::side], at if side > 0 else len(y) - at
    lowest = np.concatenate([[np.inf], np.minimum.accumulate(ordered)])[count]
    highest = np.concatenate([[-np.inf], np.maximum.accumulate(ordered)])[count]
    found: Array = np.maximum(0.0, np.maximum(bound - lowest, highest - bound))
    return found


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
