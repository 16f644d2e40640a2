"""Flatbuffers written by a schema: a document of objects, lists, numbers and texts becomes bytes, each value checked.

What a table refers to lies behind it, and large contents lie behind all tables, so that they need not be in memory.
Errors name the place of a value as `schemas.jsontext` does.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from narrowcast.errors import ModelFileError, did_you_mean
from narrowcast.model import Array
from narrowcast.schemas.flatbuffer import NUMBERS, Enumeration, Field, Schema, TableType
from narrowcast.schemas.jsontext import item, key, told

__all__ = ["ALIGNMENT", "Blob", "Built", "build"]

ALIGNMENT = 16
"""Of vectors of bytes in the file, which kernels load in vectors."""
_NAMED = {"nan": math.nan, "inf": math.inf, "infinity": math.inf, "-inf": -math.inf, "-infinity": -math.inf}
_U16, _U32, _U64 = NUMBERS["uint16"], NUMBERS["uint32"], NUMBERS["uint64"]


@dataclass(frozen=True, slots=True, eq=False)
class Blob:
    """Contents that lie behind the tables. As a vector of bytes it is one; as a number it is where they begin."""

    content: bytes | memoryview


@dataclass(slots=True)
class Built:
    """A flatbuffer: its tables, and what lies behind them.

    Attributes:
        tables: the bytes before the contents.
        blobs: the contents, in their order.
        uses: where in the tables a blob is referred to, which, and whether as a vector.
    """

    tables: bytearray = field(default_factory=bytearray)
    blobs: list[Blob] = field(default_factory=list)
    uses: list[tuple[int, int, bool]] = field(default_factory=list)

    def write(self, file: BinaryIO) -> None:
        """Writes tables and contents from the beginning of a file."""
        places, end = [], len(self.tables)
        for blob in self.blobs:
            places.append(_aligned(end + 4, ALIGNMENT))
            end = places[-1] + len(blob.content)
        for spot, index, is_vector in self.uses:
            place = places[index]
            if is_vector:
                _U32.pack_into(self.tables, spot, place - 4 - spot)
            else:
                _U64.pack_into(self.tables, spot, place)
        file.write(self.tables)
        end = len(self.tables)
        for place, blob in zip(places, self.blobs, strict=True):
            size = len(blob.content)
            file.write(b"\0" * (place - 4 - end) + _U32.pack(size & 0xFFFFFFFF))
            file.write(blob.content)
            end = place + size


def build(schema: Schema, document: Any) -> Built:
    """The flatbuffer that a document spells.

    Args:
        schema: of the buffer.
        document: the root table as an object; names of enumerations may stand for their numbers, bytes for lists of
            such numbers, and a `Blob` for a vector of bytes.

    Raises:
        ModelFileError: a value is not what its field takes; names its place.
    """
    builder = _Builder(schema, Built())
    tables = builder.built.tables
    tables += bytes(4) + schema.identifier
    start = builder.table(schema.types[schema.root], document, "")
    _U32.pack_into(tables, 0, start)
    tables += bytes(-len(tables) % ALIGNMENT)
    return builder.built


def _aligned(position: int, alignment: int) -> int:
    return -(-position // alignment) * alignment


@dataclass(slots=True)
class _Builder:
    """Lays tables into `built`, one behind the other."""

    schema: Schema
    built: Built
    vtables: dict[bytes, int] = field(default_factory=dict)

    def table(self, kind: TableType, value: Any, place: str) -> int:
        """Appends a table and all that it refers to; returns where it is."""
        rows = _rows(kind, value, place)
        out = self.built.tables
        sizes = {row.slot: NUMBERS[row.type].size if row.kind == "number" else 4 for row, _ in rows}
        offsets, extent = _layout(sizes)
        slots = max(offsets, default=-1) + 1
        vtable = struct.pack(f"<{slots + 2}H", 4 + 2 * slots, extent, *(offsets.get(slot, 0) for slot in range(slots)))
        if vtable not in self.vtables:
            out += bytes(len(out) % 2)
            self.vtables[vtable] = len(out)
            out += vtable
        out += bytes(-len(out) % max((4, *sizes.values())))
        start = len(out)
        out += bytes(extent)
        struct.pack_into("<i", out, start, start - self.vtables[vtable])
        for row, content in rows:
            self._field(row, kind, value, content, start + offsets[row.slot], key(place, row.name))
        return start

    def _field(self, row: Field, kind: TableType, owner: Mapping[str, Any], value: Any, spot: int, place: str) -> None:
        """Puts a value at its spot, or behind everything and a reference to it at the spot."""
        out = self.built.tables
        if isinstance(value, Blob):
            self.built.blobs.append(value)
            self.built.uses.append((spot, len(self.built.blobs) - 1, row.kind == "numbers"))
            return
        if row.kind == "number":
            NUMBERS[row.type].pack_into(out, spot, _number(row, value, place))
            return
        match row.kind:
            case "string":
                target = self._vector(_text(value, place), 1, end=b"\0")
            case "numbers":
                array = _numbers(row, value, place)
                target = self._vector(array.tobytes(), array.itemsize)
            case "table":
                target = self.table(self.schema.types[row.type], value, place)
            case "union":
                target = self.table(self._member(row, kind, owner, place), value, place)
            case _:
                target = self._references(row, value, place)
        _U32.pack_into(out, spot, target - spot)

    def _vector(self, content: bytes, size: int, end: bytes = b"") -> int:
        """Appends a vector of elements of `size` bytes each."""
        out = self.built.tables
        alignment = ALIGNMENT if size == 1 and not end else max(size, 4)
        out += bytes(-(len(out) + 4) % alignment)
        start = len(out)
        out += _U32.pack(len(content) // size) + content + end
        return start

    def _references(self, row: Field, value: Any, place: str) -> int:
        """Appends a vector of tables or texts."""
        out = self.built.tables
        items = _list(value, place)
        start = self._vector(bytes(4 * len(items)), 4)
        for index, one in enumerate(items):
            spot, where = start + 4 + 4 * index, item(place, index)
            if row.kind == "tables":
                target = self.table(self.schema.types[row.type], one, where)
            else:
                target = self._vector(_text(one, where), 1, end=b"\0")
            _U32.pack_into(out, spot, target - spot)
        return start

    def _member(self, row: Field, kind: TableType, owner: Mapping[str, Any], place: str) -> TableType:
        """The table that a union holds, which the field before it names."""
        selector = next(one for one in kind.fields.values() if one.slot == row.selector)
        assert row.enumeration is not None
        number = _number(selector, owner.get(selector.name, 0), key(place.rpartition(".")[0], selector.name))
        name = row.enumeration.names.get(int(number), "")
        if name not in self.schema.types:
            raise ModelFileError(
                f"{place}: stands there, and {selector.name} names no table", hint="give it, or take both out"
            )
        return self.schema.types[name]


def _rows(kind: TableType, value: Any, place: str) -> list[tuple[Field, Any]]:
    """The fields that an object has, and what they hold."""
    if not isinstance(value, dict):
        raise _wrong("an object", value, place or "the file")
    for name in value:
        if name not in kind.fields:
            hint = did_you_mean(name, kind.fields) or f"it has {', '.join(kind.fields) or 'none'}"
            raise ModelFileError(f"{key(place, name)}: {kind.name} has no such field", hint=hint)
    return [(kind.fields[name], content) for name, content in value.items()]


def _layout(sizes: Mapping[int, int]) -> tuple[dict[int, int], int]:
    """Where each slot's value lies in its table, and the table's size: the longest first, behind the four bytes."""
    offsets, end = {}, 4
    for slot, size in sorted(sizes.items(), key=lambda entry: (-entry[1], entry[0])):
        offsets[slot] = _aligned(end, size)
        end = offsets[slot] + size
    return offsets, end


def _wrong(what: str, found: Any, place: str) -> ModelFileError:
    return ModelFileError(f"{place}: expected {what}, found {told(found)}")


def _list(value: Any, place: str) -> list[Any]:
    if not isinstance(value, list):
        raise _wrong("a list", value, place)
    return value


def _text(value: Any, place: str) -> bytes:
    if not isinstance(value, str):
        raise _wrong("a text", value, place)
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise _wrong("a text of whole characters", value, place) from error


def _number(row: Field, value: Any, place: str) -> float | int | bool:
    """A number of a field's type."""
    kind = row.type
    if row.enumeration is not None and isinstance(value, str):
        return _named(row.enumeration, value, place)
    if kind.startswith("float"):
        found = _NAMED.get(value.lower()) if isinstance(value, str) else value
        if isinstance(found, bool) or not isinstance(found, (float, int)) or not _fits(found, kind):
            raise _wrong(f"a number ({kind})", value, place)
        return found
    if kind == "bool":
        if value is not True and value is not False and value not in (0, 1):
            raise _wrong("true or false", value, place)
        return bool(value)
    info = np.iinfo(kind)
    if type(value) is not int or not info.min <= value <= info.max:
        named = f", or one of {row.enumeration.name}" if row.enumeration is not None else ""
        raise _wrong(f"an integer from {info.min} to {info.max}{named}", value, place)
    return value


def _named(enumeration: Enumeration, name: str, place: str) -> int:
    if name not in enumeration.numbers:
        known = ", ".join(enumeration.numbers)
        hint = did_you_mean(name, enumeration.numbers) or f"one of {known if len(known) < 300 else known[:300] + '...'}"
        raise ModelFileError(f"{place}: {told(name)} is no {enumeration.name}", hint=hint)
    return enumeration.numbers[name]


def _fits(value: float, kind: str) -> bool:
    """Whether a number that is finite stays so."""
    try:
        with np.errstate(over="ignore"):
            return not math.isfinite(value) or bool(np.isfinite(np.asarray(float(value)).astype(kind)))
    except OverflowError:
        return False


def _numbers(row: Field, value: Any, place: str) -> Array:
    """A vector of numbers of a field's type."""
    if isinstance(value, bytes):
        array = np.frombuffer(value, np.uint8)
        if row.type != "bool" and (not row.type.startswith("int8") or not array.size or array.max() < 128):
            return array.astype(np.dtype(row.type).newbyteorder("<"))
        value = array.tolist()
    found = [_number(row, one, item(place, index)) for index, one in enumerate(_list(value, place))]
    return np.array(found, np.dtype(row.type).newbyteorder("<"))
