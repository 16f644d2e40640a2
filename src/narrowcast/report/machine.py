"""Results for scripts: JSON with a versioned schema, and CSV.

Every object has a `schema` of the form "narrowcast/<kind>/<version>"; the version rises when a field changes its
meaning or goes. Field names and units are those of `evaluation.results`: bytes, seconds, decibels, fractions; null
means "not measured". Numbers that JSON lacks are the strings "Infinity", "-Infinity" and "NaN", which `float()` in
Python and `Number()` in JavaScript read back.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from narrowcast.errors import NarrowcastError
from narrowcast.evaluation.networks.differences import Differences
from narrowcast.evaluation.results import Accuracy, Comparison, Interval, Leg, Parity, Row, Score, WrittenFile

__all__ = ["VERSION", "failure", "to_csv", "to_data", "to_json"]

VERSION = 1


def to_json(result: Any) -> str:
    """A result dataclass as indented JSON with its schema first."""
    data = {"schema": _schema(type(result).__name__), **to_data(result)}
    return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def failure(error: NarrowcastError, exit_code: int, written: WrittenFile | None = None) -> dict[str, Any]:
    """What `--json` prints when a command fails: the error, and the file that was kept unverified, if one was."""
    return {
        "schema": _schema("Failure"),
        "error": type(error).__name__,
        "exit_code": exit_code,
        "what": error.what,
        "where": error.where,
        "hint": error.hint,
        "written": None if written is None else to_data(written),
    }


def to_data(value: Any) -> Any:
    """Dataclasses as dicts (with their derived verdicts), paths as strings, tuples as lists, JSON's numbers only."""
    if isinstance(value, Parity):
        derived = {name: getattr(value, name) for name in ("sqnr_db", "translated", "kept", "passed", "doubtful")}
        return {name: to_data(item) for name, item in (*_fields(value), *derived.items())}
    if isinstance(value, Leg):
        return {**{name: to_data(item) for name, item in _fields(value)}, "sqnr_db": to_data(value.sqnr_db)}
    if isinstance(value, WrittenFile):
        return {**{name: to_data(item) for name, item in _fields(value)}, "verified": value.verified}
    if isinstance(value, Differences):
        fields = {name: to_data(item) for name, item in _fields(value) if name != "networks" or item}
        return {**fields, "matched": len(value.pairs), "alike": value.alike}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: to_data(item) for name, item in _fields(value)}
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {str(key): to_data(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [to_data(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def to_csv(result: Comparison) -> str:
    """One line for each row of the comparison, the source first; empty cells were not measured.

    Columns: name, format, scheme, path, bytes, runtime, top1, top1_low, top1_high, top5, top1_change, top1_change_low,
    top1_change_high, top5_change_low, top5_change_high, agreement, agreement_low, agreement_high, metric, score,
    score_low, score_high, score_change, score_change_low, score_change_high; for each number t of threads
    latency_<t>t_s, latency_<t>t_q1_s, latency_<t>t_q3_s; peak_memory_bytes, operators, undelegated, transposes,
    sqnr_db, recommended (0 or 1), failure.
    """
    threads = sorted({latency.threads for row in result.rows for latency in row.latencies})
    lines = [dict(_csv_cells(row, result, threads)) for row in result.rows]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return stream.getvalue()


def _csv_cells(row: Row, result: Comparison, threads: list[int]) -> Iterator[tuple[str, object]]:
    source = result.rows[0].accuracy
    accuracy, operators, written = row.accuracy, row.operators, row.written
    change = None
    if accuracy is not None and source is not None and accuracy.top1 is not None and source.top1 is not None:
        change = round(accuracy.top1 - source.top1, 9)
    yield "name", row.name
    yield "format", row.trial and row.trial.target
    yield "scheme", row.trial and row.trial.scheme
    yield "path", str(row.path)
    yield "bytes", None if row.failure else row.bytes
    yield "runtime", row.runtime
    yield "top1", accuracy and accuracy.top1
    yield from _csv_interval("top1", accuracy, "top1_range")
    yield "top5", accuracy and accuracy.top5
    yield "top1_change", change
    yield from _csv_interval("top1_change", accuracy, "top1_change")
    yield from _csv_interval("top5_change", accuracy, "top5_change")
    yield "agreement", accuracy and accuracy.agreement
    yield from _csv_interval("agreement", accuracy, "agreement_range")
    yield from _csv_score(row, result.rows[0])
    by_threads = {latency.threads: latency for latency in row.latencies}
    for count in threads:
        latency = by_threads.get(count)
        yield f"latency_{count}t_s", latency and latency.median_s
        yield f"latency_{count}t_q1_s", latency and latency.q1_s
        yield f"latency_{count}t_q3_s", latency and latency.q3_s
    yield "peak_memory_bytes", row.peak_memory_bytes
    yield "operators", operators and operators.total
    yield "undelegated", operators and operators.undelegated
    yield "transposes", operators and operators.transposes
    yield "sqnr_db", written and written.parity and written.parity.sqnr_db
    yield "recommended", int(row.name == result.recommended)
    yield "failure", row.failure


def _csv_score(row: Row, source: Row) -> Iterator[tuple[str, object]]:
    score, own = row.score, source.score
    yield "metric", score and score.metric
    yield "score", score and to_data(score.value)
    yield from _csv_interval("score", score, "range")
    changed = score is not None and own is not None and score.change is not None
    yield "score_change", score.value - own.value if changed and score and own else None
    yield from _csv_interval("score_change", score, "change")


def _csv_interval(name: str, held: Accuracy | Score | None, field: str) -> Iterator[tuple[str, object]]:
    interval: Interval | None = None if held is None else getattr(held, field)
    yield f"{name}_low", interval and interval.low
    yield f"{name}_high", interval and interval.high


def _fields(value: Any) -> list[tuple[str, Any]]:
    return [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]


def _schema(kind: str) -> str:
    words = "".join(f"-{char.lower()}" if char.isupper() else char for char in kind).lstrip("-")
    return f"narrowcast/{words}/{VERSION}"
