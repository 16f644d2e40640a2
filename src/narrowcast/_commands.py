"""Commands of the user, run by the shell as they were given, and stopped with all that they have started."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress

__all__ = ["run_command", "stop_commands"]

_RUNNING: set[int] = set()

FIRST_SIGNAL = 128
"""A shell adds the number of the signal that ended its command to it."""


def run_command(line: str, seconds: float) -> int | None:
    """Runs a command line without input, its output thrown away.

    Args:
        line: for the shell.
        seconds: that it may take.

    Returns:
        Its exit code, for a signal that ended it the number below 0; None where it took too long and was stopped.
    """
    process = subprocess.Popen(
        line,
        shell=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    _RUNNING.add(process.pid)
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        _stop(process.pid)
        process.wait()
        _RUNNING.discard(process.pid)
    return FIRST_SIGNAL - code if code > FIRST_SIGNAL else code


def stop_commands() -> None:
    """Stops all that run, for a process that ends where it stands."""
    for group in tuple(_RUNNING):
        _stop(group)


def _stop(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
