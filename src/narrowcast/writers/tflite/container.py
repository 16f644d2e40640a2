"""The bytes of a .tflite file: tensors, operators and buffers laid into a flatbuffer.

The schema's bindings come with ai-edge-litert (tflite/converter/schema/schema.fbs, version 3). Weights are copied once,
into the builder's memory, at 16-byte boundaries; files past 2 GB keep them behind the flatbuffer (`Buffer.offset`, `.size`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from narrowcast.model import Array

__all__ = ["TYPES", "Container", "Operator", "Quantization", "Tensor"]

FILE_IDENTIFIER = b"TFL3"
SCHEMA_VERSION = 3
ALIGNMENT = 16
LARGEST_INLINE = 2**31 - 2**26
"""Above this many bytes of weights a flatbuffer, whose offsets are 32-bit and signed, cannot hold them."""

TYPES: dict[np.dtype[Any], int] = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.float16): schema.TensorType.FLOAT16,
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.uint8): schema.TensorType.UINT8,
    np.dtype(np.int16): schema.TensorType.INT16,
    np.dtype(np.uint16): schema.TensorType.UINT16,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.uint32): schema.TensorType.UINT32,
    np.dtype(np.int64): schema.TensorType.INT64,
    np.dtype(np.bool_): schema.TensorType.BOOL,
}
"""numpy's types by the schema's."""


@dataclass(frozen=True, slots=True)
class Quantization:
    """real = (stored - zero_point) * scale, per tensor or per slice along `axis`."""

    scale: Array
    zero_point: Array
    axis: int = 0


@dataclass(frozen=True, slots=True)
class Tensor:
    """One row of the tensor table; a dimension of -1 is open until run time."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    buffer: int = 0
    quantization: Quantization | None = None


@dataclass(frozen=True, slots=True)
class Operator:
    """One row of the operator list, inputs and outputs by tensor index (-1: left out)."""

    name: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any = None


@dataclass(slots=True)
class Container:
    """A model in the making: fill the tables, then `write`."""

    name: str = "main"
    description: str = "narrowcast"
    tensors: list[Tensor] = field(default_factory=list)
    operators: list[Operator] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    signature_inputs: list[tuple[str, int]] = field(default_factory=list)
    signature_outputs: list[tuple[str, int]] = field(default_factory=list)
    metadata: dict[str, bytes] = field(default_factory=dict)
    largest_inline: int = LARGEST_INLINE
    _buffers: list[memoryview] = field(default_factory=lambda: [memoryview(b"")])
    _by_content: dict[int, list[int]] = field(default_factory=dict)

    def buffer(self, array: Array) -> int:
        """The index of a buffer with the array's bytes; equal contents share one."""
        data = memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8)) if array.size else memoryview(b"")
        key = hash((len(data), bytes(data[:256]), bytes(data[-256:])))
        for index in self._by_content.get(key, ()):
            if self._buffers[index] == data:
                return index
        self._buffers.append(data)
        self._by_content.setdefault(key, []).append(len(self._buffers) - 1)
        return len(self._buffers) - 1

    def tensor(self, tensor: Tensor) -> int:
        """Adds a tensor and returns its index."""
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def write(self, file: BinaryIO) -> int:
        """Writes the model and returns its size in bytes."""
        for name, data in self.metadata.items():
            self.metadata[name] = data
        if sum(len(data) for data in self._buffers) <= self.largest_inline:
            builder = self._build(None)
            file.write(memoryview(builder.Bytes)[builder.head :])
            return len(builder.Bytes) - builder.head
        return self._write_out_of_line(file)

    def _write_out_of_line(self, file: BinaryIO) -> int:
        """The flatbuffer first, then each buffer at an aligned offset from the file's beginning."""
        first = self._build([(1, 1)] * len(self._buffers))
        position = _aligned(len(first.Bytes) - first.head)
        places = []
        for data in self._buffers:
            places.append((position, len(data)))
            position = _aligned(position + len(data))
        builder = self._build(places)
        written = file.write(memoryview(builder.Bytes)[builder.head :])
        for (offset, _), data in zip(places, self._buffers, strict=True):
            file.write(b"\0" * (offset - written))
            written = offset + file.write(data)
        return written

    def _build(self, places: list[tuple[int, int]] | None) -> flatbuffers.Builder:
        inline = sum(len(data) + 64 for data in self._buffers) if places is None else 0
        builder = flatbuffers.Builder(inline + 512 * (len(self.tensors) + len(self.operators)) + 65536)
        codes = sorted({(operator.name, operator.version) for operator in self.operators})
        buffers = [
            _buffer(builder, data, places[index] if places is not None and index else None)
            for index, data in enumerate(self._buffers)
        ]
        metadata = []
        for name, data in self.metadata.items():
            buffers.append(_buffer(builder, memoryview(data), None))
            metadata.append(_metadata(builder, name, len(buffers) - 1))
        parts = {
            "OperatorCodes": _vector(builder, [_code(builder, *code) for code in codes]),
            "Subgraphs": _vector(builder, [self._subgraph(builder, codes)]),
            "Description": builder.CreateString(self.description),
            "Buffers": _vector(builder, buffers),
            "Metadata": _vector(builder, metadata),
            "SignatureDefs": _vector(builder, [self._signature(builder)]),
        }
        schema.ModelStart(builder)
        schema.ModelAddVersion(builder, SCHEMA_VERSION)
        for field_name, offset in parts.items():
            getattr(schema, f"ModelAdd{field_name}")(builder, offset)
        builder.Finish(schema.ModelEnd(builder), file_identifier=FILE_IDENTIFIER)
        return builder

    def _subgraph(self, builder: flatbuffers.Builder, codes: list[tuple[str, int]]) -> int:
        position = {code: index for index, code in enumerate(codes)}
        tensors = _vector(builder, [_tensor(builder, tensor) for tensor in self.tensors])
        operators = _vector(builder, [_operator(builder, op, position[op.name, op.version]) for op in self.operators])
        inputs, outputs = _ints(builder, self.inputs), _ints(builder, self.outputs)
        name = builder.CreateString(self.name)
        schema.SubGraphStart(builder)
        schema.SubGraphAddTensors(builder, tensors)
        schema.SubGraphAddInputs(builder, inputs)
        schema.SubGraphAddOutputs(builder, outputs)
        schema.SubGraphAddOperators(builder, operators)
        schema.SubGraphAddName(builder, name)
        return int(schema.SubGraphEnd(builder))

    def _signature(self, builder: flatbuffers.Builder) -> int:
        inputs = _vector(builder, [_tensor_map(builder, *entry) for entry in self.signature_inputs])
        outputs = _vector(builder, [_tensor_map(builder, *entry) for entry in self.signature_outputs])
        key = builder.CreateString("serving_default")
        schema.SignatureDefStart(builder)
        schema.SignatureDefAddInputs(builder, inputs)
        schema.SignatureDefAddOutputs(builder, outputs)
        schema.SignatureDefAddSignatureKey(builder, key)
        schema.SignatureDefAddSubgraphIndex(builder, 0)
        return int(schema.SignatureDefEnd(builder))


def _aligned(position: int) -> int:
    return -(-position // ALIGNMENT) * ALIGNMENT


def _vector(builder: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _ints(builder: flatbuffers.Builder, values: Sequence[int]) -> int:
    return int(builder.CreateNumpyVector(np.asarray(values, np.int32)))


def _bytes(builder: flatbuffers.Builder, data: memoryview) -> int:
    """A byte vector whose contents are aligned in the file."""
    builder.StartVector(1, len(data), ALIGNMENT)
    builder.head = builder.head - len(data)
    builder.Bytes[builder.head : builder.head + len(data)] = data
    return int(builder.EndVector())


def _buffer(builder: flatbuffers.Builder, data: memoryview, place: tuple[int, int] | None) -> int:
    vector = _bytes(builder, data) if place is None and len(data) else None
    schema.BufferStart(builder)
    if vector is not None:
        schema.BufferAddData(builder, vector)
    if place is not None:
        schema.BufferAddOffset(builder, place[0])
        schema.BufferAddSize(builder, place[1])
    return int(schema.BufferEnd(builder))


def _metadata(builder: flatbuffers.Builder, name: str, buffer: int) -> int:
    text = builder.CreateString(name)
    schema.MetadataStart(builder)
    schema.MetadataAddName(builder, text)
    schema.MetadataAddBuffer(builder, buffer)
    return int(schema.MetadataEnd(builder))


def _code(builder: flatbuffers.Builder, name: str, version: int) -> int:
    """An operator code; old runtimes read its 8-bit field, new ones the other."""
    code = getattr(schema.BuiltinOperator, name)
    schema.OperatorCodeStart(builder)
    schema.OperatorCodeAddDeprecatedBuiltinCode(builder, min(code, 127))
    schema.OperatorCodeAddBuiltinCode(builder, code)
    schema.OperatorCodeAddVersion(builder, version)
    return int(schema.OperatorCodeEnd(builder))


def _quantization(builder: flatbuffers.Builder, quantization: Quantization) -> int:
    scale = builder.CreateNumpyVector(np.ascontiguousarray(quantization.scale.reshape(-1), np.float32))
    zero_point = builder.CreateNumpyVector(np.ascontiguousarray(quantization.zero_point.reshape(-1), np.int64))
    schema.QuantizationParametersStart(builder)
    schema.QuantizationParametersAddScale(builder, scale)
    schema.QuantizationParametersAddZeroPoint(builder, zero_point)
    schema.QuantizationParametersAddQuantizedDimension(builder, quantization.axis)
    return int(schema.QuantizationParametersEnd(builder))


def _tensor(builder: flatbuffers.Builder, tensor: Tensor) -> int:
    name = builder.CreateString(tensor.name)
    shape = _ints(builder, [max(dim, 1) if dim < 0 else dim for dim in tensor.shape])
    signature = _ints(builder, tensor.shape) if -1 in tensor.shape else None
    quantization = _quantization(builder, tensor.quantization) if tensor.quantization is not None else None
    schema.TensorStart(builder)
    schema.TensorAddShape(builder, shape)
    schema.TensorAddType(builder, TYPES[tensor.dtype])
    schema.TensorAddBuffer(builder, tensor.buffer)
    schema.TensorAddName(builder, name)
    if quantization is not None:
        schema.TensorAddQuantization(builder, quantization)
    if signature is not None:
        schema.TensorAddShapeSignature(builder, signature)
    schema.TensorAddHasRank(builder, True)
    return int(schema.TensorEnd(builder))


def _operator(builder: flatbuffers.Builder, operator: Operator, code: int) -> int:
    inputs, outputs = _ints(builder, operator.inputs), _ints(builder, operator.outputs)
    options = operator.options.Pack(builder) if operator.options is not None else None
    schema.OperatorStart(builder)
    schema.OperatorAddOpcodeIndex(builder, code)
    schema.OperatorAddInputs(builder, inputs)
    schema.OperatorAddOutputs(builder, outputs)
    if options is not None:
        kind = type(operator.options).__name__.removesuffix("T")
        schema.OperatorAddBuiltinOptionsType(builder, getattr(schema.BuiltinOptions, kind))
        schema.OperatorAddBuiltinOptions(builder, options)
    return int(schema.OperatorEnd(builder))


def _tensor_map(builder: flatbuffers.Builder, name: str, tensor: int) -> int:
    text = builder.CreateString(name)
    schema.TensorMapStart(builder)
    schema.TensorMapAddName(builder, text)
    schema.TensorMapAddTensorIndex(builder, tensor)
    return int(schema.TensorMapEnd(builder))


def options(kind: str, values: Mapping[str, Any]) -> Any:
    """The options object `kind` of the schema with fields set by their schema names."""
    made = getattr(schema, f"{kind}T")()
    for name, value in values.items():
        if not hasattr(made, name):
            raise AttributeError(f"{kind} has no field {name}")
        setattr(made, name, value)
    return made
