"""A search for a better file: the lines that tell of it while it runs, and what it found."""

from __future__ import annotations

from collections.abc import Iterator

from narrowcast.report import views
from narrowcast.report.blocks import Block, Cell, Column, Facts, Note, Table, Tone
from narrowcast.report.text import DASH, byte_size, duration, percent, plural, printable
from narrowcast.tuning.records import Figures, Finalist, Tried, Tuning

__all__ = ["HEADS", "figures", "goal", "line", "view"]

WIDEST = 56
"""Characters of a label in a line."""
HEADS = ("dB", "metric", "size", "float")


def line(tried: Tried) -> str:
    """A trial while the search runs."""
    if tried.figures is None:
        return f"{tried.verdict:8} {_short(tried.label)} {printable(tried.error)}"
    told = "  ".join(f"{text:>8}" for text in figures(tried.figures, estimated=True))
    return f"{tried.verdict:8} {_short(tried.label):{WIDEST}} {told}  {duration(tried.seconds):>7}"


def _short(label: str) -> str:
    text = printable(label)
    return text if len(text) <= WIDEST else f"{text[: WIDEST // 2 - 1]}...{text[-WIDEST // 2 + 2 :]}"


def figures(found: Figures, *, estimated: bool = False) -> tuple[str, str, str, str]:
    """Figures as texts, under `HEADS`; a size that is no file's yet is marked."""
    metric = DASH if found.metric is None else f"{found.metric:.4g}"
    size = f"{'~' if estimated else ''}{byte_size(found.bytes)}"
    return f"{found.mean:.1f}", metric, size, percent(found.floats)


def goal(result: Tuning) -> str:
    """What was asked for, in words."""
    wanted = result.goal
    asked = [] if wanted.least is None else [f"{result.metric} of at least {wanted.least:.4g}"]
    asked += [] if wanted.min_sqnr is None else [f"{wanted.min_sqnr:g} dB in every output"]
    return " and ".join(asked) or "as much as can be kept"


def view(result: Tuning) -> tuple[Block, ...]:
    """The steps that were kept, the files that they became, and the one that was chosen."""
    reached = f": {'reached' if result.reached else 'not reached'}" if result.goal.asked else ""
    verdict = Note(f"{goal(result)}{reached}", "goal", _tone(result))
    ended = f"{plural(len(result.tried), 'trial')} in {duration(result.seconds)}; it ended as {result.reason}"
    split = f"made by {plural(result.fitted, 'sample')}, judged by {result.held} others"
    notes = [Note(printable(note), "note", "muted") for note in result.notes]
    return (
        *_tables(result),
        *views.written(result.written),
        Facts("tune", (("recipe", Cell(printable(result.recipe))), ("journal", Cell(printable(result.journal))))),
        verdict,
        Note(f"{ended}; {split}", "", "muted"),
        *notes,
    )


def _tone(result: Tuning) -> Tone:
    return "" if not result.goal.asked else "good" if result.reached else "warn"


def _tables(result: Tuning) -> Iterator[Table]:
    rows = [tried for tried in result.tried if tried.verdict in ("start", "kept")]
    yield Table(
        f"{printable(result.source.name)}: what was kept, of {plural(len(result.tried), 'trial')}",
        (Column("", "left"), *map(Column, HEADS)),
        tuple(_row(tried.label, tried.figures, chosen=False, estimated=True) for tried in rows),
    )
    if result.finalists:
        yield Table(
            "files",
            (Column("", "left"), *map(Column, (*HEADS, "latency"))),
            tuple(_file(finalist, chosen=finalist.label == result.chosen) for finalist in result.finalists),
        )


def _row(label: str, found: Figures | None, *, chosen: bool, estimated: bool) -> tuple[Cell, ...]:
    texts = (DASH,) * len(HEADS) if found is None else figures(found, estimated=estimated)
    tone: Tone = "best" if chosen else ""
    return (Cell(f"{_short(label)}{' ★' if chosen else ''}", tone), *(Cell(text, tone) for text in texts))


def _file(finalist: Finalist, *, chosen: bool) -> tuple[Cell, ...]:
    time = DASH if finalist.latency is None else duration(finalist.latency.median_s)
    return (*_row(finalist.label, finalist.figures, chosen=chosen, estimated=False), Cell(time))
