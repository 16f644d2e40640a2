"""Runs cases through the whole converter, and says for each: right, wrong, refused (and why) or crashed.

`python -m tests.onnx_suite.outcome FOLDER FIRST` works through the cases of a folder from the given one on and prints a
JSON line for each; `outcomes` starts it again behind a case that takes the process down.
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


def outcome(case: Case, folder: Path) -> tuple[str, str]:
    """("right" | "wrong" | "refused" | "error", reason)."""
    from narrowcast import runtimes
    from narrowcast.errors import NarrowcastError
    from narrowcast.passes.canonicalize import canonicalize
    from narrowcast.passes.decompose import decompose
    from narrowcast.readers.formats import read
    from narrowcast.writers.formats import write

    path = folder / "case.tflite"
    try:
        model = read(case.model)
        canonicalize(model)
        decompose(model, "litert")
        written = write(model, path, io_layout="source")
        runner = runtimes.open(path)
        found = runner.run({port.name: case.inputs[port.name] for port in written.inputs})
    except NarrowcastError as error:
        return "refused", f"{type(error).__name__}: {error.what}"
    except Exception as error:
        return "error", f"{type(error).__name__}: {str(error).splitlines()[0][:160] if str(error) else ''}"
    for expected, port in zip(case.outputs, written.outputs, strict=False):
        got = found[port.name]
        if got.shape != expected.shape:
            return "wrong", f"{port.name}: shape {got.shape} for {expected.shape}"
        if expected.dtype.kind in "iub":
            if not np.array_equal(got, expected):
                return "wrong", f"{port.name}: {np.sum(got != expected)} of {expected.size} integers differ"
        elif not np.allclose(got, expected, rtol=RTOL, atol=ATOL, equal_nan=True):
            with np.errstate(invalid="ignore"):
                error = np.nanmax(np.abs(got.astype(np.float64) - expected))
            return "wrong", f"{port.name}: largest error {error:.3g}"
    return "right", ""


def outcomes(folder: Path, names: list[str]) -> Iterator[tuple[str, str, str]]:
    """(name, status, reason) of each case; a case that ends its process has crashed."""
    position = 0
    while position < len(names):
        with subprocess.Popen(
            [sys.executable, "-m", "tests.onnx_suite.outcome", str(folder), *names[position:]],
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
    source = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as scratch:
        for name in sys.argv[2:]:
            status, reason = outcome(load(source, name), Path(scratch))
            print(json.dumps({"name": name, "status": status, "reason": reason}), flush=True)


if __name__ == "__main__":
    main()
