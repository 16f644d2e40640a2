"""Ctrl-C as a wish, for work that has something to show when it is cut short."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from narrowcast.cli import signals

__all__ = ["noticed"]


@contextmanager
def noticed() -> Iterator[Callable[[], bool]]:
    """Yields what says whether Ctrl-C was pressed while the block runs; pressed again, it ends the process as ever."""
    pressed: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        pressed.append(number)
        signal.signal(signal.SIGINT, signals.end)

    before = signal.getsignal(signal.SIGINT)
    if before is not signals.end:  # signals are ignored, or somebody else's business
        yield lambda: False
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)
