"""A written file and the proof of it: written under a temporary name, run beside its source, renamed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from narrowcast import quantization, runtimes
from narrowcast._files import atomic_path, size_of, target_of
from narrowcast.api.options import Layout, Reference
from narrowcast.errors import BadInputError, ModelFileError, UnsupportedError, UsageError, VerificationError
from narrowcast.evaluation import parity
from narrowcast.evaluation.data import DataSet
from narrowcast.evaluation.results import Parity, WrittenFile
from narrowcast.model import Model
from narrowcast.writers import formats as targets

__all__ = ["UNVERIFIED", "Proof", "write"]

_ORIGINAL: dict[Reference, Literal["auto", "always", "never"]] = {
    "auto": "auto",
    "original": "always",
    "canonical": "never",
}

UNVERIFIED = ".unverified"
"""Appended to the name of a file that does not reproduce its source."""


@dataclass(frozen=True, slots=True)
class Proof:
    """A source, opened once for all the files that are compared with it.

    Attributes:
        model: the float model.
        source: what runs it.
        data: samples; random ones if None.
        notes: what the user should know of the comparison.
    """

    model: Model
    source: parity.Source
    data: DataSet | None
    notes: tuple[str, ...] = ()

    @classmethod
    def open(cls, model: Model, data: DataSet | None, reference: Reference = "auto") -> Proof:
        """Opens what is asked for, or the canonical graph where the original cannot be run.

        Raises:
            UsageError: there is no such reference.
        """
        if reference not in _ORIGINAL:
            raise UsageError(f"unknown reference {reference!r}", hint=", ".join(_ORIGINAL))
        try:
            return cls(model, parity.open_source(model, original=_ORIGINAL[reference]), data)
        except (BadInputError, UnsupportedError) as error:
            note = f"compared with the canonical graph, as the original cannot be run here: {error.what}"
            return cls(model, parity.open_source(model, original="never"), data, (note,))

    def parity(self, path: Path, written: targets.Written, scheme: str) -> Parity:
        """Runs a file beside the source on a few samples."""
        feeds = None if self.data is None else self.data.subset(parity.SAMPLES * self.data.batch).feeds()
        return parity.verify(self.model, path, written, scheme=scheme, feeds=feeds, source=self.source)


def write(
    model: Model,
    path: Path,
    row: targets.Format,
    io_layout: Layout,
    proof: Proof | None,
    options: targets.WriteOptions = targets.DEFAULTS,
) -> tuple[WrittenFile, targets.Written]:
    """Prepares a canonical model for a target, writes it, and verifies the file before it gets its name.

    Returns:
        The file, and what the writer said of its inputs and outputs.

    Raises:
        VerificationError: the file does not reproduce its source; it is kept as `<path>.unverified`.
        UnsupportedError: the target cannot express something.
        OutputError: the destination cannot be written.
    """
    with atomic_path(path, row.folder) as temporary:
        written = targets.write(model, temporary, fmt=row.name, io_layout=io_layout, options=options)
        notes = (*_layout_notes(model.source or model, written), *_quantizer_notes(model), *written.notes)
        file = WrittenFile(path, size_of(temporary.parent), row.name, model.scheme, notes=notes)
        file = _proven(file, row, temporary, written, proof)
    return file, written


def _proven(
    file: WrittenFile, row: targets.Format, temporary: Path, written: targets.Written, proof: Proof | None
) -> WrittenFile:
    """The file with its verification; keeps it aside and raises where that fails."""
    if proof is None:
        return replace(file, unverified_because="not asked for")
    runtime = runtimes.find(written.runtime)
    if isinstance(runtime, runtimes.NoRuntime):
        return replace(file, unverified_because=runtime.reason)
    notes = (*file.notes, *proof.notes)
    try:
        figures = proof.parity(temporary, written, file.scheme)
    except ModelFileError as error:
        why = f"the file cannot be run: {error.what}"
        raise _kept(replace(file, unverified_because=why, notes=notes), row, temporary, why) from error
    file = replace(file, parity=figures, notes=notes)
    if figures.passed:
        return file
    why = (
        f"the file does not reproduce its source: {figures.sqnr_db:.1f} dB where {figures.threshold_db:g} dB are asked "
        f"for, compared with {figures.reference}"
    )
    raise _kept(file, row, temporary, why)


def _kept(file: WrittenFile, row: targets.Format, temporary: Path, why: str) -> VerificationError:
    """Gives the file its unverified name; the error to raise."""
    place = target_of(file.path)
    kept = place.with_name(place.name + UNVERIFIED)
    alone = len(list(temporary.parent.iterdir())) == 1
    moved, mark = (
        (temporary, row.folder) if alone else (temporary.parent, temporary.name)
    )  # what belongs together stays so
    with atomic_path(kept, mark) as place:
        moved.replace(place)
    return VerificationError(why, where=str(file.path), hint=f"it is kept as {kept}", written=replace(file, path=kept))


def _layout_notes(source: Model, written: targets.Written) -> Iterator[str]:
    """Which inputs and outputs have another layout than in the source."""
    shapes = {spec.name: spec.shape for spec in (*source.inputs, *source.outputs)}
    for kind, ports in (("input", written.inputs), ("output", written.outputs)):
        for port in ports:
            if port.permutation is not None:
                before = shapes[port.name]
                after = tuple(before[axis] for axis in port.permutation)
                yield f"{kind} {port.name!r} is {_shape(after)} in the file, {_shape(before)} in the source"


def _shape(dims: tuple[int | None, ...]) -> str:
    return "x".join("?" if dim is None else str(dim) for dim in dims)


def _quantizer_notes(model: Model) -> list[str]:
    notes: list[str] = json.loads(model.ir.metadata_props.get(quantization.NOTES, "[]"))
    return notes
