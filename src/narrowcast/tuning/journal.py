"""What a search has measured, a line of JSON for each trial, so that one that was cut short goes on where it was.

The first line says what the figures hold for: the source, the samples, the metric. A journal of anything else is begun
anew. Lines that are damaged, the last one of a process that was ended for one, are passed over.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from narrowcast._files import atomic_write
from narrowcast.errors import OutputError
from narrowcast.evaluation.trials import Trial
from narrowcast.tuning.records import Figures

__all__ = ["Journal"]

SCHEMA = "narrowcast/tune-journal/1"
LARGEST = 1 << 26
"""Bytes of a journal that are read; a trial takes about a thousand."""
MOST_OUTPUTS = 10_000
OF_FILES = frozenset({"io_layout", "inline_limit"})
"""Settings that change how a file is written, and not what it computes."""


class Journal:
    """Remembers figures by trial, in memory and, where there is a path, in a file.

    Args:
        path: the file, made or begun anew with the first figures that are noted; None for none.
        holds_for: what figures depend on beside the trial, as JSON has it.

    Raises:
        OutputError: the file cannot be written.
    """

    def __init__(self, path: Path | None = None, holds_for: Mapping[str, Any] | None = None) -> None:
        self.path = path
        self.restored = 0
        self._figures: dict[str, Figures] = {}
        self._looks: dict[str, float] = {}
        self._head: dict[str, Any] | None = {"schema": SCHEMA, **(holds_for or {})}
        if path is None:
            return
        lines = _lines(path)
        if lines and _parsed(lines[0]) == self._head:
            for line in lines[1:]:
                self._restore(_parsed(line))
            self.restored = len(self._figures)
        if self.restored or self._looks:
            self._head = None
            self._append("")  # a line that was cut short ends here

    def figures(self, trial: Trial) -> Figures | None:
        """Those of a trial, where they are known."""
        return self._figures.get(_key(trial))

    def look(self, trial: Trial) -> float | None:
        """What a quick look at a trial gave, in dB."""
        return self._looks.get(_key(trial))

    def remember(self, trial: Trial, figures: Figures) -> None:
        """Notes the figures of a trial."""
        self._figures[_key(trial)] = figures
        told = {name: _spelled(value) for name, value in asdict(figures).items()}
        self._append(json.dumps({"trial": _key(trial), "figures": told}))

    def remember_look(self, trial: Trial, decibels: float) -> None:
        """Notes what a quick look at a trial gave."""
        self._looks[_key(trial)] = decibels
        self._append(json.dumps({"trial": _key(trial), "look": _spelled(decibels)}))

    def _append(self, line: str) -> None:
        if self.path is None:
            return
        if self._head is not None:
            with atomic_write(self.path) as file:
                file.write(json.dumps(self._head).encode() + b"\n")
            self._head = None
        try:
            with self.path.open("ab") as file:
                file.write(line.encode() + b"\n")
        except OSError as error:
            raise OutputError(f"cannot be written: {error.strerror or error}", where=str(self.path)) from error

    def _restore(self, line: Any) -> None:
        if not isinstance(line, dict) or not isinstance(line.get("trial"), str):
            return
        look, figures = _number(line.get("look")), line.get("figures")
        if look is not None:
            self._looks[line["trial"]] = look
        elif isinstance(figures, dict) and (found := _figures_of(figures)) is not None:
            self._figures[line["trial"]] = found


def _key(trial: Trial) -> str:
    """What figures depend on; the order of overrides counts, as the last one that fits holds."""
    overrides = {name: value for name, value in trial.to_data()["overrides"].items() if name not in OF_FILES}
    return json.dumps([trial.target, trial.scheme, overrides, trial.seed])


def _lines(path: Path) -> list[bytes]:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError:
        return []
    return [] if len(content) > LARGEST else [line for line in content.split(b"\n") if line.strip()]


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _figures_of(data: Mapping[str, Any]) -> Figures | None:
    """Figures as JSON says them; None where it says anything else."""
    decibels = data.get("decibels")
    if not isinstance(decibels, dict) or len(decibels) > MOST_OUTPUTS:
        return None
    heard = {name: _number(value) for name, value in decibels.items()}
    mean, floats, metric, size = (
        _number(data.get("mean")),
        _number(data.get("floats")),
        data.get("metric"),
        data.get("bytes"),
    )
    if mean is None or floats is None or None in heard.values() or not isinstance(size, int) or isinstance(size, bool):
        return None
    known = None if metric is None else _number(metric)
    if metric is not None and known is None:
        return None
    each = data.get("each", [])
    singly = [_number(value) for value in each] if isinstance(each, list) else [None]
    if None in singly:
        return None
    numbers = {name: value for name, value in heard.items() if value is not None}
    return Figures(numbers, mean, known, size, floats, tuple(value for value in singly if value is not None))


def _spelled(value: Any) -> Any:
    """A value with numbers that JSON lacks as texts."""
    if isinstance(value, dict):
        return {name: _spelled(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [_spelled(item) for item in value]
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else value


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        return float(value) if value in ("inf", "-inf") else None
    return (
        float(value) if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e308 else None
    )
