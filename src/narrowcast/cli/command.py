"""What every command has in common: examples in its help, one paragraph for an error, an exit code from its class."""

from __future__ import annotations

import errno
import json
import shutil
import sys
import textwrap
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import click

from narrowcast.cli import signals
from narrowcast.errors import NarrowcastError, VerificationError, did_you_mean

__all__ = ["UNFORESEEN", "Command", "Group", "Option", "option", "paragraph", "subcommand", "tell"]

UNFORESEEN = 1
MAX_WIDTH = 100
GENERAL = "General"
LABEL = "error: "
MODELS = ("source", "file", "files", "other")
"""How parameters are called that are paths of models."""


class Option(click.Option):
    """An option that stands under a heading in the help."""

    def __init__(self, *args: Any, group: str = GENERAL, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group = group


option = partial(click.option, cls=Option)
"""`click.option` with a `group`."""


class _WithExamples(click.Command):
    """A command with examples in its help."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the examples below the options, each on one line as it would be typed."""
        with formatter.section("Examples"):
            for example in self.examples:
                formatter.write(f"  {example}\n")


class Group(_WithExamples, click.Group):
    """A command of commands."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name; the one that may have been meant is told."""
        found = super().get_command(ctx, cmd_name)
        if found is None:
            guess = did_you_mean(cmd_name, self.commands).capitalize() or f"There are {', '.join(self.commands)}."
            ctx.fail(f"No such command {cmd_name!r}. {guess}")
        return found


class Command(_WithExamples):
    """A command whose errors end the process with their class's exit code."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the options under their headings, in the order in which these first appear, the general ones last."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                groups.setdefault(getattr(parameter, "group", GENERAL), []).append(record)
        groups[GENERAL] = groups.pop(GENERAL)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command; turns errors into a paragraph on stderr (and JSON on stdout) and an exit code."""
        with_traceback = ctx.params.pop("traceback", False)
        _enter(ctx.params)
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except (Exception, KeyboardInterrupt) as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise
            if with_traceback:
                traceback.print_exception(error, file=sys.stderr)
            ctx.exit(tell(error, as_json=ctx.params.get("as_json", False)))


def _enter(params: dict[str, Any]) -> None:
    """Lets the paths of models lead to a member of the archives that they name."""
    member = (params.pop("member", None) or "").lstrip("/")
    for name in MODELS if member else ():
        found = params.get(name)
        if found is not None:
            params[name] = tuple(path / member for path in found) if isinstance(found, tuple) else found / member


def subcommand(name: str, *, summary: str, examples: Sequence[str]) -> Callable[[Callable[..., Any]], Command]:
    """Makes a function a command whose help is the docstring; every command takes --json, --quiet, --traceback.

    Args:
        name: of the command.
        summary: one short line for the list of commands.
        examples: command lines, the simplest first.
    """

    def decorate(function: Callable[..., Any]) -> Command:
        made = click.command(name, cls=Command, short_help=summary, examples=examples)(function)
        made.params += [
            Option(["--json", "as_json"], is_flag=True, group=GENERAL, help="Print one JSON object, no report."),
            Option(["--quiet", "-q"], is_flag=True, group=GENERAL, help="Print errors only."),
            Option(
                ["--traceback"],
                is_flag=True,
                group=GENERAL,
                envvar="NARROWCAST_DEBUG",
                help="Show where an error arose.",
            ),
        ]
        return made

    return decorate


def paragraph(error: NarrowcastError) -> str:
    """An error as one paragraph: what is wrong, where, and what to do. Wrapped on a terminal, one line elsewhere."""
    from narrowcast.report.text import printable

    place = f"{printable(error.where)}: " if error.where else ""
    what = printable(" ".join(error.what.split())).rstrip(".")
    hint = f". Hint: {printable(' '.join(error.hint.split()))}" if error.hint else ""
    text = f"{place}{what}{hint}"
    if sys.stderr.isatty():
        width = min(shutil.get_terminal_size().columns, MAX_WIDTH)
        text = textwrap.fill(
            text, width, initial_indent=" " * len(LABEL), subsequent_indent="  ", break_on_hyphens=False
        ).lstrip()
    return click.style(LABEL.rstrip(), fg="red", bold=True) + " " + text


def tell(error: BaseException, *, as_json: bool, as_text: bool = True) -> int:
    """Tells of an error as a paragraph on stderr and as JSON on stdout, each if asked to; returns the exit code."""
    shown, code = _told(error)
    if as_text:
        click.echo(paragraph(shown), err=True)
    if as_json:
        from narrowcast.report import machine

        written = shown.written if isinstance(shown, VerificationError) else None
        click.echo(json.dumps(machine.failure(shown, code, written), indent=2))
    return code


def _told(error: BaseException) -> tuple[NarrowcastError, int]:
    """The error to show for an exception, and the exit code."""
    match error:
        case NarrowcastError():
            return error, error.exit_code
        case KeyboardInterrupt():
            return NarrowcastError(signals.INTERRUPTION), signals.INTERRUPTED
        case MemoryError():
            return NarrowcastError("not enough memory"), UNFORESEEN
    what = f"unforeseen {type(error).__name__}: {error}"
    hint = "this is a bug in narrowcast; please report it with what --traceback prints"
    return NarrowcastError(what, hint=hint), UNFORESEEN
