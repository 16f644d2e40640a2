"""Arrays from .npy and .npz files, memory-mapped: however many samples there are, few are in memory."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy

from narrowcast.errors import DataError
from narrowcast.model import Array

__all__ = ["open_arrays"]

LARGEST = 1 << 40
"""Bytes that an array may claim."""


def open_arrays(path: Path) -> dict[str, Array]:
    """The arrays of a file by name; that of a .npy is called "x".

    Members of an .npz that are stored uncompressed are mapped in place; compressed ones are unpacked to a temporary file
    first, which goes away with the process.

    Raises:
        DataError: the file is damaged or holds Python objects.
    """
    try:
        if path.suffix.lower() == ".npy":
            with path.open("rb") as file:
                return {"x": _mapped(file, path, 0, path.stat().st_size)}
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            names = [info for info in archive.infolist() if info.filename.endswith(".npy")]
            return {info.filename.removesuffix(".npy"): _member(archive, info, file, path) for info in names}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
        raise DataError(f"cannot read the arrays: {error}", where=str(path)) from error


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, file: BinaryIO, path: Path) -> Array:
    if info.compress_type == zipfile.ZIP_STORED:
        file.seek(info.header_offset)
        header = file.read(30)
        start = (
            info.header_offset + 30 + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        )
        return _mapped(file, path, start, start + info.file_size)
    with tempfile.NamedTemporaryFile(suffix=".npy") as unpacked, archive.open(info) as source:
        shutil.copyfileobj(source, unpacked)
        unpacked.flush()
        return _mapped(unpacked, Path(unpacked.name), 0, info.file_size)  # type: ignore[arg-type]


def _mapped(file: BinaryIO, path: Path, start: int, end: int) -> Array:
    file.seek(start)
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise DataError("holds Python objects, which are never unpickled", where=str(path), hint="save plain arrays")
    size = dtype.itemsize
    for dim in shape:
        size *= dim
    offset = file.tell()
    if size > LARGEST or offset + size > end:
        raise DataError(f"claims {size} bytes that are not there", where=str(path))
    if size == 0:
        return np.zeros(shape, dtype)
    return np.memmap(path, dtype, "r", offset, shape, "F" if fortran else "C")
