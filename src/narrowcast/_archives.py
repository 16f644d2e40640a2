"""Zip archives that hold model files, or hang behind one, as if they were folders: `bundle.task/detector.tflite`.

What is stored uncompressed is a view of the mapped archive. Archives are hostile: the sizes of their lists and of what
they unpack to are bounded before anything is read.
"""

from __future__ import annotations

import io
import mmap
import struct
import zipfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from narrowcast.errors import ModelFileError, UnsupportedError, foreign_as, shown

__all__ = ["Bytes", "Entry", "bytes_at", "content_of", "entries_of", "head_of", "is_within", "mapped", "place_of"]

Bytes: TypeAlias = "bytes | mmap.mmap | memoryview"
Entry: TypeAlias = zipfile.ZipInfo

LARGEST_LIST = 1 << 20
"""Bytes of an archive's list of entries."""
LARGEST_ENTRY = 1 << 30
"""Bytes of a compressed entry, unpacked."""
EXPANSION = 100
"""How many times its stored size a compressed entry may unpack to."""
EXPANSION_FLOOR = 1 << 20
"""Bytes below which no entry counts as a bomb."""
_LOCAL = 30  # bytes of an entry's own header before its name and extra field (APPNOTE.TXT, 4.3.7)
_END, _END64, _COMMENT = (
    22,
    56,
    1 << 16,
)  # of the records at the end of the list, and the longest comment (4.3.14, 4.3.16)


class _Stream(io.RawIOBase):
    """Bytes as a file, without a copy."""

    def __init__(self, content: Bytes) -> None:
        self._content, self._place = memoryview(content), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._place = max(0, offset + (0, self._place, len(self._content))[whence])
        return self._place

    def readinto(self, into: bytearray) -> int:  # type: ignore[override]
        part = self._content[self._place : self._place + len(into)]
        into[: len(part)] = part
        self._place += len(part)
        return len(part)


def mapped(path: Path) -> Bytes:
    """The bytes of a file of any size; they are unmapped when nothing refers to them any more."""
    if path.stat().st_size == 0:
        return b""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def entries_of(content: Bytes) -> Mapping[str, Entry]:
    """The files in an archive, or in one that hangs behind something else, by name; none where there is no archive.

    Names are as a path has them behind the archive's own: without a root, empty parts and dots.

    Raises:
        ModelFileError: the archive is damaged, or its list too long.
    """
    tail = bytes(content[-(_END + _COMMENT) :])
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or end + _END > len(tail) or end + _END + struct.unpack_from("<H", tail, end + 20)[0] != len(tail):
        return {}
    (size,) = struct.unpack_from("<I", tail, end + 12)
    if size == 0xFFFFFFFF and end >= _END64 + 20:
        (size,) = struct.unpack_from("<Q", tail, end - 20 - _END64 + 40)
    if size > LARGEST_LIST:
        raise ModelFileError(f"its archive lists {size} bytes of names, more than {LARGEST_LIST}")
    with foreign_as(ModelFileError, "not a sound zip archive"), zipfile.ZipFile(_Stream(content)) as archive:
        return {_relative(info.filename): info for info in archive.infolist() if not info.is_dir()}


def _relative(name: str) -> str:
    """A name that leads nowhere else when it is joined to a path: `/etc/passwd` would be that file."""
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def content_of(content: Bytes, entry: Entry) -> Bytes:
    """The bytes of an entry: a view of the archive's where it is stored as it is.

    Raises:
        ModelFileError: the archive is damaged, the entry encrypted, or far larger than what is stored of it.
    """
    raw = _raw(content, entry)
    if entry.compress_type == zipfile.ZIP_STORED:
        return raw
    if entry.file_size > min(max(EXPANSION_FLOOR, EXPANSION * entry.compress_size), LARGEST_ENTRY):
        raise ModelFileError(f"{entry.filename} unpacks to {entry.file_size} bytes, of {entry.compress_size} stored")
    found = _unpacked(raw, entry, entry.file_size)
    if len(found) != entry.file_size or zlib.crc32(found) != entry.CRC:
        raise ModelFileError(f"{entry.filename} is damaged")
    return found


def head_of(content: Bytes, entry: Entry, size: int) -> bytes:
    """The first bytes of an entry.

    Raises:
        ModelFileError: the archive is damaged, or the entry encrypted.
    """
    raw = _raw(content, entry)
    return bytes(raw[:size]) if entry.compress_type == zipfile.ZIP_STORED else _unpacked(raw, entry, size)


def _raw(content: Bytes, entry: Entry) -> memoryview:
    """The bytes of an entry as they are stored."""
    if entry.flag_bits & 1:
        raise ModelFileError(f"{entry.filename} is encrypted")
    header = bytes(content[max(entry.header_offset, 0) : entry.header_offset + _LOCAL])
    if len(header) < _LOCAL or header[:4] != b"PK\x03\x04":
        raise ModelFileError(f"{entry.filename} is not where its archive says")
    start = entry.header_offset + _LOCAL + sum(struct.unpack_from("<HH", header, 26))
    stored = entry.compress_type == zipfile.ZIP_STORED
    if start + entry.compress_size > len(content) or (stored and entry.file_size != entry.compress_size):
        raise ModelFileError(f"{entry.filename} is larger than its archive")
    return memoryview(content)[start : start + entry.compress_size]


def _unpacked(raw: memoryview, entry: Entry, size: int) -> bytes:
    """At most `size` unpacked bytes."""
    if entry.compress_type != zipfile.ZIP_DEFLATED:
        raise UnsupportedError(f"{entry.filename} is compressed by method {entry.compress_type}", hint="unpack it")
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(raw, size) if size else b""
    except zlib.error as error:
        raise ModelFileError(f"{entry.filename} is damaged: {error}") from error


def place_of(path: Path) -> tuple[Path, tuple[str, ...]]:
    """Where the bytes of a path lie: the path itself, or the file above it and the names of entries, one in another.

    `bundle.task/inner.task/detector.tflite` is the entry `detector.tflite` of the entry `inner.task`; names may have
    several parts. What is in no archive is the path itself, be it there or not.
    """
    with suppress(OSError):
        if not path.exists():
            for parent in path.parents:
                if parent.is_file():
                    return parent, path.relative_to(parent).parts
    return path, ()


def is_within(path: Path) -> bool:
    """Whether a path leads into a file, which should be an archive."""
    return bool(place_of(path)[1])


def bytes_at(path: Path) -> Bytes:
    """The bytes of a file, or of an entry in an archive.

    Raises:
        ModelFileError: an archive is damaged, or has no such entry.
    """
    file, parts = place_of(path)
    content = mapped(file)
    while parts:
        entries = entries_of(content)
        if not entries:
            what = f"it is no archive with files in it, so it holds no {shown('/'.join(parts))!r}"
            raise ModelFileError(what, where=str(file), hint="leave --member out")
        names = ("/".join(parts[:count]) for count in range(len(parts), 0, -1))
        name = next((name for name in names if name in entries), None)
        if name is None:
            known = ", ".join(repr(shown(name)) for name in list(entries)[:8])
            raise ModelFileError(f"it holds no {shown('/'.join(parts))!r}", where=str(file), hint=f"it holds {known}")
        content, parts = content_of(content, entries[name]), parts[name.count("/") + 1 :]
    return content
