"""How far a share that was counted on some samples may be from the one that holds for all: 95 % intervals."""

from __future__ import annotations

import math

import numpy as np

from narrowcast.evaluation.results import Interval
from narrowcast.model import Array

__all__ = ["jackknife", "paired", "paired_share", "share", "student"]

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


def paired_share(change: float, without: Array, total: int) -> Interval | None:
    """The interval of a change of a figure in 0..1, as of `paired`, which it equals where the figure is a share.

    The spread of one sample's part comes out of the jackknife, and the halves of a sample that `paired` adds are added.

    Args:
        change: over all samples.
        without: the change without each of some equal blocks of the samples.
        total: of all samples.
    """
    if not total or len(without) < 2:
        return paired(0, 0, total)
    spread = _variance(without) * total * (1 - 1 / len(without))
    count = total + 2
    middle = change * total / count
    half = Z * math.sqrt(max((spread + change**2) * total + 1 - count * middle**2, 0.0)) / count
    return Interval(max(-1.0, middle - half), min(1.0, middle + half))


def jackknife(value: float, without: Array) -> Interval | None:
    """The interval of a smooth function of means, from what it is without each of some equal blocks of the samples.

    R. G. Miller, The jackknife - a review, Biometrika 61, 1974; of a mean of differences, in blocks of one sample, it
    is the paired t interval. None where there are fewer than two blocks.
    """
    if len(without) < 2 or not np.isfinite(without).all():
        return None
    half = student(len(without) - 1) * math.sqrt(_variance(without))
    return Interval(value - half, value + half)


def _variance(without: Array) -> float:
    """The jackknife's variance of the function of all samples."""
    count = len(without)
    return float((count - 1) / count * np.square(without - without.mean()).sum())


def student(freedom: int) -> float:
    """How many standard errors keep 95 % of Student's t of so many degrees of freedom, to 0.2 % (exact for 1 and 2).

    The expansion in 1/freedom of M. Abramowitz and I. Stegun, Handbook of Mathematical Functions, 26.7.5.
    """
    if freedom < 3:
        return (math.inf, 12.7062047, 4.3026527)[max(freedom, 0)]
    z = Z
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / freedom**power for power, term in enumerate(terms, 1))
