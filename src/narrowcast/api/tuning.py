"""`tune`: looks for the file that keeps most of its source, or enough of it, and says how it was made."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from narrowcast import quantization
from narrowcast._files import atomic_write, check_destinations
from narrowcast.api.laboratory import Laboratory
from narrowcast.api.models import dequantize, format_of, spare
from narrowcast.api.options import Data, MetricName, Progress, TuneOptions, refuse_unknown, silent
from narrowcast.api.proof import Proof
from narrowcast.api.samples import open_samples, preprocessing_of
from narrowcast.api.workbench import Attempt, Workbench
from narrowcast.errors import DataError, UsageError
from narrowcast.evaluation.data import DataSet
from narrowcast.evaluation.metrics import is_classifier
from narrowcast.evaluation.results import WrittenFile
from narrowcast.evaluation.task_metrics import Metric, metric_of
from narrowcast.evaluation.trials import Settings, Trial, unusual
from narrowcast.model import Model
from narrowcast.tuning import recipe
from narrowcast.tuning.choice import ordered, thinned
from narrowcast.tuning.journal import Journal
from narrowcast.tuning.records import Figures, Tried, Tuning
from narrowcast.tuning.search import Limits, Search

if TYPE_CHECKING:
    from typing import Unpack

__all__ = ["tune"]

HELD = 64
"""Samples that judge trials, at most; and at most a third of all."""
UNCHANGED = "no step was taken: the file is the one that quantize makes, of all samples"


def tune(
    model: Model,
    path: str | Path,
    *,
    data: Data,
    scheme: str = "int8",
    fmt: str | None = None,
    metric: MetricName | None = None,
    max_drop: float | None = None,
    min_metric: float | None = None,
    min_sqnr: float | None = None,
    prefer: Literal["latency", "size"] = "latency",
    max_float: float = 0.2,
    time_budget: float | None = None,
    progress: Progress = silent,
    told: Callable[[Tried], None] = lambda _tried: None,
    interrupted: Callable[[], bool] = lambda: False,
    **options: Unpack[TuneOptions],
) -> Tuning:
    """Looks for the best file of a scheme, writes it, and says by a recipe how it was made.

    It starts with the file that `quantize` would make and tries, one after the other, other observers, repairs, and
    regions of the network in a wider type. A step is kept where it makes the output better on samples that it was not
    made by; the best ones become files, which are run and timed, and one of them is chosen.

    Args:
        model: from `load`; it is not changed. One whose file is quantised is dequantised first.
        path: the destination. `<path>.recipe.yaml` says how it was made; `<path>.tune.jsonl` remembers what was tried,
            so that the same call goes on where one was cut short.
        data: samples; a third of them, at most 64, judge what the others have made.
        scheme: of all that is not said to be another.
        fmt: the format's name, where the suffix does not tell.
        metric: as for `compare`; if None, top-1 where data have labels, or agreement where classes are scored.
        max_drop: what the file may lose of the metric; the search ends when it is reached.
        min_metric: what it has to reach of the metric, in place of `max_drop`.
        min_sqnr: dB that every output has to keep, as a goal beside that or alone.
        prefer: what the file is to be best in, of those that reach the goal; "size" takes 16 bits for regions that are
            to be wider, "latency" floats.
        max_float: share of the multiply-accumulates, in 0..1, that may leave 8-bit integers.
        time_budget: seconds for the search; what it has found by then is written. As long as it helps if None.
        progress: is told how far the work has come.
        told: is handed each trial with its figures, and again when it is kept.
        interrupted: is asked whether to stop with the best so far.
        options: see `TuneOptions`; they are where the search starts.

    Raises:
        UsageError: an option is unknown, or the goal cannot be measured.
        DataError: there are less than two samples, or they do not fit the model.
        VerificationError: no file does what its graph says.
        OutputError: the destination cannot be written.
    """
    refuse_unknown(TuneOptions, options)
    began, path = time.monotonic(), Path(path)
    if not 0 <= max_float <= 1 or (time_budget is not None and time_budget <= 0):
        raise UsageError("a share is in 0..1 and a time budget above 0 s")
    fmt = format_of(path, fmt, model.provenance.path)
    spare(model.provenance.path, path)
    recipe_path, journal_path = (path.with_name(path.name + suffix) for suffix in (".recipe.yaml", ".tune.jsonl"))
    check_destinations(path, recipe_path, journal_path)
    source = _float_source(model, options)
    samples = open_samples(data, source, options)
    fit, held = _split(samples, options.get("seed", 0))
    row = quantization.scheme_named(scheme)
    settings = {**row.settings, **{name: value for name, value in options.items() if name in Settings.__slots__}}
    settings["held"] = len(held.indices)
    start = Trial(
        model.provenance.path or Path(source.graph.name or "model"),
        fmt,
        row.name,
        unusual(settings),
        options.get("seed", 0),
    )
    progress("running the source", 0, None)
    searching: list[Search] = []

    def watched(stage: str, done: int, total: int | None) -> None:
        progress(stage, done, total)
        for search in searching:
            search.check()

    laboratory = Laboratory(source, fit, held, _metric(metric, source, held), watched, start.seed)
    goal = laboratory.goal(max_drop, min_metric, min_sqnr)
    journal = Journal(journal_path, laboratory.holds_for())
    wide = {"latency": "float32", "size": "int16x8"}[prefer]
    search = Search(start, laboratory, goal, Limits(max_float, wide, time_budget, interrupted), journal, told)
    searching.append(search)
    reason = search.run()
    searching.clear()
    finalists = laboratory.finalists(thinned(search.path))
    best = [final.trial for final in ordered(finalists, goal, prefer)]
    order = [tried for trial in best for tried in search.path if tried.trial == trial]
    order += [tried for tried in reversed(search.path) if tried not in order]
    proof = Proof.open(source, held, options.get("reference", "auto")) if options.get("verify", True) else None
    plain = start.without("held")

    def made(tried: Tried) -> Attempt:
        """Its file; where no step was taken that which `quantize` makes, of all samples."""
        if tried.trial == start:
            return Workbench(source, samples.subset, progress).make(plain, path.name, path, proof)
        return laboratory.workbench.make(tried.trial, path.name, path, proof)

    kept, written = _written(made, order)
    steps = search.path[: search.path.index(kept) + 1]
    figures = next((final.figures for final in finalists if final.trial == kept.trial), kept.figures)
    with atomic_write(recipe_path) as file:
        chosen = plain if kept.trial == start else kept.trial
        file.write(recipe.spelled(chosen, _about(path, steps), _why(steps)).encode())
    return Tuning(
        source=start.source,
        tried=tuple(search.tried),
        finalists=tuple(finalists),
        chosen=kept.label,
        written=written,
        recipe=recipe_path,
        journal=journal.path or path,
        goal=goal,
        reached=goal.asked and figures is not None and goal.met(figures),
        reason=reason,
        metric="" if laboratory.metric is None else laboratory.metric.name,
        source_metric=laboratory.source_metric,
        fitted=min(len(fit), start.settings.samples),
        held=len(laboratory.judge.seen),
        seconds=time.monotonic() - began,
        notes=(*held.remarks, *([UNCHANGED] if kept.trial == start else [])),
    )


def _float_source(model: Model, options: TuneOptions) -> Model:
    if model.source is not None:
        raise UsageError(f"the model is quantised already, to {model.scheme}", hint="tune the one from load")
    if model.variants:
        raise UsageError("files of several sizes are not tuned", hint="give one size, or use quantize")
    source = dequantize(model) if model.scheme != "float32" else model
    return replace(source, preprocessing=preprocessing_of(options, source.preprocessing))


def _split(samples: DataSet, seed: int) -> tuple[DataSet, DataSet]:
    """What trials are made by, and what judges them."""
    if len(samples.indices) < 2:
        raise DataError("there is one sample: some make files, others judge them", hint="give 100 or more")
    held, fit = samples.split(max(1, min(HELD, len(samples.indices) // 3)), seed)
    return fit, held


def _metric(asked: MetricName | None, source: Model, held: DataSet) -> Metric | None:
    if asked is not None:
        return metric_of(asked)
    if not is_classifier(source.outputs[0].shape):
        return None
    return metric_of("agree" if held.labels is None else "top1")


def _written(made: Callable[[Tried], Attempt], order: Sequence[Tried]) -> tuple[Tried, WrittenFile]:
    """The first of some trials whose file does what its graph says, written and proven."""
    failure = None
    for tried in order:
        attempt = made(tried)
        if attempt.error is None and attempt.file is not None:
            return tried, attempt.file
        failure = failure or attempt.error
    assert failure is not None
    raise failure


def _about(path: Path, steps: Sequence[Tried]) -> str:
    """The head of a recipe."""
    chosen = steps[-1]
    source = chosen.trial.source.name
    return (
        f"How narrowcast made {path.name} of {source}; edit it, and make the file again by\n"
        f"  narrowcast quantize {source} -o {path.name} --recipe {path.name}.recipe.yaml --data DATA\n"
        f"on the data that it was found on. On samples that were held back: {_told(chosen.figures)}."
    )


def _why(steps: Sequence[Tried]) -> dict[str, str]:
    """What each setting of the last trial brought."""
    why: dict[str, list[str]] = {}
    for before, after in pairwise(steps):
        for name in after.trial.overrides:
            if after.trial.overrides[name] != before.trial.overrides.get(name):
                why.setdefault(name, []).append(f"{after.label}: {_told(before.figures)} -> {_told(after.figures)}")
    return {name: "\n".join(lines) for name, lines in why.items()}


def _told(figures: Figures | None) -> str:
    if figures is None:
        return "not measured"
    decibels = f"{figures.mean:.1f} dB"
    return decibels if figures.metric is None else f"{figures.metric:.4g}, {decibels}"
