"""`narrowcast diff`: where a quantised network loses what its float one says."""

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

    from narrowcast.api.options import DiffOptions


@subcommand(
    "diff",
    summary="Say where a quantised model loses accuracy, why, and what to do.",
    examples=[
        "narrowcast diff model.onnx model_int8.tflite --data images/",
        "narrowcast diff model.keras --scheme int8 --data images/ --preprocess tf",
        "narrowcast diff model.onnx --scheme int8 --weights per-tensor --data calibration.npz -o losses.html",
    ],
)
@click.argument("file", metavar="FLOAT", type=options.PATH)
@click.argument("other", metavar="[QUANTISED]", type=options.PATH, required=False)
@option(
    "--output",
    "-o",
    "page",
    group="Output",
    metavar="HTML",
    type=options.PATH,
    help="Also write a page: the curve along the network, and the worst tensors before and after.",
)
@option("--scheme", group="Quantisation", metavar="SCHEME", help="Without QUANTISED: how to quantise the model.")
@option("--to", "fmt", group="Quantisation", metavar="FORMAT", help="Likewise: for which format.  [default: tflite]")
@option("--data", group="Data", type=options.PATH, required=True, help="Samples to compare on: a folder, .npz or .npy.")
@option(
    "--calibrate",
    group="Data",
    type=options.PATH,
    help="Samples to calibrate on.  [default: others of --data, where it has enough]",
)
@option(
    "--compared",
    group="Data",
    metavar="N",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    help="Samples to compare on.",
)
@option(
    "--sensitivity",
    group="Measurements",
    is_flag=True,
    help="Also measure what single blocks cost the outputs: only one quantised, and all but it.",
)
@option(
    "--seconds",
    group="Measurements",
    metavar="S",
    type=options.Finite(0, min_open=True),
    default=60.0,
    show_default=True,
    help="With --sensitivity: time for it; blocks that there is none for are left out.",
)
@option(
    "--metric",
    group="Measurements",
    metavar="NAME|FILE.py:function",
    is_eager=True,
    help="Also tell a figure of both: top1, agree, f1, miou, psnr, sqnr, or a function of your own "
    "(docs/guide/metrics.md).",
)
@options.quantizer_options
@options.override_options
@options.opset_option
@options.from_option
@options.data_options
@options.model_options
@options.shapes_option
@options.freeze_option
@options.edit_options
def command(
    file: Path,
    other: Path | None,
    page: Path | None,
    scheme: str | None,
    fmt: str | None,
    data: Path,
    calibrate: Path | None,
    as_json: bool,
    quiet: bool,
    **given: Unpack[DiffOptions],
) -> None:
    """Say block by block where a quantised model loses what the float one says, why, and what to do.

    Both run side by side on ONNX Runtime. What each block loses falls into three parts: what its weights lose, what its
    own roundings do, and what came from above. Blocks (a convolution with its activation, say) are ranked by their
    share in the noise of the outputs; for the worst ten the likely cause is told, and what to do about it.
    """
    from narrowcast import api
    from narrowcast._files import check_destinations
    from narrowcast.report import losses

    if page is not None:
        check_destinations(page)
    with Bar(shown=not quiet) as bar:
        found = api.diff(file, other, data=data, scheme=scheme, fmt=fmt, calibrate=calibrate, progress=bar, **given)
    if page is not None:
        from narrowcast.report import files

        files.write_losses(found, page)
    emit(found, losses.view, as_json=as_json, quiet=quiet)
