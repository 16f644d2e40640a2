"""`compare`: trials of one model carried out one after the other, each file measured beside the source."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from narrowcast import quantization, targets
from narrowcast._files import place, size_of, staging
from narrowcast.api.inspecting import DESCRIBERS, count_operators, inspect
from narrowcast.api.labels import classes_of
from narrowcast.api.models import dequantize, load
from narrowcast.api.options import (
    CompareOptions,
    Data,
    DataOptions,
    LoadOptions,
    Progress,
    pick,
    refuse_unknown,
    silent,
)
from narrowcast.api.proof import Proof, edit_notes, substitution_notes
from narrowcast.api.recommend import recommend
from narrowcast.api.running import measured_row
from narrowcast.api.samples import open_samples, preprocessing_of
from narrowcast.api.scoring import SOURCE, scored
from narrowcast.api.workbench import Attempt, Workbench
from narrowcast.errors import NarrowcastError, OutputError, UsageError, VerificationError
from narrowcast.evaluation import accuracy, latency, machine, metrics
from narrowcast.evaluation.data import DataSet
from narrowcast.evaluation.results import Accuracy, Comparison, Row, Score
from narrowcast.evaluation.source import open_source
from narrowcast.evaluation.task_metrics import Metric, metric_of
from narrowcast.evaluation.trials import Trial, unusual
from narrowcast.model import Model
from narrowcast.readers import formats as sources
from narrowcast.schemas.transcripts import family
from narrowcast.writers import formats as destinations

if TYPE_CHECKING:
    from typing import Unpack

__all__ = ["carry_out", "compare"]


def compare(
    source: str | Path,
    data: Data,
    *,
    out: str | Path,
    calibrate: Data | None = None,
    to: Iterable[str] = ("tflite",),
    schemes: Iterable[str] | None = None,
    progress: Progress = silent,
    **options: Unpack[CompareOptions],
) -> Comparison:
    """Writes a model in every format and scheme, measures each file beside the source, and recommends one.

    The files are made in a temporary folder and moved to `out` at the end, so an interruption leaves nothing.

    Args:
        source: a model file; a quantised one is dequantised, and the files made of that measured beside it as it is.
        data: labelled test data.
        out: the folder for the files, made where it is missing; a file is named `<source's stem>_<scheme>.<suffix>`.
        calibrate: samples to calibrate on; a part of `data` is set aside for it if None.
        to: formats to write.
        schemes: what to write in each; if None all that its target has but those for special devices.
        progress: is told how far the work has come.
        options: see `CompareOptions`; the `reference`, the original if it is left out, is also what the accuracy and
            the agreement of the files are held against.

    Returns:
        A row for the source and for each trial; one that failed is a row with its `failure`.

    Raises:
        NarrowcastError: as `load` raises; or the first trial's error, where all failed.
        OutputError: the folder cannot be written.
    """
    refuse_unknown(CompareOptions, options)
    trials = _trials(Path(source), to, schemes, options)
    return carry_out(trials, data, out=out, calibrate=calibrate, progress=progress, **options)


def carry_out(
    trials: Sequence[Trial],
    data: Data,
    *,
    out: str | Path,
    calibrate: Data | None = None,
    progress: Progress = silent,
    **options: Unpack[CompareOptions],
) -> Comparison:
    """Makes the files of some trials of one source, measures each beside it, and recommends one, like `compare`.

    Args:
        trials: what to make; they differ in what becomes of the source, not in how it is read.
        data: labelled test data.
        out: the folder for the files.
        calibrate: samples to calibrate on; as many of `data` as the first trial asks for are set aside if None.
        progress: is told how far the work has come.
        options: see `CompareOptions`; what a trial says itself holds in place of them.

    Raises:
        UsageError: there are no trials, or they are not of one source.
        NarrowcastError: as `compare` raises.
    """
    refuse_unknown(CompareOptions, options)
    started, out, threads = time.perf_counter(), Path(out), sorted(set(options.get("threads", (1, 2))))
    if options.get("min_metric") is not None and options.get("metric") is None:
        raise UsageError("a least figure is of a metric", hint="say which (--metric)")
    if not trials or not threads or threads[0] < 1:
        raise UsageError("there is nothing to compare", hint="give schemes, and numbers of threads from 1 up")
    metric = options.get("metric")
    how = _Measuring(threads, None if metric is None else metric_of(metric))
    max_drop = options.get("max_drop", 0.01)
    if not max_drop >= 0 or (max_drop > 1 and (how.metric is None or how.metric.unit == "share")):
        raise UsageError(f"a drop of {max_drop:g} is no fraction", hint="give a number from 0 to 1")
    with _staging(out) as stage:
        model, test, calibration = _opened(trials, data, calibrate, progress, options)
        progress("opening the source", 0, None)
        proof = Proof.open(model, test, options.get("reference", "original"))
        bench = Workbench(model, calibration.subset, progress)
        proven = proof if options.get("verify", True) else None
        attempts = [bench.make(trial, name, stage / file, proven) for trial, name, file in _named(trials)]
        if all(attempt.file is None for attempt in attempts):
            raise next(attempt.error for attempt in attempts if attempt.error is not None)
        rows, remarks = _measure(trials[0].source, model, proof, attempts, test, how, progress)
        chosen, reason = recommend(rows, max_drop, options.get("prefer", "latency"), options.get("min_metric"))
        rows = [rows[0], *(_moved(row, stage, out) for row in rows[1:])]
    proofs = [row.written.parity for row in rows if row.written is not None and row.written.parity is not None]
    changes = (*edit_notes(model), *(note for proof in proofs[:1] for note in substitution_notes(proof)))
    notes = (*changes, *test.remarks, *calibration.remarks, *_class_remark(test, model), *remarks)
    return Comparison(
        source=trials[0].source,
        rows=tuple(rows),
        recommended=chosen,
        reason=reason,
        max_drop=max_drop,
        data=test.description,
        calibration=calibration.description,
        machine=machine.machine(),
        seconds=time.perf_counter() - started,
        notes=tuple(dict.fromkeys(notes)),
    )


def _trials(path: Path, to: Iterable[str], schemes: Iterable[str] | None, options: CompareOptions) -> list[Trial]:
    """A trial for each format and scheme.

    The type of inputs and outputs concerns schemes whose ports are integers; overrides by integer activations concern
    those that have such.

    Raises:
        UsageError: a format or a scheme is unknown.
    """
    changed = unusual(options)
    wanted = None if schemes is None else [quantization.scheme_named(name) for name in schemes]
    trials = []
    for row in map(destinations.named, to):
        storage = targets.find(row.target, changed.get("opset")).storage
        for scheme in quantization.SCHEMES.values() if wanted is None else wanted:
            if wanted is not None or (scheme.compared and scheme.name in storage):
                own = {name: value for name, value in changed.items() if _concerns(name, scheme)}
                if own.get("overrides") and scheme.name in storage and storage[scheme.name].activations == "float32":
                    own["overrides"] = {
                        pattern: name
                        for pattern, name in own["overrides"].items()
                        if storage[quantization.scheme_named(name).name].activations == "float32"
                    }
                trials.append(Trial(path, row.name, scheme.name, {**scheme.settings, **own}, options.get("seed", 0)))
    return trials


def _concerns(option: str, scheme: quantization.Scheme) -> bool:
    """Whether a scheme knows an option; those that concern it are refused where they contradict it."""
    if option in ("weight_bits", "block_size"):
        return scheme.weights.startswith("int")
    return option != "io_type" or scheme.integer_ports


def _named(trials: Sequence[Trial]) -> Iterator[tuple[Trial, str, str]]:
    """Each trial, what it is called, and what its file is called.

    A trial goes by its scheme, and by its format where there are several; a file by its scheme, and by its format where
    its suffix means another one first. A number tells those apart that differ in overrides alone.
    """
    several = len({trial.target for trial in trials}) > 1
    counts: Counter[tuple[str, str]] = Counter()
    for trial in trials:
        row = destinations.named(trial.target)
        counts[trial.target, trial.scheme] += 1
        count = counts[trial.target, trial.scheme]
        suffix = row.suffixes[0] if row.suffixes else ""
        usual = next((other for other in destinations.FORMATS if suffix in other.suffixes), None) is row
        words = [trial.scheme, *([row.name] if several else []), *([str(count)] if count > 1 else [])]
        parts = [trial.source.stem, trial.scheme, *([] if usual else [row.name]), *([str(count)] if count > 1 else [])]
        yield trial, " ".join(words), "_".join(parts) + suffix


def _opened(
    trials: Sequence[Trial], data: Data, calibrate: Data | None, progress: Progress, options: CompareOptions
) -> tuple[Model, DataSet, DataSet]:
    """The source that all trials are of, what to measure on, and what to calibrate on.

    Raises:
        UsageError: they are not of one source.
    """
    reading = [
        (trial.source, {name: trial.overrides.get(name) for name in LoadOptions.__annotations__}) for trial in trials
    ]
    if any(other != reading[0] for other in reading):
        raise UsageError("the trials are not of one source", hint="carry those of each source out by themselves")
    settings, more = trials[0].settings, pick(LoadOptions, options)
    own = {name: getattr(settings, name) for name in LoadOptions.__annotations__ if name in settings.__slots__}
    model = load(trials[0].source, progress=progress, **{**more, **own})
    if model.variants:
        raise UsageError("files of several sizes are not compared", hint="give one, or use quantize")
    if model.scheme != "float32":
        model = dequantize(model)
    model = replace(model, preprocessing=preprocessing_of(options, model.preprocessing))
    test, calibration = _data_sets(data, calibrate, model, trials[0], options)
    return replace(model, labels=model.labels or _class_names(test, model, options)), test, calibration


@dataclass(frozen=True, slots=True)
class _Measuring:
    """What is measured of each file: latency on these numbers of threads, and a metric where one was asked for."""

    threads: Sequence[int]
    metric: Metric | None


@contextmanager
def _staging(out: Path) -> Iterator[Path]:
    """A temporary folder on the file system of `out`; its files move there when the block ends without an error."""
    if out.exists() and not out.is_dir():
        raise OutputError("the destination is a file; give a folder", where=str(out))
    with staging(out if out.is_dir() else out.parent, out) as stage:
        yield stage
        out.mkdir(exist_ok=True)
        place(stage, out)


def _data_sets(
    data: Data, calibrate: Data | None, model: Model, trial: Trial, options: DataOptions
) -> tuple[DataSet, DataSet]:
    """What to measure on, and what to calibrate on."""
    test, samples = open_samples(data, model, options), trial.settings.samples
    if calibrate is not None:
        return test, open_samples(calibrate, model, options).subset(samples, trial.seed)
    calibration, rest = test.split(samples, trial.seed)
    return rest, calibration


def _class_names(test: DataSet, model: Model, options: DataOptions) -> tuple[str, ...]:
    """The data's own names of classes, where they fit the model's output."""
    classes = model.outputs[0].shape[-1] if model.outputs[0].shape else None
    fits = len(test.class_names) == classes and not options.get("label_offset")
    return test.class_names if fits else ()


def _class_remark(test: DataSet, model: Model) -> tuple[str, ...]:
    """A warning where folders cannot be the model's classes, one for one."""
    folders, classes = len(test.class_names), classes_of(model.outputs)
    if not folders or classes in (None, folders):
        return ()
    return (
        f"the data has {folders} folders and the model {classes} classes: the first folder by name counts as class 0; "
        f"a labels.csv (filename,class_index) says which is which",
    )


def _measure(
    path: Path,
    model: Model,
    proof: Proof,
    attempts: Sequence[Attempt],
    test: DataSet,
    how: _Measuring,
    progress: Progress,
) -> tuple[list[Row], tuple[str, ...]]:
    """The rows: the source's, then one for each attempt, in order; and why the source was not timed, if so."""
    files = {attempt.name: file for attempt in attempts if (file := attempt.runnable) is not None}
    figures, threads = _figures(model, proof, attempts, test, how, progress), how.threads

    def told(count: int) -> Callable[[int], None]:
        return lambda done: progress("measuring latency", count + done, 2 * len(threads))

    first, remarks = _source_row(path, model, proof, threads, told(0))
    times = latency.measure(list(files.values()), threads, progress=told(len(threads)))
    latencies = dict(zip(files, times, strict=True))
    rows = [_with_figures(first, figures)]
    for done, attempt in enumerate(attempts):
        progress("measuring memory", done, len(attempts))
        row = Row(
            attempt.name,
            attempt.path if attempt.file is None else attempt.file.path,
            0 if attempt.file is None else attempt.file.bytes,
            "",
            written=attempt.file,
            failure="" if attempt.error is None else _failure(attempt.error),
            trial=attempt.trial,
        )
        if attempt.name in files:
            measured = measured_row(attempt.name, files[attempt.name], latencies[attempt.name])
            row = _with_figures(replace(measured, written=attempt.file, trial=attempt.trial), figures)
        rows.append(row)
    return rows, remarks


def _with_figures(row: Row, figures: Mapping[str, tuple[Accuracy | None, Score | None]]) -> Row:
    found, score = figures.get(row.name, (None, None))
    return replace(row, accuracy=found, score=score)


def _failure(error: NarrowcastError) -> str:
    """An error in words that hold when the temporary folder is gone."""
    kept = ", kept as *.unverified" if isinstance(error, VerificationError) else ""
    return f"{error.what}{kept}" if kept else str(error)


def _figures(
    model: Model, proof: Proof, attempts: Sequence[Attempt], test: DataSet, how: _Measuring, progress: Progress
) -> dict[str, tuple[Accuracy | None, Score | None]]:
    """Accuracy and score of the source and of each file by name.

    There is no accuracy where the first output does not score classes, and no score where no metric was asked for.
    """
    output = model.outputs[0]
    classes = output.name if metrics.is_classifier(output.shape) else None
    if classes is None and how.metric is None:
        return {}
    files = [(attempt.name, attempt.path, attempt.ports) for attempt in attempts if attempt.runnable and attempt.ports]
    names = [SOURCE, *(name for name, _, _ in files)]
    source = proof.source if model.read is model else open_source(model.read)
    with scored(test, source, files, max(how.threads)) as answers:
        found = accuracy.evaluate(
            answers, len(names), classes, how.metric, lambda done: progress("measuring accuracy", done, len(test))
        )
    return dict(zip(names, found, strict=True))


def _source_row(
    path: Path, model: Model, proof: Proof, threads: Sequence[int], told: Callable[[int], None]
) -> tuple[Row, tuple[str, ...]]:
    """The source on its own runtime, timed apart from the files: its runtime's threads spin on after a run."""
    operators = count_operators(model.read.graph)
    if model.read.edited is None and family(model.provenance.format) in DESCRIBERS:
        operators = inspect(path, signature=model.provenance.signature).operators
    runtime = proof.source.name if model.read is model else f"{model.read.scheme}, original file"
    row = Row(SOURCE, path, size_of(path), runtime, operators=operators)
    if model.read.edited is not None:
        return row, ("the source was not timed: it was edited",)
    try:
        file = latency.File(path, sources.named(model.provenance.format).runtime, model.provenance.signature)
        latencies = latency.measure([file], threads, progress=told)[0]
    except NarrowcastError as error:
        return row, (f"the source was not timed: {error}",)
    return replace(row, latencies=latencies, peak_memory_bytes=latency.peak_memory(file)), ()


def _moved(row: Row, stage: Path, out: Path) -> Row:
    """A row whose file has moved from the temporary folder."""
    written = None if row.written is None else replace(row.written, path=out / row.written.path.name)
    failure = row.failure.replace(str(stage), str(out))
    return replace(row, path=out / row.path.name, written=written, failure=failure)
