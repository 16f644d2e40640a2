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
from narrowcast.readers.tflite.usage import usage_of

__all__ = ["read"]


def read(path: Path, options: ReadOptions) -> Model:
    """Reads a .tflite file.

    Inputs and outputs keep the file's layout, and the names of its signature; what its metadata say of images and of
    classes becomes the model's preprocessing and labels.

    Raises:
        ModelFileError: the file is damaged, or contradicts itself.
        UnsupportedError: it holds something that cannot be expressed.
        UsageError: the options contradict the model's inputs.
    """
    source = parse(map_file(path))
    check(source)
    graph, inputs, outputs = _ports(source)
    model, usage = build_graph(source, graph, inputs, outputs, options), usage_of(source)
    return Model(model, usage.preprocessing, usage.labels, Provenance(path, "tflite", source.description))


def _ports(source: File):  # type: ignore[no-untyped-def]
    """The main subgraph, and its ports by their names."""
    graph = source.subgraphs[0]
    for signature in source.signatures:
        if signature.subgraph == 0 and set(signature.inputs.values()) == set(graph.inputs):
            named = {index: name for name, index in signature.inputs.items()}
            inputs = {named[index]: index for index in graph.inputs}
            return graph, inputs, dict(signature.outputs)
    tensors = graph.tensors
    return graph, {tensors[i].name: i for i in graph.inputs}, {tensors[i].name: i for i in graph.outputs}
