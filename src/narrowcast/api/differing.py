"""`compare_networks`: what differs between two model files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from narrowcast._files import size_of
from narrowcast.api import tflite_network
from narrowcast.errors import NarrowcastError
from narrowcast.evaluation.networks import of_model
from narrowcast.evaluation.networks.differences import Differences, differences
from narrowcast.evaluation.networks.records import Described
from narrowcast.evaluation.networks.weights import measured
from narrowcast.passes.canonicalize import canonicalize
from narrowcast.passes.infer import infer_within
from narrowcast.readers import formats as sources
from narrowcast.readers.tflite import bundle
from narrowcast.schemas.transcripts import as_binary, family

__all__ = ["compare_networks", "stored_network"]

NETWORKS: Mapping[str, Callable[[Path], Described]] = {
    "tflite": tflite_network.describe,
    "task": lambda path: tflite_network.describe(bundle.only(path)),
}
"""By format, what lists the operators and tensors that a file has, and not those of the graph that is read from it."""


def compare_networks(
    first: str | Path,
    second: str | Path,
    *,
    source_format: str | None = None,
    canonical: bool = False,
    histograms: bool = False,
    batch: int | Literal["dynamic"] = 1,
    input_shapes: Mapping[str, tuple[int | None, ...]] | None = None,
    signature: str = "",
) -> Differences:
    """Compares two model files: ports, numbers of operators, operators matched by name or by place, and weights.

    Files of one format are compared as they are. Of files of different formats the canonical graphs are compared, if
    both can be brought to that form; a note says which.

    Args:
        first: a file or folder.
        second: another.
        source_format: the format's name, for both, where neither content nor suffix tells.
        canonical: compare canonical graphs in any case.
        histograms: also return both, with what their weights hold, as `Differences.networks`.
        batch: size of a symbolic first dimension; "dynamic" leaves it open.
        input_shapes: full shapes by input name, for both.
        signature: the key of the graph that canonical graphs are made of, in files of several; for both.

    Raises:
        ModelFileError: a file is missing, damaged or contradicts itself.
        UnsupportedError: one cannot be read, or not be brought to the canonical form that was asked for.
        UsageError: nothing tells a file's format, or a shape does not fit it.
    """
    paths = Path(first), Path(second)
    rows = [sources.find(path, source_format) for path in paths]
    options = sources.ReadOptions(batch, input_shapes or {}, leave_open=True, signature=signature)

    def compared(in_canonical_form: bool) -> Differences:
        pair = [_described(path, row.name, options, in_canonical_form) for path, row in zip(paths, rows, strict=True)]
        return replace(differences(*pair), networks=tuple(map(measured, pair)) if histograms else ())

    if canonical or family(rows[0].name) == family(rows[1].name):
        return compared(canonical)
    try:
        return replace(compared(True), notes=("the formats differ, so canonical graphs were compared",))
    except NarrowcastError as error:
        note = f"the formats differ, and so do their operators; there are no canonical graphs: {error}"
        return replace(compared(False), notes=(note,))


def stored_network(path: Path, fmt: str) -> Described | None:
    """The operators and tensors that a file has; None for formats of which only the graph that is read is told."""
    kind = family(fmt)
    if kind not in NETWORKS:
        return None
    with as_binary(path, fmt) as file:
        found = NETWORKS[kind](file)
    return replace(found, network=replace(found.network, path=path, bytes=size_of(path), format=fmt))


def _described(path: Path, fmt: str, options: sources.ReadOptions, canonical: bool) -> Described:
    """A file's network, as it is or in canonical form."""
    stored = None if canonical else stored_network(path, fmt)
    if stored is not None:
        return stored
    model = sources.read(path, options, fmt)
    if canonical:
        canonicalize(model)
    else:
        infer_within(model)
    return of_model.describe(model, path, "canonical" if canonical else "as read")
