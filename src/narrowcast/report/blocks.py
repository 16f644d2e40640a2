"""What a terminal report is made of: tables, lists of facts, and notes. Built by `views`, shown by `tables`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["Block", "Cell", "Column", "Facts", "Note", "Table", "Tone"]

Tone: TypeAlias = Literal["", "good", "bad", "warn", "muted", "best", "title"]


@dataclass(frozen=True, slots=True)
class Cell:
    """A piece of text and what it means for the reader; the renderer chooses the colour."""

    text: str
    tone: Tone = ""


@dataclass(frozen=True, slots=True)
class Column:
    """The head of a column; numbers stand right, names left."""

    title: str
    align: Literal["left", "right"] = "right"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under columns; each row has one cell for each column.

    Attributes:
        ruled_after: a rule is drawn below this many rows (the source above its files); 0 for none.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    ruled_after: int = 0


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and values, one pair a line."""

    title: str
    pairs: tuple[tuple[str, Cell], ...]


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence, wrapped to the width at hand; `label` stands before it in its tone."""

    text: str
    label: str = ""
    tone: Tone = ""


Block: TypeAlias = Table | Facts | Note
