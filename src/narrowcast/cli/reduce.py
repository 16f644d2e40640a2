"""`narrowcast reduce`: the smallest part of a model on which a command still fails."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from narrowcast.cli import options
from narrowcast.cli.command import option, subcommand
from narrowcast.cli.output import emit
from narrowcast.cli.progress import Bar

if TYPE_CHECKING:
    from typing import Unpack

    from narrowcast.api.options import ReduceOptions


@subcommand(
    "reduce",
    summary="Find the smallest part on which a command fails.",
    examples=[
        "narrowcast reduce model.onnx --fails 'narrowcast convert {} -o /tmp/m.tflite'",
        "narrowcast reduce model.keras --fails ./check.sh -o part.onnx --random-weights",
    ],
)
@options.source_argument
@option("--fails", metavar="CMD", required=True, help="Command for the shell; {} stands for the file of a part.")
@option(
    "--output", "-o", metavar="DST", type=options.PATH, help="File to write.  [default: SRC's name with _reduced.onnx]"
)
@option("--random-weights", is_flag=True, help="Replace weights by random ones of the same range, names by numbers.")
@option(
    "--max-runs",
    "most_runs",
    metavar="N",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="Runs of CMD.",
)
@option(
    "--time-limit",
    "seconds",
    metavar="S",
    type=options.Finite(0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds after which a run is stopped.",
)
@option("--seed", metavar="N", type=click.IntRange(min=0), default=0, show_default=True, help="Of random weights.")
@options.opset_option
@options.from_option
@options.model_options
@options.shapes_option
@options.freeze_option
@options.edit_options
def command(
    source: Path,
    fails: str,
    output: Path | None,
    random_weights: bool,
    as_json: bool,
    quiet: bool,
    **given: Unpack[ReduceOptions],
) -> None:
    """Find the smallest part of a model on which a command still fails, and write it as .onnx.

    CMD is run by the shell for one part after the other, with the path of the part's .onnx file in the place of {}, or
    else as its last argument. A part counts where CMD ends as it does on the whole model: by the same exit code, by
    the same signal, or by reaching the time limit. Nothing else is run.
    """
    from narrowcast import api
    from narrowcast.report import views

    output = output or Path(f"{source.stem}_reduced.onnx")
    with Bar(shown=not quiet) as bar:
        found = api.reduce_model(source, fails, output, random_weights=random_weights, progress=bar, **given)
    emit(found, views.reduction, as_json=as_json, quiet=quiet)
