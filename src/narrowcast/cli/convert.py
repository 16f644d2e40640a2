"""`narrowcast convert`: one file into another, in float32, float16, or a quantised source's own types."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from narrowcast.cli import options
from narrowcast.cli.command import option, subcommand
from narrowcast.cli.output import emit
from narrowcast.cli.progress import Bar

if TYPE_CHECKING:
    from typing import Unpack

    from narrowcast.api import FileOptions

TRANSCRIPTION = {"source", "output", "fmt", "source_format", "inline_limit", "verify", "quiet", "as_json", "traceback"}
"""Options that JSON of a file, and a file of JSON, take."""


@subcommand(
    "convert",
    summary="Convert to float32 or float16, verified.",
    examples=[
        "narrowcast convert model.onnx -o model.tflite",
        "narrowcast convert model.keras -o model.tflite --scheme float16",
        "narrowcast convert model.onnx -o model.json",
        "narrowcast convert model.onnx -o head.tflite --cut-inputs features --substitute swish=hard_swish",
        "narrowcast convert quantized.tflite -o model.tflite --dequantize",
        "narrowcast convert detector.onnx -o detector.tflite --io-layout source --input images:1,3,416,416",
    ],
)
@options.source_argument
@options.output_option
@options.to_options
@option(
    "--scheme",
    group="Output",
    type=click.Choice(["float32", "float16"]),
    help="Type of the weights; integer schemes need data: see quantize.  [default: float32; the source's own if that "
    "is quantised]",
)
@option(
    "--dequantize",
    group="Output",
    is_flag=True,
    help="Make a quantised file a float one, which --scheme then applies to.",
)
@options.layout_option
@options.from_option
@options.model_options
@options.shapes_option
@options.freeze_option
@options.keep_option
@options.edit_options
@options.verify_option
@options.reference_option("auto")
@options.bar_options
def command(
    source: Path,
    output: Path,
    fmt: str | None,
    scheme: str | None,
    dequantize: bool,
    min_sqnr: float | None,
    max_drop: float | None,
    as_json: bool,
    quiet: bool,
    **given: Unpack[FileOptions],
) -> None:
    """Convert a Keras, ONNX or TFLite model, and prove that the new file does what the old one did.

    A quantised source stays as it is, in its own types, unless it is dequantised.

    The written file is run on random samples beside the graph that it was written from, and that beside the source;
    when either differs by more than its scheme allows (60 dB; 40 between a float16 graph and its source), the file is
    kept as DST.unverified and the exit code is 3. JSON of a file, and a file of JSON, hold the same as it does: nothing
    is changed or run.
    """
    from narrowcast import api
    from narrowcast.api.options import LoadOptions, QuantizeOptions, SaveOptions, TranscribeOptions, pick
    from narrowcast.report import views

    fmt = api.format_of(output, fmt, source, given.get("source_format"))
    if _only_transcribes() and api.transcribes(source, output, fmt=fmt, source_format=given.get("source_format")):
        copied = api.transcribe(source, output, fmt=fmt, **pick(TranscribeOptions, given))
        emit(copied, views.written, as_json=as_json, quiet=quiet)
        return
    with Bar(shown=not quiet) as bar:
        model = api.load(source, progress=bar, **pick(LoadOptions, given))
        if dequantize:
            model = api.dequantize(model)
        if scheme is not None and scheme != model.scheme:
            model = api.quantize(model, scheme, fmt=fmt, progress=bar, **pick(QuantizeOptions, given))
        written = api.save(
            model, output, fmt=fmt, progress=bar, min_sqnr=min_sqnr, max_drop=max_drop, **pick(SaveOptions, given)
        )
    emit(written, views.written, as_json=as_json, quiet=quiet)


def _only_transcribes() -> bool:
    """Whether nothing is asked for that changes a network or proves one."""
    context = click.get_current_context()
    asked = {name for name in context.params if context.get_parameter_source(name) is not ParameterSource.DEFAULT}
    return asked <= TRANSCRIPTION
