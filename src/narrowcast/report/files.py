"""Reports as files: those of a comparison, and the pages of a network, of where one loses, and of a search."""

from __future__ import annotations

from pathlib import Path

from narrowcast._files import atomic_write
from narrowcast.evaluation.diagnosis.records import Diagnosis
from narrowcast.evaluation.networks.differences import Differences
from narrowcast.evaluation.networks.records import Network
from narrowcast.evaluation.results import Comparison
from narrowcast.report import html, losses_page, machine, tuning_page
from narrowcast.report.drawing.page import page, side_by_side
from narrowcast.tuning.records import Tuning

__all__ = ["draw", "picture", "picture_beside", "write", "write_losses"]


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


def write_losses(result: Diagnosis, path: Path) -> None:
    """Writes the page of where a quantised network loses.

    Raises:
        OutputError: it cannot be written.
    """
    with atomic_write(path) as file:
        file.write(losses_page.page(result).encode("utf-8", "backslashreplace"))


def draw(shown: Network | Differences, path: Path) -> None:
    """Writes the page that draws a network, or two side by side.

    Raises:
        OutputError: it cannot be written.
    """
    text = side_by_side(shown) if isinstance(shown, Differences) else page(shown)
    with atomic_write(path) as file:
        file.write(text.encode("utf-8", "backslashreplace"))


def picture_beside(path: Path) -> Path:
    """Where the page of a search lies."""
    return path.with_name(path.name + ".tune.html")


def picture(result: Tuning, path: Path) -> Path:
    """Writes the page of a search beside its file, and returns its path.

    Raises:
        OutputError: it cannot be written.
    """
    place = picture_beside(path)
    with atomic_write(place) as file:
        file.write(tuning_page.page(result).encode("utf-8", "backslashreplace"))
    return place
