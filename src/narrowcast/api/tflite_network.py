"""A .tflite file as a network for display: operators, tensors and scales as the file has them, in its own words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from narrowcast._files import map_file, size_of
from narrowcast.errors import ModelFileError, at, foreign_as
from narrowcast.evaluation.networks.of_model import SMALL
from narrowcast.evaluation.networks.records import (
    Described,
    Network,
    Operator,
    Quantization,
    Role,
    Signature,
    Subgraph,
    Tensor,
    Value,
)
from narrowcast.model import Array
from narrowcast.readers.tflite import file as stored
from narrowcast.schemas.flatbuffer import Table

__all__ = ["describe"]

INSIDE = "subgraph_index"
"""How fields of options are called that name a graph."""

LONGEST = 1 << 16
"""Elements of an option that are told."""

_WEIGHTED = ("input", "weights", "bias")
OPERANDS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D", "CONV_3D", "FULLY_CONNECTED"), _WEIGHTED),
    "TRANSPOSE_CONV": ("output shape", "weights", "input", "bias"),
    "PRELU": ("input", "slope"),
    "EMBEDDING_LOOKUP": ("indices", "table"),
    **dict.fromkeys(("GATHER", "GATHER_ND"), ("input", "indices")),
    **dict.fromkeys(("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD"), ("input", "axes")),
    **dict.fromkeys(("RESHAPE", "BROADCAST_TO"), ("input", "shape")),
    **dict.fromkeys(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), ("input", "size")),
    **dict.fromkeys(("PAD", "MIRROR_PAD"), ("input", "paddings")),
    "PADV2": ("input", "paddings", "value"),
    "TRANSPOSE": ("input", "permutation"),
    "SLICE": ("input", "begin", "size"),
    "STRIDED_SLICE": ("input", "begin", "end", "strides"),
}
"""What operands mean, of operators whose constants are worth a name."""


def describe(path: Path) -> Described:
    """Describes a file.

    Raises:
        ModelFileError: the file is missing, damaged, or contradicts itself.
        UnsupportedError: it is of a schema that is not read.
    """
    with at(str(path)), foreign_as(ModelFileError, "not a sound tflite file"):
        file = stored.parse(map_file(path))
        graphs = tuple(_graph(graph, file) for graph in file.subgraphs)

    def values(graph: int, tensor: int) -> Array | None:
        found = file.subgraphs[graph].tensors[tensor]
        with at(str(path)), foreign_as(ModelFileError, "not a sound tflite file"):
            return found.array if found.type in stored.DTYPES else None

    signatures = tuple(Signature(row.key, row.subgraph, row.inputs, row.outputs) for row in file.signatures)
    return Described(Network(path, size_of(path), "tflite", file.description, "as stored", graphs, signatures), values)


def _graph(graph: stored.Subgraph, file: stored.File) -> Subgraph:
    fed = frozenset(graph.inputs)
    tensors = tuple(_tensor(tensor, tensor.index in fed) for tensor in graph.tensors)
    operators = tuple(_operator(operator, graph, len(file.subgraphs)) for operator in graph.operators)
    return Subgraph(graph.name, graph.inputs, graph.outputs, tensors, operators)


def _tensor(tensor: stored.Tensor, fed: bool) -> Tensor:
    constant = tensor.content is not None
    role: Role = "constant" if constant else "input" if fed else "variable" if tensor.variable else "activation"
    return Tensor(
        name=tensor.name,
        shape=tuple(None if dim < 0 else dim for dim in tensor.signature),
        dtype=tensor.type.lower(),
        role=role,
        quantization=_quantization(tensor.quantization),
        bytes=None if tensor.content is None else tensor.content.size,
        values=_few(tensor),
    )


def _quantization(found: stored.Quantization | None) -> Quantization | None:
    if found is None:
        return None
    scales, points = tuple(found.scale.tolist()), tuple(found.zero_point.tolist())
    return Quantization(scales, points, found.axis if len(scales) > 1 else None)


def _few(tensor: stored.Tensor) -> Value:
    if tensor.content is None or tensor.type not in stored.DTYPES or int(np.prod(tensor.shape)) > SMALL:
        return None
    array = tensor.array
    return None if array is None else tuple(array.reshape(-1).tolist())


def _operator(operator: stored.Operator, graph: stored.Subgraph, graphs: int) -> Operator:
    attributes = dict(_attributes(operator.options))
    inside = [(name, index) for name, index in attributes.items() if name.endswith(INSIDE) and isinstance(index, int)]
    subgraphs = tuple((name.removesuffix(INSIDE).rstrip("_"), at) for name, at in inside if 0 <= at < graphs)
    if operator.custom_options.size:
        attributes["custom_options"] = f"{len(operator.custom_options)} bytes"
    named = next((graph.tensors[index].name for index in operator.outputs), "")
    return Operator(
        name=named,
        type=operator.custom if operator.name == "CUSTOM" else operator.name,
        inputs=tuple(None if index < 0 else index for index in operator.inputs),
        outputs=tuple(None if index < 0 else index for index in operator.outputs),
        operands=OPERANDS.get(operator.name, ()),
        attributes=attributes,
        subgraphs=subgraphs,
    )


def _attributes(options: Table | None) -> Iterator[tuple[str, Value]]:
    """The fields of an operator's options; enumerations by their names."""
    for name, field in options.kind.fields.items() if options is not None else ():
        assert options is not None
        if field.is_old:
            continue
        found = options[name]
        if field.enumeration is not None and field.kind == "number":
            yield name, options.name_of(name) or found
        elif field.kind == "numbers" and found is not None:
            yield name, tuple(found[:LONGEST].tolist())
        elif field.kind in ("number", "string"):
            yield name, found
        elif found is not None:
            yield name, f"a {field.type}" if field.kind != "strings" else tuple(found)
