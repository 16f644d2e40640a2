"""Describes a .tflite file as it is, and says how it is to be used."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from narrowcast._files import map_file, size_of
from narrowcast.errors import at
from narrowcast.evaluation.results import Inspection, OperatorCount, TensorFacts
from narrowcast.model import Preprocessing
from narrowcast.readers.tflite.file import File, Tensor, parse
from narrowcast.readers.tflite.usage import Usage, usage_of

__all__ = ["Known", "describe", "known"]

LONGEST = 200
"""Letters of a licence that are told."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a file says about its use.

    Attributes:
        preprocessing: how images become its input; None where it does not say.
        labels: class names in output order.
        inputs: by name, in the signature's and in the graph's own words.
        outputs: likewise.
    """

    preprocessing: Preprocessing | None = None
    labels: tuple[str, ...] = ()
    inputs: Mapping[str, TensorFacts] = field(default_factory=dict)
    outputs: Mapping[str, TensorFacts] = field(default_factory=dict)


def describe(path: Path) -> Inspection:
    """Describes a file: the main subgraph's ports, and the operators, constants and quantisation of all subgraphs.

    Raises:
        ModelFileError: the file is missing, or no sound flatbuffer of this schema.
        UnsupportedError: it is of a schema that is not read.
    """
    with at(str(path)):
        file = parse(map_file(path))
        usage = usage_of(file)
    graph = file.subgraphs[0]
    tensors = [tensor for graph in file.subgraphs for tensor in graph.tensors]
    constants = [tensor for tensor in tensors if tensor.content is not None]
    inputs, outputs = (tuple(_facts(graph.tensors[index]) for index in side) for side in (graph.inputs, graph.outputs))
    weights = _bytes_by_type(constants)
    return Inspection(
        path=path,
        bytes=size_of(path),
        format="tflite",
        producer=file.description,
        quantization=_quantization(weights, tensors, inputs),
        inputs=inputs,
        outputs=outputs,
        operators=_operators(file),
        parameters=sum(math.prod(tensor.shape) for tensor in constants),
        parameter_types=tuple(weights.most_common()),
        notes=tuple(_notes(file, usage)),
    )


def known(path: Path) -> Known:
    """What a file says about its inputs, outputs, preprocessing and labels.

    Raises:
        ModelFileError: the file is missing, or no sound flatbuffer of this schema.
        UnsupportedError: it is of a schema that is not read.
    """
    with at(str(path)):
        file = parse(map_file(path))
        usage = usage_of(file)
    graph = file.subgraphs[0]
    inputs, outputs = (
        {graph.tensors[index].name: _facts(graph.tensors[index]) for index in side}
        for side in (graph.inputs, graph.outputs)
    )
    for signature in file.signatures[:1]:
        called = file.subgraphs[signature.subgraph].tensors
        inputs.update({name: _facts(called[index]) for name, index in signature.inputs.items()})
        outputs.update({name: _facts(called[index]) for name, index in signature.outputs.items()})
    return Known(usage.preprocessing, usage.labels, inputs, outputs)


def _notes(file: File, usage: Usage) -> Iterable[str]:
    if len(file.subgraphs) > 1:
        yield f"{len(file.subgraphs)} subgraphs: the operators of branches and loops are counted once"
    if file.signatures:
        yield f"signatures: {', '.join(signature.key for signature in file.signatures)}"
    if file.metadata:
        yield f"metadata: {', '.join(file.metadata)}"
    if usage.licence:
        yield f"licence: {' '.join(usage.licence.split())[:LONGEST]}"
    for attached in usage.attached:
        size = "not there" if attached.size is None else f"{attached.size} bytes"
        yield f"attached: {attached.name} ({attached.kind.lower().replace('_', ' ')}, {size})"


def _operators(file: File) -> OperatorCount:
    """Counts operators by their names; a custom one goes by its own."""
    counts = Counter(operator.custom or operator.name for graph in file.subgraphs for operator in graph.operators)
    return OperatorCount(counts.total(), None, counts["TRANSPOSE"], tuple(counts.most_common()))


def _facts(tensor: Tensor) -> TensorFacts:
    """What a tensor declares; -1 in its shape signature is a dynamic dimension."""
    shape = tuple(None if dim < 0 else dim for dim in tensor.signature)
    how = tensor.quantization
    if how is None or how.scale.size != 1:
        return TensorFacts(tensor.name, shape, _type(tensor))
    return TensorFacts(tensor.name, shape, _type(tensor), float(how.scale[0]), int(how.zero_point[0]))


def _bytes_by_type(constants: Iterable[Tensor]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for tensor in constants:
        counts[_type(tensor)] += 0 if tensor.content is None else tensor.content.size
    return counts


def _quantization(weights: Counter[str], tensors: Iterable[Tensor], inputs: Iterable[TensorFacts]) -> str:
    """The scheme in words, by the types of the larger part of the weights, of the activations, and of the inputs."""
    stored = weights.most_common(1)[0][0] if weights else "no"
    kinds = Counter(_type(tensor) for tensor in tensors if tensor.content is None)
    activations = kinds.most_common(1)[0][0] if kinds else "no"
    ports = ", ".join(dict.fromkeys(port.dtype for port in inputs)) or "no"
    if stored == activations == ports:
        return stored
    return f"{stored} weights, {activations} activations, {ports} inputs"


def _type(tensor: Tensor) -> str:
    return tensor.type.lower() or "unknown"
