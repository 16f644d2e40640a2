"""The formats that can be written: one row each. A row's module is imported only when it is used."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal, Protocol, cast

from narrowcast import targets
from narrowcast._extras import require
from narrowcast.errors import UsageError, did_you_mean
from narrowcast.model import Model
from narrowcast.passes.prepare import Prepared, prepare
from narrowcast.schemas.transcripts import TRANSCRIPTS, family

__all__ = [
    "DEFAULTS",
    "FORMATS",
    "Format",
    "Port",
    "WriteOptions",
    "Written",
    "check",
    "find",
    "named",
    "record",
    "write",
]


@dataclass(frozen=True, slots=True)
class Port:
    """How one input or output of a written file relates to the source's.

    Attributes:
        name: the name in the source and in the file's signature.
        permutation: axes of the source array in the order of the written file
            (`written = source.transpose(permutation)`); None where the layout is kept.
        scale, zero_point: of an integer port: real = (stored - zero_point) * scale; scale 0 for a float port.
        dtype: numpy name of the stored type.
    """

    name: str
    permutation: tuple[int, ...] | None = None
    scale: float = 0.0
    zero_point: int = 0
    dtype: str = "float32"


@dataclass(frozen=True, slots=True)
class Written:
    """What there is to say of a written file.

    Attributes:
        inputs, outputs: its ports, in order.
        notes: what the user should know.
        runtime: what runs the file; `write` takes it from the format's row.
        prepared: what `write` had written.
        layers: of integers inside, by which the file can be looked at layer by layer: the index of the tensor in the
            file, and how it relates to the value of that name in the graph that was written.
        signature: the key of the graph that this is about, in a file of several; empty for the first.
        variants: what there is to say of the others, by their keys.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    notes: tuple[str, ...] = ()
    runtime: str = ""
    prepared: Prepared | None = None
    layers: tuple[tuple[int, Port], ...] = ()
    signature: str = ""
    variants: Mapping[str, Written] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """What a user may choose of a format; a format takes those that its row names, None being its own choice.

    Attributes:
        opset: version of the operator set.
        inline_limit: bytes of weights in JSON beyond which they lie in a file beside it; all are inside if None.
    """

    opset: int | None = None
    inline_limit: int | None = None


DEFAULTS = WriteOptions()


class _Writer(Protocol):
    def write(self, prepared: Prepared, path: Path, *, options: WriteOptions) -> Written: ...


@dataclass(frozen=True, slots=True)
class Format:
    """A writable format.

    Attributes:
        name: as in `--to`.
        suffixes: lower case, with the dot; the first is the default.
        module: has `write(prepared, path, options=...) -> Written`; of a transcript, that of the format that it spells.
            `path` has the destination's own name, in a folder of its own: whatever the writer leaves there appears
            beside the destination, all or nothing.
        target: the row of `targets` that the model is prepared for.
        runtime: the name of what runs such files, in `runtimes`.
        folder: empty for a format of files; else the name of an entry that every folder of the format holds.
        schemes: those that it can say; all if empty.
        options: fields of `WriteOptions` that it takes.
        variants: whether a file holds several graphs, each with a key of its own.
        package: what the module imports beside the core; empty for nothing.
        extra: what installs it.
    """

    name: str
    suffixes: tuple[str, ...]
    module: str
    target: str
    runtime: str
    folder: str = ""
    schemes: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    variants: bool = False
    package: str = ""
    extra: str = ""


FORMATS: tuple[Format, ...] = (
    Format("tflite", (".tflite",), "narrowcast.writers.tflite", "litert", "litert", variants=True),
    Format("onnx", (".onnx",), "narrowcast.writers.onnx", "onnxruntime", "onnxruntime", options=("opset",)),
    Format(
        "onnx-json",
        (".json",),
        "narrowcast.writers.onnx",
        "onnxruntime",
        "onnxruntime-json",
        options=("opset", "inline_limit"),
    ),
    Format(
        "tflite-json",
        (".json",),
        "narrowcast.writers.tflite",
        "litert",
        "litert-json",
        options=("inline_limit",),
        variants=True,
    ),
    Format("tensorrt", (".onnx",), "narrowcast.writers.onnx", "tensorrt", "onnxruntime-plain", options=("opset",)),
)
"""Of several rows with one suffix the first is meant where no format is named; of transcripts, the source's own."""


def named(name: str) -> Format:
    """The row of a format.

    Raises:
        UsageError: there is none of that name.
    """
    for row in FORMATS:
        if row.name == name:
            return row
    raise UsageError(f"no writer for {name!r}", hint=_writable(name, [row.name for row in FORMATS]))


def find(path: Path, name: str | None = None, source: Callable[[], str] = str) -> Format:
    """The format named `name`, or else the one of the path's suffix.

    Args:
        path: the destination.
        name: a row's.
        source: asked where the suffix is that of several transcripts: the format of what is to be written.

    Raises:
        UsageError: there is none.
    """
    if name is not None:
        return named(name)
    suffix = path.suffix.lower()
    rows = [row for row in FORMATS if suffix in row.suffixes]
    for row in rows:
        if row.name not in TRANSCRIPTS or family(row.name) == family(source()):
            return row
    if rows:
        names = [row.name for row in rows]
        what = f"a {suffix} file can be of several formats: {', '.join(names)}"
        raise UsageError(what, where=str(path), hint=f"say --to {' or --to '.join(names)}")
    suffixes = [suffix for row in FORMATS for suffix in row.suffixes]
    raise UsageError(f"no writer for {suffix or path.name!r}", where=str(path), hint=_writable(suffix, suffixes))


def _writable(word: str, words: list[str]) -> str:
    known = ", ".join(f"{row.name} ({', '.join(row.suffixes)})" for row in FORMATS)
    return f"{did_you_mean(word, words)} writable: {known}".strip()


def check(row: Format, scheme: str, options: WriteOptions) -> None:
    """Whether a format can say a scheme, and takes the options.

    Raises:
        UsageError: it cannot.
    """
    if row.schemes and scheme not in row.schemes:
        raise UsageError(f"{row.name} files have no {scheme}", hint=f"one of {', '.join(row.schemes)}")
    for name in _given(options):
        if name not in row.options:
            option = name.replace("_", "-")
            raise UsageError(f"{row.name} files have no {option}", hint=f"leave --{option} out")


def _given(options: WriteOptions) -> dict[str, object]:
    return {name: value for name, value in asdict(options).items() if value is not None}


def record(model: Model) -> dict[str, object]:
    """What a file says of its own making, as JSON has it; the same for the same source, options and seed."""
    origin = model.provenance
    digest = "" if origin.digest is None else origin.digest.text
    return {
        "version": version("narrowcast"),
        "source": {"format": origin.format, "sha256": digest},
        "scheme": model.scheme,
        "options": dict(origin.options),
        **({"edits": [dict(edit) for edit in origin.edits]} if origin.edits else {}),
        **({} if model.preprocessing is None else {"preprocessing": asdict(model.preprocessing)}),
        **({"labels": list(model.labels)} if model.labels else {}),
    }


def write(
    model: Model,
    path: Path,
    *,
    fmt: str | None = None,
    io_layout: Literal["target", "source"] = "target",
    options: WriteOptions = DEFAULTS,
) -> Written:
    """Prepares a canonical model, perhaps adapted and quantised, for the format's target, and writes it to `path`.

    Raises:
        UsageError: the format has no such scheme or option.
        UnsupportedError: the format cannot express something.
        MissingExtraError: a package that the writer needs is not installed.
    """
    row = find(path, fmt)
    check(row, model.scheme, options)
    if model.variants and not row.variants:
        raise UsageError(f"{row.name} files hold one graph each", hint="write a file for each of the --shapes")
    if row.package:
        require(row.package, extra=row.extra, purpose=f"Writing {row.name} files")
    chosen = {**({} if io_layout == "target" else {"io_layout": io_layout}), **_given(options)}
    model = replace(model, provenance=replace(model.provenance, options={**model.provenance.options, **chosen}))
    prepared = prepare(model, targets.find(row.target, options.opset), io_layout)
    written = _written(row, prepared, path, options)
    variants = {
        key: replace(variant, runtime=row.runtime, prepared=prepared.variants[key])
        for key, variant in written.variants.items()
    }
    return replace(written, runtime=row.runtime, prepared=prepared, variants=variants)


def _written(row: Format, prepared: Prepared, path: Path, options: WriteOptions) -> Written:
    """Writes a file, or the JSON that spells it."""
    writer = cast("_Writer", importlib.import_module(row.module))
    if row.name not in TRANSCRIPTS:
        return writer.write(prepared, path, options=options)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        binary = Path(folder) / path.stem
        written = writer.write(prepared, binary, options=options)
        notes = TRANSCRIPTS[row.name].transcriber.from_binary(binary, path, options.inline_limit)
    return replace(written, notes=(*written.notes, *notes))
