"""Describes a .tflite file through the schema's own bindings, trusting none of its numbers."""

from __future__ import annotations

import json
import mmap
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from narrowcast._files import readable_file
from narrowcast.errors import ModelFileError
from narrowcast.evaluation.results import Inspection, OperatorCount, TensorFacts
from narrowcast.model import Preprocessing

__all__ = ["MAGIC", "RECORD", "Known", "describe", "known"]

MAGIC = b"TFL3"
"""The flatbuffer's file identifier, at byte 4."""

PLACEHOLDER = 127
"""In `deprecated_builtin_code`: the real code is in `builtin_code` (schema.fbs, OperatorCode)."""

RECORD = "narrowcast"
"""Name of the metadata entry in which narrowcast says how a file was made: a JSON object."""

T = TypeVar("T")


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
    """
    with _opened(path) as reader:
        return reader.describe()


def known(path: Path) -> Known:
    """What a file says about its inputs, outputs, preprocessing and labels.

    Raises:
        ModelFileError: the file is missing, or no sound flatbuffer of this schema.
    """
    with _opened(path) as reader:
        return reader.known()


@contextmanager
def _opened(path: Path) -> Iterator[_Reader]:
    """Whatever goes wrong while numbers of the file are followed is the file's fault."""
    from ai_edge_litert import schema_py_generated as schema

    content = _mapped(readable_file(path))
    if content[4:8] != MAGIC:
        raise ModelFileError(f"not a TFLite file: bytes 4 to 8 are {content[4:8]!r}", where=str(path))
    try:
        yield _Reader(schema.Model.GetRootAs(content, 0), path, content)
    except (struct.error, IndexError, TypeError, ValueError, KeyError, OverflowError, AttributeError) as error:
        raise ModelFileError("the flatbuffer is damaged", where=str(path), hint="fetch the file again") from error


def _mapped(path: Path) -> bytes | mmap.mmap:
    """The bytes of a file of any size, unmapped when nothing refers to them any more; nothing can be mapped of none."""
    if path.stat().st_size == 0:
        return b""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


class _Reader:
    """The parts of one model; every vector's length is held against the file's before it is walked."""

    def __init__(self, model: Any, path: Path, content: bytes | mmap.mmap) -> None:
        self.model, self.path, self.content, self.size = model, path, content, len(content)
        if model.SubgraphsLength() < 1:
            raise ModelFileError("it holds no subgraph", where=str(path))
        self.graphs = self.vector(model.SubgraphsLength(), model.Subgraphs)
        self.graph = self.graphs[0]

    def describe(self) -> Inspection:
        """Gathers everything."""
        tensors = self.vector(self.graph.TensorsLength(), self.graph.Tensors)
        inside = [tensor for graph in self.graphs for tensor in self.vector(graph.TensorsLength(), graph.Tensors)]
        constants = [(tensor, count) for tensor in inside if (count := self.constant_bytes(tensor))]
        by_type: Counter[str] = Counter()
        for tensor, count in constants:
            by_type[_type_name(tensor.Type())] += count
        inputs = self.ports(self.graph.InputsLength(), self.graph.Inputs, tensors)
        outputs = self.ports(self.graph.OutputsLength(), self.graph.Outputs, tensors)
        notes = (
            []
            if self.model.SubgraphsLength() == 1
            else [f"{self.model.SubgraphsLength()} subgraphs: the operators of branches and loops are counted once"]
        )
        if names := list(self.metadata()):
            notes.append(f"metadata: {', '.join(names)}")
        return Inspection(
            path=self.path,
            bytes=self.size,
            format="tflite",
            producer=_text(self.model.Description()),
            quantization=_quantization(constants, inside, inputs),
            inputs=inputs,
            outputs=outputs,
            operators=self.operators(),
            parameters=sum(self.elements(tensor) for tensor, _ in constants),
            parameter_types=tuple(by_type.most_common()),
            notes=tuple(notes),
        )

    def vector(self, length: int, at: Callable[[int], T]) -> list[T]:
        """The elements of a vector, each of which takes at least a byte of the file."""
        if length > self.size:
            raise ModelFileError(f"a vector of {length} elements in a file of {self.size} bytes", where=str(self.path))
        return [at(index) for index in range(length)]

    def operators(self) -> OperatorCount:
        """Counts operators by their names; a custom one goes by its own."""
        codes = self.vector(self.model.OperatorCodesLength(), self.model.OperatorCodes)
        names = [_operator_name(code) for code in codes]
        nodes = [node for graph in self.graphs for node in self.vector(graph.OperatorsLength(), graph.Operators)]
        counts = Counter(names[node.OpcodeIndex()] for node in nodes)
        return OperatorCount(counts.total(), None, counts["TRANSPOSE"], tuple(counts.most_common()))

    def ports(self, length: int, at: Callable[[int], int], tensors: list[Any]) -> tuple[TensorFacts, ...]:
        """Inputs or outputs, by the indices of their tensors."""
        return tuple(self.facts(tensors[index]) for index in self.vector(length, at))

    def facts(self, tensor: Any) -> TensorFacts:
        """What a tensor declares; -1 in its shape signature is a dynamic dimension."""
        dims = self.vector(tensor.ShapeLength(), tensor.Shape)
        if tensor.ShapeSignatureLength() == len(dims):
            dims = self.vector(len(dims), tensor.ShapeSignature)
        quantization = tensor.Quantization()
        scale = zero_point = None
        if quantization is not None and quantization.ScaleLength() == 1:
            scale = float(quantization.Scale(0))
            zero_point = int(quantization.ZeroPoint(0)) if quantization.ZeroPointLength() else 0
        shape = tuple(None if dim < 0 else int(dim) for dim in dims)
        return TensorFacts(_text(tensor.Name()), shape, _type_name(tensor.Type()), scale, zero_point)

    def elements(self, tensor: Any) -> int:
        """The number of elements of a constant, by its shape."""
        count = 1
        for dim in self.vector(tensor.ShapeLength(), tensor.Shape):
            count *= max(int(dim), 0)
        return count

    def constant_bytes(self, tensor: Any) -> int:
        """Bytes of the tensor's buffer, inside the flatbuffer or behind it; 0 for an activation."""
        index = tensor.Buffer()
        if not 0 < index < self.model.BuffersLength():
            return 0
        buffer = self.model.Buffers(index)
        return int(buffer.DataLength() or (buffer.Size() if buffer.Offset() > 1 else 0))

    def metadata(self) -> dict[str, int]:
        """The metadata entries' buffers by their names."""
        entries = self.vector(self.model.MetadataLength(), self.model.Metadata)
        return {_text(entry.Name()): entry.Buffer() for entry in entries}

    def known(self) -> Known:
        """Ports by name, and what narrowcast's own record says."""
        tensors = self.vector(self.graph.TensorsLength(), self.graph.Tensors)
        inputs = {port.name: port for port in self.ports(self.graph.InputsLength(), self.graph.Inputs, tensors)}
        outputs = {port.name: port for port in self.ports(self.graph.OutputsLength(), self.graph.Outputs, tensors)}
        for signature in self.vector(self.model.SignatureDefsLength(), self.model.SignatureDefs)[:1]:
            for entry in self.vector(signature.InputsLength(), signature.Inputs):
                inputs[_text(entry.Name())] = self.facts(tensors[entry.TensorIndex()])
            for entry in self.vector(signature.OutputsLength(), signature.Outputs):
                outputs[_text(entry.Name())] = self.facts(tensors[entry.TensorIndex()])
        record = self.record()
        return Known(_preprocessing(record.get("preprocessing")), _labels(record.get("labels")), inputs, outputs)

    def record(self) -> dict[str, Any]:
        """The JSON object of the metadata entry `RECORD`, empty where there is none."""
        index = self.metadata().get(RECORD)
        if index is None or not 0 < index < self.model.BuffersLength():
            return {}
        buffer = self.model.Buffers(index)
        data = buffer.DataAsNumpy().tobytes() if buffer.DataLength() else b"{}"
        found = json.loads(data)
        return found if isinstance(found, dict) else {}


def _preprocessing(found: Any) -> Preprocessing | None:
    """The record's preprocessing, its fields checked; ValueError where they are no preprocessing."""
    if not isinstance(found, dict):
        return None
    mean, std = (tuple(float(value) for value in found.get(name, default)) for name, default in _AFFINE)
    order, crop, resize = found.get("channel_order", "rgb"), found.get("crop"), found.get("resize")
    if order not in ("rgb", "bgr", "gray") or not all(std) or {len(mean), len(std)} - {1, 3}:
        raise ValueError("the preprocessing is none")
    size = None if resize is None else (int(resize[0]), int(resize[1]))
    return Preprocessing(mean, std, order, size, None if crop is None else float(crop))


def _labels(found: Any) -> tuple[str, ...]:
    return tuple(str(name) for name in found) if isinstance(found, list) else ()


_AFFINE = (("mean", (0.0,)), ("std", (1.0,)))


def _quantization(constants: list[tuple[Any, int]], tensors: list[Any], inputs: tuple[TensorFacts, ...]) -> str:
    """The scheme in words, by the types of the activations, of the larger part of the weights, and of the inputs."""
    weights: Counter[str] = Counter()
    for tensor, count in constants:
        weights[_type_name(tensor.Type())] += count
    stored = weights.most_common(1)[0][0] if weights else "no"
    fixed = {id(tensor) for tensor, _ in constants}
    kinds: Counter[str] = Counter(_type_name(tensor.Type()) for tensor in tensors if id(tensor) not in fixed)
    activations = kinds.most_common(1)[0][0] if kinds else "no"
    ports = ", ".join(dict.fromkeys(port.dtype for port in inputs)) or "no"
    if stored == activations == ports:
        return stored
    return f"{stored} weights, {activations} activations, {ports} inputs"


@cache
def _names(enumeration: type) -> dict[int, str]:
    return {code: name for name, code in vars(enumeration).items() if isinstance(code, int)}


def _type_name(code: int) -> str:
    from ai_edge_litert import schema_py_generated as schema

    return _names(schema.TensorType).get(code, f"type {code}").lower()


def _operator_name(code: Any) -> str:
    from ai_edge_litert import schema_py_generated as schema

    custom = code.CustomCode()
    if custom:
        return _text(custom)
    deprecated = code.DeprecatedBuiltinCode()
    number = code.BuiltinCode() if deprecated == PLACEHOLDER else max(deprecated, code.BuiltinCode())
    return _names(schema.BuiltinOperator).get(number, f"operator {number}")


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")
