"""Files of one operator, and what becomes of them: LiteRT's numbers beside those of the graph that is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from narrowcast.model import Model
from narrowcast.passes.canonicalize import canonicalize
from narrowcast.readers import formats
from narrowcast.reference import Reference

TYPES = {
    "float32": "FLOAT32", "float16": "FLOAT16", "int8": "INT8", "uint8": "UINT8", "int16": "INT16", "int32": "INT32",
    "int64": "INT64", "uint32": "UINT32", "bool": "BOOL", "uint16": "UINT16", "complex64": "COMPLEX64",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class T:
    """A tensor of the operator.

    Attributes:
        array: what it holds; of an output its shape and type at most.
        fed: whether it is an input of the graph; else it is constant.
        sparse: whether only what is not zero is stored, of a matrix.
        type: the schema's name of it, where numpy has none; two of INT4 are in a byte.
        scale, zero: where its integers stand for real numbers; one scale for each slice along `axis`, or one.
    """

    array: Any
    fed: bool = True
    scale: Any = None
    zero: int = 0
    axis: int = 0
    type: str = ""
    sparse: bool = False


def const(array: Any, dtype: Any = None, **more: Any) -> T:
    """A constant; integers are int32 unless they say otherwise."""
    array = np.asarray(array)
    standard = np.int32 if array.dtype == np.int64 else array.dtype if array.dtype.kind != "f" else np.float32
    return T(array.astype(dtype or standard), fed=False, **more)


@dataclass(frozen=True, eq=False)
class Single:
    """A file of one operator, or of some in a row.

    Attributes:
        name: the schema's, or that of a custom operator.
        inputs: a float array is fed, a `T` may say more; None is left out.
        outputs: for each its type, or a `T`.
        kind: the schema's options; empty for none.
        options: their fields, by the schema's names; bytes for a custom operator.
        title: what is special.
        tolerance: relative to the largest number.
        version: of the operator.
        reference: what the operator computes of what is fed, where LiteRT has no kernel for it.
        then: operators that follow; an input of `...` is the first output of the one before.
    """

    name: str
    inputs: Sequence[Any]
    outputs: Sequence[Any] = ("float32",)
    kind: str = ""
    options: Any = field(default_factory=dict)
    title: str = ""
    tolerance: float = 1e-5
    version: int = 1
    reference: Callable[..., Any] | None = None
    then: Sequence[Single] = ()

    def __str__(self) -> str:
        return f"{self.name}{': ' if self.title else ''}{self.title}"


def build(case: Single) -> bytes:
    """The file."""
    model = schema.ModelT()
    model.version, model.description = 3, b"test"
    model.buffers, graph = [schema.BufferT()], schema.SubGraphT()
    graph.name, graph.tensors, graph.inputs, graph.operators = b"main", [], [], []
    model.subgraphs, model.operatorCodes = [graph], []
    for row in (case, *case.then):
        _operator(model, graph, row)
    graph.outputs = graph.operators[-1].outputs
    builder = flatbuffers.Builder(1 << 12)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _operator(model: Any, graph: Any, case: Single) -> None:
    """Appends an operator with its tensors."""
    code, operator = schema.OperatorCodeT(), schema.OperatorT()
    builtin = getattr(schema.BuiltinOperator, case.name, schema.BuiltinOperator.CUSTOM)
    code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, min(builtin, 127), case.version
    if builtin == schema.BuiltinOperator.CUSTOM:
        code.customCode = case.name.encode()
        operator.customOptions = list(case.options)
    elif case.kind:
        place = "" if hasattr(schema.BuiltinOptions, case.kind) else "2"
        made = getattr(schema, f"{case.kind}T")()
        for name, value in case.options.items():
            assert hasattr(made, name), name
            setattr(made, name, value)
        setattr(operator, f"builtinOptions{place}", made)
        setattr(operator, f"builtinOptions{place}Type", getattr(getattr(schema, f"BuiltinOptions{place}"), case.kind))
    operator.inputs, operator.outputs = [], []
    for item in case.inputs:
        if item is None or item is ...:
            operator.inputs.append(-1 if item is None else graph.operators[-1].outputs[0])
            continue
        tensor = item if isinstance(item, T) else T(np.asarray(item))
        operator.inputs.append(_tensor(model, graph, tensor, f"in{len(graph.tensors)}"))
        if tensor.fed:
            graph.inputs.append(operator.inputs[-1])
    for item in case.outputs:
        tensor = item if isinstance(item, T) else T(np.zeros((), item))
        operator.outputs.append(_tensor(model, graph, tensor, f"out{len(graph.tensors)}"))
    operator.opcodeIndex = len(model.operatorCodes)
    model.operatorCodes.append(code)
    graph.operators.append(operator)


def _tensor(model: Any, graph: Any, tensor: T, name: str) -> int:
    made = schema.TensorT()
    made.name, made.shape, made.hasRank = name.encode(), list(tensor.array.shape), True
    made.type = getattr(schema.TensorType, tensor.type or TYPES[tensor.array.dtype.name])
    if not tensor.fed:
        buffer = schema.BufferT()
        array = tensor.array[tensor.array != 0] if tensor.sparse else tensor.array
        if tensor.type == "INT4":
            array = array.reshape(-1).view(np.uint8) & 15
            array = array[::2] | np.pad(array[1::2], (0, array.size % 2)) << 4
        buffer.data = np.frombuffer(array.tobytes(), np.uint8)
        made.sparsity = _rows(tensor.array) if tensor.sparse else None
        made.buffer = len(model.buffers)
        model.buffers.append(buffer)
    if tensor.scale is not None:
        made.quantization = schema.QuantizationParametersT()
        scale = np.atleast_1d(np.asarray(tensor.scale, np.float32))
        made.quantization.scale, made.quantization.zeroPoint = scale, np.full(scale.size, tensor.zero, np.int64)
        made.quantization.quantizedDimension = tensor.axis
    graph.tensors.append(made)
    return len(graph.tensors) - 1


def _rows(matrix: np.ndarray) -> Any:
    """How a matrix without its zeros is stored row by row."""
    made, rows, columns = schema.SparsityParametersT(), schema.DimensionMetadataT(), schema.DimensionMetadataT()
    made.traversalOrder, made.blockMap, made.dimMetadata = [0, 1], [], [rows, columns]
    rows.format, rows.denseSize, columns.format = (
        schema.DimensionType.DENSE,
        matrix.shape[0],
        schema.DimensionType.SPARSE_CSR,
    )
    columns.arraySegments, columns.arrayIndices = schema.Int32VectorT(), schema.Int32VectorT()
    columns.arraySegmentsType = columns.arrayIndicesType = schema.SparseIndexVector.Int32Vector
    columns.arraySegments.values = np.cumsum([0, *(matrix != 0).sum(1)]).tolist()
    columns.arrayIndices.values = np.nonzero(matrix)[1].tolist()
    return made


def feeds(case: Single) -> list[np.ndarray]:
    """The inputs of the graph in their order."""
    given = [item for row in (case, *case.then) for item in row.inputs if item is not None and item is not ...]
    tensors = [item if isinstance(item, T) else T(np.asarray(item)) for item in given]
    return [tensor.array for tensor in tensors if tensor.fed]


def run_litert(content: bytes, arrays: Sequence[np.ndarray], *, custom: bool = False) -> list[np.ndarray]:
    """LiteRT's own kernels; those of custom operators come with its delegates."""
    kernels = OpResolverType.AUTO if custom else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter: Any = Interpreter(model_content=content, experimental_op_resolver_type=kernels)
    interpreter.allocate_tensors()
    for detail, array in zip(interpreter.get_input_details(), arrays, strict=True):
        interpreter.set_tensor(detail["index"], array)
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


def read(content: bytes, folder: Path) -> Model:
    """The graph of a file, as it is read."""
    path = folder / "one.tflite"
    path.write_bytes(content)
    return formats.read(path)


def run_graph(model: Model, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """ONNX Runtime, on the canonical graph."""
    canonicalize(model)
    found: Mapping[str, np.ndarray] = Reference(model, optimize=False).run(
        {spec.name: array for spec, array in zip(model.inputs, arrays, strict=True)}
    )
    return [found[spec.name] for spec in model.outputs]


def compare(case: Single, expected: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> None:
    """Real numbers up to a tolerance, numbers exactly, what is stored by a scale up to a step."""
    assert len(found) == len(expected)
    outputs = (case, *case.then)[-1].outputs
    for output, right, array in zip(outputs, expected, found, strict=True):
        assert (array.shape, array.dtype) == (right.shape, right.dtype)
        if isinstance(output, T) and output.scale is not None:
            assert np.abs(array.astype(int) - right.astype(int)).max(initial=0) <= 1
            assert right.size < 2 or len(np.unique(right)) > 1
        elif array.dtype.kind == "f":
            reach = np.abs(right[np.isfinite(right)]).max(initial=1e-30)
            np.testing.assert_allclose(array, right, rtol=case.tolerance, atol=case.tolerance * reach)
        else:
            np.testing.assert_array_equal(array, right)
