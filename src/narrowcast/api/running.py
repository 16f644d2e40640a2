"""`bench` and `run`: files on their runtimes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from narrowcast import runtimes
from narrowcast._files import size_of
from narrowcast.api import tflite
from narrowcast.api.labels import check_labels, read_labels
from narrowcast.api.options import PreprocessingOptions, Progress, refuse_unknown, silent
from narrowcast.api.samples import preprocessing_of
from narrowcast.errors import DataError, UnsupportedError, UsageError
from narrowcast.evaluation import latency, machine, metrics
from narrowcast.evaluation.pixels import load_image
from narrowcast.evaluation.ports import graph_ports
from narrowcast.evaluation.results import Benchmark, Guess, Latency, OperatorCount, Prediction, Row, TensorFacts
from narrowcast.model import Array, Preprocessing, TensorSpec
from narrowcast.readers import formats as sources
from narrowcast.readers.tflite import bundle
from narrowcast.runtimes.protocol import Runner
from narrowcast.schemas.transcripts import as_binary, family

if TYPE_CHECKING:
    from typing import Unpack

__all__ = ["bench", "measured_row", "run"]


def _known_graph(path: Path, signature: str) -> tflite.Known:
    """What the integer inputs and outputs of a graph stand for; nothing of one that cannot be read as it is."""
    try:
        ports = graph_ports(sources.read(path, sources.ReadOptions(signature=signature)))
    except (UsageError, UnsupportedError):
        return tflite.Known()
    inputs, outputs = (
        {port.name: TensorFacts(port.name, (), port.dtype, port.scale or None, port.zero_point) for port in side}
        for side in (ports.inputs, ports.outputs)
    )
    return tflite.Known(inputs=inputs, outputs=outputs)


KNOWN: dict[str, Callable[[Path, str], tflite.Known]] = {"tflite": tflite.known, "onnx": _known_graph}
"""By format, what reads from a file how it is to be used."""


def bench(
    paths: Iterable[str | Path],
    *,
    threads: Iterable[int] = (1, 2),
    signature: str = "",
    progress: Progress = silent,
) -> Benchmark:
    """Measures latency and peak memory of files, which take turns within one run.

    Args:
        paths: files of any format that something here runs.
        threads: the numbers of threads to measure with.
        signature: the key of the graph that is meant, in files of several; empty for the first.
        progress: is told how far the work has come.

    Raises:
        ModelFileError: a file is missing, or its runtime refuses it.
        UsageError: nothing tells a file's format, or there are none.
        UnsupportedError: nothing here runs such files.
        MissingExtraError: a runtime is not installed.
    """
    chosen = (_model_at(path) for path in map(Path, paths))
    files = [latency.File(path, sources.checked(path).runtime, signature) for path in chosen]
    counts = sorted(set(threads))
    if not files or not counts or counts[0] < 1:
        raise UsageError("there is nothing to measure", hint="give files, and numbers of threads from 1 up")
    latencies = latency.measure(files, counts, progress=lambda done: progress("measuring latency", done, len(counts)))
    rows = []
    for done, (file, measured) in enumerate(zip(files, latencies, strict=True)):
        progress("measuring memory", done, len(files))
        rows.append(measured_row(file.path.name, file, measured))
    return Benchmark(tuple(rows), machine.machine())


def _model_at(path: Path, source_format: str | None = None) -> Path:
    """The path of a model: of a bundle that is given as a whole, its only one."""
    return bundle.only(path) if sources.find(path, source_format).name == "task" else path


def measured_row(name: str, file: latency.File, latencies: tuple[Latency, ...]) -> Row:
    """A file with its latencies, memory, operators and runtime."""
    runner = runtimes.open(file.path, file.runtime, signature=file.signature)
    runtime, operators = runner.name, _operators(runner)
    runner.close()
    return Row(
        name=name,
        path=file.path,
        bytes=size_of(file.path),
        runtime=runtime,
        latencies=latencies,
        peak_memory_bytes=latency.peak_memory(file),
        operators=operators,
    )


def _operators(runner: Runner) -> OperatorCount | None:
    """The operators of a file, and how many its runtime's default delegate leaves alone; None where it does not say."""
    listed = getattr(runner, "operators", None)
    if listed is None:
        return None
    counts, undelegated = listed()
    transposes = sum(count for name, count in counts.items() if name.upper() == "TRANSPOSE")
    return OperatorCount(counts.total(), undelegated, transposes, tuple(counts.most_common()))


def run(
    path: str | Path,
    image: str | Path,
    *,
    source_format: str | None = None,
    signature: str = "",
    labels: str | Path | None = None,
    top: int = 5,
    **options: Unpack[PreprocessingOptions],
) -> Prediction:
    """Classifies one image.

    Args:
        path: a file with one image input; its first output scores classes.
        image: anything that Pillow reads.
        source_format: the file's format, where neither content nor suffix tells, or tell wrong.
        signature: the key of the graph that is meant, in files of several; empty for the first.
        labels: a text file with one class name a line; the file's own labels if None.
        top: how many classes.
        options: how the image becomes the input; what the file itself says if left out.

    Raises:
        ModelFileError: the file is missing, damaged, or its runtime refuses it.
        DataError: the image or the labels cannot be read, or the file takes no image or scores no classes.
        UsageError: nothing tells the file's format.
        UnsupportedError: nothing here runs such files.
        MissingExtraError: the runtime is not installed.
    """
    refuse_unknown(PreprocessingOptions, options)
    path, image = _model_at(Path(path), source_format), Path(image)
    row = sources.checked(path, source_format)
    known = tflite.Known()
    if family(row.name) in KNOWN:
        with as_binary(path, row.name) as file:
            known = KNOWN[family(row.name)](file, signature)
    preprocessing = preprocessing_of(options, known.preprocessing) or Preprocessing()
    runner = runtimes.open(path, row.runtime, signature=signature)
    names = known.labels if labels is None else read_labels(Path(labels))
    if labels is not None:
        check_labels(names, runner.outputs[:1], Path(labels))
    if len(runner.inputs) != 1:
        raise DataError(f"the file has {len(runner.inputs)} inputs; an image fills one", where=str(path))
    port = runner.inputs[0]
    feed = {port.name: _stored(load_image(image, preprocessing, port.shape), port, known.inputs.get(port.name))}
    start = time.perf_counter()
    outputs = runner.run(feed)
    seconds = time.perf_counter() - start
    output = runner.outputs[0]
    stored = outputs[output.name]
    if not metrics.is_classifier(stored.shape):
        shape = "x".join(map(str, stored.shape))
        raise DataError(
            f"its output {output.name!r} has the shape {shape}, not one score for each class",
            where=str(path),
            hint="run is for classifiers",
        )
    scores = _real(stored, known.outputs.get(output.name)).reshape(-1)
    guesses = tuple(
        Guess(int(index), names[index] if index < len(names) else "", float(scores[index]))
        for index in metrics.ranked(scores, top)
        if index < scores.size
    )
    runtime = runner.name
    runner.close()
    return Prediction(path, image, guesses, runtime, seconds, describe(preprocessing))


def _stored(array: Array, port: TensorSpec, facts: TensorFacts | None) -> Array:
    """Real values as an input stores them."""
    if port.dtype.kind not in "iu":
        return array.astype(port.dtype)
    scale, zero_point = (facts.scale, facts.zero_point) if facts is not None else (None, None)
    info = np.iinfo(port.dtype)
    stored = array if not scale else array / scale + (zero_point or 0)
    clipped: Array = np.clip(np.rint(stored), info.min, info.max).astype(port.dtype)
    return clipped


def _real(array: Array, facts: TensorFacts | None) -> Array:
    """The real values of a stored output."""
    if array.dtype.kind not in "iu" or facts is None or not facts.scale:
        return array
    return (array.astype(np.float32) - (facts.zero_point or 0)) * np.float32(facts.scale)


def describe(preprocessing: Preprocessing) -> str:
    """A preprocessing in words: RGB, (x - 127.5) / 127.5, centre 0.875."""
    mean, std = (_numbers(values) for values in (preprocessing.mean, preprocessing.std))
    centred = "x" if mean == "0" else f"(x - {mean})"
    values = centred if std == "1" else f"{centred} / {std}"
    crop = "" if preprocessing.crop is None else f", centre {preprocessing.crop:g}"
    return f"{preprocessing.channel_order.upper()}, {values}{crop}"


def _numbers(values: tuple[float, ...]) -> str:
    text = ", ".join(f"{value:.6g}" for value in values)
    return text if len(set(values)) > 1 else f"{values[0]:.6g}"
