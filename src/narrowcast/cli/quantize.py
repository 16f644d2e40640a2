"""`narrowcast quantize`: one file into another, in any of the six schemes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click
from click.core import ParameterSource

from narrowcast.cli import options
from narrowcast.cli.command import option, subcommand
from narrowcast.cli.output import emit
from narrowcast.cli.progress import Bar

if TYPE_CHECKING:
    from typing import Unpack

    from narrowcast.api import FileOptions


@subcommand(
    "quantize",
    summary="Quantise in any scheme on your data, verified.",
    examples=[
        "narrowcast quantize model.keras -o model.tflite --scheme int8 --data images/ --preprocess tf",
        "narrowcast quantize model.onnx -o model.tflite --scheme full_int8 --io-type uint8 --data calibration.npz",
        "narrowcast quantize model.onnx -o model.tflite --scheme dynamic_range",
        "narrowcast quantize model.onnx -o model.tflite --scheme int8 --data images/ --keep-float 'head/*' --wide stem",
        "narrowcast quantize model.onnx -o model.tflite --recipe model.tflite.recipe.yaml --data images/",
    ],
)
@options.source_argument
@options.output_option
@options.to_options
@option(
    "--scheme",
    group="Quantisation",
    metavar="SCHEME",
    help=f"One of {', '.join(options.SCHEMES)}.  [required without --recipe]",
)
@option(
    "--data",
    group="Data",
    type=options.PATH,
    help="Samples to calibrate on: a folder, .npz or .npy.",
)
@options.quantizer_options
@options.override_options
@options.recipe_option
@options.layout_option
@options.from_option
@options.data_options
@options.model_options
@options.shapes_option
@options.freeze_option
@options.keep_option
@options.edit_options
@options.labels_option
@options.verify_option
@options.reference_option("auto")
@options.bar_options
def command(
    source: Path,
    output: Path,
    fmt: str | None,
    scheme: str | None,
    data: Path | None,
    recipe: Path | None,
    min_sqnr: float | None,
    max_drop: float | None,
    as_json: bool,
    quiet: bool,
    **given: Unpack[FileOptions],
) -> None:
    """Quantise a Keras, ONNX or TFLite model on your own data, and compare the new file with the old one.

    int8, full_int8 and int16x8 choose the ranges of activations on --data; float16 and dynamic_range only store
    weights smaller and need none. The written file is run on some of the samples beside the quantised graph, whose
    every layer it must reproduce, and that beside the source. The loss is reported; --min-sqnr and --max-drop bound it.
    """
    from narrowcast import api
    from narrowcast._files import check_destinations
    from narrowcast.api.options import LoadOptions, QuantizeOptions, SaveOptions, pick
    from narrowcast.report import views

    scheme, given, usual = _as_the_recipe_says(recipe, scheme, given)
    fmt = api.format_of(output, fmt, source, given.get("source_format"), usual)
    check_destinations(output)
    with Bar(shown=not quiet) as bar:
        model = api.load(source, progress=bar, **pick(LoadOptions, given))
        quantized = api.quantize(model, scheme, fmt=fmt, data=data, progress=bar, **pick(QuantizeOptions, given))
        written = api.save(
            quantized,
            output,
            fmt=fmt,
            data=data,
            progress=bar,
            min_sqnr=min_sqnr,
            max_drop=max_drop,
            **pick(SaveOptions, given),
        )
    emit(written, views.written, as_json=as_json, quiet=quiet)


def _as_the_recipe_says(
    recipe: Path | None, scheme: str | None, given: FileOptions
) -> tuple[str, FileOptions, str | None]:
    """The scheme, the options, and the format that a suffix of several means: the recipe's, where none was given."""
    if recipe is None:
        if scheme is None:
            raise click.UsageError("Missing option '--scheme' (or '--recipe').")
        return scheme, given, None
    from narrowcast.api import read_recipe

    trial, context = read_recipe(recipe), click.get_current_context()
    said = {"seed": trial.seed, **trial.overrides}
    own = {name for name in said if context.get_parameter_source(name) not in (None, ParameterSource.DEFAULT)}
    names = {**said.pop("overrides", {}), **(given.get("overrides") or {})}
    told = {name: value for name, value in said.items() if name not in own}
    return scheme or trial.scheme, cast("FileOptions", {**given, **told, "overrides": names}), trial.target
