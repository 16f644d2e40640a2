"""Greedy search: each kind of step is tried for as long as its best candidate is better than what is held."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import Protocol

from narrowcast.errors import NarrowcastError
from narrowcast.evaluation.trials import Trial
from narrowcast.tuning.journal import Journal
from narrowcast.tuning.records import Figures, Goal, Tried
from narrowcast.tuning.regions import Block
from narrowcast.tuning.steps import STEPS, Candidate, Scene, Step

__all__ = ["Laboratory", "Limits", "Search", "Stopped"]

INTERRUPTED = "it was interrupted"


class Stopped(Exception):  # noqa: N818 - no error
    """Ends a search where it stands; the best so far is kept. Its text says why."""


class Laboratory(Protocol):
    """Carries trials out."""

    def measure(self, trial: Trial) -> Figures:
        """All of its figures, on all held-back samples."""

    def look(self, trial: Trial) -> float:
        """The mean SQNR in dB on a few of them, without repairs."""

    def noise(self, trial: Trial) -> Mapping[str, float]:
        """Shares of the outputs' noise, by the name of the node whose block makes it, without repairs."""

    def blocks(self, trial: Trial) -> Sequence[Block]:
        """Of the network as it is for the trial's target."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a search is bounded by.

    Attributes:
        most_floats: share of multiply-accumulates that may leave 8-bit integers.
        wide: the scheme of what leaves them.
        seconds: it may take; None for as long as it helps.
        interrupted: whether to stop now.
    """

    most_floats: float = 0.1
    wide: str = "float32"
    seconds: float | None = None
    interrupted: Callable[[], bool] = lambda: False


class Search:
    """Looks for a better trial than the one it starts with.

    Args:
        start: the trial that is held first.
        laboratory: carries trials out.
        goal: at which it ends.
        limits: by which it ends.
        journal: knows figures, and is told those that are new.
        told: is handed each trial, and what is held.
        steps: what to try.
    """

    def __init__(
        self,
        start: Trial,
        laboratory: Laboratory,
        goal: Goal,
        limits: Limits,
        journal: Journal,
        told: Callable[[Tried], None] = lambda _tried: None,
        steps: Sequence[Step] = STEPS,
    ) -> None:
        self.start, self.laboratory, self.goal, self.limits = start, laboratory, goal, limits
        self.journal, self.told, self.steps = journal, told, steps
        self.tried: list[Tried] = []
        self.path: list[Tried] = []
        self._began = monotonic()
        self._blocks: Sequence[Block] | None = None

    @property
    def held(self) -> Tried:
        """The best so far."""
        return self.path[-1]

    def check(self) -> None:
        """Raises Stopped where a limit is reached, unless nothing is held yet."""
        if not self.path:
            return
        if self.limits.interrupted():
            raise Stopped(INTERRUPTED)
        if self.limits.seconds is not None and monotonic() - self._began > self.limits.seconds:
            raise Stopped(f"the time budget of {self.limits.seconds:g} s is spent")

    def run(self) -> str:
        """Searches; returns why it ended.

        Raises:
            NarrowcastError: the start cannot be made.
        """
        figures, seconds = self._measured(self.start)
        self.path.append(self._note(Tried("as asked for", self.start, "start", figures, seconds=seconds)))
        try:
            while self._round():
                pass
        except Stopped as stop:
            return str(stop)
        except KeyboardInterrupt:
            return INTERRUPTED
        return "nothing more helps"

    def _round(self) -> bool:
        """All kinds of steps once, each for as long as it helps; whether any did."""
        helped = [self._exhausted(step) for step in self.steps]
        return any(helped)

    def _exhausted(self, step: Step) -> bool:
        """Takes steps of a kind for as long as they help; whether any did."""
        helped = False
        while self._stepped(step):
            helped = True
        return helped

    def _stepped(self, step: Step) -> bool:
        """Takes the best of a step's candidates, if that is better than what is held."""
        if self.goal.asked and self.goal.met(_figures(self.held)):
            raise Stopped("the goal is reached")
        before, best = self.held, self.held
        try:
            for candidate in step.candidates(self._scene()):
                tried = self._try(candidate)
                gain = step.gain if best is before else 0.0
                if tried is not None and self.goal.better(_figures(tried), _figures(best), gain):
                    best = tried
                    if step.eager:
                        break
        finally:  # what was found counts also where time is up
            if best is not before:
                self.path.append(self._keep(best))
        return best is not before

    def _try(self, candidate: Candidate) -> Tried | None:
        """A candidate with its figures; None where it was tried before, or fails."""
        if any(candidate.trial == tried.trial for tried in self.tried):
            return None
        try:
            figures, seconds = self._measured(candidate.trial)
        except NarrowcastError as error:
            self._note(Tried(candidate.label, candidate.trial, "failed", error=str(error)))
            return None
        return self._note(Tried(candidate.label, candidate.trial, "refused", figures, seconds=seconds))

    def _measured(self, trial: Trial) -> tuple[Figures, float]:
        self.check()
        known = self.journal.figures(trial)
        if known is not None:
            return known, 0.0
        began = monotonic()
        figures = self.laboratory.measure(trial)
        self.journal.remember(trial, figures)
        return figures, monotonic() - began

    def _known(self, trial: Trial) -> Figures | None:
        """Of a trial that this search has tried: what a journal knows beside must not change the way."""
        return next((tried.figures for tried in self.tried if tried.trial == trial), None)

    def _look(self, trial: Trial) -> float | None:
        self.check()
        known = self.journal.look(trial)
        if known is not None:
            return known
        try:
            found = self.laboratory.look(trial)
        except NarrowcastError:
            return None
        self.journal.remember_look(trial, found)
        return found

    def _noise(self, trial: Trial) -> Mapping[str, float]:
        self.check()
        try:
            return self.laboratory.noise(trial)
        except NarrowcastError:
            return {}

    def _scene(self) -> Scene:
        if self._blocks is None:
            self._blocks = self.laboratory.blocks(self.start)
        return Scene(
            self.start,
            self.held.trial,
            self._known,
            self._look,
            self._noise,
            self._blocks,
            self.limits.most_floats,
            self.limits.wide,
        )

    def _note(self, tried: Tried) -> Tried:
        times = sum(other.label.partition(" (")[0] == tried.label for other in self.tried)
        tried = replace(tried, label=f"{tried.label} ({times + 1})") if times else tried
        self.tried.append(tried)
        self.told(tried)
        return tried

    def _keep(self, tried: Tried) -> Tried:
        kept = replace(tried, verdict="kept")
        self.tried[self.tried.index(tried)] = kept
        self.told(kept)
        return kept


def _figures(tried: Tried) -> Figures:
    assert tried.figures is not None
    return tried.figures
