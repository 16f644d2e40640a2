"""Where a quantised network loses, as a table with a sentence for each of the worst blocks."""

from __future__ import annotations

import math
from collections.abc import Iterator

from narrowcast.evaluation.diagnosis.records import BlockLoss, Diagnosis
from narrowcast.report.blocks import Block, Cell, Column, Facts, Note, Table, Tone
from narrowcast.report.text import DASH, amount, percent, plural, printable

__all__ = ["WORST", "decibel_text", "view"]

WORST = 10
"""Blocks that are told one by one."""

LOW, POOR = 30.0, 15.0
"""dB below which a ratio is shown as a warning, and as bad."""


def view(result: Diagnosis) -> tuple[Block, ...]:
    """The outputs, the worst blocks, and what may have caused each loss."""
    return (
        Facts(f"{printable(result.first)} beside {printable(result.second)}", tuple(_facts(result))),
        *_worst(result),
        *_causes(result),
        *_unmatched(result),
        *(Note(printable(note), "note", "muted") for note in result.notes),
    )


def _facts(result: Diagnosis) -> Iterator[tuple[str, Cell]]:
    yield "scheme", Cell(result.scheme)
    yield "compared on", Cell(f"{plural(result.samples, 'sample')}: {printable(result.data)}")
    for which, score in zip(("first", "second"), result.scores, strict=False):
        interval = score.change or score.range
        around = "" if interval is None else f" ±{amount((interval.high - interval.low) / 2, score.unit)}"
        yield f"{printable(score.metric)}, {which}", Cell(f"{amount(score.value, score.unit)}{around}")
    for output in result.outputs:
        yield printable(output.name), ratio_cell(output.sqnr_db)


def _worst(result: Diagnosis) -> Iterator[Block]:
    if not result.worst:
        yield Note("no block loses anything", "", "good")
        return
    measured = any(result.blocks[at].only_db is not None for at in result.worst)
    titles = ("of the noise", "ratio", "weights", "rounding", "from above", *(("only it", "all but it") * measured))
    columns = (Column("block", "left"), Column("operators", "left"), *map(Column, titles))
    rows = tuple(_row(result.blocks[at], measured=measured) for at in result.worst[:WORST])
    yield Table("where the noise of the outputs arises; ratios in dB", columns, rows)


def _row(block: BlockLoss, *, measured: bool) -> tuple[Cell, ...]:
    name = printable(block.name.partition(";")[0])
    ratios = [block.sqnr_db, block.weights_db, block.rounding_db, block.above_db]
    extra = [block.only_db, block.without_db] if measured else []
    share: Tone = "bad" if block.share >= 0.25 else "warn" if block.share >= 0.1 else ""
    cells = [ratio_cell(ratio, unit=False) for ratio in (*ratios, *extra)]
    return Cell(name), Cell(printable(block.kind), "muted"), Cell(percent(block.share), share), *cells


def ratio_cell(ratio: float | None, *, unit: bool = True) -> Cell:
    """A ratio in dB, in the tone that it deserves."""
    tone: Tone = "" if ratio is None or ratio >= LOW else "warn" if ratio >= POOR else "bad"
    text = decibel_text(ratio)
    return Cell(f"{text} dB" if unit and ratio is not None and math.isfinite(ratio) else text, tone)


def decibel_text(ratio: float | None) -> str:
    """A ratio in dB; a dash where there is no noise, or none was measured."""
    return DASH if ratio is None or ratio == math.inf else "no signal" if ratio == -math.inf else f"{ratio:.1f}"


def _causes(result: Diagnosis) -> Iterator[Block]:
    pairs = []
    for at in result.worst[:WORST]:
        block = result.blocks[at]
        for cause in block.causes[:1]:
            pairs.append((printable(block.name.partition(";")[0]), Cell(printable(cause.why))))
            pairs.append(("", Cell(f"try {printable(cause.action)}", "good")))
    if pairs:
        yield Facts("likely causes", tuple(pairs))


def _unmatched(result: Diagnosis) -> Iterator[Block]:
    count = len(result.unmatched)
    if count:
        first = ", ".join(map(printable, result.unmatched[:5]))
        yield Note(f"without a counterpart in the second: {plural(count, 'block')}, {first}", "note", "muted")
