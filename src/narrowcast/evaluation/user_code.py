"""Functions of the user's own, named as FILE.py:function; what goes wrong in them is told by file and line."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any

from narrowcast.errors import DataError, NarrowcastError, UsageError, did_you_mean

__all__ = ["function_of"]


def function_of(named: str) -> Callable[..., Any]:
    """The function that `FILE.py:function` names; the file is run once, with its folder's modules at hand.

    Raises:
        UsageError: the file is not there, is no Python, fails, or has no such function.
        DataError: later, when the function is called and fails.
    """
    file, _, name = named.rpartition(":")
    path = Path(file)
    if not file or not name:
        raise UsageError(f"{named!r} names no function", hint="as metric.py:score")
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror or error}", where=file) from error
    module = ModuleType(f"narrowcast_user_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look their module up
    sys.path.insert(0, str(path.resolve().parent))
    try:
        with _told(path, UsageError):
            exec(compile(text, str(path), "exec"), module.__dict__)
    finally:
        sys.path.pop(0)
    function = getattr(module, name, None)
    if not callable(function):
        functions = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        hint = did_you_mean(name, functions) or f"it has {', '.join(functions) or 'none'}"
        raise UsageError(f"there is no function {name!r}", where=file, hint=hint)

    @wraps(function)
    def told(*args: Any) -> Any:
        with _told(path, DataError):
            return function(*args)

    return told


@contextmanager
def _told(path: Path, kind: type[NarrowcastError]) -> Iterator[None]:
    """Tells what the user's code raises, with the last line of that file that was reached; it prints to stderr."""
    try:
        with redirect_stdout(sys.stderr):
            yield
    except NarrowcastError:
        raise
    except (Exception, SystemExit) as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = error.lineno if isinstance(error, SyntaxError) and error.filename == str(path) else (lines or [None])[-1]
        said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise kind(said, where=str(path) if line is None else f"{path}:{line}") from error
