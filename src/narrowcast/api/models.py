"""`load`, `quantize`, `save`: a file to a model, to a smaller model, to a file that is proven."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from narrowcast import quantization
from narrowcast._archives import place_of
from narrowcast._files import Digest
from narrowcast.api.changes import Change
from narrowcast.api.labels import check_labels, read_labels
from narrowcast.api.options import Data, EditOptions, Progress, QuantizeOptions, SaveOptions, refuse_unknown, silent
from narrowcast.api.proof import Proof, write
from narrowcast.api.samples import open_samples, preprocessing_of, stored_pixels
from narrowcast.errors import UsageError
from narrowcast.evaluation.bars import Bars
from narrowcast.evaluation.results import WrittenFile
from narrowcast.evaluation.trials import Settings, Trial, unusual
from narrowcast.model import Model
from narrowcast.passes.canonicalize import DECOMPOSED, canonicalize
from narrowcast.readers import formats as sources
from narrowcast.writers import formats as destinations

if TYPE_CHECKING:
    from typing import Unpack

    from narrowcast.api.workbench import Step
    from narrowcast.evaluation.data import DataSet

__all__ = ["dequantize", "format_of", "load", "quantize", "quantize_then", "save", "spare"]


def format_of(
    path: str | Path,
    fmt: str | None = None,
    source: str | Path | None = None,
    source_format: str | None = None,
    usual: str | None = None,
) -> str:
    """The name of the format that a destination will have: the one asked for, or else by the suffix.

    Args:
        path: the destination.
        fmt: the format's name, where the suffix does not tell.
        source: what it will be made of: JSON is the source's own, unless another is named.
        source_format: the source's, where neither content nor suffix tells.
        usual: of several formats with that suffix, the one that is meant, as a recipe says it.

    Raises:
        UsageError: there is no such writer.
        ModelFileError: the source, which would tell, is missing.
    """
    if fmt is None and usual is not None and Path(path).suffix.lower() in destinations.named(usual).suffixes:
        return usual
    origin = (lambda: "") if source is None else (lambda: sources.find(Path(source), source_format).name)
    return destinations.find(Path(path), fmt, origin).name


def load(
    path: str | Path,
    *,
    source_format: str | None = None,
    batch: int | Literal["dynamic"] = 1,
    input_shapes: Mapping[str, tuple[int | None, ...]] | None = None,
    freeze: Mapping[str, float] | None = None,
    shapes: Sequence[tuple[int, ...]] = (),
    signature: str = "",
    labels: str | Path | None = None,
    keep_custom: bool = False,
    progress: Progress = silent,
    **changes: Unpack[EditOptions],
) -> Model:
    """Reads a model file (docs/formats.md) into a canonical model.

    Args:
        path: the file or folder; its content says the format, or else its suffix.
        source_format: the format's name, where neither tells, or tell wrong.
        batch: size of a symbolic first dimension; "dynamic" leaves it open.
        input_shapes: full shapes by input name, for inputs with other symbolic dimensions; None leaves one open,
            where all operators allow it.
        freeze: inputs to make constant, and the number that fills them: `{"sr": 16000}`.
        shapes: sizes of the dimensions that are still open, one for all or one for each in their order; of several
            such choices the first is the model, the others are its `variants`, which TFLite files hold as signatures.
        signature: the key of the graph that is meant, in files of several; "serving_default", or the first, if empty.
        labels: a text file with one class name a line, in output order.
        keep_custom: whether operators of a .tflite file's own making, as of MediaPipe or for detection, stay such in a
            TFLite file; elsewhere, and without, they become others.
        progress: is told how far the work has come.
        changes: of the network; see `EditOptions`.

    Raises:
        ModelFileError: the file is missing, damaged or contradicts itself.
        UnsupportedError: it holds something that cannot be expressed.
        UsageError: nothing tells its format, a symbolic dimension is left open, or an edit does not fit the network.
        DataError: the labels cannot be read, or are not as many as the model has classes; or an edit is none.
    """
    names = () if labels is None else read_labels(Path(labels))
    refuse_unknown(EditOptions, changes)
    change = Change.of(changes)
    progress("reading", 0, 2)
    models = {}
    for sizes in dict.fromkeys(map(tuple, shapes)) or [()]:
        options = sources.ReadOptions(
            batch, input_shapes or {}, freeze or {}, sizes, keep_custom=keep_custom, signature=signature
        )
        made = change.edited(sources.read(Path(path), options, source_format))
        progress("simplifying", 1, 2)
        canonicalize(made)
        models["x".join(map(str, sizes))] = change.substituted(made)
    model = models.pop(next(iter(models)))
    if labels is not None:
        check_labels(names, model.outputs, Path(labels))
    given = {
        "source_format": source_format,
        "batch": batch,
        "input_shapes": input_shapes or {},
        "freeze": freeze or {},
        "keep_custom": keep_custom,
        "signature": signature,
    }
    chosen = unusual({**given, "shapes": tuple(map(tuple, shapes))})
    digest = Digest((Path(path), *model.provenance.beside))

    def described(made: Model) -> Model:
        origin = replace(made.provenance, digest=digest, options=chosen)
        labelled = names or model.labels
        made = replace(made, labels=labelled, scheme=quantization.scheme_of(model), provenance=origin)
        return replace(made, preprocessing=stored_pixels(made))

    return replace(described(model), variants={key: described(made) for key, made in models.items()})


def dequantize(model: Model) -> Model:
    """A float copy of a model whose file is quantised.

    Weights are the numbers that their integers stand for, activations are rounded no more, and inputs and outputs are
    real numbers. Its files are compared with its own graph, and what that keeps of the quantised file is told.

    Args:
        model: from `load`; it is not changed.

    Raises:
        UsageError: it is not quantised, or was quantised here.
    """
    if model.source is not None:
        raise UsageError(f"the model was quantised here, to {model.scheme}", hint="take the one from load")
    if model.scheme == "float32":
        raise UsageError("the file is not quantised", hint="leave --dequantize out")
    variants = {key: dequantize(variant) for key, variant in model.variants.items()}
    return replace(quantization.dequantize(model), variants=variants)


def quantize(
    model: Model,
    scheme: str,
    *,
    fmt: str = "tflite",
    data: Data | None = None,
    progress: Progress = silent,
    **options: Unpack[QuantizeOptions],
) -> Model:
    """A quantised copy of a model.

    Args:
        model: from `load`; it is not changed. One whose file is quantised is dequantised first.
        scheme: a name of `SCHEMES` or an alias: "float16", "dynamic_range", "weight_only", "int8", "full_int8" or
            "int16x8"; "float32" changes nothing in floats.
        fmt: the format that it will be written in, whose target's rules it follows.
        data: samples for the ranges of activations; needed by the last three schemes, unless the file is quantised
            and says the ranges itself.
        progress: is told how far the work has come.
        options: see `QuantizeOptions`.

    Raises:
        UsageError: the scheme, the format or an option is unknown, or the scheme needs data and there is none.
        DataError: the data is missing, damaged, or does not fit the model.
    """
    return quantize_then(model, scheme, None, fmt=fmt, data=data, progress=progress, **options)


def quantize_then(
    model: Model,
    scheme: str,
    then: Step | None,
    *,
    fmt: str = "tflite",
    data: Data | None = None,
    progress: Progress = silent,
    **options: Unpack[QuantizeOptions],
) -> Model:
    """`quantize`, with a step of its own after the repairs."""
    refuse_unknown(QuantizeOptions, options)
    row = quantization.scheme_named(scheme)
    if model.source is not None:
        raise UsageError(f"the model is quantised already, to {model.scheme}", hint="quantise the one from load")
    was = model.scheme
    if was != "float32":
        model = dequantize(model)
    recorded = data is None and bool(model.ranges)
    source = replace(model, preprocessing=preprocessing_of(options, model.preprocessing))
    used: list[DataSet] = []

    def chosen(count: int, seed: int) -> DataSet:
        if data is None:
            raise UsageError(f"the scheme {row.name} needs data to calibrate on", hint="give --data PATH")
        samples, held = open_samples(data, source, options), options.get("held", 0)
        used.append((samples.split(held, seed)[1] if held else samples).subset(count, seed))
        return used[0]

    asked = {name: value for name, value in options.items() if name in Settings.__slots__ and value is not None}
    given = {**row.settings, **asked}
    trial = Trial(model.provenance.path or Path(), fmt, row.name, given, options.get("seed", 0))
    from narrowcast.api.workbench import Workbench  # with what quantises and times: a conversion needs none of it

    bench = Workbench(source, chosen, progress, recorded=recorded, given=data is not None, then=then)
    quantized = bench.quantized(trial)
    notes = [] if was == "float32" else [f"the file's {was} was dequantised first"]
    notes += [note for taken in used for note in (f"calibrated on {taken.description}", *taken.remarks)]
    notes += quantization.notes_of(quantized)
    quantized.ir.metadata_props[quantization.NOTES] = json.dumps(notes)
    variants = {
        key: quantize_then(variant, scheme, then, fmt=fmt, data=data, progress=progress, **options)
        for key, variant in model.variants.items()
    }
    return replace(quantized, variants=variants)


def save(
    model: Model,
    path: str | Path,
    *,
    fmt: str | None = None,
    min_sqnr: float | None = None,
    max_drop: float | None = None,
    data: Data | None = None,
    progress: Progress = silent,
    **options: Unpack[SaveOptions],
) -> WrittenFile:
    """Writes a model, and runs the file beside its source before it gets its name.

    Args:
        model: from `load` or `quantize`; it is not changed.
        path: the destination; its suffix says the format.
        fmt: the format's name, where the suffix does not tell.
        min_sqnr: dB that the quantised graph must keep of its source; if None the scheme's own limit, which is 60 for
            float32, 40 for float16, and none for integers.
        max_drop: the fraction of samples, in 0..1, whose first class may be another than the source's; any if None.
        data: samples to verify on; random ones if None.
        progress: is told how far the work has come.
        options: see `SaveOptions`; what was said of the data when it was quantised still holds.

    Raises:
        VerificationError: the file does not compute what its graph says, or that loses too much of the source. It is
            kept as `<path>.unverified`, and the error's `written` has the figures.
        UnsupportedError: the target cannot express something.
        OutputError: the destination cannot be written.
        UsageError: no writer takes the suffix, the format lacks the scheme or the option, the model was quantised for
            another target, or the destination is the source.
        DataError: the data is missing, damaged, or does not fit the model.
    """
    refuse_unknown(SaveOptions, options)
    path, io_layout = Path(path), options.get("io_layout", "target")
    row = destinations.find(path, fmt, lambda: model.provenance.format)
    format_options = destinations.WriteOptions(options.get("opset"), options.get("inline_limit"))
    destinations.check(row, model.scheme, format_options)
    spare(model.provenance.path, path)
    _check_target(model, row)
    if io_layout not in ("target", "source"):
        raise UsageError(f"unknown layout {io_layout!r}", hint="target or source")
    source = model.source or model
    source = replace(source, preprocessing=preprocessing_of(options, source.preprocessing))
    proof = test = None

    def opened(whole: Model) -> Proof:
        whole = replace(whole, preprocessing=source.preprocessing)
        samples = None if data is None else open_samples(data, whole, options)
        made = Proof.open(whole, samples, options.get("reference", "auto"), Bars(min_sqnr, max_drop))
        return replace(made, seed=options.get("seed", 0))

    if options.get("verify", True):
        progress("opening the source", 0, None)
        variants = {key: opened(variant.source or variant) for key, variant in model.variants.items()}
        proof = replace(opened(source), variants=variants)
        test = proof.data
    progress(f"writing {path.name}", 0, None)
    model = replace(model, preprocessing=source.preprocessing)
    file, _ports = write(model, path, row, io_layout, proof, format_options)
    remarks = test.remarks if test else ()
    return replace(file, notes=tuple(dict.fromkeys((*file.notes, *remarks))))


def _check_target(model: Model, row: destinations.Format) -> None:
    """Refuses a model that was quantised by the rules of another target."""
    made_for = model.graph.meta.get(DECOMPOSED)
    if model.source is not None and made_for not in (None, row.target):
        raise UsageError(f"the model was quantised for {made_for}", hint=f"quantise it with fmt={row.name!r}")


def spare(source: Path | None, destination: Path) -> None:
    """Refuses to write over the file, or into the folder, that a model was read from."""
    with suppress(OSError):
        if source is not None and source.is_dir() and destination.resolve().is_relative_to(source.resolve()):
            raise UsageError("the destination lies in the source", hint="give another folder")
        if source is not None and destination.samefile(place_of(source)[0]):
            raise UsageError("the destination is the source", hint="give another name")
