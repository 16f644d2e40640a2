"""Flatbuffers by a schema that is a table. `root` verifies a whole buffer before it gives access to it.

The encoding: https://flatbuffers.dev/internals. A table at a position begins with the signed distance back to its
vtable, which lists where each field lies (0: absent, so it has its default). What a field refers to lies further on in
the buffer, so that nothing can refer to itself. Vectors of numbers are views of the buffer.

Schemas are written in a notation of our own, a line for each enumeration and each table:

    Padding int8: SAME VALID OTHER=7
    Conv: padding Padding, stride_w int32, dilation int32 = 1, -, names [string], kind Options, of union

"-" is a field that is no longer used, "-old int32" one that files may still have; "union" belongs to the enumeration
before it, whose names are tables'.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from narrowcast._archives import Bytes
from narrowcast.errors import ModelFileError
from narrowcast.model import Array
from narrowcast.schemas.verifier import damaged, verify

__all__ = ["Bytes", "Enumeration", "Field", "Schema", "Table", "TableType", "damaged", "root"]

NUMBERS: dict[str, struct.Struct] = {
    "bool": struct.Struct("<?"),
    "int8": struct.Struct("<b"),
    "uint8": struct.Struct("<B"),
    "int16": struct.Struct("<h"),
    "uint16": struct.Struct("<H"),
    "int32": struct.Struct("<i"),
    "uint32": struct.Struct("<I"),
    "int64": struct.Struct("<q"),
    "uint64": struct.Struct("<Q"),
    "float32": struct.Struct("<f"),
    "float64": struct.Struct("<d"),
}
"""How each type of number lies in the buffer."""
_VECTORS = {name: np.dtype(name).newbyteorder("<") for name in NUMBERS}
_KINDS = {"string": "string", "union": "union"}
_I32, _U32, _U16 = NUMBERS["int32"], NUMBERS["uint32"], NUMBERS["uint16"]


@dataclass(frozen=True, slots=True)
class Enumeration:
    """Names for numbers.

    Attributes:
        name: the schema's.
        base: the type of number that it is stored as.
        names: by number.
        numbers: by name.
    """

    name: str
    base: str
    names: Mapping[int, str]
    numbers: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a table.

    Attributes:
        name: the schema's, in snake_case.
        slot: its place in the vtable.
        kind: "number", "string", "table", "union", "numbers", "strings" or "tables" (vectors).
        type: of the number, by name; or the table's; or the enumeration that tells which table a union holds.
        enumeration: that the number is of; None for a mere number.
        default: of a number that is absent.
        selector: of a union: the slot of the field before it.
        is_old: whether it is no longer used.
    """

    name: str
    slot: int
    kind: str
    type: str
    enumeration: Enumeration | None = None
    default: float = 0
    selector: int = -1
    is_old: bool = False


@dataclass(frozen=True, slots=True)
class TableType:
    """A kind of table: its fields by name."""

    name: str
    fields: Mapping[str, Field]


@dataclass(frozen=True)
class Schema:
    """All tables and enumerations of a format.

    Attributes:
        enumerations, tables: in the notation of this module.
        empty: names of tables without fields.
        identifier: bytes 4 to 8 of a file.
        root: the table that a file is.
    """

    enumerations: str
    tables: str
    empty: str
    identifier: bytes
    root: str

    @cached_property
    def enums(self) -> dict[str, Enumeration]:
        """By name."""
        return {row.name: row for row in map(_enumeration, _lines(self.enumerations))}

    @cached_property
    def types(self) -> dict[str, TableType]:
        """By name."""
        made = {name: TableType(name, {}) for name in self.empty.split()}
        for line in _lines(self.tables):
            name, _, fields = line.partition(":")
            made[name] = TableType(name, dict(self._fields(fields)))
        return made

    def _fields(self, text: str) -> Iterator[tuple[str, Field]]:
        before = Field("", -1, "", "")
        for slot, part in enumerate(text.split(",")):
            used = part.strip().removeprefix("-")
            if not used:
                continue
            name, kind, *default = used.replace("=", " ").split()
            of = kind.strip("[]")
            enumeration = self.enums.get(of)
            number = enumeration.base if enumeration is not None else of
            plural = "s" if kind.startswith("[") else ""
            shape = "number" if number in NUMBERS else _KINDS.get(of, "table")
            if shape == "union":
                assert before.enumeration is not None
                enumeration, number = before.enumeration, before.enumeration.name
            standard = float(default[0]) if default else 0
            selector, is_old = before.slot if shape == "union" else -1, part.strip().startswith("-")
            row = Field(name, slot, shape + plural, number, enumeration, standard, selector, is_old)
            yield name, row
            before = row


def _lines(text: str) -> list[str]:
    """The lines of a table of text, those joined that are indented."""
    return [line for line in text.strip().replace("\n    ", " ").splitlines() if line]


def _enumeration(line: str) -> Enumeration:
    head, _, items = line.partition(":")
    name, base = head.split()
    numbers: dict[str, int] = {}
    following = 0
    for item in items.split():
        label, _, number = item.partition("=")
        numbers[label] = int(number) if number else following
        following = numbers[label] + 1
    return Enumeration(name, base, {number: label for label, number in numbers.items()}, numbers)


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a verified buffer. `table["field"]` is a number, a string, a `Table`, a view, or a list; or None.

    Numbers that are absent are their defaults, all else that is absent is None. Vectors of numbers are numpy views.

    Attributes:
        schema: of the buffer.
        kind: its type.
        content: the whole buffer.
        position: where it begins.
        fields: where each slot lies in it, 0 for absent ones.
    """

    schema: Schema
    kind: TableType
    content: Bytes
    position: int
    fields: tuple[int, ...] = field(repr=False)

    @classmethod
    def at(cls, schema: Schema, kind: TableType, content: Bytes, position: int) -> Table:
        """The table at a position."""
        start = position - _read(content, _I32, position)
        slots = _read(content, _U16, start) // 2 - 2
        return cls(schema, kind, content, position, struct.unpack_from(f"<{slots}H", content, start + 4))

    def __getitem__(self, name: str) -> Any:
        row = self.kind.fields[name]
        offset = self.fields[row.slot] if row.slot < len(self.fields) else 0
        if row.kind == "number":
            if not offset:
                return _typed(row, row.default)
            return _read(self.content, NUMBERS[row.type], self.position + offset)
        return _READERS[row.kind](self, row, self._follow(self.position + offset)) if offset else None

    def name_of(self, name: str) -> str:
        """The name of an enumeration's number, "" where the schema has none for it."""
        row = self.kind.fields[name]
        assert row.enumeration is not None
        return row.enumeration.names.get(self[name], "")

    def has(self, name: str) -> bool:
        """Whether a field is there."""
        slot = self.kind.fields[name].slot
        return slot < len(self.fields) and self.fields[slot] != 0

    def raw(self, name: str) -> bytes:
        """The bytes of a string that is there, which need not be UTF-8."""
        return self._bytes(self._follow(self.position + self.fields[self.kind.fields[name].slot]))

    def _bytes(self, place: int) -> bytes:
        count: int = _read(self.content, _U32, place)
        return bytes(self.content[place + 4 : place + 4 + count])

    def _follow(self, place: int) -> int:
        offset: int = _read(self.content, _U32, place)
        return place + offset

    def _elements(self, place: int) -> Iterator[int]:
        """Where the elements of a vector of offsets lie."""
        count: int = _read(self.content, _U32, place)
        return map(self._follow, range(place + 4, place + 4 + 4 * count, 4))

    def _string(self, row: Field, place: int) -> str:
        return self._bytes(place).decode("utf-8", "backslashreplace")

    def _numbers(self, row: Field, place: int) -> Array:
        dtype, count = _VECTORS[row.type], _read(self.content, _U32, place)
        return np.frombuffer(self.content, dtype, count, place + 4) if count else np.empty(0, dtype)

    def _strings(self, row: Field, place: int) -> list[str]:
        return [self._string(row, target) for target in self._elements(place)]

    def _table(self, row: Field, place: int) -> Table:
        return Table.at(self.schema, self.schema.types[row.type], self.content, place)

    def _tables(self, row: Field, place: int) -> list[Table]:
        return [self._table(row, target) for target in self._elements(place)]

    def _union(self, row: Field, place: int) -> Table | None:
        assert row.enumeration is not None
        selector = next(item for item in self.kind.fields.values() if item.slot == row.selector)
        kind = self.schema.types.get(row.enumeration.names.get(self[selector.name], ""))
        return None if kind is None else Table.at(self.schema, kind, self.content, place)


_READERS: Mapping[str, Any] = {
    "string": Table._string,
    "numbers": Table._numbers,
    "strings": Table._strings,
    "table": Table._table,
    "tables": Table._tables,
    "union": Table._union,
}


def _read(content: Bytes, how: struct.Struct, place: int) -> Any:
    return how.unpack_from(content, place)[0]


def _typed(row: Field, number: float) -> float | int | bool:
    if row.type == "bool":
        return bool(number)
    return number if row.type.startswith("float") else int(number)


def root(schema: Schema, content: Bytes) -> Table:
    """The table that a buffer is, after everything in it has been checked (`schemas.verifier`).

    Raises:
        ModelFileError: it is no buffer of this schema, or damaged.
    """
    found = bytes(content[4:8])
    if found != schema.identifier:
        raise ModelFileError(f"bytes 4 to 8 are {found!r}, not {schema.identifier!r}")
    verify(schema, content)
    return Table.at(schema, schema.types[schema.root], content, _read(content, _U32, 0))
