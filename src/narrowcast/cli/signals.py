"""Signals end the process where it stands, with 128 plus their number, and leave nothing behind.

An exception would not do, Ctrl-C's KeyboardInterrupt included: what raises in the middle of a module's import or of a
callback is not always passed on, and some extension modules crash on it.
"""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False  # this module comes before everything else: what it imports delays `catch`
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

__all__ = ["INTERRUPTED", "INTERRUPTION", "catch", "end"]

INTERRUPTED = 128 + signal.SIGINT
INTERRUPTION = "interrupted; nothing was written"

LEFT_BEHIND = (("narrowcast._commands", "stop_commands"), ("narrowcast._files", "remove_temporaries"))
"""What removes what a process would leave behind, where it was imported at all."""

SHOW_CURSOR = b"\x1b[?25h"
"""What a terminal needs after a progress bar that was cut short."""

FAILURE = """{
  "schema": "narrowcast/failure/1",
  "error": "NarrowcastError",
  "exit_code": %d,
  "what": "%s",
  "where": "",
  "hint": "",
  "written": null
}
"""
"""As `report.machine` has it, which is not imported yet."""


def catch() -> None:
    """Sets the handlers. A signal that is ignored stays so: nohup and shells' jobs in the background ask for it."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, end)


def end(number: int, _frame: FrameType | None) -> NoReturn:
    """Ends the process where it stands, and leaves nothing behind."""
    try:
        for module, name in LEFT_BEHIND:
            remove = getattr(sys.modules.get(module), name, None)  # it may be half imported
            if remove is not None:
                remove()
        if sys.stderr.isatty():
            os.write(2, SHOW_CURSOR)
        if number == signal.SIGINT:
            os.write(2, f"error: {INTERRUPTION}\n".encode())
            if "--json" in sys.argv:
                os.write(1, (FAILURE % (INTERRUPTED, INTERRUPTION)).encode())
    finally:
        os._exit(128 + number)
