"""Reads ONNX files that were written as JSON."""

from __future__ import annotations

from pathlib import Path

from narrowcast.model import Model
from narrowcast.readers import onnx
from narrowcast.readers.formats import ReadOptions
from narrowcast.schemas import onnx_json

__all__ = ["read"]


def read(path: Path, options: ReadOptions) -> Model:
    """Reads a model as `readers.onnx` does; what lies beside the file is external data.

    Raises:
        ModelFileError: a value of the JSON is not what its field takes, or the model contradicts itself.
        UnsupportedError: as for ONNX files.
        UsageError: as for ONNX files.
    """
    proto = onnx_json.load(path)
    with onnx_json.placed(proto):
        return onnx.read_proto(proto, path, options, "onnx-json")
