"""Files that appear whole or not at all, and checks on the paths and sizes that users hand in."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from narrowcast.errors import ModelFileError, OutputError

__all__ = ["atomic_path", "atomic_write", "inside", "readable_file", "remove_temporaries", "temporary_at"]

_TEMPORARY: set[Path] = set()


@contextmanager
def temporary_at(path: Path) -> Iterator[Path]:
    """Notes a temporary file or folder, which somebody else removes, for `remove_temporaries` while the block runs."""
    _TEMPORARY.add(path)
    try:
        yield path
    finally:
        _TEMPORARY.discard(path)


def remove_temporaries() -> None:
    """Removes everything temporary that is there, for a process that ends where it stands."""
    for path in tuple(_TEMPORARY):
        with suppress(OSError):
            path.unlink()
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def atomic_path(destination: Path, suffix: str | None = None) -> Iterator[Path]:
    """Yields a temporary path beside `destination`, renamed onto it when the block ends without an error.

    Whatever interrupts the block (an exception, Ctrl-C, a full disk), nothing is left behind.

    Args:
        destination: the file to be.
        suffix: of the temporary name, for those who go by it; the destination's own if None.

    Raises:
        OutputError: the destination is no place for a file, its folder does not exist or cannot be written, or the disk
            is full.
    """
    folder = destination.parent
    try:
        if destination.is_dir():
            raise OutputError("the destination is a folder; give a file name", where=str(destination))
        if destination.exists() and not destination.is_file():
            raise OutputError("the destination is a device or a pipe; give a file name", where=str(destination))
        if not folder.is_dir():
            hint = f"mkdir -p {folder}"
            raise OutputError("the destination's folder does not exist", where=str(destination), hint=hint)
        suffix = destination.suffix if suffix is None else suffix
        handle, name = tempfile.mkstemp(prefix=f".{destination.stem}.", suffix=f".partial{suffix}", dir=folder)
    except OSError as error:
        raise OutputError(f"cannot write here: {error.strerror}", where=str(destination)) from error
    os.close(handle)
    temporary = Path(name)
    try:
        with temporary_at(temporary):
            yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(destination)
    except OSError as error:
        raise OutputError(f"cannot write: {error.strerror or error}", where=str(destination)) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_write(destination: Path) -> Iterator[BinaryIO]:
    """Like `atomic_path`, but yields the temporary file, open for writing."""
    with atomic_path(destination) as temporary, temporary.open("wb") as file:
        yield file


def readable_file(path: Path) -> Path:
    """Returns `path` if it is a readable, non-empty regular file.

    Raises:
        ModelFileError: it is missing, a folder, empty or unreadable.
    """
    try:
        there = path.exists()
    except OSError as error:
        raise ModelFileError(f"cannot be read: {error.strerror}", where=str(path)) from error
    if not there:
        raise ModelFileError("no such file", where=str(path))
    if not path.is_file():
        raise ModelFileError("not a regular file", where=str(path))
    if not os.access(path, os.R_OK):
        raise ModelFileError("no permission to read this file", where=str(path))
    if path.stat().st_size == 0:
        raise ModelFileError("the file is empty", where=str(path))
    return path


def inside(folder: Path, relative: str) -> Path:
    """Resolves `relative` against `folder` and refuses any path that leaves it.

    Raises:
        ModelFileError: the path is absolute, or escapes through `..` or a link.
    """
    root = folder.resolve()
    target = (root / relative).resolve()
    if Path(relative).is_absolute() or not target.is_relative_to(root):
        raise ModelFileError(f"refers to a file outside its folder: {relative!r}", hint="keep its data beside it")
    return target
