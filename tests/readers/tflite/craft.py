"""Small .tflite files by the schema's own bindings, which write whatever they are told."""

from __future__ import annotations

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from narrowcast.readers.tflite.file import DTYPES
from narrowcast.schemas.tflite import OPTIONS, TFLITE

TYPES = TFLITE.enums["TensorType"].numbers
OPERATORS = TFLITE.enums["BuiltinOperator"].numbers
UNION = TFLITE.enums["BuiltinOptions"].numbers


class Craft:
    """A model in the making: `tensor`, `operator` and `graph` add to the last graph, `content` is the file."""

    def __init__(self):
        self.model = schema.ModelT()
        self.model.version, self.model.description = 3, "crafted"
        self.model.buffers, self.model.operatorCodes, self.model.subgraphs = [schema.BufferT()], [], []
        self.model.signatureDefs, self.model.metadata = [], []
        self.graph("main")

    def graph(self, name):
        made = schema.SubGraphT()
        made.name, made.tensors, made.operators, made.inputs, made.outputs = name, [], [], [], []
        self.model.subgraphs.append(made)
        return len(self.model.subgraphs) - 1

    @property
    def last(self):
        return self.model.subgraphs[-1]

    def buffer(self, data):
        made = schema.BufferT()
        made.data = np.frombuffer(data, np.uint8)
        self.model.buffers.append(made)
        return len(self.model.buffers) - 1

    def tensor(self, shape, kind="FLOAT32", elements=None, scale=None, zero=0, axis=0, **fields):
        made = schema.TensorT()
        made.shape, made.type, made.name = list(shape), TYPES[kind], fields.pop("name", f"t{len(self.last.tensors)}")
        made.buffer = 0 if elements is None else self.buffer(np.asarray(elements, DTYPES[kind]).tobytes())
        if scale is not None:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale = np.atleast_1d(np.asarray(scale, np.float32))
            made.quantization.zeroPoint = np.full(made.quantization.scale.size, zero, np.int64)
            made.quantization.quantizedDimension = axis
        for name, value in fields.items():
            setattr(made, name, value)
        self.last.tensors.append(made)
        return len(self.last.tensors) - 1

    def operator(self, name, inputs, outputs, version=1, **options):
        code = schema.OperatorCodeT()
        builtin = OPERATORS.get(name, OPERATORS["CUSTOM"])
        code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, min(builtin, 127), version
        code.customCode = None if name in OPERATORS else name
        self.model.operatorCodes.append(code)
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = len(self.model.operatorCodes) - 1, list(inputs), list(outputs)
        if options or name in OPTIONS:
            made.builtinOptionsType = UNION[OPTIONS[name]]
            made.builtinOptions = getattr(schema, OPTIONS[name] + "T")()
            for field, value in options.items():
                setattr(made.builtinOptions, field, value)
        self.last.operators.append(made)
        return made

    def signature(self, key, inputs, outputs, graph=0):
        made = schema.SignatureDefT()
        made.signatureKey, made.subgraphIndex = key, graph
        made.inputs, made.outputs = ([_map(*item) for item in side.items()] for side in (inputs, outputs))
        self.model.signatureDefs.append(made)

    def note(self, name, data):
        made = schema.MetadataT()
        made.name, made.buffer = name, self.buffer(data)
        self.model.metadata.append(made)

    @property
    def content(self):
        build = flatbuffers.Builder(1024)
        build.Finish(self.model.Pack(build), b"TFL3")
        return bytes(build.Output())


def _map(name, index):
    made = schema.TensorMapT()
    made.name, made.tensorIndex = name, index
    return made


def convolution():
    """An integer convolution with a scale for each channel, added to itself: tensors x, weights, bias, y, z."""
    craft, random = Craft(), np.random.default_rng(0)
    x = craft.tensor((1, 4, 4, 2), "INT8", scale=0.1, zero=-3, name="x")
    weights = craft.tensor((3, 1, 1, 2), "INT8", random.integers(-9, 9, (3, 1, 1, 2)), scale=[0.1, 0.2, 0.3])
    bias = craft.tensor((3,), "INT32", random.integers(-9, 9, 3), scale=[0.01, 0.02, 0.03])
    y = craft.tensor((1, 4, 4, 3), "INT8", scale=0.2, name="y")
    z = craft.tensor((1, 4, 4, 3), "INT8", scale=0.4, name="z")
    craft.operator("CONV_2D", (x, weights, bias), (y,), 3, strideW=1, strideH=1)
    craft.operator("ADD", (y, y), (z,), 2)
    craft.last.inputs, craft.last.outputs = [x], [z]
    craft.signature("serving_default", {"image": x}, {"scores": z})
    return craft


def sparse():
    """Float16 weights [4, 8] of which six are stored, in CSR, as DENSIFY takes them."""
    dense = np.zeros((4, 8), np.float16)
    dense[[0, 0, 1, 3, 3, 3], [1, 7, 2, 0, 4, 5]] = np.arange(1, 7)
    craft = Craft()
    stored = craft.tensor((4, 8), "FLOAT16", dense[dense != 0], name="stored")
    made = schema.SparsityParametersT()
    made.traversalOrder, made.blockMap = [0, 1], []
    rows, columns = schema.DimensionMetadataT(), schema.DimensionMetadataT()
    rows.format, rows.denseSize = 0, 4
    columns.format, columns.arraySegmentsType, columns.arrayIndicesType = 1, 3, 3
    columns.arraySegments, columns.arrayIndices = schema.Uint8VectorT(), schema.Uint8VectorT()
    columns.arraySegments.values, columns.arrayIndices.values = [0, 2, 3, 3, 6], [1, 7, 2, 0, 4, 5]
    made.dimMetadata = [rows, columns]
    craft.last.tensors[stored].sparsity = made
    whole, floats = craft.tensor((4, 8), "FLOAT16"), craft.tensor((4, 8))
    craft.operator("DENSIFY", (stored,), (whole,))
    craft.operator("DEQUANTIZE", (whole,), (floats,), 3)
    craft.last.outputs = [floats]
    return craft, dense


def branches():
    """An IF over two graphs, one of which calls the other's like in turn."""
    craft = Craft()
    flag, x, y = craft.tensor((1,), "BOOL"), craft.tensor((2,)), craft.tensor((2,))
    craft.operator("IF", (flag, x), (y,), thenSubgraphIndex=1, elseSubgraphIndex=2)
    craft.last.inputs, craft.last.outputs = [flag, x], [y]
    for name in ("ABS", "NEG"):
        craft.graph(name)
        x, y = craft.tensor((2,)), craft.tensor((2,))
        craft.operator(name, (x,), (y,))
        craft.last.inputs, craft.last.outputs = [x], [y]
    return craft
