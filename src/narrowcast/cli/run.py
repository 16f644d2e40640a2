"""`narrowcast run`: one image through one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from narrowcast.cli import options
from narrowcast.cli.command import option, subcommand
from narrowcast.cli.output import emit

if TYPE_CHECKING:
    from typing import Unpack

    from narrowcast.api import PreprocessingOptions


@subcommand(
    "run",
    summary="Classify one image.",
    examples=[
        "narrowcast run model.tflite cat.jpg --labels labels.txt",
        "narrowcast run model.onnx cat.jpg --labels labels.txt --preprocess torch --crop 0.875",
    ],
)
@click.argument("file", type=options.PATH)
@click.argument("image", type=options.PATH)
@options.from_option
@options.signature_option
@options.labels_option
@option("--top", metavar="N", type=click.IntRange(min=1), default=5, show_default=True, help="Classes to show.")
@options.preprocessing_options
def command(
    file: Path,
    image: Path,
    source_format: str | None,
    signature: str,
    labels: Path | None,
    top: int,
    as_json: bool,
    quiet: bool,
    **preprocessing: Unpack[PreprocessingOptions],
) -> None:
    """Classify one image with a model file, and show the best classes.

    A .tflite file may know its own preprocessing and labels; options override them.
    """
    from narrowcast import api
    from narrowcast.report import views

    result = api.run(
        file, image, source_format=source_format, signature=signature, labels=labels, top=top, **preprocessing
    )
    emit(result, views.prediction, as_json=as_json, quiet=quiet)
