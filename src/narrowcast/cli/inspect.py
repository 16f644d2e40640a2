"""`narrowcast inspect`: what a model file holds."""

from __future__ import annotations

from pathlib import Path

import click

from narrowcast.cli import options
from narrowcast.cli.command import option, subcommand
from narrowcast.cli.output import emit


@subcommand(
    "inspect",
    summary="Show what a model file holds.",
    examples=[
        "narrowcast inspect model.tflite",
        "narrowcast inspect model.onnx --why",
        "narrowcast inspect model.keras --json",
    ],
)
@click.argument("file", type=options.PATH)
@options.from_option
@option("--why", is_flag=True, help="Also tell which fusions were refused, and why (Keras and ONNX).")
def command(file: Path, source_format: str | None, why: bool, as_json: bool, quiet: bool) -> None:
    """Show inputs, outputs, operators, parameters and quantisation of a model file or folder."""
    from narrowcast import api
    from narrowcast.report import views

    emit(api.inspect(file, fmt=source_format, why=why), views.inspection, as_json=as_json, quiet=quiet)
