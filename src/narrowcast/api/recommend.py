"""Which file of a comparison to take, and why, in one sentence."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from narrowcast.evaluation.results import Latency, Row, Score

__all__ = ["Preference", "recommend"]

Preference: TypeAlias = Literal["latency", "size"]

TIE = 0.05
"""Files whose preferred figure differs by at most this fraction are as good as one another in it."""


AGREEING = 0.9
"""The share of samples on which a file has to agree with the source where these are too few to tell its loss."""


@dataclass(frozen=True, slots=True)
class _Budget:
    """What a file may lose of a figure, or with `least` what it has to keep of it."""

    figure: str
    unit: str
    most: float
    least: float | None = None

    def in_words(self, verb: str, kept: str) -> str:
        """As `loses at most 1 point of top-1`, or `keeps at least 20 dB of sqnr`."""
        if self.least is not None:
            return f"{kept} at least {_amount(self.least, self.unit)} of {self.figure}"
        return f"{verb} at most {_amount(self.most, self.unit)} of {self.figure}"


@dataclass(frozen=True, slots=True)
class _Loss:
    """What a file loses against the source, negative for a gain, or lacks of `least`; and the most that it may be."""

    drop: float
    most: float
    samples: int
    agreement: float

    def within(self, budget: _Budget) -> bool:
        """Whether the loss is within a budget, as far as the samples tell, and else whether the guesses agree."""
        allowed = self.drop <= budget.most + 1e-9
        return allowed and (self.told(budget) or self.agreement >= AGREEING)

    def told(self, budget: _Budget) -> bool:
        """Whether the samples are enough to tell that it is."""
        return self.most <= budget.most + 1e-9

    def in_words(self, budget: _Budget) -> str:
        """What is lost or kept, and what that cannot be told from."""
        if budget.least is not None:
            text, limit = f"it keeps {_amount(budget.least - self.drop, budget.unit)}", budget.least - self.most
        else:
            lost = self.drop > 0
            text, limit = f"it loses {_amount(self.drop, budget.unit) if lost else 'nothing'}", self.most
        if self.told(budget):
            return text
        return f"{text}, which {self.samples:,} samples cannot tell from {_amount(limit, budget.unit)}"


def recommend(
    rows: Sequence[Row], max_drop: float, prefer: Preference = "latency", min_metric: float | None = None
) -> tuple[str | None, str]:
    """Chooses among the files that stay within the accuracy budget.

    1. A file stands if it was written and, where something here runs it, verified.
    2. It is within the budget if its figure by the metric that was asked for is at most `max_drop` below the source's,
       or at least `min_metric`. Without a metric the figure is top-1, or where the data has no labels the agreement
       with the source's prediction, of which the source has all. Where the samples cannot tell (the 95 % interval of
       the loss reaches beyond the budget), it also has to agree with the source on 90 % of them, where it scores
       classes, and the reason says what its loss cannot be told from.
    3. Of those the best one by `prefer` is taken: the lowest median latency at the highest number of threads, or
       the smallest size. Files within 5 % of the best, or whose latency is not to be told from the best one's by their
       quartiles, are told apart by the other figure, then by accuracy, then by their order.

    Args:
        rows: the source first, then the files.
        max_drop: the budget, in the figure's unit; of shares as a fraction.
        prefer: what to be best in.
        min_metric: what the metric asks for in place of a drop.

    Returns:
        The chosen row's name, or None, and the reason.
    """
    source, files = rows[0], [row for row in rows[1:] if _stands(row)]
    if not files:
        return None, "no file was written and verified"
    if source.score is not None and math.isinf(source.score.value) and min_metric is None:
        return (
            None,
            f"the source's own {source.score.metric} is infinite, so none is a drop; a least one can be asked for",
        )
    budget = _budget(source, max_drop, min_metric)
    losses = {row.name: loss for row in files if (loss := _loss(row, source, budget)) is not None}
    if not losses:
        return None, "accuracy was not measured, so no file can be shown to be within the budget"
    within = [row for row in files if row.name in losses and losses[row.name].within(budget)]
    if not within:
        return None, _why_none(losses, budget)
    chosen, why = _best(within, losses, prefer)
    lost = losses[chosen.name].in_words(budget)
    if len(within) == 1:
        return chosen.name, f"the only file that {budget.in_words('loses', 'keeps')}; {lost}"
    return chosen.name, f"{why} among the {len(within)} files that {budget.in_words('lose', 'keep')}; {lost}"


def _budget(source: Row, max_drop: float, min_metric: float | None) -> _Budget:
    if source.score is None:
        return _Budget("top-1" if _top1(source) is not None else "agreement with the source", "share", max_drop)
    return _Budget(source.score.metric, source.score.unit, max_drop if min_metric is None else 0.0, min_metric)


def _why_none(losses: Mapping[str, _Loss], budget: _Budget) -> str:
    closest = min(losses, key=lambda name: losses[name].drop)
    loss = losses[closest]
    if loss.drop > budget.most + 1e-9:
        amount = loss.drop if budget.least is None else budget.least - loss.drop
        words = budget.in_words("loses", "keeps")
        return f"no file {words}; the closest is {closest} with {_amount(amount, budget.unit)}"
    told = f"{loss.samples:,} samples cannot tell whether a file {budget.in_words('loses', 'keeps')}"
    return f"{told}, and none agrees with the source on {AGREEING * 100:.0f} % of them; more samples can"


def _best(within: Sequence[Row], losses: Mapping[str, _Loss], prefer: Preference) -> tuple[Row, str]:
    """The best row by the preferred figure, ties broken by the other; and what it is best in."""
    threads = max((latency.threads for row in within for latency in row.latencies), default=0)

    def timing(row: Row) -> Latency | None:
        return next((latency for latency in row.latencies if latency.threads == threads), None)

    def time(row: Row) -> float:
        return math.inf if (found := timing(row)) is None else found.median_s

    by_time = _Figure(time, f"fastest on {threads} thread{'s' if threads > 1 else ''}")
    by_size = _Figure(lambda row: row.bytes, "smallest")
    if threads == 0:
        first = second = by_size
    else:
        first, second = (by_time, by_size) if prefer == "latency" else (by_size, by_time)
    best = min(within, key=first.of)
    bound, noise = first.of(best) * (1 + TIE), timing(best) if first is by_time else None
    tied = [row for row in within if first.of(row) <= bound or _overlap(noise, timing(row))]
    chosen = min(tied, key=lambda row: (second.of(row), losses[row.name].drop))
    if len(tied) == 1 or first is second:
        return chosen, f"the {first.name}"
    near = f"within {TIE * 100:.0f} %" if all(first.of(row) <= bound for row in tied) else "within their spread"
    return chosen, f"the {second.name} of the {len(tied)} {first.name} ({near})"


def _overlap(best: Latency | None, other: Latency | None) -> bool:
    """Whether the other's lower quartile is not above the best one's upper one."""
    return best is not None and other is not None and other.q1_s <= best.q3_s


@dataclass(frozen=True, slots=True)
class _Figure:
    """What rows are ordered by, less being better, and what the best one is called."""

    of: Callable[[Row], float]
    name: str


def _stands(row: Row) -> bool:
    verified = row.written is None or row.written.parity is None or row.written.parity.passed
    return not row.failure and verified


def _top1(row: Row) -> float | None:
    return None if row.accuracy is None else row.accuracy.top1


def _loss(row: Row, source: Row, budget: _Budget) -> _Loss | None:
    """What a row loses against the source, by the metric, of top-1, or of agreement; None where that is not known."""
    found, before, after = row.accuracy, _top1(source), _top1(row)
    agreement = 1.0 if found is None or found.agreement is None else found.agreement
    if source.score is not None:
        return None if row.score is None else _by_score(row.score, source.score, agreement, budget.least)
    if found is None:
        return None
    if before is not None and after is not None:
        change = found.top1_change
        return _Loss(before - after, before - after if change is None else -change.low, found.samples, agreement)
    if before is not None or found.agreement is None:
        return None
    held = found.agreement_range
    return _Loss(1 - agreement, 1 - (agreement if held is None else held.low), found.samples, agreement)


def _by_score(score: Score, source: Score, agreement: float, least: float | None) -> _Loss:
    """A loss by a metric; the interval of what is kept is that of the change, moved to the source's figure."""
    start = source.value if least is None else least
    low = score.value
    if score.change is not None:
        low = source.value + score.change.low
    elif score.range is not None:
        low = score.range.low
    return _Loss(start - score.value, start - low, score.samples, agreement)


def _amount(value: float, unit: str) -> str:
    """A figure or a difference of two: in points, in dB, or as a number."""
    if unit != "share":
        return f"{value:.1f} dB" if unit == "dB" else f"{value:.4g}"
    text = f"{value * 100:.1f}".removesuffix(".0")
    return f"{text} point" if text == "1" else f"{text} points"
