"""Files and folders that appear whole or not at all, and checks on the paths and sizes that users hand in."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import BinaryIO

from narrowcast._archives import Bytes, bytes_at, is_within, place_of
from narrowcast.errors import ModelFileError, OutputError

__all__ = [
    "Digest",
    "atomic_path",
    "atomic_write",
    "check_destinations",
    "inside",
    "map_file",
    "place",
    "readable",
    "readable_file",
    "remove_temporaries",
    "size_of",
    "staging",
    "target_of",
    "temporary_at",
]

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
def staging(home: Path, where: Path) -> Iterator[Path]:
    """Yields a hidden temporary folder in `home`, which is gone when the block ends, whatever ends it.

    Raises:
        OutputError: `home` does not exist or cannot be written, or the disk is full; about the destination `where`.
    """
    if not home.is_dir():
        raise OutputError("the destination's folder does not exist", where=str(where), hint=f"mkdir -p {home}")
    try:
        with tempfile.TemporaryDirectory(prefix=".narrowcast-", dir=home) as stage, temporary_at(Path(stage)):
            yield Path(stage)
    except OSError as error:
        raise OutputError(f"cannot write here: {error.strerror or error}", where=str(where)) from error


@contextmanager
def atomic_path(destination: Path, folder: str = "") -> Iterator[Path]:
    """Yields a temporary path of the destination's name; what lies there gets its place when the block ends well.

    Whatever interrupts the block (an exception, Ctrl-C, a full disk), nothing is left behind. Other files that the
    block leaves beside the temporary path appear beside the destination. A link is written through, not replaced.

    Args:
        destination: the file or folder to be.
        folder: for a folder: an entry of every one of its kind; a folder there that lacks it is not replaced, nor one
            that holds what the new one does not.

    Raises:
        OutputError: the destination is no place for it, its own folder does not exist or cannot be written, or the disk
            is full.
    """
    target = target_of(destination)
    _check_place(destination, target, folder)
    with staging(target.parent, destination) as stage:
        inside = stage / "new"
        inside.mkdir()
        yield inside / target.name
        place(inside, target.parent, last=target.name)


def check_destinations(*destinations: Path) -> None:
    """Refuses before long work the files that `atomic_write` would refuse after it.

    Raises:
        OutputError: as of `atomic_path`.
    """
    for destination in destinations:
        target = target_of(destination)
        _check_place(destination, target, "")
        with staging(target.parent, destination):
            pass


def place(stage: Path, home: Path, last: str = "") -> None:
    """Moves the files and folders of a temporary folder to their home, the one named `last` at the end."""
    aside = stage.parent / f"{stage.name}.old"
    for entry in sorted(stage.iterdir(), key=lambda entry: (entry.name == last, entry.name)):
        _put(entry, home / entry.name, aside)
        shutil.rmtree(aside, ignore_errors=True)


def _put(entry: Path, there: Path, aside: Path) -> None:
    """Moves a file or folder to its place; a folder that stands there goes aside, as only files are replaced."""
    if there.is_symlink() or not there.is_dir():
        entry.replace(there)
        return
    if not entry.is_dir():
        raise IsADirectoryError(errno.EISDIR, f"a folder stands at {there}")
    if lost := sorted({path.name for path in there.iterdir()} - {path.name for path in entry.iterdir()}):
        raise IsADirectoryError(errno.EISDIR, f"the folder at {there} also holds {lost[0]!r}, which would be lost")
    there.replace(aside)
    try:
        entry.replace(there)
    except BaseException:
        aside.replace(there)
        raise


def target_of(destination: Path) -> Path:
    """Where a destination's bytes go: what a link leads to, or the path itself."""
    try:
        return Path(os.path.realpath(destination)) if destination.is_symlink() else destination
    except OSError as error:
        raise OutputError(f"cannot write here: {error.strerror}", where=str(destination)) from error


def _check_place(destination: Path, place: Path, folder: str) -> None:
    """Raises OutputError where something stands at a place that may not be replaced."""
    try:
        if place.is_symlink():
            raise OutputError("the destination is a link that leads to itself", where=str(destination))
        if place.is_dir() and not folder:
            raise OutputError("the destination is a folder; give a file name", where=str(destination))
        if place.is_dir() and not (place / folder).exists() and any(place.iterdir()):
            raise OutputError(
                f"the destination is a folder without {folder}", where=str(destination), hint="give another name"
            )
        if place.exists() and not place.is_dir() and (folder or not place.is_file()):
            what = "file; give a folder's name" if folder else "device or a pipe; give a file name"
            raise OutputError(f"the destination is a {what}", where=str(destination))
    except OSError as error:
        raise OutputError(f"cannot write here: {error.strerror}", where=str(destination)) from error


@contextmanager
def atomic_write(destination: Path) -> Iterator[BinaryIO]:
    """Like `atomic_path` for one file, but yields it open for writing."""
    with atomic_path(destination) as temporary, temporary.open("wb") as file:
        yield file


def readable(path: Path) -> Path:
    """Returns `path` if it is a folder, or a readable, non-empty regular file, or an entry of an archive.

    Raises:
        ModelFileError: it is missing, empty or unreadable.
    """
    with suppress(OSError):
        if path.is_dir():
            return path
    if is_within(path):
        bytes_at(path)
        return path
    return readable_file(path)


def map_file(path: Path) -> Bytes:
    """The bytes of a readable, non-empty file, or of an entry of an archive, without a copy where that can be.

    Raises:
        ModelFileError: it is missing, a folder, empty or unreadable.
    """
    return bytes_at(path if is_within(path) else readable_file(path))


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


def size_of(path: Path) -> int:
    """Bytes of a file, of an entry of an archive, or of all files in a folder."""
    if is_within(path):
        return len(bytes_at(path))
    return (
        sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) if path.is_dir() else path.stat().st_size
    )


class Digest:
    """The SHA-256 of a file, or of several as `sha256sum` lists them, computed beside other work.

    Args:
        files: what is read; a folder stands for all files in it, an archive for its entries.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        self._found = ""
        self._thread = Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        lines = []
        with suppress(OSError):
            for home, file in sorted(_listed(self._files)):
                with (home / file).open("rb") as stream:
                    lines.append((hashlib.file_digest(stream, "sha256").hexdigest(), file.as_posix()))
            listing = "".join(f"{digest}  {name}\n" for digest, name in lines)
            self._found = lines[0][0] if len(lines) == 1 else hashlib.sha256(listing.encode()).hexdigest()

    @property
    def text(self) -> str:
        """Hexadecimal digits; empty where a file is gone."""
        self._thread.join()
        return self._found


def _listed(files: Sequence[Path]) -> Iterator[tuple[Path, Path]]:
    """Folders, and files in them."""
    for path in (place_of(path)[0] for path in files):
        if path.is_dir():
            yield from ((path, file.relative_to(path)) for file in path.rglob("*") if file.is_file())
        else:
            yield path.parent, Path(path.name)


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
