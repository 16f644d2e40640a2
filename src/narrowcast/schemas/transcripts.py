"""Formats that spell another one as JSON: the same model, letter by letter, in a form that people can edit."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from narrowcast._files import temporary_at
from narrowcast.errors import NarrowcastError

__all__ = ["TRANSCRIPTS", "Transcriber", "Transcript", "as_binary", "family"]


class Transcriber(Protocol):
    """What a transcript's module has."""

    def from_binary(self, source: Path, destination: Path, inline_limit: int | None = None) -> tuple[str, ...]:
        """Writes a file as JSON; returns what the user should know."""

    def to_binary(self, source: Path, destination: Path) -> tuple[str, ...]:
        """Writes JSON as a file; returns what the user should know."""

    def retell(self, binary: Path, error: NarrowcastError) -> None:
        """Lets an error about a file name the place in the JSON that it was made of."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """A format of JSON.

    Attributes:
        name: the format's.
        binary: the format that it spells.
        module: a `Transcriber`.
    """

    name: str
    binary: str
    module: str

    @property
    def transcriber(self) -> Transcriber:
        """Imported on first use."""
        return cast(Transcriber, importlib.import_module(self.module))


TRANSCRIPTS: Mapping[str, Transcript] = {
    row.name: row
    for row in (
        Transcript("onnx-json", "onnx", "narrowcast.schemas.onnx_json"),
        Transcript("tflite-json", "tflite", "narrowcast.schemas.tflite_json"),
    )
}


def family(name: str) -> str:
    """The format that one spells, or the format itself."""
    return TRANSCRIPTS[name].binary if name in TRANSCRIPTS else name


@contextmanager
def as_binary(path: Path, fmt: str, notes: list[str] | None = None) -> Iterator[Path]:
    """Yields a file for those who take no JSON: the file itself, or what it spells, which is gone afterwards.

    Args:
        path: a file of the format.
        fmt: the format's name; of any but a transcript the file is yielded as it is.
        notes: is given what the user should know of the file.

    Raises:
        ModelFileError: what is no sound JSON spells nothing.
    """
    if fmt not in TRANSCRIPTS:
        yield path
        return
    made = tempfile.TemporaryDirectory(prefix="narrowcast-", ignore_cleanup_errors=True)
    with made as folder, temporary_at(Path(folder)):
        file = Path(folder) / f"{path.stem}.{family(fmt)}"
        found = TRANSCRIPTS[fmt].transcriber.to_binary(path, file)
        if notes is not None:
            notes += found
        try:
            yield file
        except NarrowcastError as error:
            TRANSCRIPTS[fmt].transcriber.retell(file, error)
            error.where, error.what = (text.replace(str(file), str(path)) for text in (error.where, error.what))
            raise
