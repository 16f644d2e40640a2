"""`narrowcast compare`: every scheme of one model, measured side by side on real data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from narrowcast.cli import options
from narrowcast.cli.command import option, subcommand
from narrowcast.cli.output import emit
from narrowcast.cli.progress import Bar
from narrowcast.errors import VerificationError

if TYPE_CHECKING:
    from typing import Unpack

    from narrowcast.api import DataOptions


@subcommand(
    "compare",
    summary="Write every scheme, measure each, recommend one.",
    examples=[
        "narrowcast compare model.keras --data test_images/ --calibrate calibration_images/ --threads 1,2 -o out/",
        "narrowcast compare model.onnx --data images/ --preprocess torch --crop 0.875 --max-drop 0.005 -o out/",
        "narrowcast compare model.keras --data test.npz --schemes float32,int8 --prefer size -o out/",
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
    default=",".join(options.SCHEMES),
    show_default=True,
    help="Schemes to write.",
)
@options.threads_option
@option(
    "--max-drop",
    group="Recommendation",
    metavar="F",
    type=click.FloatRange(0.0, 1.0),
    default=0.01,
    show_default=True,
    help="Top-1 accuracy that a recommended file may lose, as a fraction.",
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
@options.layout_option
@options.from_option
@options.data_options
@options.model_options
@options.freeze_option
@options.labels_option
@options.verify_option
@options.reference_option("original")
def command(
    source: Path,
    out: Path,
    data: Path,
    calibrate: Path | None,
    schemes: tuple[str, ...],
    threads: tuple[int, ...],
    max_drop: float,
    prefer: Literal["latency", "size"],
    samples: int,
    weights: str,
    observer: str,
    io_type: str | None,
    io_layout: Literal["target", "source"],
    source_format: str | None,
    batch: int | Literal["dynamic"],
    input_shapes: tuple[tuple[str, tuple[int, ...]], ...],
    freeze: tuple[tuple[str, float], ...],
    labels: Path | None,
    verify: bool,
    reference: Literal["auto", "original", "canonical"],
    as_json: bool,
    quiet: bool,
    **data_options: Unpack[DataOptions],
) -> None:
    """Write a model in every scheme, measure each file, and recommend one.

    Accuracy, agreement with the source, latency, memory and operators of each file stand in one table, and in
    DIR/report.html, report.json and report.csv. A scheme that fails is a line of the table, and the others go on; the
    exit code is that of the first failure if no file could be written at all, and 3 if one was kept as *.unverified.
    """
    from narrowcast import api
    from narrowcast.report import files, views

    with Bar(shown=not quiet) as bar:
        result = api.compare(
            source,
            data,
            out=out,
            calibrate=calibrate,
            schemes=schemes,
            threads=threads,
            max_drop=max_drop,
            prefer=prefer,
            samples=samples,
            weights=weights,
            observer=observer,
            io_type=io_type,
            io_layout=io_layout,
            source_format=source_format,
            batch=batch,
            input_shapes=dict(input_shapes),
            freeze=dict(freeze),
            labels=labels,
            verify=verify,
            reference=reference,
            progress=bar,
            **data_options,
        )
        files.write(result, out)
    emit(result, views.comparison, as_json=as_json, quiet=quiet)
    if any(row.failure and row.written is not None for row in result.rows):
        click.get_current_context().exit(VerificationError.exit_code)
