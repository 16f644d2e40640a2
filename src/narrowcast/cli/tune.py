"""`narrowcast tune`: the best file of a scheme, looked for and proven, with the recipe that makes it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from narrowcast.cli import interruption, options
from narrowcast.cli.command import option, subcommand
from narrowcast.cli.output import emit
from narrowcast.cli.progress import Bar

if TYPE_CHECKING:
    from typing import Unpack

    from narrowcast.api.options import FileOptions


@subcommand(
    "tune",
    summary="Look for the best file of a scheme, and say how it is made.",
    examples=[
        "narrowcast tune model.onnx -o model.tflite --data images/ --preprocess torch",
        "narrowcast tune model.keras -o model.tflite --data images/ --max-drop 0.003 --time-budget 5m",
        "narrowcast tune detector.onnx -o detector.tflite --data images/ --metric boxes.py:f1 --max-drop 0.05",
        "narrowcast tune denoiser.onnx -o denoiser.tflite --data frames.npz --min-sqnr 35 --prefer size",
    ],
)
@options.source_argument
@options.output_option
@options.to_options
@option(
    "--data",
    group="Data",
    type=options.PATH,
    required=True,
    help="Samples, with labels or without: a third of them, at most 64, judge what the others have made.",
)
@option(
    "--scheme",
    group="Quantisation",
    metavar="SCHEME",
    default="int8",
    show_default=True,
    help=f"One of {', '.join(options.SCHEMES)}.",
)
@option(
    "--max-drop",
    group="Goal",
    metavar="F",
    type=options.Finite(0.0),
    help="What the file may lose of the metric, in its unit; of top-1 and other shares as a fraction.",
)
@option(
    "--min-metric",
    group="Goal",
    metavar="F",
    type=options.Finite(),
    help="What it has to reach, in place of --max-drop.",
)
@option("--min-sqnr", group="Goal", metavar="DB", type=options.Finite(), help="dB that every output has to keep.")
@option(
    "--prefer",
    group="Goal",
    type=click.Choice(["latency", "size"]),
    default="latency",
    show_default=True,
    help="What the file is to be best in, of those that reach the goal.",
)
@option(
    "--max-float",
    group="Goal",
    metavar="F",
    type=options.Finite(0.0, 1.0),
    default=0.2,
    show_default=True,
    help="Share of the multiply-accumulates that may leave 8-bit integers.",
)
@option(
    "--time-budget",
    group="Goal",
    type=options.DURATION,
    help="Time to search, as 90s or 5m.  [default: until nothing more helps]",
)
@options.metric_option
@options.making_options
def command(
    source: Path,
    output: Path,
    fmt: str | None,
    data: Path,
    scheme: str,
    metric: str | None,
    max_drop: float | None,
    min_metric: float | None,
    min_sqnr: float | None,
    prefer: Literal["latency", "size"],
    max_float: float,
    time_budget: float | None,
    as_json: bool,
    quiet: bool,
    **given: Unpack[FileOptions],
) -> None:
    """Look for the file that keeps most of the model, or enough of it, and say how it was made.

    Other ways to choose ranges, repairs, and regions in a wider type are tried one after the other, and each is kept
    only where it makes the outputs better on samples that it was not made by. The best become files, which are run and
    timed. DST.recipe.yaml makes the file again (quantize --recipe), DST.tune.html shows what was tried, and
    DST.tune.jsonl remembers it, so that the same command goes on where one was cut short. Ctrl-C keeps the best so far.
    """
    from narrowcast import api
    from narrowcast._files import check_destinations
    from narrowcast.api.options import LoadOptions, TuneOptions, pick
    from narrowcast.report import files, tuning

    fmt = api.format_of(output, fmt, source, given.get("source_format"))
    check_destinations(files.picture_beside(output))
    with Bar(shown=not quiet) as bar, interruption.noticed() as interrupted:
        model = api.load(source, progress=bar, **pick(LoadOptions, given))
        result = api.tune(
            model,
            output,
            data=data,
            scheme=scheme,
            fmt=fmt,
            metric=metric,
            max_drop=max_drop,
            min_metric=min_metric,
            min_sqnr=min_sqnr,
            prefer=prefer,
            max_float=max_float,
            time_budget=time_budget,
            progress=bar,
            told=lambda tried: bar.say(tuning.line(tried)),
            interrupted=interrupted,
            **pick(TuneOptions, given),
        )
    files.picture(result, output)
    emit(result, tuning.view, as_json=as_json, quiet=quiet)
