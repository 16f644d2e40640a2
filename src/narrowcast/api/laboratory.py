"""Where a search has its trials made and judged: by some samples and by others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from importlib.metadata import version
from math import isfinite, isnan
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from narrowcast import runtimes, targets
from narrowcast.api.options import Progress
from narrowcast.api.workbench import Attempt, Workbench
from narrowcast.errors import NarrowcastError, UsageError
from narrowcast.evaluation import latency
from narrowcast.evaluation.data import DataSet
from narrowcast.evaluation.diagnosis.diagnose import noise_of
from narrowcast.evaluation.judge import Judge, Run, runner
from narrowcast.evaluation.ports import feed_for, outputs_as_source
from narrowcast.evaluation.task_metrics import Metric, Tally
from narrowcast.evaluation.trials import Trial
from narrowcast.model import Array, Feed, Model
from narrowcast.tuning.records import Figures, Finalist, Goal, Tried
from narrowcast.tuning.regions import Block, blocks_of, share_in_floats
from narrowcast.writers import formats as destinations

__all__ = ["Laboratory"]

FEWEST, MOST, ENOUGH = 4, 32, 2**23
"""Samples of a quick look, of those that trials are made by: as few as hold so many bytes."""
SECONDS = 0.5
"""Of running time, by which a file is timed."""
TENTH = 0.1
"""dB by which figures of a metric in dB have to differ."""
KEPT = 16
"""Quantised graphs are kept until their files are written."""


class Laboratory:
    """Makes trials of a source by some samples, and judges them by others; see `tuning.search.Laboratory`.

    Args:
        source: the float model.
        fit: what trials are made by.
        held: what judges them.
        metric: what to measure beside the SQNR.
        progress: is told how far the work has come.
        seed: of the trials.
    """

    def __init__(
        self, source: Model, fit: DataSet, held: DataSet, metric: Metric | None, progress: Progress, seed: int
    ) -> None:
        self.source, self.fit, self.metric, self.progress = source, fit, metric, progress
        self.workbench = Workbench(source, fit.subset, progress, keep=KEPT)
        self.judge = Judge(source, held.feeds())
        self.glance = Judge(source, _few(fit.last(MOST, seed)))
        self.labels = [None if held.labels is None else int(held.labels[index]) for index in held.indices]
        own = self._tally()
        for (feed, wanted), label in zip(self.judge.seen, self.labels, strict=False):
            if own is not None:
                own.update(wanted, wanted, label, feed)
        self.source_metric = None if own is None else own.result().value

    def goal(self, max_drop: float | None, min_metric: float | None, min_sqnr: float | None) -> Goal:
        """What is asked for, as figures.

        Raises:
            UsageError: it cannot be measured.
        """
        if (
            any(isnan(figure) for figure in (max_drop, min_metric, min_sqnr) if figure is not None)
            or (max_drop or 0) < 0
        ):
            raise UsageError("a goal is a number, and a drop not below 0")
        asked = max_drop is not None or min_metric is not None
        if asked and (self.metric is None or self.source_metric is None):
            raise UsageError(
                "no output scores classes, so that nothing can drop", hint="name a --metric, or ask for --min-sqnr"
            )
        least = min_metric
        if max_drop is not None and min_metric is None and self.source_metric is not None:
            if not isfinite(self.source_metric):
                raise UsageError("the source's own figure is infinite, so none is a drop", hint="give --min-metric")
            least = self.source_metric - max_drop
        decibels = self.metric is not None and self.metric.unit == "dB"
        return Goal(min_sqnr, least, TENTH if decibels else 1.001 / len(self.judge.seen))

    def holds_for(self) -> dict[str, Any]:
        """What all figures depend on beside the trial."""
        samples = hashlib.sha256()
        for feed, _ in (*self.judge.seen, *self.glance.seen):
            for name in sorted(feed):
                samples.update(name.encode() + np.ascontiguousarray(feed[name]).tobytes())
        digest = self.source.provenance.digest
        return {
            "version": version("narrowcast"),
            "source": "" if digest is None else digest.text,
            "samples": samples.hexdigest(),
            "fitted": len(self.fit),
            "metric": "" if self.metric is None else self.metric.name,
        }

    def measure(self, trial: Trial) -> Figures:
        """All figures of a trial's graph."""
        quantized = self.workbench.quantized(trial)
        tensors = [value.const_value for value in quantized.graph.initializers.values() if value.uses()]
        stored = sum(tensor.nbytes for tensor in tensors if tensor is not None)
        figures = self._figures(runner(quantized, exact=False))
        return replace(figures, bytes=stored, floats=share_in_floats(quantized.graph))

    def look(self, trial: Trial) -> float:
        """The mean SQNR in dB on a few samples, without repairs."""
        return self.glance.of(self.workbench.quantized(trial.without("repairs")), exact=False).mean

    def noise(self, trial: Trial) -> Mapping[str, float]:
        """Shares of the outputs' noise, by the node whose block makes it, on a few samples, without repairs."""
        trial = trial.without("repairs")
        target = targets.find(destinations.named(trial.target).target, trial.settings.opset)
        feeds = [feed for feed, _ in self.glance.seen[:FEWEST]]
        self.progress("looking where noise arises", 0, None)
        return noise_of(self.workbench.adapted(trial), self.workbench.quantized(trial), target, feeds)

    def blocks(self, trial: Trial) -> Sequence[Block]:
        """The network's, as it is for the trial's target."""
        return blocks_of(self.workbench.adapted(trial).graph)

    def finalists(self, tried: Sequence[Tried]) -> list[Finalist]:
        """The files of some trials, run on the held-back samples and timed together; none where nothing runs them."""
        with TemporaryDirectory(prefix="narrowcast-") as folder:
            made = []
            for number, one in enumerate(tried):
                suffix = (*destinations.named(one.trial.target).suffixes, "")[0]
                attempt = self.workbench.make(one.trial, one.label, Path(folder) / f"{number}{suffix}", None)
                if attempt.runnable is not None and (finalist := self._confirmed(attempt)) is not None:
                    made.append((attempt.runnable, replace(finalist, figures=_with_sizes(finalist, one))))
            self.progress("measuring latency", 0, None)
            times = latency.measure([file for file, _ in made], [1], seconds=SECONDS) if made else []
        return [replace(finalist, latency=found[0]) for (_, finalist), found in zip(made, times, strict=True)]

    def _confirmed(self, attempt: Attempt) -> Finalist | None:
        """A file with its own figures; None where its runtime refuses it."""
        assert attempt.ports is not None
        assert attempt.file is not None
        ports = attempt.ports
        self.progress(f"measuring {attempt.name}", 0, None)
        try:
            with closing(runtimes.open(attempt.path, ports.runtime, 2)) as opened:
                figures = self._figures(
                    lambda feed: outputs_as_source(ports.outputs, opened.run(feed_for(ports, feed)))
                )
        except NarrowcastError:
            return None
        return Finalist(attempt.name, attempt.trial, figures, attempt.file.bytes)

    def _tally(self) -> Tally | None:
        return None if self.metric is None else Tally(self.metric)

    def _figures(self, run: Run) -> Figures:
        tally = self._tally()

        def look(number: int, wanted: Mapping[str, Array], found: Mapping[str, Array]) -> None:
            if tally is not None:
                tally.update(wanted, found, self.labels[number], self.judge.seen[number][0])

        judgement = self.judge.of_run(run, look)
        score = None if tally is None else tally.result().value
        return Figures(judgement.decibels, judgement.mean, score, each=judgement.each)


def _few(data: DataSet) -> Iterator[Feed]:
    """The first samples, until they are enough."""
    room = ENOUGH
    for count, feed in enumerate(data.feeds()):
        if count >= FEWEST and room < 0:
            return
        room -= sum(array.nbytes for array in feed.values())
        yield feed


def _with_sizes(finalist: Finalist, tried: Tried) -> Figures:
    """A file's own figures, with what is known of its graph."""
    floats = 0.0 if tried.figures is None else tried.figures.floats
    return replace(finalist.figures, bytes=finalist.bytes, floats=floats)
