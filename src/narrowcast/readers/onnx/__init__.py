"""Reads ONNX files of any opset from 7 up, external data memory-mapped."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from narrowcast._files import inside
from narrowcast.errors import ModelFileError, UnsupportedError, UsageError
from narrowcast.model import OPSET, Model, Provenance, ir
from narrowcast.passes.infer import infer_shapes
from narrowcast.readers.formats import ReadOptions
from narrowcast.readers.onnx.upgrade import OLDEST, upgrade

__all__ = ["read"]


def read(path: Path, options: ReadOptions) -> Model:
    """Reads a model and brings it to the canonical opset, its symbolic dimensions pinned.

    Raises:
        ModelFileError: the file is damaged or contradicts itself.
        UnsupportedError: its opset is older than 7.
        UsageError: a symbolic dimension is left open, or `options` name an input that is not there.
    """
    proto = _parse(path)
    producer = f"{proto.producer_name} {proto.producer_version}".strip()
    loaded = _load(proto, path)
    graph = loaded.graph
    _check_structure(graph)
    _check_weights(graph, path)
    for value in [value for value in graph.inputs if value.name in graph.initializers]:
        graph.inputs.remove(value)
    if len(loaded.functions):
        _inline(loaded)
    opset = loaded.opset_imports.get("", 1)
    if opset < OLDEST:
        raise UnsupportedError(
            f"opset {opset} is older than {OLDEST}", hint="export the model again with a newer opset"
        )
    _pin(graph, options)
    upgrade(loaded, opset)
    loaded.graph.opset_imports[""] = OPSET
    loaded.ir_version = max(loaded.ir_version or 0, 10)
    model = Model(loaded, provenance=Provenance(path, "onnx", producer))
    infer_shapes(model)
    return model


def _parse(path: Path):  # type: ignore[no-untyped-def]
    import onnx  # noqa: F401
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    proto = ModelProto()
    try:
        proto.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise ModelFileError(
            "not an ONNX file, or a truncated one", hint="load it with onnx.load to see more"
        ) from error
    if not proto.HasField("graph") or not proto.graph.output:
        raise ModelFileError("holds no ONNX graph", hint="is it really a model, and whole?")
    return proto


def _load(proto, path: Path) -> ir.Model:  # type: ignore[no-untyped-def]
    for tensor in proto.graph.initializer:
        _check_tensor(tensor, path)
    try:
        loaded = ir.serde.deserialize_model(proto)
        base = str(path.parent.resolve())
        for value in loaded.graph.initializers.values():
            if isinstance(value.const_value, ir.ExternalTensor):
                value.const_value.base_dir = base
        return loaded
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, ir.serde.SerdeError) as error:
        raise ModelFileError(f"the graph is inconsistent: {error}") from error


def _check_tensor(tensor, path: Path) -> None:  # type: ignore[no-untyped-def]
    """The declared size of an initialiser must be what the file holds."""
    from onnx import TensorProto

    dims = tuple(tensor.dims)
    if any(dim < 0 for dim in dims):
        raise ModelFileError(f"initialiser {tensor.name!r} has a negative dimension: {dims}")
    try:
        dtype = ir.DataType(tensor.data_type)
    except ValueError as error:
        raise ModelFileError(f"initialiser {tensor.name!r} has an unknown type: {tensor.data_type}") from error
    if dtype is ir.DataType.STRING or dtype is ir.DataType.UNDEFINED:
        return
    size = 1
    for dim in dims:
        size *= dim
    expected = -(-size * dtype.bitwidth // 8)
    if tensor.data_location == TensorProto.EXTERNAL:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        target = inside(path.parent, entries.get("location", ""))
        if not target.is_file():
            raise ModelFileError(f"the external data of {tensor.name!r} is missing: {entries.get('location')!r}")
        try:
            offset = int(entries.get("offset", "0"))
        except ValueError as error:
            raise ModelFileError(f"the external data of {tensor.name!r} has no usable offset") from error
        if offset < 0 or offset + expected > target.stat().st_size:
            raise ModelFileError(f"the external data of {tensor.name!r} reaches past the end of {target.name!r}")
    elif tensor.HasField("raw_data") and len(tensor.raw_data) != expected:
        raise ModelFileError(f"initialiser {tensor.name!r} {dims} holds {len(tensor.raw_data)} bytes, not {expected}")
    elif not tensor.HasField("raw_data") and dtype is ir.DataType.FLOAT and len(tensor.float_data) != size:
        raise ModelFileError(f"initialiser {tensor.name!r} {dims} holds {len(tensor.float_data)} values, not {size}")


def _check_structure(graph: ir.Graph) -> None:
    """Every input comes from somewhere, and nothing depends on itself."""
    for node in graph:
        for value in node.inputs:
            if value is None or value.producer() is not None or value.is_graph_input() or value.is_initializer():
                continue
            raise ModelFileError(
                f"reads {value.name!r}, which is neither an input, an initialiser nor computed",
                where=f"{node.name or node.op_type} ({node.op_type})",
                hint="the file was cut or edited by hand; export it again",
            )
    for value in graph.outputs:
        if value.producer() is None and not value.is_graph_input() and not value.is_initializer():
            raise ModelFileError(f"the output {value.name!r} is never computed")
    try:
        graph.sort()
    except ValueError as error:
        raise ModelFileError("the graph has a cycle") from error


def _check_weights(graph: ir.Graph, path: Path) -> None:
    for name, value in graph.initializers.items():
        tensor = value.const_value
        if tensor is None:
            raise ModelFileError(f"initialiser {name!r} has no data")
        if tensor.dtype not in (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16):
            continue
        try:
            array = tensor.numpy()
        except (ValueError, OSError, TypeError) as error:
            raise ModelFileError(f"initialiser {name!r} cannot be read: {error}") from error
        if np.isnan(array).any():
            raise ModelFileError(
                f"initialiser {name!r} holds NaN", hint="the training diverged; export a sound checkpoint"
            )


def _inline(loaded: ir.Model) -> None:
    from onnx_ir.passes.common import InlinePass

    InlinePass()(loaded)


def _pin(graph: ir.Graph, options: ReadOptions) -> None:
    """Gives symbolic dimensions their values: by input name, by shared symbol, the batch."""
    names = {value.name for value in graph.inputs}
    for name in options.input_shapes:
        if name not in names:
            raise UsageError(f"no input {name!r}", hint=f"the inputs are {', '.join(sorted(str(n) for n in names))}")
    symbols: dict[str, int] = {}
    for value in graph.inputs:
        given = options.input_shapes.get(value.name or "")
        if given is None or value.shape is None:
            continue
        if len(given) != len(value.shape):
            raise UsageError(f"input {value.name!r} has {len(value.shape)} dimensions, {len(given)} are given")
        for dim, size in zip(value.shape, given, strict=True):
            if isinstance(dim, ir.SymbolicDim) and dim.value is not None:
                symbols[dim.value] = size
            elif isinstance(dim, int) and dim > 0 and dim != size:
                raise UsageError(f"input {value.name!r} is fixed to {dim} where {size} is given")
    for value in graph.inputs:
        given = options.input_shapes.get(value.name or "")
        if value.shape is None:
            if given is None:
                raise ModelFileError(
                    f"input {value.name!r} has no shape", hint=f"give it: --input {value.name}:1x3x224x224"
                )
            value.shape = ir.Shape(given)
            continue
        dims = [
            _pinned(value, axis, dim, given, symbols, options) if not isinstance(dim, int) or dim < 0 else dim
            for axis, dim in enumerate(value.shape)
        ]
        value.shape = ir.Shape(dims)
    for node in graph:  # shapes that the exporter recorded may hold the symbols that are pinned now
        for output in node.outputs:
            if output.shape is not None and not all(isinstance(dim, int) and dim >= 0 for dim in output.shape):
                output.shape = None


def _pinned(
    value: ir.Value,
    axis: int,
    dim: int | ir.SymbolicDim,
    given: tuple[int, ...] | None,
    symbols: dict[str, int],
    options: ReadOptions,
) -> int | str:
    if given is not None:
        return given[axis]
    symbol = dim.value if isinstance(dim, ir.SymbolicDim) else None
    if symbol is not None and symbol in symbols:
        return symbols[symbol]
    if axis == 0:
        return "batch" if options.batch == "dynamic" else options.batch
    shape = "x".join(str(d) if isinstance(d, int) and d > 0 else "?" for d in value.shape or ())
    raise UsageError(
        f"input {value.name!r} has open dimensions: {shape}",
        hint=f"give its shape: --input {value.name}:{shape.replace('?', '640').replace('640', '1', 1) if axis else shape}",
    )
