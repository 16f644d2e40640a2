"""Reads TFLite files that were written as JSON."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from narrowcast.model import Model
from narrowcast.readers import tflite
from narrowcast.readers.formats import ReadOptions
from narrowcast.schemas.beside import name_of
from narrowcast.schemas.transcripts import as_binary

__all__ = ["read"]


def read(path: Path, options: ReadOptions) -> Model:
    """Reads a model as `readers.tflite` does from the file that the JSON spells.

    Raises:
        ModelFileError: a value of the JSON is not what its field takes, or the model contradicts itself.
        UnsupportedError: as for TFLite files.
        UsageError: as for TFLite files.
    """
    notes: list[str] = []
    with as_binary(path, "tflite-json", notes) as file:
        model = tflite.read(file, options)
    beside = (name_of(path),) if name_of(path).exists() else ()
    origin = replace(model.provenance, path=path, format="tflite-json", beside=beside, notes=tuple(notes))
    return replace(model, provenance=origin)
