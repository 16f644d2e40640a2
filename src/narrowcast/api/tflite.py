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
from narrowcast.readers.tflite.bundle import members
from narrowcast.readers.tflite.file import File, Tensor, parse
from narrowcast.readers.tflite.signatures import ports_of
from narrowcast.readers.tflite.usage import Usage, usage_of

__all__ = ["Known", "describe", "describe_bundle", "known"]

EDGE_TPU = "edgetpu-custom-op"
"""What the compiler for Edge TPUs calls its code."""
LONGEST = 200
"""Letters of a licence that are told."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a file says about its use.

    Attributes:
        preprocessing: how images become its input; None where it does not say.
        labels: class names in output order.
        inputs: by the names of its signature, or else of its tensors.
        outputs: likewise.
    """

    preprocessing: Preprocessing | None = None
    labels: tuple[str, ...] = ()
    inputs: Mapping[str, TensorFacts] = field(default_factory=dict)
    outputs: Mapping[str, TensorFacts] = field(default_factory=dict)


def describe(path: Path, signature: str = "") -> Inspection:
    """Describes a file: the ports of one graph, and the operators, constants and quantisation of all.

    Args:
        path: the file.
        signature: the graph's key; empty for the first.

    Raises:
        UsageError: there is no such signature.
        ModelFileError: the file is missing, or no sound flatbuffer of this schema.
        UnsupportedError: it is of a schema that is not read.
    """
    with at(str(path)):
        file = parse(map_file(path))
        usage, graph = usage_of(file), ports_of(file, signature).graph
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


def describe_bundle(path: Path, signature: str = "") -> Inspection:
    """Describes the models of a bundle, each by its path in it.

    Args:
        path: the file.
        signature: as for `describe`, for all of them.

    Raises:
        UsageError: one has no such signature.
        ModelFileError: the bundle or one of its models is missing or damaged.
        UnsupportedError: one of them is of a schema that is not read.
    """
    found = tuple(describe(path / name, signature) for name in members(path))
    parts = [member.operators for member in found]
    counts = sum((Counter(dict(part.by_type)) for part in parts), Counter[str]())
    weights = sum((Counter(dict(member.parameter_types)) for member in found), Counter[str]())
    return Inspection(
        path=path,
        bytes=size_of(path),
        format="task",
        producer="",
        quantization="; ".join(dict.fromkeys(member.quantization for member in found)) or "none",
        inputs=(),
        outputs=(),
        operators=OperatorCount(counts.total(), None, counts["TRANSPOSE"], tuple(counts.most_common())),
        parameters=sum(member.parameters for member in found),
        parameter_types=tuple(weights.most_common()),
        members=found,
    )


def known(path: Path, signature: str = "") -> Known:
    """What a file says about its inputs, outputs, preprocessing and labels.

    Args:
        path: the file.
        signature: the key of the graph that is meant; empty for the first.

    Raises:
        UsageError: there is no such signature.
        ModelFileError: the file is missing, or no sound flatbuffer of this schema.
        UnsupportedError: it is of a schema that is not read.
    """
    with at(str(path)):
        file = parse(map_file(path))
        usage, ports = usage_of(file), ports_of(file, signature)
    tensors = ports.graph.tensors
    inputs, outputs = (
        {name: _facts(tensors[index]) for name, index in named}
        for named in (ports.inputs.items(), ports.outputs.items())
    )
    return Known(usage.preprocessing, usage.labels, inputs, outputs)


def _notes(file: File, usage: Usage) -> Iterable[str]:
    if len(file.subgraphs) > 1:
        yield f"{len(file.subgraphs)} subgraphs: the operators of each are counted once"
    if file.signatures:
        yield f"signatures: {', '.join(signature.key for signature in file.signatures)}"
    if file.metadata:
        yield f"metadata: {', '.join(file.metadata)}"
    if any(operator.custom == EDGE_TPU for graph in file.subgraphs for operator in graph.operators):
        yield f"{EDGE_TPU} is machine code for an Edge TPU, which nothing else runs: give the file that was compiled"
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
