"""Reads .tflite files: every precision, every signature, and nothing in them is believed.

`file` checks the bytes and gives dataclasses, `network` walks a subgraph, and one function per operator in `ops` emits
ONNX nodes through `emit`. What is stored in integers by a scale becomes QuantizeLinear and DequantizeLinear.
"""

from __future__ import annotations

from pathlib import Path

from narrowcast._files import map_file
from narrowcast.model import Model, Provenance
from narrowcast.readers.formats import ReadOptions
from narrowcast.readers.tflite.check import check
from narrowcast.readers.tflite.file import File, parse
from narrowcast.readers.tflite.network import build_graph
from narrowcast.readers.tflite.signatures import ports_of
from narrowcast.readers.tflite.usage import usage_of

__all__ = ["check_file", "read"]


def check_file(path: Path) -> File:
    """Parses a file, and checks all that LiteRT believes of it.

    Raises:
        ModelFileError: the file is damaged, or contradicts itself.
        UnsupportedError: it is of a schema that is not read.
    """
    found = parse(map_file(path))
    check(found)
    return found


def read(path: Path, options: ReadOptions) -> Model:
    """Reads a .tflite file.

    Inputs and outputs keep the file's layout, and the names of its signature; what its metadata say of images and of
    classes becomes the model's preprocessing and labels.

    Raises:
        ModelFileError: the file is damaged, or contradicts itself.
        UnsupportedError: it holds something that cannot be expressed.
        UsageError: the options contradict the model's inputs, or there is no such signature.
    """
    source = check_file(path)
    ports, usage = ports_of(source, options.signature), usage_of(source)
    model = build_graph(source, ports.graph, ports.inputs, ports.outputs, options)
    origin = Provenance(path, "tflite", source.description, signature=ports.key)
    return Model(model, usage.preprocessing, usage.labels, origin)
