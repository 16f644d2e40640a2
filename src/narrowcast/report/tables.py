# ruff: noqa: RUF001 - typographic signs are meant
"""Blocks as lines: in colour and to the width of a terminal, or as plain text where there is none."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TextIO, TypeAlias

from narrowcast.report.blocks import Block, Cell, Column, Facts, Note, Table, Tone

__all__ = ["PLAIN_WIDTH", "lines", "plain", "show", "split"]

PLAIN_WIDTH = 120
"""Sentences are wrapped to this width where there is no terminal; tables are never split there."""

GAP = 2
NARROWEST_NAME = 16

Line: TypeAlias = list[Cell]

_ASCII = str.maketrans(
    {
        "–": "-", "−": "-", "×": "x", "÷": "/", "±": "~", "µ": "u", "★": "*", "∞": "inf", "─": "-", "█": "#",
        "├": "|", "└": "`", "│": "|",
        "▏": "", "▎": "", "▍": "", "▌": "#", "▋": "#", "▊": "#", "▉": "#", "…": "~", "·": "-",
    }
)  # fmt: skip

_STYLES: dict[Tone, str] = {
    "": "",
    "good": "green",
    "bad": "bold red",
    "warn": "yellow",
    "muted": "dim",
    "best": "bold cyan",
    "title": "bold",
}


def show(blocks: Iterable[Block], stream: TextIO) -> None:
    """Writes blocks to `stream`: in colour and to its width where it is a terminal, as plain text otherwise.

    Characters that the stream's encoding may lack are replaced by ASCII ones. The variables NO_COLOR, FORCE_COLOR,
    TERM and COLUMNS count, as rich reads them.
    """
    unicode = (stream.encoding or "utf-8").lower().replace("-", "") == "utf8"
    if not (stream.isatty() and unicode):
        text = plain(blocks)
        stream.write(text if unicode else text.translate(_ASCII).encode("ascii", "backslashreplace").decode("ascii"))
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    for line in lines(blocks, console.width):
        console.print(Text.assemble(*((cell.text, _STYLES[cell.tone]) for cell in line)), soft_wrap=True)


def plain(blocks: Iterable[Block]) -> str:
    """Blocks as text without colours or box characters."""
    return "".join("".join(cell.text for cell in line).rstrip() + "\n" for line in lines(blocks, None))


def lines(blocks: Iterable[Block], width: int | None) -> Iterator[Line]:
    """Blocks as lines of at most `width` terminal cells, an empty line between two that are not both notes.

    Args:
        blocks: what to show.
        width: of the terminal; None for a file or a pipe, where tables stay whole.
    """
    previous: Block | None = None
    for block in blocks:
        if previous is not None and not (isinstance(previous, Note) and isinstance(block, Note)):
            yield []
        match block:
            case Table():
                yield from _table_lines(block, width)
            case Facts():
                yield from _facts_lines(block, width or PLAIN_WIDTH)
            case Note():
                yield from _note_lines(block, width or PLAIN_WIDTH)
        previous = block


def split(table: Table, width: int) -> tuple[Table, ...]:
    """Breaks a table into as few as fit `width`, of about equal width, each repeating the first column.

    A column is never cut: a single one that is too wide stands alone beside the first.
    """
    widths = _widths(table)
    pieces = _break(widths, width)
    for narrower in range(max(widths[0], width // 2), width):
        if len(balanced := _break(widths, narrower)) == len(pieces):
            pieces = balanced
            break
    return tuple(
        replace(
            table,
            title="" if number else table.title,
            columns=tuple(table.columns[index] for index in (0, *piece)),
            rows=tuple(tuple(row[index] for index in (0, *piece)) for row in table.rows),
        )
        for number, piece in enumerate(pieces)
    )


def _break(widths: Sequence[int], width: int) -> list[list[int]]:
    """Indices of the columns after the first, in groups that fit `width` together with it."""
    pieces: list[list[int]] = [[]]
    used = widths[0]
    for index, needed in enumerate(widths[1:], start=1):
        if pieces[-1] and used + GAP + needed > width:
            pieces.append([])
            used = widths[0]
        pieces[-1].append(index)
        used += GAP + needed
    return pieces


def _table_lines(table: Table, width: int | None) -> Iterator[Line]:
    if table.title:
        yield from ([Cell(line, "title")] for line in textwrap.wrap(table.title, width or PLAIN_WIDTH))
    if width is not None:
        limit = max(NARROWEST_NAME, width // 2)
        table = replace(table, rows=tuple((_elide(row[0], limit), *row[1:]) for row in table.rows))
    for number, piece in enumerate(split(table, width) if width is not None else (table,)):
        if number:
            yield []
        widths = _widths(piece)
        rule = [Cell("─" * (sum(widths) + GAP * (len(widths) - 1)), "muted")]
        if any(column.title for column in piece.columns):
            yield _row([Cell(column.title, "muted") for column in piece.columns], piece.columns, widths)
            yield rule
        for count, row in enumerate(piece.rows, start=1):
            yield _row(row, piece.columns, widths)
            if count == piece.ruled_after:
                yield rule


def _row(row: Sequence[Cell], columns: Sequence[Column], widths: Sequence[int]) -> Line:
    line: Line = []
    for cell, column, width in zip(row, columns, widths, strict=True):
        space = Cell(" " * (width - _cells(cell.text)))
        gap = [Cell(" " * GAP)] if line else []
        line += [*gap, space, cell] if column.align == "right" else [*gap, cell, space]
    return line


def _facts_lines(facts: Facts, width: int) -> Iterator[Line]:
    yield [Cell(facts.title, "title")]
    margin = max((_cells(name) for name, _ in facts.pairs), default=0) + 2 * GAP
    for name, cell in facts.pairs:
        for number, text in enumerate(
            textwrap.wrap(cell.text, max(NARROWEST_NAME, width - margin), break_on_hyphens=False) or [""]
        ):
            label = " " * GAP + ("" if number else name)
            yield [Cell(label + " " * (margin - _cells(label)), "muted"), replace(cell, text=text)]


def _note_lines(note: Note, width: int) -> Iterator[Line]:
    label = f"{note.label}: " if note.label else ""
    for number, text in enumerate(textwrap.wrap(label + note.text, width, subsequent_indent=" " * GAP)):
        tone: Tone = "muted" if note.tone == "muted" else ""
        head = label if not number and text.startswith(label) else ""
        yield [Cell(head, note.tone), Cell(text.removeprefix(head), tone)]


def _elide(cell: Cell, limit: int) -> Cell:
    """Cuts the middle out of a name that is too long; both its ends tell files apart."""
    if _cells(cell.text) <= limit:
        return cell
    head = limit // 2 - 1
    return replace(cell, text=f"{cell.text[:head]}…{cell.text[-(limit - head - 1) :]}")


def _widths(table: Table) -> list[int]:
    return [
        max(_cells(column.title), *(_cells(row[index].text) for row in table.rows), 0)
        for index, column in enumerate(table.columns)
    ]


def _cells(text: str) -> int:
    """Terminal cells of a text: wide East Asian characters take two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )
