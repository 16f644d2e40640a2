"""The formats that can be read: one row each. A row's module is imported only when a file needs it.

What a file is, its content says first and its suffix second. Formats that are recognised but not read have a row too,
so that the refusal can name them and the way out.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import numpy as np

from narrowcast._archives import entries_of, is_within, mapped
from narrowcast._extras import require
from narrowcast._files import map_file, readable
from narrowcast.errors import ModelFileError, UnsupportedError, UsageError, at, did_you_mean, foreign_as
from narrowcast.model import Array, Model, ir
from narrowcast.readers.check import check

__all__ = ["FORMATS", "Format", "ReadOptions", "Sign", "checked", "find", "named", "read"]

HEAD_BYTES = 4096
OBJECT = rb"(\xef\xbb\xbf)?\s*\{"
OBJECT_BYTES = 2**20
"""Of JSON that are looked at: a description may stand before the keys that tell."""
ZIP = rb"PK\x03\x04"
ORIGIN = "give the file that it was made of"


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a user may pin while reading.

    Attributes:
        batch: size of a symbolic first dimension, or "dynamic" to leave it open.
        input_shapes: full shapes by input name, for inputs with other symbolic dimensions; None leaves one open.
        freeze: inputs that become constant, and the number that fills them.
        keep_custom: whether operators of a .tflite file's own making stay such where the runtime has them.
        sizes: of the dimensions that are open after that, in their order; one is for all of them.
        leave_open: whether what is open then stays so, where a reader can: for networks that are only looked at.
        signature: the key of the graph that is meant, in files of several; empty for the first.
    """

    batch: int | Literal["dynamic"] = 1
    input_shapes: Mapping[str, tuple[int | None, ...]] = field(default_factory=dict)
    freeze: Mapping[str, float] = field(default_factory=dict)
    sizes: tuple[int, ...] = ()
    leave_open: bool = False
    keep_custom: bool = False
    signature: str = ""


class _Reader(Protocol):
    def read(self, path: Path, options: ReadOptions) -> Model: ...


@dataclass(frozen=True, slots=True)
class Sign:
    """What gives a format away.

    Attributes:
        head: a regular expression that the file's first bytes match; empty for a folder.
        entry: a pattern of a name in the folder or the zip archive; empty where the head says enough.
    """

    head: bytes = b""
    entry: str = ""

    def matches(self, head: bytes, entries: frozenset[str]) -> bool:
        """Whether a path shows this sign: a file by its first bytes, a folder by an empty head."""
        if bool(self.head) != bool(head) or not re.match(self.head, head, re.DOTALL):
            return False
        return not self.entry or any(fnmatchcase(entry, self.entry) for entry in entries)


@dataclass(frozen=True, slots=True)
class Format:
    """A format that is recognised.

    Attributes:
        name: as in `--from` and in messages.
        suffixes: lower case, with the dot; of files that show none of the signs.
        signs: any of them gives the format away.
        module: has `read(path, options) -> Model`; empty where there is no reader.
        runtime: the name of what runs such files as they are, in `runtimes`; empty for nothing.
        folder: whether it is one.
        hint: where there is no reader: what to do instead.
        package: what the module imports beside the core; empty for nothing.
        extra: what installs it.
        within: whether it may lie in an archive, as `bundle.task/model.tflite`.
    """

    name: str
    suffixes: tuple[str, ...]
    signs: tuple[Sign, ...]
    module: str = ""
    runtime: str = ""
    folder: bool = False
    hint: str = ""
    package: str = ""
    extra: str = ""
    within: bool = False


FORMATS: tuple[Format, ...] = (
    Format(
        "keras",
        (".keras", ".h5", ".hdf5"),
        (Sign(ZIP, "config.json"), Sign(rb"\x89HDF\r\n\x1a\n")),
        "narrowcast.readers.keras",
        "keras",
    ),
    Format(
        "onnx",
        (".onnx",),
        (Sign(rb"\x08[\x03-\x20][\x12\x1a\x22\x28\x32\x3a\x42\x72]"),),  # ir_version, then another field of ModelProto
        "narrowcast.readers.onnx",
        "onnxruntime",
    ),
    Format(
        "tflite-json",
        (),
        (Sign(OBJECT + rb'.*?"?(operator_codes|subgraphs|signature_defs|buffers)"?\s*:\s*\['),),
        "narrowcast.readers.tflite_json",
        "litert-json",
    ),
    Format("tflite", (".tflite", ".lite"), (Sign(rb"....TFL3"),), "narrowcast.readers.tflite", "litert", within=True),
    Format(
        "task",
        (".task",),
        (Sign(ZIP, "*.tflite"), Sign(ZIP, "*.task"), Sign(ZIP, "TF_LITE_*")),
        "narrowcast.readers.tflite.bundle",
        "member",
        within=True,
    ),
    Format(
        "onnx-json",
        (),
        (Sign(OBJECT + rb'.*?"((irVersion|ir_version|opsetImport|opset_import)"\s*:|graph"\s*:\s*\{)'),),
        "narrowcast.readers.onnx_json",
        "onnxruntime-json",
    ),
    Format(
        "savedmodel",
        (),
        (Sign(entry="saved_model.pb"),),
        folder=True,
        hint="save it as .keras, or make ONNX of it: python -m tf2onnx.convert --saved-model DIR --output model.onnx",
    ),
    Format(
        "graphdef",
        (".pb",),
        (),
        hint="make ONNX of it: python -m tf2onnx.convert --graphdef m.pb --inputs x:0 --outputs y:0 --output m.onnx",
    ),
    Format("openvino", (), (Sign(rb"\s*(<\?xml[^>]*>)?\s*<net\s"),), hint=ORIGIN),
    Format("coreml", (".mlpackage",), (Sign(entry="Manifest.json"),), folder=True, hint=ORIGIN),
    Format(
        "pytorch",
        (".pt", ".pth", ".pt2", ".ckpt", ".safetensors"),
        (Sign(ZIP, "*/data.pkl"), Sign(ZIP, "*archive_format"), Sign(rb"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19\.")),
        hint="export it: torch.onnx.export(model, example_inputs, 'model.onnx', dynamo=True)",
    ),
)


def named(name: str) -> Format:
    """The row of a format.

    Raises:
        UsageError: there is none of that name.
    """
    for row in FORMATS:
        if row.name == name:
            return row
    guess = did_you_mean(name, (row.name for row in FORMATS))
    known = ", ".join(row.name for row in FORMATS if row.module)
    raise UsageError(f"no reader for {name!r}", hint=f"{guess} readable: {known}".strip())


def find(path: Path, name: str | None = None) -> Format:
    """The format of a file or folder: the one named, or what its content shows, or what its suffix says.

    Raises:
        UsageError: there is no format of that name, or nothing tells the file's.
        ModelFileError: the file is missing or cannot be read.
        UnsupportedError: it lies in an archive, and its format is not read from there.
    """
    if name is not None:
        return named(name)
    suffix = readable(path).suffix.lower()
    head, entries = _look(path)
    shown = [row for row in FORMATS if any(sign.matches(head, entries) for sign in row.signs)]
    told = [row for row in FORMATS if suffix in row.suffixes and row.folder == path.is_dir()]
    for row in (*(row for row in shown if row in told), *shown, *told):
        if is_within(path) and not row.within:
            raise UnsupportedError(
                f"{row.name} files are not read out of an archive", where=str(path), hint="unpack it"
            )
        return row
    known = ", ".join(suffix for row in FORMATS if row.module for suffix in row.suffixes)
    what = (
        f"a folder of no format that is known here: it holds {_some(entries)}"
        if not head
        else (f"no reader for the suffix {suffix!r}, and its content shows no format: it starts with {head[:16]!r}")
    )
    raise UsageError(what, where=str(path), hint=f"readable: {known}; --from FORMAT names it")


def _look(path: Path) -> tuple[bytes, frozenset[str]]:
    """A file's first bytes, and the names in a zip archive; no bytes and the names in a folder."""
    try:
        if path.is_dir():
            return b"", frozenset(entry.name for entry in path.iterdir())
        if is_within(path):
            content = map_file(path)
            return bytes(content[:HEAD_BYTES]), frozenset(entries_of(content) if content[:4] == b"PK\3\4" else ())
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
            if re.match(OBJECT, head):
                head += file.read(OBJECT_BYTES)
        if not re.match(ZIP, head):
            return head, frozenset()
        return head, frozenset(entries_of(mapped(path)))
    except OSError as error:
        raise ModelFileError(f"cannot be read: {error.strerror or error}", where=str(path)) from error
    except ModelFileError:  # of an archive, which its reader will name
        return head, frozenset()


def _some(names: frozenset[str]) -> str:
    return ", ".join(map(repr, sorted(names)[:3])) + (", ..." if len(names) > 3 else "") if names else "nothing"


def read(path: Path, options: ReadOptions | None = None, fmt: str | None = None) -> Model:
    """Reads a file into a model of the canonical opset with static shapes, not yet canonicalised.

    Args:
        path: the file, or the folder.
        options: what is pinned.
        fmt: the format's name, where neither content nor suffix tells, or tell wrong.

    Raises:
        ModelFileError: the file is missing, damaged or inconsistent.
        UnsupportedError: it holds something that cannot be expressed, or there is no reader for its format.
        UsageError: no format of that name is known, or nothing tells the file's.
        MissingExtraError: a package that the reader needs is not installed.
    """
    row = find(path, fmt)
    if not row.module:
        raise UnsupportedError(f"{row.name} files are not read", where=str(path), hint=row.hint)
    if readable(path).is_dir() != row.folder:
        raise ModelFileError(f"{row.name} is a format of {'folders' if row.folder else 'files'}", where=str(path))
    if row.package:
        require(row.package, extra=row.extra, purpose=f"Reading {row.name} files")
    reader = cast("_Reader", importlib.import_module(row.module))
    options = options or ReadOptions()
    with at(str(path)), foreign_as(ModelFileError, f"not a sound {row.name} file"):
        model = reader.read(path, options)
        if options.signature and model.provenance.signature != options.signature:
            raise UsageError(f"{row.name} files have no signatures", hint="leave --signature out")
        check(model)
        return _frozen(model, options.freeze)


def checked(path: Path, fmt: str | None = None) -> Format:
    """The format of a file that is handed to its runtime as it is; where the reader can, its soundness is checked.

    Raises:
        ModelFileError: the file is missing, damaged or inconsistent, and its runtime might end the process.
        UnsupportedError, UsageError: as for `find`.
    """
    row = find(path, fmt)
    look = getattr(importlib.import_module(row.module), "check_file", None) if row.module and row.runtime else None
    if look is not None:
        with at(str(path)), foreign_as(ModelFileError, f"not a sound {row.name} file"):
            look(path)
    return row


def _holds(dtype: np.dtype[Any], number: float) -> bool:
    """Whether a type has a number; floats only have to be able to come near it."""
    if dtype.kind == "b":
        return number in (0, 1)
    if dtype.kind in "iu":
        return float(number).is_integer() and np.iinfo(dtype).min <= number <= np.iinfo(dtype).max
    with np.errstate(over="ignore"):
        return bool(np.isfinite(np.asarray(number).astype(dtype)))


def _frozen(model: Model, freeze: Mapping[str, float]) -> Model:
    """The model with inputs made constant."""
    inputs = {value.name or "": value for value in model.graph.inputs}
    frozen: dict[str, Array] = {}
    for name, number in freeze.items():
        value = inputs.get(name)
        if value is None or len(inputs) == len(freeze):
            others = ", ".join(inputs)
            raise UsageError(f"cannot freeze {name!r}", hint=f"one of the inputs {others} can be frozen, not all")
        if value.shape is None or not value.shape.is_static() or value.dtype is None:
            raise UsageError(f"cannot freeze {name!r}: its shape is open", hint="give it: --input name:shape")
        dtype = value.dtype.numpy()
        if not _holds(dtype, number):
            raise UsageError(f"cannot freeze {name!r} to {number:g}: it is {dtype}")
        frozen[name] = np.full(value.shape.numpy(), number, dtype)
        value.const_value = ir.Tensor(frozen[name], name=name)
        model.graph.inputs.remove(value)
        model.graph.register_initializer(value)
    return replace(model, provenance=replace(model.provenance, frozen=frozen))
