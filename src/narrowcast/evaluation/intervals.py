"""How far a share that was counted on some samples may be from the one that holds for all: 95 % intervals."""

from __future__ import annotations

import math

from narrowcast.evaluation.results import Interval

__all__ = ["paired", "share"]

Z = 1.959964
"""The standard normal distribution keeps 95 % within so many deviations."""


def share(count: int, total: int) -> Interval | None:
    """The interval of a share by its score (E. B. Wilson, J. Am. Stat. Assoc. 22, 1927); None of no samples.

    Args:
        count: of samples for which something holds.
        total: of all samples.
    """
    if not total:
        return None
    fraction, weight = count / total, Z**2 / total
    middle = (fraction + weight / 2) / (1 + weight)
    half = Z / (1 + weight) * math.sqrt(fraction * (1 - fraction) / total + weight / (4 * total))
    return Interval(max(0.0, middle - half), min(1.0, middle + half))


def paired(gained: int, lost: int, total: int) -> Interval | None:
    """The interval of the difference of two shares that were counted on the same samples; None of no samples.

    Half a sample is added to each of the four kinds (A. Agresti and Y. Min, Statistics in Medicine 24, 2005), so that
    few samples without a difference do not pass for certainty.

    Args:
        gained: samples for which something holds the second time only.
        lost: samples for which it holds the first time only.
        total: of all samples.
    """
    if not total:
        return None
    more, less, count = gained + 0.5, lost + 0.5, total + 2
    middle = (more - less) / count
    half = Z * math.sqrt(more + less - (more - less) ** 2 / count) / count
    return Interval(max(-1.0, middle - half), min(1.0, middle + half))
