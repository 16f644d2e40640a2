"""`narrowcast compare`: every scheme of one model, measured side by side on real data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from narrowcast.cli import options
from narrowcast.cli.command import option, subcommand
from narrowcast.cli.output import emit
from narrowcast.cli.progress import Bar
from narrowcast.errors import VerificationError

if TYPE_CHECKING:
    from typing import Unpack

    from narrowcast.api import CompareOptions


def _drop(context: click.Context, parameter: click.Parameter, value: float) -> float:
    """A fraction, unless a metric was asked for, which has its own unit."""
    if value > 1 and context.params.get("metric") is None:
        raise click.BadParameter(f"{value:g} is no fraction from 0 to 1.", context, parameter)
    return value


@subcommand(
    "compare",
    summary="Write every format and scheme, measure each, recommend one.",
    examples=[
        "narrowcast compare model.keras --data test_images/ --calibrate calibration_images/ --threads 1,2 -o out/",
        "narrowcast compare model.onnx --data images/ --preprocess torch --crop 0.875 --max-drop 0.005 -o out/",
        "narrowcast compare model.keras --data test.npz --schemes float32,int8 --prefer size -o out/",
        "narrowcast compare model.onnx --data test.npz --to tflite,onnx -o out/",
        "narrowcast compare detector.onnx --data images/ --metric boxes.py:f1 --max-drop 0.05 -o out/",
    ],
)
@options.source_argument
@option(
    "--output",
    "-o",
    "out",
    group="Output",
    metavar="DIR",
    type=options.PATH,
    required=True,
    help="Folder to fill.",
)
@option(
    "--data",
    group="Data",
    type=options.PATH,
    required=True,
    help="Labelled test data: a folder with a sub-folder per class or a labels.csv, .npz or .npy.",
)
@option(
    "--calibrate",
    group="Data",
    type=options.PATH,
    help="Samples to calibrate on.  [default: a part of --data set aside]",
)
@option(
    "--schemes",
    group="Quantisation",
    type=options.SCHEME_LIST,
    help="Schemes to write.  [default: all that a format has, but int8_pow2]",
)
@options.threads_option
@options.metric_option
@option(
    "--max-drop",
    group="Recommendation",
    metavar="F",
    type=options.Finite(0.0),
    callback=_drop,
    default=0.01,
    show_default=True,
    help="What a recommended file may lose of the metric, in its unit; of top-1 and other shares as a fraction.",
)
@option(
    "--min-metric",
    group="Recommendation",
    metavar="F",
    type=options.Finite(),
    help="What a recommended file has to keep of the metric, in place of --max-drop, as 30 for psnr.",
)
@option(
    "--prefer",
    group="Recommendation",
    type=click.Choice(["latency", "size"]),
    default="latency",
    show_default=True,
    help="What the recommended file is best in, within --max-drop.",
)
@options.quantizer_options
@options.override_options
@options.layout_option
@options.formats_option
@options.opset_option
@options.inline_option
@options.from_option
@options.data_options
@options.model_options
@options.freeze_option
@options.edit_options
@options.labels_option
@options.verify_option
@options.reference_option("original")
def command(
    source: Path,
    out: Path,
    data: Path,
    calibrate: Path | None,
    to: tuple[str, ...],
    schemes: tuple[str, ...] | None,
    as_json: bool,
    quiet: bool,
    **given: Unpack[CompareOptions],
) -> None:
    """Write a model in every format and scheme, measure each file, and recommend one.

    Accuracy, agreement with the source, latency, memory and operators of each file stand in one table, and in
    DIR/report.html, report.json and report.csv. A scheme that fails is a line of the table, and the others go on; the
    exit code is that of the first failure if no file could be written at all, and 3 if one was kept as *.unverified.
    """
    from narrowcast import api
    from narrowcast.report import files, views

    with Bar(shown=not quiet) as bar:
        result = api.compare(source, data, out=out, calibrate=calibrate, to=to, schemes=schemes, progress=bar, **given)
        files.write(result, out)
    emit(result, views.comparison, as_json=as_json, quiet=quiet)
    if any(row.failure and row.written is not None for row in result.rows):
        click.get_current_context().exit(VerificationError.exit_code)
