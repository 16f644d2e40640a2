"""The formats that can be written: one row each. A row's module is imported only when it is used."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from narrowcast.errors import UsageError
from narrowcast.model import Model

__all__ = ["FORMATS", "Format", "Port", "Written", "find", "write"]


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
    """What a writer has to say of the file that it made."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    notes: tuple[str, ...] = ()


class _Writer(Protocol):
    def write(self, model: Model, path: Path, *, io_layout: str) -> Written: ...


@dataclass(frozen=True, slots=True)
class Format:
    """A writable format.

    Attributes:
        name: as in `--to`.
        suffixes: lower case, with the dot; the first is the default.
        module: has `write(model, path, io_layout=...) -> Written`.
        target: the row of `targets` that the model is prepared for.
    """

    name: str
    suffixes: tuple[str, ...]
    module: str
    target: str


FORMATS: tuple[Format, ...] = (Format("tflite", (".tflite",), "narrowcast.writers.tflite", "litert"),)


def find(path: Path, name: str | None = None) -> Format:
    """The format named `name`, or else the one of the path's suffix.

    Raises:
        UsageError: there is none.
    """
    for row in FORMATS:
        if row.name == name or (name is None and path.suffix.lower() in row.suffixes):
            return row
    known = ", ".join(f"{row.name} ({', '.join(row.suffixes)})" for row in FORMATS)
    raise UsageError(f"no writer for {name or path.suffix!r}", where=str(path), hint=f"writable: {known}")


def write(model: Model, path: Path, *, fmt: str | None = None, io_layout: str = "target") -> Written:
    """Writes a prepared model (canonicalised, decomposed for the target, perhaps quantised) to `path`."""
    row = find(path, fmt)
    writer = cast("_Writer", importlib.import_module(row.module))
    return writer.write(model, path, io_layout=io_layout)
