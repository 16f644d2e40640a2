"""`narrowcast inspect`: what a model file holds."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from narrowcast.cli import options
from narrowcast.cli.command import option, subcommand
from narrowcast.cli.output import emit

if TYPE_CHECKING:
    from typing import Unpack

    from narrowcast.api.options import EditOptions
    from narrowcast.evaluation.networks.differences import Differences
    from narrowcast.evaluation.networks.records import Network


@subcommand(
    "inspect",
    summary="Show what a model file holds.",
    examples=[
        "narrowcast inspect model.tflite",
        "narrowcast inspect model.onnx --why --scheme int8",
        "narrowcast inspect model.onnx --for litert",
        "narrowcast inspect model.onnx --operators tree --attributes",
        "narrowcast inspect model.tflite --graph model.html",
        "narrowcast inspect old.onnx new.onnx",
        "narrowcast inspect model.keras --json",
    ],
)
@click.argument("file", type=options.PATH)
@click.argument("other", type=options.PATH, required=False)
@options.from_option
@options.model_options
@options.edit_options
@option("--operators", group="Operators", type=click.Choice(["tree", "table"]), help="List every operator.")
@option("--attributes", group="Operators", is_flag=True, help="With --operators: and its attributes.")
@option("--canonical", group="Operators", is_flag=True, help="Those of the canonical graph, not the file's own.")
@option("--exit-code", group="Operators", is_flag=True, help="With OTHER: exit with 1 where the two differ.")
@option(
    "--graph", group="Operators", metavar="HTML", type=options.PATH, help="Draw the network, as a page for any browser."
)
@option("--why", is_flag=True, help="Also tell which fusions were refused, what stays in float, what is lacking.")
@option("--scheme", metavar="SCHEME", help="With --why: the scheme that is asked about.")
@option("--to", "to", metavar="FORMAT", default="tflite", show_default=True, help="With --why: the format to write.")
@option("--for", "target", metavar="RUNTIME", help="Also tell what a runtime lacks: litert, onnxruntime, tensorrt.")
def command(
    file: Path,
    other: Path | None,
    source_format: str | None,
    batch: int | Literal["dynamic"],
    input_shapes: Mapping[str, tuple[int | None, ...]],
    signature: str,
    operators: str | None,
    attributes: bool,
    canonical: bool,
    exit_code: bool,
    graph: Path | None,
    why: bool,
    scheme: str | None,
    to: str,
    target: str | None,
    as_json: bool,
    quiet: bool,
    **changes: Unpack[EditOptions],
) -> None:
    """Show inputs, outputs, operators, parameters and quantisation of a model file or folder, or what two differ in.

    With OTHER, the two are compared: ports, operators matched by name or by place, shapes, types, scales, weights. The
    exit code is 0 either way, unless --exit-code is given.
    """
    from narrowcast import api

    if other is not None:
        from narrowcast.report import differing

        _refuse(
            {"operators": operators, "why": why, "for": target, "scheme": scheme, "attributes": attributes, **changes}
        )
        result = api.compare_networks(
            file,
            other,
            source_format=source_format,
            canonical=canonical,
            histograms=graph is not None,
            batch=batch,
            input_shapes=input_shapes,
            signature=signature,
        )
        _draw(result, graph)
        emit(result, differing.view, as_json=as_json, quiet=quiet)
        if exit_code and not result.alike:
            click.get_current_context().exit(1)
        return
    from narrowcast.report import views

    _without({"exit_code": exit_code}, "OTHER")
    _without({} if operators else {"attributes": attributes}, "--operators")
    _without({} if why else {"scheme": scheme}, "--why")
    found = api.inspect(
        file,
        source_format=source_format,
        why=why,
        scheme=scheme,
        to=to,
        target=target,
        operators=operators is not None or graph is not None,
        canonical=canonical,
        histograms=graph is not None,
        batch=batch,
        input_shapes=input_shapes,
        signature=signature,
        **changes,
    )
    _draw(found.network, graph)
    view = partial(views.inspection, operators=operators, attributes=attributes)
    emit(found, view, as_json=as_json, quiet=quiet)


def _refuse(options: Mapping[str, object]) -> None:
    """Options that say nothing of two files."""
    for name, value in options.items():
        if value:
            raise click.UsageError(f"--{name.replace('_', '-')} is about one file, and there are two")


def _without(options: Mapping[str, object], needed: str) -> None:
    """Options that say nothing without another."""
    for name, value in options.items():
        if value:
            raise click.UsageError(f"--{name.replace('_', '-')} says something with {needed} only")


def _draw(shown: Network | Differences | None, page: Path | None) -> None:
    """Writes a page, where one was asked for."""
    if page is not None and shown is not None:
        from narrowcast.report import files

        files.draw(shown, page)
