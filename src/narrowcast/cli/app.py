"""The `narrowcast` group: commands are imported when they are used."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

import click

__all__ = ["COMMANDS", "NEW_OBJECTS", "cli", "main"]

NEW_OBJECTS = 100_000
"""Objects made before the garbage collector looks for cycles: nodes of a graph live on, it goes over them in vain.

With Python's own 700, a third of the time of a conversion of 20,000 nodes is the collector's.
"""

SHOW_CURSOR = b"\x1b[?25h"
"""What a terminal needs after a progress bar that was cut short."""

COMMANDS = ("compare", "convert", "quantize", "inspect", "bench", "run", "completion")
"""In the order of the help; each is the `command` of the module `narrowcast.cli.<name>`."""


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"narrowcast.cli.{cmd_name}").command
        return command

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Examples"):
            formatter.write("  narrowcast compare model.keras --data test_images/ -o out/\n")
            formatter.write("  narrowcast convert model.onnx -o model.tflite\n")
            formatter.write("  narrowcast quantize model.onnx -o model.tflite --scheme int8 --data images/\n")
        with formatter.section("Exit codes"):
            formatter.write_dl(
                [
                    ("0", "done"),
                    ("1", "an error that narrowcast did not foresee"),
                    ("2", "usage: unknown or contradictory options"),
                    ("3", "written, but the verification failed; kept as *.unverified"),
                    ("4", "the model holds something that cannot be expressed"),
                    ("5", "a bad input file, bad data, or an output that cannot be written"),
                ]
            )


def _show_version(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from narrowcast import __version__

        click.echo(f"narrowcast {__version__}")
        ctx.exit()


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Print the version."
)
def cli() -> None:
    """Takes a trained network to the device that must run it, quantised, and proves that it still works there.

    Reads Keras (.keras, .h5) and ONNX files, writes TFLite; every file written is run beside its source.
    """


def _terminate(number: int, _frame: FrameType | None) -> NoReturn:
    """Ends the process at once, without its temporary files.

    An exception could be lost on its way out: what a module's import or a callback raises is not always passed on.
    """
    files = sys.modules.get("narrowcast._files")
    if files is not None:
        files.remove_temporaries()
    if sys.stderr.isatty():
        os.write(sys.stderr.fileno(), SHOW_CURSOR)
    os._exit(128 + number)


def main() -> None:
    """Runs the command line, the process's arguments being the options."""
    gc.set_threshold(NEW_OBJECTS)
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # nohup has SIGHUP ignored
            signal.signal(number, _terminate)
    cli(prog_name="narrowcast")
