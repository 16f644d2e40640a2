"""The `narrowcast` group: commands are imported when they are used."""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from narrowcast.cli.command import tell
from narrowcast.errors import UsageError, did_you_mean

__all__ = ["COMMANDS", "NEW_OBJECTS", "cli", "main"]

NEW_OBJECTS = 100_000
"""Objects made before the garbage collector looks for cycles: nodes of a graph live on, it goes over them in vain.

With Python's own 700, a third of the time of a conversion of 20,000 nodes is the collector's.
"""

COMMANDS = (
    "compare",
    "convert",
    "quantize",
    "tune",
    "finetune",
    "diff",
    "inspect",
    "bench",
    "run",
    "params",
    "reduce",
    "completion",
)
"""In the order of the help; each is the `command` of the module `narrowcast.cli.<name>`."""


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            ctx.fail(f"No such command {cmd_name!r}. {did_you_mean(cmd_name, COMMANDS).capitalize()}".strip())
        command: click.Command = importlib.import_module(f"narrowcast.cli.{cmd_name}").command
        return command

    def main(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> NoReturn:
        """Runs the command line and exits; what is wrong with its words is told as any error is."""
        words = list(sys.argv[1:] if args is None else args)
        as_json = "--json" in words
        try:
            code = super().main(words, *rest, **{**options, "standalone_mode": False}) or 0
        except click.ClickException as error:
            error.show()
            context = getattr(error, "ctx", None)
            hint = f"{context.command_path} --help" if context is not None else ""
            code = tell(UsageError(error.format_message(), hint=hint), as_json=as_json, as_text=False)
        except (click.Abort, KeyboardInterrupt):
            code = tell(KeyboardInterrupt(), as_json=as_json)
        sys.exit(code)

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

    Reads Keras (.keras, .h5), ONNX and TFLite files, writes TFLite and ONNX; every file written is run beside its
    source.
    """


def main() -> None:
    """Runs the command line, the process's arguments being the options."""
    gc.set_threshold(NEW_OBJECTS)
    cli(prog_name="narrowcast")
