"""Runs cases in one of the `WAYS`, and says for each: right, wrong, refused (and why) or crashed.

`python -m tests.onnx_suite.outcome WAY FOLDER FIRST ...` works through the cases of a folder and prints a JSON line for
each; `outcomes` starts it again behind a case that takes the process down.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.onnx_suite.collect import Case, load

RTOL, ATOL = 1e-3, 1e-5


def written(case: Case, folder: Path) -> list[np.ndarray]:
    """Converted to TFLite, and run on the case's inputs; nothing else is proven."""
    from narrowcast import runtimes
    from narrowcast.passes.canonicalize import canonicalize
    from narrowcast.passes.decompose import decompose
    from narrowcast.readers.formats import read
    from narrowcast.writers.formats import write

    path = folder / "case.tflite"
    model = read(case.model)
    canonicalize(model)
    decompose(model, "litert")
    made = write(model, path, io_layout="source")
    found = runtimes.open(path, "litert").run({port.name: case.inputs[port.name] for port in made.inputs})
    return [found[port.name] for port in made.outputs]


def saved(case: Case, folder: Path) -> list[np.ndarray]:
    """Converted by the public interface, which verifies the file on random samples, and run on the case's inputs."""
    import narrowcast
    from narrowcast import runtimes

    path = folder / "case.tflite"
    model = narrowcast.load(case.model)
    narrowcast.save(model, path, io_layout="source")
    runner = runtimes.open(path, "litert")
    found = runner.run({spec.name: case.inputs[spec.name] for spec in runner.inputs})
    return [found[spec.name] for spec in model.outputs]


def original(case: Case, folder: Path) -> list[np.ndarray]:
    """The case itself on ONNX Runtime."""
    from narrowcast import runtimes

    return list(runtimes.open(case.model, "onnxruntime").run(case.inputs).values())


WAYS = {way.__name__: way for way in (written, saved, original)}


def outcome(way: str, case: Case, folder: Path) -> tuple[str, str]:
    """("right" | "wrong" | "refused" | "error", reason)."""
    from narrowcast.errors import NarrowcastError

    try:
        found = WAYS[way](case, folder)
    except NarrowcastError as error:
        return "refused", f"{type(error).__name__}: {error.what}"
    except Exception as error:
        return "error", f"{type(error).__name__}: {str(error).splitlines()[0][:160] if str(error) else ''}"
    differences = (_difference(got, wanted) for got, wanted in zip(found, case.outputs, strict=True))
    first = next((f"output {index}: {what}" for index, what in enumerate(differences) if what), "")
    return ("wrong", first) if first else ("right", "")


def _difference(got: np.ndarray, wanted: np.ndarray) -> str:
    """What is wrong with an output; empty where nothing is."""
    if got.shape != wanted.shape:
        return f"shape {got.shape} for {wanted.shape}"
    if wanted.dtype.kind in "iub":
        return "" if np.array_equal(got, wanted) else f"{np.sum(got != wanted)} of {wanted.size} integers differ"
    if np.allclose(got, wanted, rtol=RTOL, atol=ATOL, equal_nan=True):
        return ""
    with np.errstate(invalid="ignore"):
        return f"largest error {np.nanmax(np.abs(got.astype(np.float64) - wanted)):.3g}"


def outcomes(folder: Path, names: list[str], way: str = "written") -> Iterator[tuple[str, str, str]]:
    """(name, status, reason) of each case; a case that ends its process has crashed."""
    position = 0
    while position < len(names):
        with subprocess.Popen(
            [sys.executable, "-m", "tests.onnx_suite.outcome", way, str(folder), *names[position:]],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith('{"name"'):
                    row = json.loads(line)
                    yield row["name"], row["status"], row["reason"]
                    position += 1
        if position < len(names) and process.returncode != 0:
            yield names[position], "crashed", f"exit code {process.returncode}"
            position += 1


def main() -> None:
    warnings.simplefilter("ignore")
    way, source = sys.argv[1], Path(sys.argv[2])
    with tempfile.TemporaryDirectory() as scratch:
        for name in sys.argv[3:]:
            status, reason = outcome(way, load(source, name), Path(scratch))
            print(json.dumps({"name": name, "status": status, "reason": reason}), flush=True)


if __name__ == "__main__":
    main()
