"""The formats that can be read: one row each. A row's module is imported only when a file needs it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import numpy as np

from narrowcast._files import readable_file
from narrowcast.errors import ModelFileError, UsageError, at
from narrowcast.model import Array, Model, ir

__all__ = ["FORMATS", "Format", "ReadOptions", "find", "read"]

HEAD_BYTES = 64


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a user may pin while reading.

    Attributes:
        batch: size of a symbolic first dimension, or "dynamic" to leave it open.
        input_shapes: full shapes by input name, for inputs with other symbolic dimensions.
        freeze: inputs that become constant, and the number that fills them.
    """

    batch: int | Literal["dynamic"] = 1
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    freeze: Mapping[str, float] = field(default_factory=dict)


class _Reader(Protocol):
    def read(self, path: Path, options: ReadOptions) -> Model: ...


@dataclass(frozen=True, slots=True)
class Format:
    """A readable format.

    Attributes:
        name: as in `--from` and in messages.
        suffixes: lower case, with the dot.
        magic: byte strings that a file of this format starts with; empty where it has none.
        module: has `read(path, options) -> Model`.
    """

    name: str
    suffixes: tuple[str, ...]
    magic: tuple[bytes, ...]
    module: str


FORMATS: tuple[Format, ...] = (
    Format("keras", (".keras", ".h5", ".hdf5"), (b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"), "narrowcast.readers.keras"),
    Format("onnx", (".onnx",), (), "narrowcast.readers.onnx"),
)


def find(path: Path) -> Format:
    """The format of a file, by its suffix.

    Raises:
        UsageError: no reader takes this suffix.
    """
    suffix = path.suffix.lower()
    for row in FORMATS:
        if suffix in row.suffixes:
            return row
    known = ", ".join(suffix for row in FORMATS for suffix in row.suffixes)
    raise UsageError(f"no reader for the suffix {suffix!r}", where=str(path), hint=f"readable: {known}")


def read(path: Path, options: ReadOptions | None = None) -> Model:
    """Reads a file into a model of the canonical opset with static shapes, not yet canonicalised.

    Raises:
        ModelFileError: the file is missing, damaged or inconsistent.
        UnsupportedError: it holds something that cannot be expressed.
    """
    row = find(path)
    readable_file(path)
    if row.magic:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        if not head.startswith(row.magic):
            raise ModelFileError(
                f"not a {row.name} file: it starts with {head[:16]!r}",
                where=str(path),
                hint="the file may be damaged or carry the wrong suffix",
            )
    reader = cast("_Reader", importlib.import_module(row.module))
    options = options or ReadOptions()
    with at(str(path)):
        return _frozen(reader.read(path, options), options.freeze)


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
