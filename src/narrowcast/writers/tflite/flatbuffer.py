"""The bytes of a .tflite file: the tables of a model laid into a flatbuffer.

Schema: tflite/converter/schema/schema.fbs, version 3, by the bindings that come with ai-edge-litert. Their functions
are used table by table, and vectors are written as bytes, which is several times faster than their object interface.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from narrowcast.model import Array
from narrowcast.writers.tflite.elements import Elements
from narrowcast.writers.tflite.tables import INNER_TYPES, Operator, Quantization, Tensor

__all__ = ["ALIGNMENT", "DESCRIPTION", "LENGTH", "SIGNATURE", "Graph", "Parts", "encode", "text"]

FILE_IDENTIFIER = b"TFL3"
SCHEMA_VERSION = 3
ALIGNMENT = 16
"""Of weights in the file; kernels load them in vectors."""
LENGTH = 4
"""Bytes of the length before a vector's contents."""
SIGNATURE = "serving_default"
DESCRIPTION = "narrowcast"
PLACEHOLDER = 127
"""In the 8-bit `deprecated_builtin_code`: the real code is in the 32-bit `builtin_code`."""


@dataclass(frozen=True, slots=True)
class Graph:
    """The tables of one graph; see `Container`."""

    name: str
    signature: str
    tensors: Sequence[Tensor]
    operators: Sequence[Operator]
    inputs: Sequence[tuple[str, int]]
    outputs: Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Parts:
    """What a model consists of; its first graph is the one that is run unless a signature names another."""

    graphs: Sequence[Graph]
    codes: Sequence[tuple[str, int]]
    metadata: Mapping[str, bytes]
    buffers: Sequence[Array | Elements]


def encode(parts: Parts, places: Sequence[int], beginning: int | None = None) -> memoryview:
    """The flatbuffer of a model but for the contents of its buffers, which the caller puts behind it.

    Args:
        parts: its tables.
        places: where the contents of each buffer lie, in bytes from the end of what is returned.
        beginning: None if they are vectors, their lengths right before them; else they are outside of the flatbuffer,
            and this is how many bytes of the file come before their places.

    Returns:
        A multiple of `ALIGNMENT` bytes.
    """
    tables = len(parts.buffers) + sum(len(graph.tensors) + len(graph.operators) for graph in parts.graphs)
    builder = flatbuffers.Builder(512 * tables + 65536)
    builder.Prep(ALIGNMENT, 0)
    buffers = [
        _buffer(builder, data.nbytes, place, beginning) for data, place in zip(parts.buffers, places, strict=True)
    ]
    metadata = []
    for name, content in parts.metadata.items():
        buffers.append(_content(builder, content))
        metadata.append(_metadata(builder, name, len(buffers) - 1))
    fields = {
        "OperatorCodes": _tables(builder, [_code(builder, *code) for code in parts.codes]),
        "Subgraphs": _tables(builder, [_subgraph(builder, graph, parts.codes) for graph in parts.graphs]),
        "Description": builder.CreateString(DESCRIPTION),
        "Buffers": _tables(builder, buffers),
        "Metadata": _tables(builder, metadata),
        "SignatureDefs": _tables(
            builder, [_signature(builder, graph, index) for index, graph in enumerate(parts.graphs) if graph.signature]
        ),
    }
    schema.ModelStart(builder)
    schema.ModelAddVersion(builder, SCHEMA_VERSION)
    for name, offset in fields.items():
        getattr(schema, f"ModelAdd{name}")(builder, offset)
    builder.Finish(schema.ModelEnd(builder), file_identifier=FILE_IDENTIFIER)
    return memoryview(builder.Bytes)[builder.head :]


def text(name: str) -> str:
    """A name that C++ and UTF-8 can hold: without NUL and lone surrogates, which are spelled out."""
    if "\0" in name:
        name = name.replace("\0", "\\x00")
    return name.encode("utf-8", "backslashreplace").decode()


def _tables(builder: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _vector(builder: flatbuffers.Builder, data: bytes | memoryview, item: int, alignment: int) -> int:
    """A vector of numbers of `item` bytes each, its contents aligned in the file."""
    size = len(data)
    builder.StartVector(item, size // item, alignment)
    builder.head -= size
    builder.Bytes[builder.head : builder.head + size] = data
    return int(builder.EndVector())


def _ints(builder: flatbuffers.Builder, values: Sequence[int]) -> int:
    return _vector(builder, struct.pack(f"<{len(values)}i", *values), 4, 4)


def _buffer(builder: flatbuffers.Builder, size: int, place: int, beginning: int | None) -> int:
    """A buffer whose contents lie behind the builder's end, from which it counts backwards."""
    schema.BufferStart(builder)
    if size and beginning is None:
        schema.BufferAddData(builder, LENGTH - place)
    elif size and beginning is not None:
        schema.BufferAddOffset(builder, beginning + place)
        schema.BufferAddSize(builder, size)
    return int(schema.BufferEnd(builder))


def _content(builder: flatbuffers.Builder, content: bytes) -> int:
    """A buffer within the tables."""
    vector = _vector(builder, content, 1, ALIGNMENT) if content else None
    schema.BufferStart(builder)
    if vector is not None:
        schema.BufferAddData(builder, vector)
    return int(schema.BufferEnd(builder))


def _metadata(builder: flatbuffers.Builder, name: str, buffer: int) -> int:
    label = builder.CreateString(text(name))
    schema.MetadataStart(builder)
    schema.MetadataAddName(builder, label)
    schema.MetadataAddBuffer(builder, buffer)
    return int(schema.MetadataEnd(builder))


def _code(builder: flatbuffers.Builder, name: str, version: int) -> int:
    code = getattr(schema.BuiltinOperator, name, schema.BuiltinOperator.CUSTOM)
    custom = builder.CreateString(name) if code == schema.BuiltinOperator.CUSTOM else None
    schema.OperatorCodeStart(builder)
    if custom is not None:
        schema.OperatorCodeAddCustomCode(builder, custom)
    schema.OperatorCodeAddDeprecatedBuiltinCode(builder, min(code, PLACEHOLDER))
    schema.OperatorCodeAddBuiltinCode(builder, code)
    schema.OperatorCodeAddVersion(builder, version)
    return int(schema.OperatorCodeEnd(builder))


def _subgraph(builder: flatbuffers.Builder, graph: Graph, codes: Sequence[tuple[str, int]]) -> int:
    position = {code: index for index, code in enumerate(codes)}
    tensors = _tables(builder, [_tensor(builder, tensor) for tensor in graph.tensors])
    operators = _tables(builder, [_operator(builder, op, position[op.name, op.version]) for op in graph.operators])
    inputs = _ints(builder, [index for _, index in graph.inputs])
    outputs = _ints(builder, [index for _, index in graph.outputs])
    name = builder.CreateString(text(graph.name))
    schema.SubGraphStart(builder)
    schema.SubGraphAddTensors(builder, tensors)
    schema.SubGraphAddInputs(builder, inputs)
    schema.SubGraphAddOutputs(builder, outputs)
    schema.SubGraphAddOperators(builder, operators)
    schema.SubGraphAddName(builder, name)
    return int(schema.SubGraphEnd(builder))


def _signature(builder: flatbuffers.Builder, graph: Graph, index: int) -> int:
    inputs = _tables(builder, [_tensor_map(builder, *entry) for entry in graph.inputs])
    outputs = _tables(builder, [_tensor_map(builder, *entry) for entry in graph.outputs])
    key = builder.CreateString(text(graph.signature))
    schema.SignatureDefStart(builder)
    schema.SignatureDefAddInputs(builder, inputs)
    schema.SignatureDefAddOutputs(builder, outputs)
    schema.SignatureDefAddSignatureKey(builder, key)
    schema.SignatureDefAddSubgraphIndex(builder, index)
    return int(schema.SignatureDefEnd(builder))


def _tensor_map(builder: flatbuffers.Builder, name: str, tensor: int) -> int:
    label = builder.CreateString(text(name))
    schema.TensorMapStart(builder)
    schema.TensorMapAddName(builder, label)
    schema.TensorMapAddTensorIndex(builder, tensor)
    return int(schema.TensorMapEnd(builder))


def _quantization(builder: flatbuffers.Builder, quantization: Quantization) -> int:
    if quantization.blocks is not None:
        return _blockwise(builder, *quantization.blocks)
    scale = _vector(builder, np.asarray(quantization.scale, np.float32).tobytes(), 4, 4)
    zero_point = _vector(builder, np.asarray(quantization.zero_point, np.int64).tobytes(), 8, 8)
    schema.QuantizationParametersStart(builder)
    schema.QuantizationParametersAddScale(builder, scale)
    schema.QuantizationParametersAddZeroPoint(builder, zero_point)
    schema.QuantizationParametersAddQuantizedDimension(builder, quantization.axis)
    return int(schema.QuantizationParametersEnd(builder))


def _blockwise(builder: flatbuffers.Builder, scales: int, size: int) -> int:
    schema.BlockwiseQuantizationStart(builder)
    schema.BlockwiseQuantizationAddScales(builder, scales)
    schema.BlockwiseQuantizationAddZeroPoints(builder, -1)
    schema.BlockwiseQuantizationAddBlockSize(builder, size)
    details = schema.BlockwiseQuantizationEnd(builder)
    schema.QuantizationParametersStart(builder)
    schema.QuantizationParametersAddDetailsType(builder, schema.QuantizationDetails.BlockwiseQuantization)
    schema.QuantizationParametersAddDetails(builder, details)
    return int(schema.QuantizationParametersEnd(builder))


def _tensor(builder: flatbuffers.Builder, tensor: Tensor) -> int:
    """A row of the tensor table; its shape holds 1 where the signature says that a dimension is open."""
    name = builder.CreateString(text(tensor.name))
    shape = _ints(builder, [1 if dim < 0 else dim for dim in tensor.shape])
    signature = _ints(builder, tensor.shape) if -1 in tensor.shape else None
    quantization = _quantization(builder, tensor.quantization) if tensor.quantization is not None else None
    schema.TensorStart(builder)
    schema.TensorAddShape(builder, shape)
    schema.TensorAddType(builder, INNER_TYPES[tensor.dtype])
    schema.TensorAddBuffer(builder, tensor.buffer)
    schema.TensorAddName(builder, name)
    if quantization is not None:
        schema.TensorAddQuantization(builder, quantization)
    if signature is not None:
        schema.TensorAddShapeSignature(builder, signature)
    if tensor.variable:
        schema.TensorAddIsVariable(builder, True)
    schema.TensorAddHasRank(builder, True)
    return int(schema.TensorEnd(builder))


def _operator(builder: flatbuffers.Builder, operator: Operator, code: int) -> int:
    inputs, outputs = _ints(builder, operator.inputs), _ints(builder, operator.outputs)
    inner = _ints(builder, operator.intermediates) if operator.intermediates else None
    custom = operator.options if isinstance(operator.options, bytes) else None
    content = _vector(builder, custom, 1, ALIGNMENT) if custom else None
    options = operator.options.Pack(builder) if operator.options is not None and custom is None else None
    schema.OperatorStart(builder)
    if content is not None:
        schema.OperatorAddCustomOptions(builder, content)
    schema.OperatorAddOpcodeIndex(builder, code)
    schema.OperatorAddInputs(builder, inputs)
    schema.OperatorAddOutputs(builder, outputs)
    if inner is not None:
        schema.OperatorAddIntermediates(builder, inner)
    if options is not None:
        kind = type(operator.options).__name__.removesuffix("T")
        schema.OperatorAddBuiltinOptionsType(builder, getattr(schema.BuiltinOptions, kind))
        schema.OperatorAddBuiltinOptions(builder, options)
    return int(schema.OperatorEnd(builder))
