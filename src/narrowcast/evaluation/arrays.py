"""Arrays from .npy and .npz files, memory-mapped: however many samples there are, few are in memory."""

from __future__ import annotations

import mmap
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from narrowcast._files import temporary_at
from narrowcast.errors import DataError
from narrowcast.model import Array

__all__ = ["Archive", "forget", "open_array"]

LARGEST = 1 << 40
"""Bytes that an array may claim."""

_LOCAL_HEADER = 30
"""Bytes of a zip member's local header before its name and extra field (APPNOTE.TXT, 4.3.7)."""


def open_array(path: Path) -> Array:
    """The array of a .npy file, mapped read-only.

    Raises:
        DataError: the file is damaged, or holds Python objects.
    """
    try:
        with path.open("rb") as file:
            return _mapped(file, path, 0, path.stat().st_size)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"not a readable .npy file: {error}", where=str(path)) from error


def forget(array: Array) -> None:
    """Gives the memory back that a mapped array has come to fill; what is looked at again is read again.

    Without it the system does so when memory grows short, and until then all that was looked at counts as used.
    """
    if isinstance(array.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        array.base.madvise(mmap.MADV_DONTNEED)


class Archive(Mapping[str, Array]):
    """The arrays of a .npz file by name, each opened when it is asked for.

    Members stored uncompressed (`numpy.savez`) are mapped in place. Compressed ones (`numpy.savez_compressed`) cannot
    be: they are unpacked to a temporary file, which is deleted at once and lives as long as its array.

    Raises:
        DataError: the file is no archive; or, on access, the array is damaged or holds Python objects.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                infos = archive.infolist()
        except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError) as error:
            raise DataError(f"not a readable .npz file: {error}", where=str(path)) from error
        self._members = {
            info.filename.removesuffix(".npy"): info for info in infos if info.filename.lower().endswith(".npy")
        }

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __getitem__(self, name: str) -> Array:
        info = self._members[name]
        try:
            return self._stored(info) if info.compress_type == zipfile.ZIP_STORED else self._unpacked(info)
        except DataError:
            raise
        except Exception as error:  # zipfile and its decompressors raise whatever damaged files lead them to
            raise DataError(f"cannot read the array {name!r}: {error}", where=str(self.path)) from error

    def _stored(self, info: zipfile.ZipInfo) -> Array:
        if info.flag_bits & 1:
            raise DataError(f"the array {info.filename!r} is encrypted", where=str(self.path))
        with self.path.open("rb") as file:
            file.seek(info.header_offset)
            header = file.read(_LOCAL_HEADER)
            names = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
            start = info.header_offset + _LOCAL_HEADER + names
            return _mapped(file, self.path, start, min(start + info.file_size, self.path.stat().st_size))

    def _unpacked(self, info: zipfile.ZipInfo) -> Array:
        free = shutil.disk_usage(tempfile.gettempdir()).free
        if info.file_size > free:
            raise DataError(
                f"unpacking {info.filename!r} takes {info.file_size} bytes, {free} are free",
                where=str(self.path),
                hint="save it with numpy.savez, which does not compress",
            )
        with (
            tempfile.NamedTemporaryFile(suffix=".npy") as unpacked,
            temporary_at(Path(unpacked.name)),
            zipfile.ZipFile(self.path) as archive,
            archive.open(info) as source,
        ):
            shutil.copyfileobj(source, unpacked)
            unpacked.flush()
            return _mapped(unpacked, Path(unpacked.name), 0, info.file_size)


def _mapped(file: IO[bytes], path: Path, start: int, end: int) -> Array:
    """Maps the .npy that lies between two offsets of a file."""
    file.seek(start)
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"unknown version {version}")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise DataError("it holds Python objects, which are never unpickled", where=str(path), hint="save plain arrays")
    size = dtype.itemsize
    for dim in shape:
        size *= dim
    offset = file.tell()
    if size > LARGEST or size < 0 or offset + size > end:
        raise ValueError(f"it claims {size} bytes, {end - offset} are there")
    if size == 0:
        return np.zeros(shape, dtype)
    return np.memmap(path, dtype, "r", offset, shape, "F" if fortran else "C")
