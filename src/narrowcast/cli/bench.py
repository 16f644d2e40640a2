"""`narrowcast bench`: files timed alternately in one run."""

from __future__ import annotations

from pathlib import Path

import click

from narrowcast.cli import options
from narrowcast.cli.command import subcommand
from narrowcast.cli.output import emit
from narrowcast.cli.progress import Bar


@subcommand(
    "bench",
    summary="Measure latency and memory of files.",
    examples=[
        "narrowcast bench model.tflite",
        "narrowcast bench out/*.tflite --threads 1,2,4",
        "narrowcast bench mine.tflite theirs.tflite --threads 1 --json",
    ],
)
@click.argument("files", metavar="FILE...", type=options.PATH, nargs=-1, required=True)
@options.threads_option
@options.member_option
@options.signature_option
def command(files: tuple[Path, ...], threads: tuple[int, ...], signature: str, as_json: bool, quiet: bool) -> None:
    """Measure latency and peak memory of model files.

    The files take turns, so that a busy or throttling machine slows them all alike; the median stands with half the
    range between the quartiles.
    """
    from narrowcast import api
    from narrowcast.report import views

    with Bar(shown=not quiet) as bar:
        result = api.bench(files, threads=threads, signature=signature, progress=bar)
    emit(result, views.benchmark, as_json=as_json, quiet=quiet)
