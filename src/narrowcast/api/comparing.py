"""`compare`: one model in every scheme, each file written, verified, and measured beside the source."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from narrowcast import quantization
from narrowcast._files import size_of, staging
from narrowcast.api.inspecting import count_operators
from narrowcast.api.labels import classes_of
from narrowcast.api.models import load
from narrowcast.api.options import Data, DataOptions, Progress, silent
from narrowcast.api.proof import Layout, Proof, Reference, write
from narrowcast.api.recommend import Preference, recommend
from narrowcast.api.running import measured_row
from narrowcast.api.samples import open_samples, preprocessing_of, remark
from narrowcast.api.scoring import scored
from narrowcast.errors import NarrowcastError, OutputError, UsageError, VerificationError
from narrowcast.evaluation import accuracy, latency, machine, metrics
from narrowcast.evaluation.data import DataSet
from narrowcast.evaluation.results import Accuracy, Comparison, Row, WrittenFile
from narrowcast.model import Model
from narrowcast.passes.prepare import adapt
from narrowcast.readers import formats as sources
from narrowcast.targets import find as find_target
from narrowcast.targets.rules import Recurrent
from narrowcast.writers import formats as targets

if TYPE_CHECKING:
    from typing import Unpack

__all__ = ["compare"]

FORMAT = "tflite"


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A scheme's file with its ports, or why there is none."""

    scheme: str
    path: Path
    file: WrittenFile | None = None
    ports: targets.Written | None = None
    error: NarrowcastError | None = None


def compare(
    source: str | Path,
    data: Data,
    *,
    out: str | Path,
    calibrate: Data | None = None,
    schemes: Iterable[str] = tuple(quantization.SCHEMES),
    threads: Iterable[int] = (1, 2),
    max_drop: float = 0.01,
    prefer: Preference = "latency",
    samples: int = 128,
    weights: str = "per-channel",
    observer: str = "minmax",
    io_type: str | None = None,
    io_layout: Layout = "target",
    source_format: str | None = None,
    batch: int | Literal["dynamic"] = 1,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    freeze: Mapping[str, float] | None = None,
    labels: str | Path | None = None,
    verify: bool = True,
    reference: Reference = "original",
    progress: Progress = silent,
    **options: Unpack[DataOptions],
) -> Comparison:
    """Writes a model in every scheme, measures each file beside the source, and recommends one.

    The files are made in a temporary folder and moved to `out` at the end, so an interruption leaves nothing.

    Args:
        source: a Keras or ONNX file.
        data: labelled test data.
        out: the folder for the files, made where it is missing; a file is named `<source's stem>_<scheme>.tflite`.
        calibrate: samples to calibrate on; a part of `data` is set aside for it if None.
        schemes: what to write.
        threads: the numbers of threads to measure latency with.
        max_drop: top-1 accuracy that a recommended file may lose, as a fraction.
        prefer: what the recommended file is best in, "latency" or "size".
        samples: how many samples to calibrate on, at most.
        weights: as for `quantize`, like `observer` and `io_type`.
        observer: as for `quantize`.
        io_type: as for `quantize`; it concerns full_int8 alone.
        io_layout: as for `save`.
        source_format: the `fmt` of `load`.
        batch: as for `load`, like `input_shapes`, `freeze` and `labels`.
        input_shapes: as for `load`.
        freeze: as for `load`.
        labels: as for `load`; the data's own class names if None.
        verify: as for `save`.
        reference: as for `save`; it is also what the accuracy and the agreement of the files are held against.
        progress: is told how far the work has come.
        options: how the data becomes inputs, as for `quantize`.

    Returns:
        A row for the source and for each scheme; a scheme that failed is a row with its `failure`.

    Raises:
        NarrowcastError: as `load` raises; or the first scheme's error, where every scheme failed.
        OutputError: the folder cannot be written.
    """
    started = time.perf_counter()
    path, out = Path(source), Path(out)
    wanted = [quantization.scheme_named(name) for name in schemes]
    counts = sorted(set(threads))
    if not wanted or not counts or counts[0] < 1:
        raise UsageError("there is nothing to compare", hint="give schemes, and numbers of threads from 1 up")
    with _staging(out) as stage:
        model = load(
            path,
            fmt=source_format,
            batch=batch,
            input_shapes=input_shapes,
            freeze=freeze,
            labels=labels,
            progress=progress,
        )
        model = replace(model, preprocessing=preprocessing_of(options, model.preprocessing))
        test, calibration = _data_sets(data, calibrate, model, samples, options)
        model = replace(model, labels=model.labels or _class_names(test, model, options))
        progress("opening the source", 0, None)
        proof = Proof.open(model, test, reference)
        make = _Maker(
            model, calibration, weights=weights, observer=observer, io_type=io_type, io_layout=io_layout,
            proof=proof if verify else None, progress=progress,
        )  # fmt: skip
        attempts = [make(row, stage / f"{path.stem}_{row.name}.tflite") for row in wanted]
        if all(attempt.file is None for attempt in attempts):
            raise next(attempt.error for attempt in attempts if attempt.error is not None)
        rows, remarks = _measure(path, model, proof, attempts, test, counts, progress)
        remarks = (*_class_remark(test, model), *remarks)
        chosen, reason = recommend(rows, max_drop, prefer)
        rows = [rows[0], *(_moved(row, out) for row in rows[1:])]
    return Comparison(
        source=path,
        rows=tuple(rows),
        recommended=chosen,
        reason=reason,
        max_drop=max_drop,
        data=test.description,
        calibration=calibration.description,
        machine=machine.machine(),
        seconds=time.perf_counter() - started,
        notes=(
            *dict.fromkeys((*test.remarks, *calibration.remarks)),
            *remark(data, model),
            *_class_remark(test, model),
            *remarks,
        ),
    )


@contextmanager
def _staging(out: Path) -> Iterator[Path]:
    """A temporary folder on the file system of `out`; its files move there when the block ends without an error."""
    if out.exists() and not out.is_dir():
        raise OutputError("the destination is a file; give a folder", where=str(out))
    with staging(out if out.is_dir() else out.parent, out) as stage:
        yield stage
        out.mkdir(exist_ok=True)
        for file in sorted(stage.iterdir()):
            file.replace(out / file.name)


def _data_sets(
    data: Data, calibrate: Data | None, model: Model, samples: int, options: DataOptions
) -> tuple[DataSet, DataSet]:
    """What to measure on, and what to calibrate on."""
    test, seed = open_samples(data, model, options), options.get("seed", 0)
    if calibrate is not None:
        return test, open_samples(calibrate, model, options).subset(samples, seed)
    calibration, rest = test.split(samples, seed)
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


class _Maker:
    """Makes the files of one model, calibrated once, when the first scheme asks for ranges."""

    def __init__(
        self,
        model: Model,
        calibration: DataSet,
        *,
        weights: str,
        observer: str,
        io_type: str | None,
        io_layout: Layout,
        proof: Proof | None,
        progress: Progress,
    ) -> None:
        self.model, self.calibration, self.proof = model, calibration, proof
        self.weights, self.observer, self.io_type, self.io_layout = weights, observer, io_type, io_layout
        self.progress = progress
        self.row = targets.named(FORMAT)
        self.target = find_target(self.row.target)
        self._prepared: dict[bool | Recurrent, Model] = {}
        self.ranges: quantization.Ranges | None = None

    def __call__(self, scheme: quantization.Scheme, path: Path) -> _Attempt:
        """One file; an error of ours is caught and kept."""
        try:
            quantized = self.quantized(scheme)
            self.progress(f"writing {scheme.name}", 0, None)
            file, ports = write(quantized, path, self.row, self.io_layout, self.proof)
        except VerificationError as error:
            return _Attempt(scheme.name, path, error.written, error=error)
        except OutputError:
            raise
        except NarrowcastError as error:
            return _Attempt(scheme.name, path, error=error)
        return _Attempt(scheme.name, path, file, ports)

    def prepared(self, scheme: quantization.Scheme) -> Model:
        """The model decomposed, without loops where activations become integers."""
        key = scheme.calibrated or self.target.storage[scheme.name].recurrent
        if key not in self._prepared:
            made = self._prepared[key] = replace(self.model.clone(), scheme=scheme.name)
            adapt(made, self.target, keep_loops=not scheme.calibrated)
        return self._prepared[key]

    def quantized(self, scheme: quantization.Scheme) -> Model:
        """The model in a scheme."""
        if scheme.calibrated and self.ranges is None:
            total = len(self.calibration)
            self.ranges = quantization.calibrate(
                self.prepared(scheme),
                self.calibration.feeds(),
                self.target,
                observer=self.observer,
                progress=lambda done: self.progress("calibrating", done, total),
            )
        quantized = quantization.quantize(
            self.prepared(scheme),
            scheme.name,
            self.target,
            ranges=self.ranges if scheme.calibrated else None,
            weights=self.weights,
            io_type=self.io_type if scheme.integer_ports else None,
        )
        return replace(quantized, source=self.model)


def _measure(
    path: Path,
    model: Model,
    proof: Proof,
    attempts: list[_Attempt],
    test: DataSet,
    threads: list[int],
    progress: Progress,
) -> tuple[list[Row], tuple[str, ...]]:
    """The rows: the source's, then one for each attempt, in order; and why the source was not timed, if so."""
    standing = [attempt for attempt in attempts if attempt.ports is not None]
    accuracies = _accuracies(model, proof, standing, test, max(threads), progress)

    def told(count: int) -> Callable[[int], None]:
        return lambda done: progress("measuring latency", count + done, 2 * len(threads))

    first, remarks = _source_row(path, model, proof, threads, told(0))
    latencies = latency.measure(list(map(_file, standing)), threads, progress=told(len(threads)))
    rows = [replace(first, accuracy=accuracies[0])]
    found = dict(
        zip((attempt.scheme for attempt in standing), zip(accuracies[1:], latencies, strict=True), strict=True)
    )
    for done, attempt in enumerate(attempts):
        progress("measuring memory", done, len(attempts))
        if attempt.file is None or attempt.ports is None:
            size, kept = (0, attempt.path) if attempt.file is None else (attempt.file.bytes, attempt.file.path)
            rows.append(Row(attempt.scheme, kept, size, "", written=attempt.file, failure=str(attempt.error)))
            continue
        measured = measured_row(attempt.scheme, _file(attempt), found[attempt.scheme][1])
        rows.append(replace(measured, accuracy=found[attempt.scheme][0], written=attempt.file))
    return rows, remarks


def _file(attempt: _Attempt) -> latency.File:
    return latency.File(attempt.path, "" if attempt.ports is None else attempt.ports.runtime)


def _accuracies(
    model: Model, proof: Proof, standing: list[_Attempt], test: DataSet, threads: int, progress: Progress
) -> list[Accuracy | None]:
    """Accuracy of the source and of each file; None throughout where the first output does not score classes."""
    output = model.outputs[0]
    if not metrics.is_classifier(output.shape):
        return [None] * (len(standing) + 1)
    names = ["source", *(attempt.scheme for attempt in standing)]
    files = [(attempt.scheme, attempt.path, attempt.ports) for attempt in standing if attempt.ports is not None]
    with scored(test, proof.source, files, output.name, threads) as samples:
        models = [itemgetter(name) for name in names]
        found = accuracy.evaluate(samples, models, lambda done: progress("measuring accuracy", done, len(test)))
    return list(found)


def _source_row(
    path: Path, model: Model, proof: Proof, threads: list[int], told: Callable[[int], None]
) -> tuple[Row, tuple[str, ...]]:
    """The source on its own runtime, timed apart from the files: its runtime's threads spin on after a run."""
    operators = count_operators(model.graph)
    row = Row("source", path, size_of(path), proof.source.name, operators=operators)
    try:
        file = latency.File(path, sources.named(model.provenance.format).runtime)
        latencies = latency.measure([file], threads, progress=told)[0]
    except NarrowcastError as error:
        return row, (f"the source was not timed: {error}",)
    return replace(row, latencies=latencies, peak_memory_bytes=latency.peak_memory(file)), ()


def _moved(row: Row, out: Path) -> Row:
    """A row whose file has moved from the temporary folder."""
    path = out / row.path.name
    written = None if row.written is None else replace(row.written, path=out / row.written.path.name)
    return replace(row, path=path, written=written)
