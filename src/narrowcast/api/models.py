"""`load`, `quantize`, `save`: a file to a model, to a smaller model, to a file that is proven."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from narrowcast import quantization
from narrowcast._files import Digest
from narrowcast.api.labels import check_labels, read_labels
from narrowcast.api.options import Data, DataOptions, Layout, Progress, Reference, silent
from narrowcast.api.proof import Proof, write
from narrowcast.api.samples import open_samples, preprocessing_of, remark
from narrowcast.api.workbench import Workbench
from narrowcast.errors import UsageError
from narrowcast.evaluation.data import DataSet
from narrowcast.evaluation.parity import Bars
from narrowcast.evaluation.results import WrittenFile
from narrowcast.evaluation.trials import Trial, unusual
from narrowcast.model import Model
from narrowcast.passes.canonicalize import DECOMPOSED, canonicalize
from narrowcast.readers import formats as sources
from narrowcast.writers import formats as targets

if TYPE_CHECKING:
    from typing import Unpack

__all__ = ["format_of", "load", "quantize", "save"]


def format_of(path: str | Path, fmt: str | None = None) -> str:
    """The name of the format that a destination will have: the one asked for, or else by the suffix.

    Raises:
        UsageError: there is no such writer.
    """
    return targets.find(Path(path), fmt).name


def load(
    path: str | Path,
    *,
    source_format: str | None = None,
    batch: int | Literal["dynamic"] = 1,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    freeze: Mapping[str, float] | None = None,
    shapes: Sequence[tuple[int, ...]] = (),
    labels: str | Path | None = None,
    progress: Progress = silent,
) -> Model:
    """Reads a model file (docs/formats.md) into a canonical model.

    Args:
        path: the file or folder; its content says the format, or else its suffix.
        source_format: the format's name, where neither tells, or tell wrong.
        batch: size of a symbolic first dimension; "dynamic" leaves it open.
        input_shapes: full shapes by input name, for inputs with other symbolic dimensions.
        freeze: inputs to make constant, and the number that fills them: `{"sr": 16000}`.
        shapes: sizes of the dimensions that are still open, one for all or one for each in their order; of several
            such choices the first is the model, the others are its `variants`, which TFLite files hold as signatures.
        labels: a text file with one class name a line, in output order.
        progress: is told how far the work has come.

    Raises:
        ModelFileError: the file is missing, damaged or contradicts itself.
        UnsupportedError: it holds something that cannot be expressed.
        UsageError: nothing tells its format, or a symbolic dimension is left open.
        DataError: the labels cannot be read, or are not as many as the model has classes.
    """
    names = () if labels is None else read_labels(Path(labels))
    progress("reading", 0, 2)
    models = {}
    for sizes in dict.fromkeys(map(tuple, shapes)) or [()]:
        options = sources.ReadOptions(batch, input_shapes or {}, freeze or {}, sizes)
        made = models["x".join(map(str, sizes))] = sources.read(Path(path), options, source_format)
        progress("simplifying", 1, 2)
        canonicalize(made)
    model = models.pop(next(iter(models)))
    if labels is not None:
        check_labels(names, model.outputs, Path(labels))
    given = {"source_format": source_format, "batch": batch, "input_shapes": input_shapes or {}, "freeze": freeze or {}}
    chosen = {**unusual(given), **({"shapes": [list(sizes) for sizes in shapes]} if shapes else {})}
    digest = Digest((Path(path), *model.provenance.beside))

    def described(made: Model) -> Model:
        origin = replace(made.provenance, digest=digest, options=chosen)
        labelled = names or model.labels
        return replace(made, labels=labelled, scheme=quantization.scheme_of(model), provenance=origin)

    return replace(described(model), variants={key: described(made) for key, made in models.items()})


def quantize(
    model: Model,
    scheme: str,
    *,
    fmt: str = "tflite",
    opset: int | None = None,
    data: Data | None = None,
    samples: int = 128,
    weights: str = "per-channel",
    observer: str = "minmax",
    io_type: str | None = None,
    overrides: quantization.Overrides | None = None,
    progress: Progress = silent,
    **options: Unpack[DataOptions],
) -> Model:
    """A quantised copy of a model.

    Args:
        model: float, from `load`; it is not changed.
        scheme: "float16", "dynamic_range", "int8", "full_int8" or "int16x8"; "float32" changes nothing.
        fmt: the format that it will be written in, whose target's rules it follows.
        opset: as for `save`.
        data: samples for the ranges of activations; needed by the last three schemes.
        samples: how many of them at most.
        weights: "per-channel" or "per-tensor" scales.
        observer: "minmax", "moving_average", "percentile", "mse" or "entropy".
        io_type: type of inputs and outputs, "int8", "uint8" or "float32"; the scheme's own if None.
        overrides: other schemes for nodes of some names, as `{"head/*": "float32", "*/stem": "int16x8"}`.
        progress: is told how far the work has come.
        options: how the data becomes inputs, see `PreprocessingOptions`, and `label_offset` and `seed`.

    Raises:
        UsageError: the scheme, the format or an option is unknown, or the scheme needs data and there is none.
        DataError: the data is missing, damaged, or does not fit the model.
    """
    row = quantization.scheme_named(scheme)
    if model.source is not None:
        raise UsageError(f"the model is quantised already, to {model.scheme}", hint="quantise the one from load")
    if model.scheme != "float32" and row.name != "float32":
        raise UsageError(
            f"the file is quantised already, to {model.scheme}",
            hint="convert it as it is, or start from its float model",
        )
    source = replace(model, preprocessing=preprocessing_of(options, model.preprocessing))
    given: dict[str, Any] = {
        "opset": opset,
        "samples": samples,
        "weights": weights,
        "observer": observer,
        "io_type": io_type,
        "overrides": dict(overrides or {}),
    }
    used: list[DataSet] = []

    def chosen(count: int, seed: int) -> DataSet:
        if data is None:
            raise UsageError(f"the scheme {row.name} needs data to calibrate on", hint="give --data PATH")
        used.append(open_samples(data, source, options).subset(count, seed))
        return used[0]

    trial = Trial(model.provenance.path or Path(), fmt, row.name, given, options.get("seed", 0))
    quantized = Workbench(source, chosen, progress).quantized(trial)
    notes = [note for taken in used for note in (f"calibrated on {taken.description}", *taken.remarks)]
    notes += json.loads(quantized.ir.metadata_props[quantization.NOTES])
    quantized.ir.metadata_props[quantization.NOTES] = json.dumps(notes)
    variants = {
        key: quantize(
            variant,
            scheme,
            fmt=fmt,
            opset=opset,
            data=data,
            samples=samples,
            weights=weights,
            observer=observer,
            io_type=io_type,
            overrides=overrides,
            progress=progress,
            **options,
        )
        for key, variant in model.variants.items()
    }
    return replace(quantized, variants=variants)


def save(
    model: Model,
    path: str | Path,
    *,
    fmt: str | None = None,
    opset: int | None = None,
    io_layout: Layout = "target",
    verify: bool = True,
    reference: Reference = "auto",
    min_sqnr: float | None = None,
    max_drop: float | None = None,
    data: Data | None = None,
    progress: Progress = silent,
    **options: Unpack[DataOptions],
) -> WrittenFile:
    """Writes a model, and runs the file beside its source before it gets its name.

    Args:
        model: from `load` or `quantize`; it is not changed.
        path: the destination; its suffix says the format.
        fmt: the format's name, where the suffix does not tell.
        opset: version of the operator set, where the format has versions; its writer's own choice if None.
        io_layout: "target" for the target's own layout of image inputs and outputs, "source" to keep the source's.
        verify: whether to run the file; without it nothing is proven.
        reference: what to compare it with: "original", the source file on its own runtime; "canonical", the graph that
            was read from it; or "auto", the original unless that is a Keras file and Keras is not loaded.
        min_sqnr: dB that the quantised graph must keep of its source; if None the scheme's own limit, which is 60 for
            float32, 40 for float16, and none for integers.
        max_drop: the fraction of samples, in 0..1, whose first class may be another than the source's; any if None.
        data: samples to verify on; random ones if None.
        progress: is told how far the work has come.
        options: how the data becomes inputs, as for `quantize`; what was given there still holds.

    Raises:
        VerificationError: the file does not compute what its graph says, or that loses too much of the source. It is
            kept as `<path>.unverified`, and the error's `written` has the figures.
        UnsupportedError: the target cannot express something.
        OutputError: the destination cannot be written.
        UsageError: no writer takes the suffix, the format lacks the scheme or the option, the model was quantised for
            another target, or the destination is the source.
        DataError: the data is missing, damaged, or does not fit the model.
    """
    path = Path(path)
    row, format_options = targets.find(path, fmt), targets.WriteOptions(opset)
    targets.check(row, model.scheme, format_options)
    _spare(model.provenance.path, path)
    made_for = model.graph.meta.get(DECOMPOSED)
    if model.source is not None and made_for not in (None, row.target):
        raise UsageError(f"the model was quantised for {made_for}", hint=f"quantise it with fmt={row.name!r}")
    if io_layout not in ("target", "source"):
        raise UsageError(f"unknown layout {io_layout!r}", hint="target or source")
    source = model.source or model
    source = replace(source, preprocessing=preprocessing_of(options, source.preprocessing))
    proof = test = None

    def opened(whole: Model) -> Proof:
        whole = replace(whole, preprocessing=source.preprocessing)
        samples = None if data is None else open_samples(data, whole, options)
        return Proof.open(whole, samples, reference, Bars(min_sqnr, max_drop))

    if verify:
        progress("opening the source", 0, None)
        variants = {key: opened(variant.source or variant) for key, variant in model.variants.items()}
        proof = replace(opened(source), variants=variants)
        test = proof.data
    progress(f"writing {path.name}", 0, None)
    model = replace(model, preprocessing=source.preprocessing)
    file, _ports = write(model, path, row, io_layout, proof, format_options)
    remarks = () if data is None else (*(test.remarks if test else ()), *remark(data, source))
    return replace(file, notes=tuple(dict.fromkeys((*file.notes, *remarks))))


def _spare(source: Path | None, destination: Path) -> None:
    """Refuses to write over the file that a model was read from."""
    with suppress(OSError):
        if source is not None and destination.samefile(source):
            raise UsageError("the destination is the source", hint="give another name")
