"""A written file and the proof of it: written under a temporary name, run beside its source, renamed.

What runs it is imported when there is something to prove.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from narrowcast import quantization, runtimes
from narrowcast._files import atomic_path, size_of, target_of
from narrowcast.api.options import IoLayout, ReferenceKind
from narrowcast.errors import BadInputError, ModelFileError, UnsupportedError, UsageError, VerificationError
from narrowcast.evaluation.bars import Bars
from narrowcast.evaluation.results import Leg, Parity, WrittenFile
from narrowcast.model import Model
from narrowcast.writers import formats as destinations

if TYPE_CHECKING:
    from narrowcast.evaluation.data import DataSet
    from narrowcast.evaluation.source import Source

__all__ = ["UNVERIFIED", "Proof", "edit_notes", "substitution_notes", "write"]

_ORIGINAL: dict[ReferenceKind, Literal["auto", "always", "never"]] = {
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
        bars: what the user asks of the quantisation.
        variants: of the source at other sizes, by the keys of their graphs.
        seed: that the samples to calibrate on were drawn by; those to prove on are others, as far as there are any.
    """

    model: Model
    source: Source
    data: DataSet | None
    notes: tuple[str, ...] = ()
    bars: Bars = Bars()  # noqa: RUF009 - frozen
    variants: Mapping[str, Proof] = field(default_factory=dict)
    seed: int = 0

    @classmethod
    def open(
        cls,
        model: Model,
        data: DataSet | None,
        reference: ReferenceKind = "auto",
        bars: Bars = Bars(),  # noqa: B008 - frozen
    ) -> Proof:
        """Opens what is asked for, or the canonical graph where the original cannot be run.

        Raises:
            UsageError: there is no such reference, or a bar that no file can be held against.
        """
        from narrowcast.evaluation.metrics import is_classifier
        from narrowcast.evaluation.source import open_source

        if reference not in _ORIGINAL:
            raise UsageError(f"unknown reference {reference!r}", hint=", ".join(_ORIGINAL))
        if bars.max_drop is not None and not 0 <= bars.max_drop <= 1:
            raise UsageError(f"a drop of {bars.max_drop:g} is no fraction", hint="give a number from 0 to 1")
        if bars.min_sqnr is not None and isnan(bars.min_sqnr):
            raise UsageError("no file can be held against NaN dB", hint="give a number")
        if bars.max_drop is not None and not any(is_classifier(spec.shape) for spec in model.outputs):
            raise UsageError("no output scores classes, so none can change", hint="use min_sqnr (--min-sqnr)")
        try:
            return cls(model, open_source(model, original=_ORIGINAL[reference]), data, bars=bars)
        except (BadInputError, UnsupportedError) as error:
            graph = open_source(model, original="never")
            what = "the canonical graph" if graph.name.endswith("canonical graph") else graph.name
            note = f"compared with {what}, as the original cannot be run here: {error.what}"
            return cls(model, graph, data, (note,), bars)

    def parity(self, path: Path, written: destinations.Written) -> Parity:
        """Runs a file beside the graph that it was written from, and that beside the source, on a few samples."""
        from narrowcast.evaluation import parity

        feeds = None if self.data is None else self.data.last(self.bars.samples * self.data.batch, self.seed).feeds()
        return parity.verify(self.model, path, written, feeds=feeds, source=self.source, bars=self.bars)


def write(
    model: Model,
    path: Path,
    row: destinations.Format,
    io_layout: IoLayout,
    proof: Proof | None,
    options: destinations.WriteOptions = destinations.DEFAULTS,
) -> tuple[WrittenFile, destinations.Written]:
    """Prepares a canonical model for a target, writes it, and verifies the file before it gets its name.

    Returns:
        The file, and what the writer said of its inputs and outputs.

    Raises:
        VerificationError: the file does not reproduce its source; it is kept as `<path>.unverified`.
        UnsupportedError: the target cannot express something.
        OutputError: the destination cannot be written.
    """
    with atomic_path(path, row.folder) as temporary:
        written = destinations.write(model, temporary, fmt=row.name, io_layout=io_layout, options=options)
        notes = (
            *model.provenance.notes,
            *edit_notes(model),
            *_layout_notes(model.source or model, written),
            *quantization.notes_of(model),
            *written.notes,
        )
        file = WrittenFile(path, size_of(temporary.parent), row.name, model.scheme, notes=notes)
        file = _proven(file, row, temporary, written, proof)
    return file, written


def _proven(
    file: WrittenFile, row: destinations.Format, temporary: Path, written: destinations.Written, proof: Proof | None
) -> WrittenFile:
    """The file with its verification; keeps it aside and raises where that fails."""
    if proof is None:
        return replace(file, unverified_because="not asked for")
    runtime = runtimes.find(written.runtime)
    if isinstance(runtime, runtimes.NoRuntime):
        file = replace(file, unverified_because=f"{runtime.reason}: {runtime.hint}".removesuffix(": "))
        from narrowcast.evaluation.readback import has_reader

        if not has_reader(temporary):
            return file
    notes = (*file.notes, *proof.notes)
    try:
        figures = proof.parity(temporary, written)
        others = {key: other.parity(temporary, written.variants[key]) for key, other in proof.variants.items()}
    except UnsupportedError as error:  # nothing here runs it after all
        return replace(file, unverified_because=file.unverified_because or error.what, notes=notes)
    except ModelFileError as error:
        why = f"the file cannot be run: {error.what}"
        raise _kept(replace(file, unverified_because=why, notes=notes), row, temporary, why) from error
    silent = [out.name for out in figures.quantization.outputs if out.silent]
    if silent:
        named = ", ".join(map(repr, silent))
        notes = (
            *notes,
            f"0 throughout on all samples, which proves little of it: {named}",
        )
    notes = (*notes, *substitution_notes(figures))
    told = (f"signature {key!r}: {other.sqnr_db:.1f} dB" for key, other in others.items())
    figures = next((other for other in (figures, *others.values()) if not other.passed), figures)
    file = replace(file, parity=figures, notes=(*notes, *told))
    if figures.passed:
        return file
    raise _kept(file, row, temporary, _failure(figures))


def substitution_notes(parity: Parity) -> Iterator[str]:
    """What substituted operators cost, or floats in the place of integers."""
    if parity.substitution is not None:
        left = f"{parity.substitution.sqnr_db:.1f} dB of the network that was read are left by what was changed in it"
        agreement = parity.substitution.agreement
        agreed = "" if agreement is None else f", same first class {agreement * 100:.1f} %"
        yield f"{left}{agreed}{'; compare --data tells it of real samples' if parity.random_samples else ''}"


def _failure(parity: Parity) -> str:
    """Which leg fails, by how much, and whose fault that is."""
    if not parity.translated:
        legs = [leg for leg in parity.translations if not leg.passed]
        figures = [f"{_worst(leg):.1f} dB where {leg.required_db:g} dB are asked for" for leg in legs[:1]]
        figures += [
            f"{layer.name!r} is {layer.mean:+.1f} steps off on average, {layer.largest} at most"
            for layer in parity.wrong_layers[:1]
        ]
        return f"the file does not compute what its graph says: {', '.join(figures)}; the fault is the converter's"
    kept, floats = parity.quantization, parity.quantization.usual_db is None
    if not parity.read or (floats and not kept.passed):
        leg = parity.reading if parity.reading is not None and not parity.read else kept
        asked = f"{_worst(leg):.1f} dB where {leg.required_db:g} dB are asked for"
        return f"the file does not reproduce its source: {asked}, compared with {parity.reference}"
    what = f"{_worst(kept):.1f} dB of the source are left where {kept.required_db} dB are asked for"
    if kept.passed:
        changed = 1 - (kept.agreement or 0)
        what = f"{changed:.1%} of the samples change their first class where {parity.max_drop:.1%} may"
    where = f", most of it at {parity.weakest_layer}" if parity.weakest_layer else ""
    return f"quantisation loses too much: {what}{where}; the translation is right"


def _worst(leg: Leg) -> float:
    return min((output.worst_db for output in leg.outputs if not output.resolved), default=leg.sqnr_db)


def _kept(file: WrittenFile, row: destinations.Format, temporary: Path, why: str) -> VerificationError:
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


def edit_notes(model: Model) -> Iterator[str]:
    """That the source was edited, and how."""
    counts = Counter(map(_done, model.provenance.edits))
    if counts:
        done = ", ".join(name if count == 1 else f"{count} x {name}" for name, count in counts.items())
        yield f"the source was edited: {done}"


def _done(edit: Mapping[str, object]) -> str:
    """An edit in a word."""
    if edit["do"] != "substitute":
        return str(edit["do"])
    return f"{edit['operator']}={edit['by']} ({edit['nodes']})"


def _layout_notes(source: Model, written: destinations.Written) -> Iterator[str]:
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
