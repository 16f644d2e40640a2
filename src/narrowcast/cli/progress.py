"""A progress bar on stderr: on a terminal only, and only for work that lasts."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["Bar"]

PATIENCE = 0.4
"""Seconds of work before a bar appears; a bar that flashes up tells nothing and costs the import of rich."""


class Bar:
    """Receives the api's progress reports and shows the stage at hand.

    Example:
        >>> with Bar(shown=False) as bar:
        ...     bar("reading", 0, None)
    """

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown and sys.stderr.isatty()
        self._started = time.monotonic()
        self._progress: Progress | None = None
        self._stage = ""
        self._task: TaskID | None = None

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        """Shows that `done` of `total` steps of `stage` are done; None for a number of steps that is not known."""
        if not self._shown or time.monotonic() - self._started < PATIENCE:
            return
        if self._progress is None:
            self._progress = _start()
        if self._task is not None and stage != self._stage:
            self._progress.remove_task(self._task)
            self._task = None
        if self._task is None:
            self._stage, self._task = stage, self._progress.add_task(stage, total=total)
        self._progress.update(self._task, completed=done, total=total)

    def say(self, line: str) -> None:
        """Writes a line above the bar, where there is one to be seen."""
        if self._shown:
            if self._progress is None:
                self._progress = _start()
            self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)


def _start() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    progress.start()
    return progress
