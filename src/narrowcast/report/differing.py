"""What two networks differ in, as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

from narrowcast.evaluation.networks.differences import Difference, Differences, Side
from narrowcast.evaluation.networks.records import Quantization, Value
from narrowcast.report import networks
from narrowcast.report.blocks import Block, Cell, Column, Facts, Note, Table
from narrowcast.report.text import byte_size, plural, printable

__all__ = ["values", "view"]

MOST = 40
"""Rows of a table; the rest is counted."""

LONGEST = 48
"""Characters of a value."""

HEADS = tuple(Column(title, "left") for title in ("operator", "type", "differs in", "first", "second"))


def view(result: Differences) -> tuple[Block, ...]:
    """Both files, and below them what differs."""
    notes = tuple(Note(printable(note), "note", "muted") for note in result.notes)
    told = (*_sides(result), *_differences("inputs and outputs", result.ports), *_types(result.types))
    operators = _differences("operators that both have", result.operators)
    lonely = (*_only("only in the first", result.only_first), *_only("only in the second", result.only_second))
    same = plural(len(result.pairs), "operator")
    verdict = Note(f"nothing differs: {same}", "", "good") if result.alike else Note(f"{same} matched", "", "muted")
    return (*told, *operators, *lonely, verdict, *notes)


def _sides(result: Differences) -> Iterator[Block]:
    for title, side in (("first", result.first), ("second", result.second)):
        yield Facts(f"{title}: {printable(side.path)}", tuple(_facts(side)))


def _facts(side: Side) -> Iterator[tuple[str, Cell]]:
    producer = f", written by {printable(side.producer)}" if side.producer else ""
    yield "format", Cell(f"{side.format}, {side.form}{producer}")
    yield "size", Cell(f"{byte_size(side.bytes)}, constants {byte_size(side.constants)}")
    yield "operators", Cell(f"{side.operators:,}")


def _types(types: Sequence[tuple[str, int, int]]) -> Iterator[Block]:
    if not types:
        return
    rows = (
        (Cell(printable(name)), Cell(f"{one:,}"), Cell(f"{other:,}"), Cell(f"{other - one:+,}", "muted"))
        for name, one, other in types
    )
    yield Table("numbers of operators", (Column("type", "left"), *map(Column, ("first", "second", ""))), tuple(rows))


def _differences(title: str, found: Sequence[Difference]) -> Iterator[Block]:
    if not found:
        return
    yield Table(title, HEADS, tuple(_rows(found[:MOST])))
    yield from _rest(len(found))


def _rest(count: int) -> Iterator[Block]:
    if count > MOST:
        yield Note(f"and {count - MOST:,} more, which --json has", "", "muted")


def _rows(found: Sequence[Difference]) -> Iterator[tuple[Cell, ...]]:
    """A row for each, an operator named in its first."""
    before = None
    for item in found:
        inside = f" in graph {item.graph}" if item.graph else ""
        owner = (printable(item.owner.partition(";")[0]) + inside, printable(item.type))
        yield (*map(Cell, ("", "") if owner == before else owner), Cell(printable(item.what)), *values(item))
        before = owner


def values(item: Difference) -> tuple[Cell, Cell]:
    """What the first and the second have; of elements, their range and how far apart they are."""
    if item.count is None:
        return Cell(_told(item.what, item.first)), Cell(_told(item.what, item.second))
    largest = f"{plural(item.count, 'element')} by up to {item.largest:.3g}"
    return Cell(f"absolute values up to {item.reach:.3g}", "muted"), Cell(largest, "warn")


def _told(what: str, value: Value | Quantization) -> str:
    if isinstance(value, Quantization):
        text = networks.quantization_text(value)
    elif what.endswith("shape") and not what.startswith("attribute") and (value is None or isinstance(value, tuple)):
        text = networks.shape(cast("tuple[int | None, ...] | None", value))
    else:
        text = "–" if value is None else networks.value_text(value)  # noqa: RUF001
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _only(title: str, found: Sequence[tuple[str, str]]) -> Iterator[Block]:
    if not found:
        return
    rows = tuple((Cell(printable(name.partition(";")[0])), Cell(printable(kind))) for name, kind in found[:MOST])
    yield Table(title, (Column("operator", "left"), Column("type", "left")), rows)
    yield from _rest(len(found))
