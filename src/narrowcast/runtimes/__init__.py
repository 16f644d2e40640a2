"""Runs model files on the runtimes that they are made for. Each runtime is imported when a file needs it."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import cast

from narrowcast.errors import UsageError
from narrowcast.runtimes.protocol import Runner

__all__ = ["RUNTIMES", "open"]

RUNTIMES: dict[str, str] = {
    ".tflite": "narrowcast.runtimes.litert",
    ".onnx": "narrowcast.runtimes.onnxruntime",
    ".keras": "narrowcast.runtimes.keras",
    ".h5": "narrowcast.runtimes.keras",
}
"""By suffix the module whose `open(path, threads)` runs such a file."""


def open(path: Path, threads: int = 1) -> Runner:
    """Opens a file on its runtime.

    Args:
        path: its suffix says which runtime; that of a `*.unverified` file stands before it.
        threads: how many the runtime may use.

    Raises:
        UsageError: no runtime runs such files.
        ModelFileError: the runtime refuses the file.
        MissingExtraError: the runtime is not installed.
    """
    suffix = Path(path.stem).suffix if path.suffix in (".unverified", ".partial") else path.suffix
    module = RUNTIMES.get(suffix.lower())
    if module is None:
        raise UsageError(f"nothing here runs {suffix or path.name!r} files", hint=f"runnable: {', '.join(RUNTIMES)}")
    return cast(Runner, importlib.import_module(module).open(path, threads))
