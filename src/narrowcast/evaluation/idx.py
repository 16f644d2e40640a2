"""Arrays in the IDX format, as MNIST comes: big-endian, with or without gzip, memory-mapped."""

from __future__ import annotations

import gzip
import re
import shutil
import tempfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from narrowcast._files import temporary_at
from narrowcast.errors import DataError
from narrowcast.evaluation.arrays import LARGEST
from narrowcast.model import Array

__all__ = ["is_idx", "labels_beside", "open_idx"]

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
"""The third byte of a file (Y. LeCun, C. Cortes, C. Burges, The MNIST database)."""

_NAME = re.compile(r"[.-]idx\d?(-(ubyte|byte|short|int|float|double))?(\.gz)?$", re.IGNORECASE)
_MOST_AXES = 8
_PART = 1 << 20


def is_idx(path: Path) -> bool:
    """Whether a file is one by its name: `t10k-images-idx3-ubyte.gz`, `train-images.idx3-ubyte`, `x.idx`."""
    return _NAME.search(path.name) is not None


def labels_beside(path: Path) -> Path | None:
    """The labels that lie beside a file of images as MNIST names them; None where there are none."""
    if "images" not in path.name:
        return None
    name = re.sub(r"idx\d", "idx1", path.name.replace("images", "labels"))
    bare = name.removesuffix(".gz")
    found = (path.with_name(other) for other in (name, bare, f"{bare}.gz"))
    return next((other for other in found if other.is_file()), None)


def open_idx(path: Path) -> Array:
    """The array of a file; a compressed one is unpacked to a temporary file, as large as it says and no larger.

    Raises:
        DataError: the file is damaged, or claims more than there is.
    """
    try:
        if path.suffix.lower() == ".gz":
            with gzip.open(path) as packed:
                return _unpacked(packed, path)
        with path.open("rb") as file:
            dtype, shape, start = _header(file, path)
            return _mapped(path, dtype, shape, start, path.stat().st_size)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot be read: {error}", where=str(path)) from error


def _header(file: IO[bytes] | gzip.GzipFile, path: Path) -> tuple[np.dtype[np.generic], tuple[int, ...], int]:
    """The type, the shape, and where the elements begin."""
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in TYPES or not 1 <= magic[3] <= _MOST_AXES:
        raise DataError("not an IDX file", where=str(path), hint="as MNIST's -idx3-ubyte files are")
    sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise DataError("the file ends within its header", where=str(path))
    shape = tuple(int.from_bytes(sizes[k : k + 4], "big") for k in range(0, len(sizes), 4))
    return np.dtype(TYPES[magic[2]]), shape, 4 + len(sizes)


def _bytes_of(dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> int:
    size = dtype.itemsize
    for dim in shape:
        size *= dim
    return size


def _unpacked(packed: gzip.GzipFile, path: Path) -> Array:
    dtype, shape, _ = _header(packed, path)
    size, free = _bytes_of(dtype, shape), shutil.disk_usage(tempfile.gettempdir()).free
    if size > free:
        raise DataError(f"unpacking it takes {size} bytes, {free} are free", where=str(path))
    with tempfile.NamedTemporaryFile(suffix=".idx") as unpacked, temporary_at(Path(unpacked.name)):
        left = size
        while left and (part := packed.read(min(left, _PART))):
            unpacked.write(part)
            left -= len(part)
        unpacked.flush()
        return _mapped(Path(unpacked.name), dtype, shape, 0, size - left, path)


def _mapped(
    path: Path, dtype: np.dtype[np.generic], shape: tuple[int, ...], start: int, end: int, named: Path | None = None
) -> Array:
    size = _bytes_of(dtype, shape)
    if size > LARGEST or start + size > end:
        raise DataError(f"it claims {size} bytes, {end - start} are there", where=str(named or path))
    if not size:  # numpy holds no shapes beyond its own bounds, not even of nothing
        raise DataError("there are no samples", where=str(named or path))
    return np.memmap(path, dtype, "r", start, shape)
