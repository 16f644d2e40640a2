"""`narrowcast finetune`: quantise, then let the network learn what the roundings took."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from narrowcast.cli import options
from narrowcast.cli.command import option, subcommand
from narrowcast.cli.output import emit
from narrowcast.cli.progress import Bar

if TYPE_CHECKING:
    from typing import Unpack

    from narrowcast.api import FileOptions

_training = partial(option, group="Training")


@subcommand(
    "finetune",
    summary="Quantise, and train back what roundings took.",
    examples=[
        "narrowcast finetune model.onnx -o model.tflite --scheme int8 --data images/ --repair equalize",
        "narrowcast finetune model.keras -o model.tflite --scheme int8 --data train/ --on-labels --epochs 5",
        "narrowcast finetune model.onnx -o model.tflite --scheme int8 --data images/ --checkpoint state/",
    ],
)
@options.source_argument
@options.output_option
@options.to_options
@option("--scheme", group="Quantisation", metavar="SCHEME", required=True, help="One with integers, as int8.")
@option("--data", group="Data", type=options.PATH, required=True, help="Samples to calibrate on and to learn from.")
@_training(
    "--epochs",
    metavar="N",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="How often the whole network sees each sample.",
)
@_training(
    "--piece-epochs",
    metavar="N",
    type=click.IntRange(min=0),
    default=4,
    show_default=True,
    help="How often each piece of it does before that, to do what its float twin does.",
)
@_training("--on-labels", is_flag=True, help="Let the whole network learn the data's labels, not what the source says.")
@_training(
    "--learning-rate",
    metavar="F",
    type=options.Finite(0.0, min_open=True),
    help="How far a weight may go in one update, in steps of its integers.  [default: by the number of updates]",
)
@_training(
    "--batch-size",
    metavar="N",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Samples of one update.",
)
@_training("--learned-steps", is_flag=True, help="Let scales learn too.")
@_training(
    "--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True, help="Where torch computes."
)
@_training(
    "--checkpoint",
    metavar="FOLDER",
    type=options.PATH,
    help="Keep the state here, and go on from it: an interrupt loses less than a minute.",
)
@options.making_options
@options.bar_options
def command(
    source: Path,
    output: Path,
    fmt: str | None,
    scheme: str,
    data: Path,
    epochs: int,
    on_labels: bool,
    checkpoint: Path | None,
    min_sqnr: float | None,
    max_drop: float | None,
    as_json: bool,
    quiet: bool,
    **given: Unpack[FileOptions],
) -> None:
    """Quantise a model, and let it learn until its integers do what its floats did.

    The network is its own teacher: no labels are needed. It computes as the target will, every rounding included; one
    of eight samples chooses what is kept, so that nothing is worse afterwards. Needs torch: pip install
    'narrowcast[torch]'. The written file is verified as by quantize.
    """
    from narrowcast import api
    from narrowcast._files import check_destinations
    from narrowcast.api.options import FinetuneOptions, LoadOptions, SaveOptions, pick
    from narrowcast.report import views

    fmt = api.format_of(output, fmt, source, given.get("source_format"))
    check_destinations(output)
    with Bar(shown=not quiet) as bar:
        model = api.load(source, progress=bar, **pick(LoadOptions, given))
        made = api.finetune(
            model,
            scheme,
            data,
            "data" if on_labels else None,
            epochs,
            fmt=fmt,
            checkpoint=checkpoint,
            progress=bar,
            **pick(FinetuneOptions, given),
        )
        written = api.save(
            made,
            output,
            fmt=fmt,
            data=data,
            progress=bar,
            min_sqnr=min_sqnr,
            max_drop=max_drop,
            **pick(SaveOptions, given),
        )
    emit(written, views.written, as_json=as_json, quiet=quiet)
