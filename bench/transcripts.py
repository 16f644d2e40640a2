"""JSON of a large model, both ways, with weights inside and beside it: processor seconds and peak memory of processes.

Needs 5 GB of disk.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from measure import publish, table

WIDTH, LAYERS = 2560, 20
LIMITS = (None, 1024)


def main() -> None:
    """Measures and publishes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(
            [sys.executable, __file__, "--network", folder / "model.onnx"], check=True
        )  # in no other's memory
        watched("convert", folder / "model.onnx", "-o", folder / "model.tflite", "--no-verify")
        rows = [there_and_back(folder / f"model.{suffix}", limit) for suffix in ("onnx", "tflite") for limit in LIMITS]
    told = (
        "A model of 20 dense layers to JSON and back, as ONNX and as TFLite: processor seconds of whole processes, and "
        "their peak memory, which includes the pages of mapped files.\n\n"
    )
    publish("JSON", told + table(["format", "file", "JSON", "to JSON", "from JSON"], rows))


def there_and_back(source: Path, limit: int | None) -> list[str]:
    """A row of the table."""
    text, again = source.with_name("text.json"), source.with_name(f"again{source.suffix}")
    words = [] if limit is None else ["--inline-limit", str(limit)]
    there, back = watched("convert", source, "-o", text, *words), watched("convert", text, "-o", again)
    made = sorted(source.parent.glob("text.json*"))
    sizes = " and ".join(megabytes(path) for path in made)
    for path in (again, *made):
        path.unlink()
    row = [" ".join([source.suffix[1:], *words]), megabytes(source), sizes, there, back]
    print(row, flush=True)
    return row


def megabytes(path: Path) -> str:
    """The size of a file."""
    return f"{path.stat().st_size / 10**6:,.2f} MB"


def network(path: Path) -> None:
    """Random dense layers."""
    from narrowcast.dialect.build import Builder
    from narrowcast.model import ir

    build, random = Builder.new("network"), np.random.default_rng(0)
    y = build.input("x", (1, WIDTH))
    for index in range(LAYERS):
        weights = random.normal(0, 0.02, (WIDTH, WIDTH)).astype(np.float32)
        y = build("MatMul", y, build.constant(weights, f"w{index}"), shape=(1, WIDTH))
    ir.save(build.finish([y]), path)


def watched(*words: object) -> str:
    """Runs a command line; its processor seconds and its peak memory."""
    command = [sys.executable, "-m", "narrowcast", *map(str, words), "--quiet"]
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed")
    return f"{usage.ru_utime + usage.ru_stime:.1f} s, {usage.ru_maxrss * 1024 / 10**9:.1f} GB"


if __name__ == "__main__":
    main() if len(sys.argv) == 1 else network(Path(sys.argv[2]))
