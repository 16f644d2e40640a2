"""Which of the trials that were kept become files, and which of these is the one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from narrowcast.tuning.records import Finalist, Goal, Tried

__all__ = ["ordered", "thinned"]

MOST = 5
"""Trials that become files: the first, the last, and some between."""
TIE = 1.05
"""Files are as good as each other within so much of the best."""
NOTICEABLE = 0.05
"""dB."""


def thinned(path: Sequence[Tried]) -> list[Tried]:
    """The trials of a path that become files, in its order."""
    if len(path) <= MOST:
        return list(path)
    return [path[round(index * (len(path) - 1) / (MOST - 1))] for index in range(MOST)]


def ordered(finalists: Sequence[Finalist], goal: Goal, prefer: Literal["latency", "size"]) -> list[Finalist]:
    """Files, the one to take first.

    Of those that reach the goal the fastest, or the smallest; of several as good the most accurate. Where none does,
    or there is no goal, the most accurate.
    """
    ranked: list[Finalist] = []
    for finalist in finalists:  # insertion keeps the order of those that are not to be told apart
        place = next(
            (at for at, other in enumerate(ranked) if goal.better(finalist.figures, other.figures, NOTICEABLE)),
            len(ranked),
        )
        ranked.insert(place, finalist)
    within = [finalist for finalist in ranked if goal.asked and goal.met(finalist.figures)]
    if not within:
        return ranked
    cost = _latency if prefer == "latency" else _size
    bound = min(map(cost, within)) * TIE
    first = next(finalist for finalist in within if cost(finalist) <= bound)
    rest = [finalist for finalist in ranked if finalist not in within]
    return [first, *(finalist for finalist in within if finalist is not first), *rest]


def _latency(finalist: Finalist) -> float:
    return float("inf") if finalist.latency is None else finalist.latency.median_s


def _size(finalist: Finalist) -> float:
    return finalist.bytes
