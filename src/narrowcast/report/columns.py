"""The columns of a comparison: one row each, shared by the terminal's table and the page's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from narrowcast.evaluation.results import Comparison, Latency, Row
from narrowcast.report.blocks import Cell, Tone
from narrowcast.report.text import DASH, amount, byte_size, percent, points, printable, ratio, signed, spread

__all__ = [
    "COMPARISON",
    "Context",
    "Measure",
    "accuracy_of",
    "benchmark",
    "best_value",
    "comparison",
    "is_best",
    "latency_at",
]


@dataclass(frozen=True, slots=True)
class Context:
    """What a cell may look at beside its own row: the source's row (None in a benchmark) and the accuracy budget."""

    source: Row | None
    max_drop: float


@dataclass(frozen=True, slots=True)
class Measure:
    """A column over rows.

    Attributes:
        title: head of the column.
        cell: the cell's text and tone.
        value: the number behind it, for marking the best; None where a column has no better and worse.
        better: which end of the values is the good one.
        hint: a sentence that explains the column.
    """

    title: str
    cell: Callable[[Row, Context], Cell]
    value: Callable[[Row], float | None] | None = None
    better: Literal["low", "high"] = "low"
    hint: str = ""


def accuracy_of(row: Row, field: Literal["top1", "top5", "agreement"]) -> float | None:
    """One figure of a row's accuracy, None where it was not measured."""
    return None if row.accuracy is None else getattr(row.accuracy, field)


def latency_at(row: Row, threads: int) -> Latency | None:
    """The row's latency at a number of threads."""
    return next((latency for latency in row.latencies if latency.threads == threads), None)


def best_value(measure: Measure, rows: Iterable[Row]) -> float | None:
    """The best value of a column over `rows`; None where fewer than two differ, as then none stands out."""
    if measure.value is None:
        return None
    values = {value for row in rows if (value := measure.value(row)) is not None}
    if len(values) < 2:
        return None
    return min(values) if measure.better == "low" else max(values)


def is_best(measure: Measure, row: Row, rows: Sequence[Row], best: float | None) -> bool:
    """Whether a row of `rows` holds the best value of a column."""
    return best is not None and measure.value is not None and row in rows and measure.value(row) == best


def _size(row: Row, _context: Context) -> Cell:
    return Cell(byte_size(row.bytes))


def _size_ratio(row: Row, context: Context) -> Cell:
    if context.source is None or row is context.source:
        return Cell("")
    return Cell(ratio(row.bytes, context.source.bytes), "muted")


def _fraction(field: Literal["top1", "top5", "agreement"]) -> Callable[[Row, Context], Cell]:
    return lambda row, _context: Cell(percent(accuracy_of(row, field)))


def _top1(row: Row, context: Context) -> Cell:
    """The source's own with half its interval; of the others the change has one, which is what tells them apart."""
    interval = None if row.accuracy is None or row is not context.source else row.accuracy.top1_range
    around = "" if interval is None else f" ±{(interval.high - interval.low) * 50:.1f}"
    return Cell(percent(accuracy_of(row, "top1")).replace(" %", f"{around} %"))


def _change(row: Row, context: Context) -> Cell:
    if context.source is None or row is context.source:
        return Cell("")
    before, after = accuracy_of(context.source, "top1"), accuracy_of(row, "top1")
    if before is None or after is None:
        return Cell(DASH)
    tone: Tone = "good" if after >= before else "warn" if before - after <= context.max_drop + 1e-12 else "bad"
    text = points(after - before)
    interval = None if row.accuracy is None else row.accuracy.top1_change
    if interval is not None:
        text = f"{text.removeprefix('±').removesuffix(' pp')} ±{(interval.high - interval.low) * 50:.1f} pp"
    return Cell(text, tone)


def _agreement(row: Row, context: Context) -> Cell:
    if row is context.source:
        return Cell("")
    interval = None if row.accuracy is None else row.accuracy.agreement_range
    around = "" if interval is None else f" ±{(interval.high - interval.low) * 50:.1f}"
    return Cell(percent(accuracy_of(row, "agreement")).replace(" %", f"{around} %"))


def _score(row: Row, _context: Context) -> Cell:
    return Cell(DASH if row.score is None else amount(row.score.value, row.score.unit))


def _score_change(row: Row, context: Context) -> Cell:
    """The change against the source with half its interval; where there is none, that of the value."""
    source = None if context.source is None else context.source.score
    if row.score is None or source is None or row is context.source:
        return Cell("")
    score, interval = row.score, row.score.change or row.score.range
    around = "" if interval is None else f" ±{amount((interval.high - interval.low) / 2, score.unit)}"
    if score.change is None:
        return Cell(around.strip() or DASH)
    lost = source.value - score.value
    tone: Tone = "good" if lost <= 0 else "warn" if lost <= context.max_drop + 1e-12 else "bad"
    return Cell(f"{signed(score.value - source.value, score.unit)}{around}", tone)


def _memory(row: Row, _context: Context) -> Cell:
    return Cell(byte_size(row.peak_memory_bytes))


def _operators(row: Row, _context: Context) -> Cell:
    return Cell(DASH if row.operators is None else f"{row.operators.total:,}")


def _undelegated(row: Row, _context: Context) -> Cell:
    if row.operators is None or row.operators.undelegated is None:
        return Cell(DASH)
    count = row.operators.undelegated
    return Cell(f"{count:,}", "warn" if count else "")


def _latency(threads: int) -> Measure:
    def cell(row: Row, _context: Context) -> Cell:
        latency = latency_at(row, threads)
        if latency is None:
            return Cell(DASH)
        return Cell(spread(latency.median_s, latency.q1_s, latency.q3_s))

    def value(row: Row) -> float | None:
        latency = latency_at(row, threads)
        return None if latency is None else latency.median_s

    title = f"{threads} thread" if threads == 1 else f"{threads} threads"
    return Measure(title, cell, value, hint=f"Median latency of one inference on {title}, ± half the quartile range")


SIZE = Measure("size", _size, lambda row: row.bytes, hint="File size")
SIZE_RATIO = Measure("", _size_ratio, hint="Size against the source's")
MEMORY = Measure(
    "memory", _memory, lambda row: row.peak_memory_bytes, hint="Peak memory that opening and running the file adds"
)
OPERATORS = Measure("ops", _operators, hint="Operators in the file")
UNDELEGATED = Measure(
    "undeleg.", _undelegated, hint="Operators that the runtime's default delegate leaves to slower kernels"
)

COMPARISON: tuple[Measure, ...] = (
    Measure("top-1", _top1, lambda row: accuracy_of(row, "top1"), "high", "Share of right first guesses"),
    Measure("top-5", _fraction("top5"), lambda row: accuracy_of(row, "top5"), "high", "Right within five guesses"),
    Measure("change", _change, hint="Top-1 against the source's in percentage points, ± half the 95 % interval"),
    Measure(
        "agree",
        _agreement,
        lambda row: accuracy_of(row, "agreement"),
        "high",
        "How often the first guess is the source's own, ± half its 95 % interval",
    ),
)


SCORE_CHANGE = Measure(
    "change", _score_change, hint="Of the metric against the source's, ± half the 95 % interval; or that of its value"
)


def _metric(name: str) -> Measure:
    return Measure(name, _score, lambda row: None if row.score is None else row.score.value, "high", "As was asked for")


def _threads(rows: Iterable[Row]) -> list[int]:
    return sorted({latency.threads for row in rows for latency in row.latencies})


def comparison(result: Comparison) -> tuple[Measure, ...]:
    """The columns of a comparison: size, accuracy, latency at each number of threads, memory, operators."""
    latencies = [_latency(threads) for threads in _threads(result.rows)]
    scores = [row.score for row in result.rows if row.score is not None]
    metrics = [] if not scores else [_metric(printable(scores[0].metric)), SCORE_CHANGE]
    accuracies = COMPARISON if any(row.accuracy is not None for row in result.rows) or not metrics else ()
    return (SIZE, SIZE_RATIO, *metrics, *accuracies, *latencies, MEMORY, OPERATORS, UNDELEGATED)


def benchmark(rows: tuple[Row, ...]) -> tuple[Measure, ...]:
    """The columns of a benchmark: a comparison's without accuracy."""
    return (SIZE, *(_latency(threads) for threads in _threads(rows)), MEMORY, OPERATORS, UNDELEGATED)
