"""A command's result on stdout: the report for people, one JSON object for scripts, or nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

from narrowcast.report.blocks import Block

__all__ = ["emit"]

Result = TypeVar("Result")


def emit(result: Result, view: Callable[[Result], tuple[Block, ...]], *, as_json: bool, quiet: bool) -> None:
    """Prints a result.

    Args:
        result: one of the dataclasses of `evaluation.results`.
        view: its function in `report.views`.
        as_json: print JSON, also when `quiet`.
        quiet: print no report.
    """
    if as_json:
        from narrowcast.report import machine

        sys.stdout.write(machine.to_json(result))
    elif not quiet:
        from narrowcast.report import tables

        tables.show(view(result), sys.stdout)
