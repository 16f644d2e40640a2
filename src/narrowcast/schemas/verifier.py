"""Follows everything that a flatbuffer refers to, all tables of a type at once, before anything is read from it.

It asks what the verifier of the flatbuffers library asks, with which runtimes open such files: everything lies within
the buffer and is aligned to its size, strings end with a zero, and there are at most a million tables. Several may
refer to the same place. It is followed once, but counts as often as there are ways to it, so that neither this nor
whoever reads the tables has more work than the file is large.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from narrowcast.errors import ModelFileError
from narrowcast.model import Array

if TYPE_CHECKING:
    from narrowcast.schemas.flatbuffer import Bytes, Field, Schema, TableType

__all__ = ["DAMAGED", "FETCH", "MOST_TABLES", "damaged", "verify"]

DAMAGED = "the flatbuffer is damaged: "
FETCH = "fetch the file again"
MOST_TABLES = 1_000_000
"""That a file may hold: the library's own limit."""
MOST_BYTES = 8
"""What all vectors and strings may take, counted as often as they are referred to, in sizes of the file."""
SPARE_BYTES = 1 << 20
"""What they may take beyond that."""


@dataclass(frozen=True, slots=True)
class _Referred:
    """Tables of one type: where they lie, int64, and how many ways lead there, float64."""

    name: str
    places: Array
    ways: Array


def damaged(what: str) -> ModelFileError:
    """The error for a buffer that contradicts itself."""
    return ModelFileError(f"{DAMAGED}{what}", hint=FETCH)


def verify(schema: Schema, content: Bytes) -> None:
    """Follows everything from the root on.

    Raises:
        ModelFileError: something lies outside of the buffer or is not aligned, a string has no end, or there is more
            of it than a file of its size has.
    """
    walk = _Walk(schema, content)
    waiting = [_Referred(schema.root, walk.offsets(np.zeros(1, np.int64), "the root"), np.ones(1))]
    tables = 0.0
    while waiting:
        now = waiting.pop()
        places, inverse = np.unique(now.places, return_inverse=True)
        tables += now.ways.sum()
        if tables > MOST_TABLES:
            raise damaged(f"it holds more than {MOST_TABLES} tables")
        if places.size:
            waiting.extend(walk.tables(schema.types[now.name], places, np.bincount(inverse, now.ways)))


class _Walk:
    """A buffer as arrays of its numbers; positions are int64 arrays of bytes from the beginning."""

    def __init__(self, schema: Schema, content: Bytes) -> None:
        self.schema, self.size = schema, len(content)
        self.bytes = np.frombuffer(content, np.uint8)
        self.shorts = np.frombuffer(content, "<u2", self.size // 2)
        self.words = np.frombuffer(content, "<u4", self.size // 4)
        self.room = float(MOST_BYTES * self.size + SPARE_BYTES)

    def tables(self, kind: TableType, places: Array, ways: Array) -> Iterator[_Referred]:
        """Checks tables of one type, and yields those that they refer to."""
        vtables = places - self.within(self.words, places, f"a {kind.name}").astype(np.uint32).view(np.int32)
        sizes, extents = (self.within(self.shorts, vtables + add, f"the fields of a {kind.name}") for add in (0, 2))
        if (sizes < 4).any() or (sizes % 2).any() or (vtables + sizes > self.size).any():
            raise damaged(f"a {kind.name} has no sound list of fields")
        if (places + extents > self.size).any():
            raise damaged(f"a {kind.name} ends beyond the file")
        offsets: dict[int, Array] = {}
        for row in kind.fields.values():
            listed = self.shorts[(vtables // 2 + 2 + row.slot) % self.shorts.size]
            offsets[row.slot] = np.where(sizes > 4 + 2 * row.slot, listed, 0).astype(np.int64)
            there = offsets[row.slot] != 0
            if not there.any():
                continue
            spots, what = (places + offsets[row.slot])[there], f"{kind.name}.{row.name}"
            width = np.dtype(row.type).itemsize if row.kind == "number" else 4
            if (offsets[row.slot] + width > extents)[there].any() or (spots % width).any():
                raise damaged(f"{what} lies outside of its table, or between places")
            if row.kind == "union":
                chosen = np.where(offsets[row.selector] != 0, self.bytes[places + offsets[row.selector]], 0)[there]
                yield from self.union(row, chosen, self.offsets(spots, what), ways[there])
            elif row.kind != "number":
                yield from self.referred(row, self.offsets(spots, what), ways[there], what)

    def referred(self, row: Field, targets: Array, ways: Array, what: str) -> Iterator[_Referred]:
        """What fields of one kind point to: checks strings and vectors, and yields the tables."""
        if row.kind == "table":
            yield _Referred(row.type, targets, ways)
        elif row.kind == "string":
            self.strings(targets, ways, what)
        elif row.kind == "numbers":
            self.vector(targets, ways, np.dtype(row.type).itemsize, what)
        else:
            counts = self.vector(targets, ways, 4, what)
            if counts.sum() > MOST_TABLES:
                raise damaged(f"{what} has more than {MOST_TABLES} elements")
            starts = np.repeat(targets + 4 - 4 * (np.cumsum(counts) - counts), counts)
            elements, ways = self.offsets(starts + 4 * np.arange(starts.size), what), np.repeat(ways, counts)
            if row.kind == "tables":
                yield _Referred(row.type, elements, ways)
            else:
                self.strings(elements, ways, what)

    def union(self, row: Field, chosen: Array, targets: Array, ways: Array) -> Iterator[_Referred]:
        """The tables of a union, by their types; those that the schema does not know are never read."""
        assert row.enumeration is not None
        for number in np.unique(chosen).tolist():
            name = row.enumeration.names.get(number, "")
            if name in self.schema.types:
                yield _Referred(name, targets[chosen == number], ways[chosen == number])

    def within(self, numbers: Array, places: Array, what: str) -> Array:
        """The numbers at places, as int64."""
        if (places < 0).any() or (places + numbers.itemsize > self.size).any() or (places % numbers.itemsize).any():
            raise damaged(f"{what} lies outside of the file, or between places")
        found: Array = numbers[places // numbers.itemsize].astype(np.int64)
        return found

    def offsets(self, places: Array, what: str) -> Array:
        """Where the offsets at places lead; always further on, so that nothing refers to itself."""
        found = self.within(self.words, places, what)
        if not found.all():
            raise damaged(f"{what} refers to itself")
        targets: Array = places + found
        return targets

    def vector(self, places: Array, ways: Array, width: int, what: str) -> Array:
        """The lengths of vectors."""
        counts: Array = self.within(self.words, places, what)
        if (places + 4 + counts * width > self.size).any():
            raise damaged(f"{what} has {int(counts.max())} elements, more than the file can hold")
        self.room -= float(ways @ counts) * width
        if self.room < 0:
            raise damaged("its parts refer to the same bytes over and over")
        return counts

    def strings(self, places: Array, ways: Array, what: str) -> None:
        """Checks strings, which end with a zero that their length does not count."""
        ends = places + 4 + self.vector(places, ways, 1, what)
        if (ends >= self.size).any() or self.bytes[ends].any():
            raise damaged(f"{what} is a string without an end")
