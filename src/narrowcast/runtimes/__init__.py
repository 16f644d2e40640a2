"""Runs model files on the runtimes that they are made for: one row each, imported when a file needs it.

A file's runtime is the one that its format's row names (`readers.formats`, `writers.formats`), whatever the file is
called.
"""

from __future__ import annotations

import importlib
import platform
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from narrowcast.errors import MissingExtraError, UnsupportedError
from narrowcast.runtimes.protocol import Layered, Runner
from narrowcast.schemas.transcripts import as_binary

__all__ = ["APART", "RUNTIMES", "NoRuntime", "Runtime", "find", "open", "open_layers"]


@dataclass(frozen=True, slots=True)
class Runtime:
    """A runtime.

    Attributes:
        name: as in the rows of formats.
        module: has `open(path, threads) -> Runner`.
        package: what it imports; empty where the module itself says what is missing.
        extra: what installs the package, as in `pip install 'narrowcast[extra]'`; empty for a part of the core.
        system: the only one that it runs on, in `platform.system`'s words; empty for any.
        apart: its number of threads is set once in a process, and they stay in the way of others: files are timed in a
            process each.
        transcript: the format of JSON that its files are spelled in, in `schemas.transcripts`; empty for none.
    """

    name: str
    module: str
    package: str = ""
    extra: str = ""
    system: str = ""
    apart: bool = False
    transcript: str = ""


@dataclass(frozen=True, slots=True)
class NoRuntime:
    """Stands where nothing here runs the files of a format.

    Attributes:
        reason: in a few words, as "needs macOS".
        hint: what the user can do about it.
        extra: what would install it, if that is all.
    """

    reason: str
    hint: str = ""
    extra: str = ""


RUNTIMES: dict[str, Runtime | NoRuntime] = {
    "member": NoRuntime("it holds several models", hint="choose one: --member NAME; inspect lists them"),
} | {
    row.name: row
    for row in (
        Runtime("litert", "narrowcast.runtimes.litert", "ai_edge_litert"),
        Runtime("litert-json", "narrowcast.runtimes.litert", "ai_edge_litert", transcript="tflite-json"),
        Runtime("onnxruntime", "narrowcast.runtimes.onnxruntime", "onnxruntime"),
        Runtime("onnxruntime-plain", "narrowcast.runtimes.onnxruntime_plain", "onnxruntime"),
        Runtime("onnxruntime-json", "narrowcast.runtimes.onnxruntime", "onnxruntime", transcript="onnx-json"),
        Runtime("keras", "narrowcast.runtimes.keras", extra="keras", apart=True),
    )
}

APART = frozenset(name for name, row in RUNTIMES.items() if isinstance(row, Runtime) and row.apart)


def find(name: str) -> Runtime | NoRuntime:
    """The runtime of that name, or why there is none on this machine."""
    row = RUNTIMES.get(name) or NoRuntime("no runtime of this format is known")
    if isinstance(row, NoRuntime):
        return row
    if row.system and platform.system() != row.system:
        return NoRuntime(f"needs {'macOS' if row.system == 'Darwin' else row.system}")
    if row.package and find_spec(row.package.partition(".")[0]) is None:
        package = row.package.partition(".")[0]
        hint = f"pip install 'narrowcast[{row.extra}]'" if row.extra else f"pip install {package}"
        return NoRuntime(f"needs the package {package}, which is not installed", hint, row.extra)
    return row


def open(path: Path, runtime: str, threads: int = 1, signature: str = "") -> Runner:
    """Opens a file on its runtime.

    Args:
        path: the file or folder, under any name.
        runtime: the name in the format's row.
        threads: how many the runtime may use.
        signature: the key of a graph, in files that hold several; empty for the first.

    Raises:
        ModelFileError: the runtime refuses the file.
        UnsupportedError: nothing here runs such files.
        MissingExtraError: the runtime is not installed.
    """
    row = _row(path, runtime)
    module = importlib.import_module(row.module)
    return cast(Runner, _opened(path, row, lambda file: module.open(file, threads, **_keyed(signature))))


def open_layers(
    path: Path, runtime: str, threads: int = 1, signature: str = "", *, own_kernels: bool = True
) -> Layered | None:
    """Opens a file so that its tensors can be looked at, with or without what speeds its runtime up.

    Args:
        path: as for `open`.
        runtime: as for `open`.
        threads: as for `open`.
        signature: as for `open`.
        own_kernels: whether only the runtime's own kernels compute.

    Returns:
        None where the runtime does not show what is inside, or is not here.

    Raises:
        ModelFileError: the runtime refuses the file.
    """
    row = find(runtime)
    if isinstance(row, NoRuntime):
        return None
    found = getattr(importlib.import_module(row.module), "open_layers", None)
    if found is None:
        return None
    chosen = {**_keyed(signature), "own_kernels": own_kernels}
    return cast(Layered, _opened(path, row, lambda file: found(file, threads, **chosen)))


def _opened(path: Path, row: Runtime, how: Callable[[Path], Any]) -> Any:
    """What is opened of a file, or of the file that it spells, which then lasts as long as what is opened."""
    with ExitStack() as stack:
        found = how(stack.enter_context(as_binary(path, row.transcript)))
        weakref.finalize(found, stack.pop_all().close)
    return found


def _keyed(signature: str) -> dict[str, str]:
    """An argument that only runtimes of files with several graphs take."""
    return {"signature": signature} if signature else {}


def _row(path: Path, runtime: str) -> Runtime:
    row = find(runtime)
    if isinstance(row, NoRuntime):
        kind = MissingExtraError if row.extra else UnsupportedError
        raise kind(f"it cannot be run here: {row.reason}", where=str(path), hint=row.hint)
    return row
