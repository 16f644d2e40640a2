"""`narrowcast params`: the weights of a model as arrays in a folder, and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from narrowcast.cli import options
from narrowcast.cli.command import Group, option, subcommand
from narrowcast.cli.output import emit
from narrowcast.cli.progress import Bar

if TYPE_CHECKING:
    from typing import Unpack

    from narrowcast.api import FileOptions


@click.group(
    "params",
    cls=Group,
    short_help="Extract weights, or replace them.",
    examples=[
        "narrowcast params extract model.onnx -o weights/",
        "narrowcast params replace model.onnx weights/ -o changed.onnx",
    ],
)
def command() -> None:
    """Write the weights of a model as arrays (.npy) into a folder, or take them from there."""


@subcommand(
    "extract",
    summary="Write every weight as a .npy file.",
    examples=["narrowcast params extract model.onnx -o weights/", "narrowcast params extract model.keras -o weights/"],
)
@options.source_argument
@option("--output", "-o", "out", metavar="DIR", type=options.PATH, required=True, help="Folder to write.")
@options.from_option
@options.model_options
def extract(
    source: Path,
    out: Path,
    source_format: str | None,
    batch: int | Literal["dynamic"],
    input_shapes: Mapping[str, tuple[int | None, ...]],
    signature: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write every weight of a model as a .npy file, with an index.json.

    The index says of each its name, the node that reads it, its role, shape and type, and what its axes count; of
    quantised ones also which files hold scales and zero points.
    """
    from narrowcast import api
    from narrowcast.report import views

    found = api.extract_parameters(
        source, out, source_format=source_format, batch=batch, input_shapes=input_shapes, signature=signature
    )
    emit(found, views.extraction, as_json=as_json, quiet=quiet)


@subcommand(
    "replace",
    summary="Write a model with the weights of a folder.",
    examples=[
        "narrowcast params replace model.onnx weights/ -o changed.onnx",
        "narrowcast params replace model.keras weights/ -o model.tflite",
    ],
)
@options.source_argument
@click.argument("folder", metavar="DIR", type=options.PATH)
@options.output_option
@options.to_options
@options.layout_option
@options.from_option
@options.model_options
@options.shapes_option
@options.freeze_option
@options.verify_option
@options.reference_option("auto")
def replace(
    source: Path,
    folder: Path,
    output: Path,
    fmt: str | None,
    as_json: bool,
    quiet: bool,
    **given: Unpack[FileOptions],
) -> None:
    """Write SRC with the weights that DIR holds, in any format that is written.

    DIR is one that params extract made, with other arrays of the same shapes and types in it. Files may be left out of
    the index. Where nothing differs, the file is the same, byte for byte, that convert writes.
    """
    from narrowcast import api
    from narrowcast.report import views

    with Bar(shown=not quiet) as bar:
        written = api.replace_parameters(source, folder, output, fmt=fmt, progress=bar, **given)
    emit(written, views.written, as_json=as_json, quiet=quiet)


command.add_command(extract)
command.add_command(replace)
