"""Flexbuffers, which options of custom operators are: maps of numbers and words, every offset checked.

The encoding: https://flatbuffers.dev/internals, "FlexBuffers". A buffer is read from its end: the width of the root in
bytes, its type, and before these the root itself. Where a value lies is told by its distance backwards; types and
widths of a map's values follow them, one byte each; a map's keys are a vector of their own.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from narrowcast.schemas.flatbuffer import damaged

__all__ = ["Scalar", "parse_map"]

Scalar: TypeAlias = "int | float | bool | str"
_INT, _UINT, _FLOAT, _STRING, _INDIRECT, _MAP, _BOOL = 1, 2, 3, 5, 6, 9, 26
_CODES = {_INT: " bh i   q", _UINT: " BH I   Q", _FLOAT: "  e f   d", _BOOL: " BH I   Q"}
"""The letter of `struct` for each type, at the place of its width in bytes."""
_WIDTHS = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True)
class _Buffer:
    """Bytes, each place checked before it is read."""

    content: bytes

    def number(self, kind: int, place: int, width: int) -> int | float:
        """A number of a type and a width in bytes."""
        code = _CODES[kind][width] if width in _WIDTHS else " "
        if code == " " or place < 0 or place + width > len(self.content):
            raise damaged(f"a flexbuffer has no number at {place}")
        found: int | float = struct.unpack_from(f"<{code}", self.content, place)[0]
        return found

    def size(self, place: int, width: int) -> int:
        """A number that counts."""
        return int(self.number(_UINT, place, width))

    def target(self, place: int, width: int) -> int:
        """What a distance leads to."""
        return place - self.size(place, width)

    def text(self, start: int, end: int) -> str:
        """A word between two places."""
        if not 0 <= start <= end <= len(self.content):
            raise damaged(f"a flexbuffer has no word at {start}")
        return self.content[start:end].decode("utf-8", "replace")

    def key(self, place: int) -> str:
        """A word that a 0 ends."""
        end = self.content.find(b"\0", place) if 0 <= place < len(self.content) else -1
        return self.text(place, end)

    def scalar(self, packed: int, place: int, width: int) -> Scalar | None:
        """A number or a word, itself or where a distance leads; None for anything else."""
        kind, inner = packed >> 2, _WIDTHS[packed & 3]
        if kind == _STRING:
            start = self.target(place, width)
            return self.text(start, start + self.size(start - inner, inner))
        if _INDIRECT <= kind <= _INDIRECT + 2:
            return self.number(kind - _INDIRECT + _INT, self.target(place, width), inner)
        if kind == _BOOL:
            return bool(self.number(kind, place, width))
        return self.number(kind, place, width) if kind in _CODES else None


def parse_map(content: bytes) -> Mapping[str, Scalar]:
    """The numbers and words of a map, by their keys; what else it holds is left out.

    Raises:
        ModelFileError: it is no flexbuffer, or no map.
    """
    buffer = _Buffer(content)
    if len(content) < 3 or content[-2] >> 2 != _MAP:
        raise damaged("the options of a custom operator are no map")
    width = _WIDTHS[content[-2] & 3]
    values = buffer.target(len(content) - 2 - content[-1], content[-1])
    count = buffer.size(values - width, width)
    keys = buffer.target(values - 3 * width, width)
    key_width = buffer.size(values - 2 * width, width)
    if count > len(content):
        raise damaged(f"a flexbuffer of {len(content)} bytes has no {count} values")
    found: dict[str, Scalar] = {}
    for number in range(count):
        key = buffer.key(buffer.target(keys + number * key_width, key_width))
        packed = buffer.size(values + count * width + number, 1)
        value = buffer.scalar(packed, values + number * width, width)
        if value is not None:
            found[key] = value
    return found
