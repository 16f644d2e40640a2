"""What a search for a better file works with, and what it has found, as frozen data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from narrowcast.evaluation.judge import Judgement
from narrowcast.evaluation.results import Latency, WrittenFile
from narrowcast.evaluation.trials import Trial

__all__ = ["Figures", "Finalist", "Goal", "Tried", "Tuning", "Verdict"]

FEW = 2
"""Samples that tell nothing of chance."""
Verdict = Literal["start", "kept", "refused", "failed"]


@dataclass(frozen=True, slots=True)
class Figures:
    """What a trial is worth, on samples that it was not made by.

    Attributes:
        decibels: SQNR of each output in dB, by name.
        mean: of these, each within `judge.SPAN`.
        metric: the figure of the metric that was asked for, more being better; None without one.
        bytes: of the constants that are stored, about the file's size.
        floats: share of the multiply-accumulates that are not those of 8-bit integers, in 0..1.
        each: as `mean`, of each sample by itself.
    """

    decibels: Mapping[str, float]
    mean: float
    metric: float | None = None
    bytes: int = 0
    floats: float = 0.0
    each: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Goal:
    """What is enough, so that the search may end.

    Attributes:
        min_sqnr: dB that every output must keep; None for any.
        least: that the metric must reach; None for any.
        grain: what the metric's figures differ by at least where samples can tell them apart.
    """

    min_sqnr: float | None = None
    least: float | None = None
    grain: float = 0.0

    @property
    def asked(self) -> bool:
        """Whether there is one; without, the search goes on for as long as anything helps."""
        return self.min_sqnr is not None or self.least is not None

    def met(self, figures: Figures) -> bool:
        """Whether figures reach all that is asked for."""
        heard = self.min_sqnr is None or min(figures.decibels.values(), default=0.0) >= self.min_sqnr
        return heard and (self.least is None or (figures.metric is not None and figures.metric >= self.least - 1e-9))

    def better(self, new: Figures, old: Figures, gain: float) -> bool:
        """Whether new figures are worth a step from old ones.

        The metric decides where the samples can tell, and may not fall; otherwise the SQNR does, by more than chance
        among the samples (`Judgement.surpasses`).

        Args:
            new: of the candidate.
            old: of what is held so far.
            gain: dB of SQNR below which a step is not worth it.
        """
        change = 0.0 if new.metric is None or old.metric is None else new.metric - old.metric
        if change < 0 or change > self.grain:
            return change > 0
        after, before = (Judgement(found.decibels, found.mean, found.each) for found in (new, old))
        sure = len(new.each) != len(old.each) or len(new.each) < FEW or after.surpasses(before)
        return sure and new.mean >= old.mean + gain


@dataclass(frozen=True, slots=True)
class Tried:
    """A trial of a search.

    Attributes:
        label: what is new in it.
        trial: what was made.
        verdict: "start", "kept", "refused" as it was not better, or "failed".
        figures: None where it failed.
        error: why it failed.
        seconds: that it took; 0 where its figures were known.
    """

    label: str
    trial: Trial
    verdict: Verdict
    figures: Figures | None = None
    error: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Finalist:
    """A trial whose file was written, run on the held-back samples by its own runtime, and timed.

    Attributes:
        label: of the trial.
        trial: what it was made by.
        figures: of the file itself.
        bytes: its size.
        latency: of one inference; None where nothing here times it.
    """

    label: str
    trial: Trial
    figures: Figures
    bytes: int
    latency: Latency | None = None


@dataclass(frozen=True, slots=True)
class Tuning:
    """What a search has found.

    Attributes:
        source: the model's file.
        tried: all trials, the start first.
        finalists: those that became files, the start first; empty where nothing here runs them.
        chosen: the label of the trial that the written file is of.
        written: the file.
        recipe: the file that says how it was made.
        journal: the file that remembers what was tried.
        goal: that was asked for.
        reached: whether the file reaches it.
        reason: why the search ended.
        metric: the name of the metric; empty without one.
        source_metric: the float network's own figure.
        fitted, held: how many samples trials were made by, and how many judged them.
        seconds: it took.
        notes: what the user should know.
    """

    source: Path
    tried: tuple[Tried, ...]
    finalists: tuple[Finalist, ...]
    chosen: str
    written: WrittenFile
    recipe: Path
    journal: Path
    goal: Goal
    reached: bool
    reason: str
    metric: str
    source_metric: float | None
    fitted: int
    held: int
    seconds: float
    notes: tuple[str, ...] = ()
