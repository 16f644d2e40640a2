"""The three files of a comparison: report.json, report.csv and report.html."""

from __future__ import annotations

from pathlib import Path

from narrowcast._files import atomic_write
from narrowcast.evaluation.results import Comparison
from narrowcast.report import html, machine

__all__ = ["write"]


def write(result: Comparison, folder: Path) -> tuple[Path, ...]:
    """Writes the reports into an existing folder and returns their paths.

    Raises:
        OutputError: the folder cannot be written.
    """
    texts = {
        "report.json": machine.to_json(result),
        "report.csv": machine.to_csv(result),
        "report.html": html.page(result),
    }
    for name, text in texts.items():
        with atomic_write(folder / name) as file:
            file.write(text.encode("utf-8", "backslashreplace"))
    return tuple(folder / name for name in texts)
