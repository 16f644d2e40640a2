"""Bytes to a graph: every size that the file declares is checked before anything is made of it.

What the file holds is compared with what it declares (https://onnx.ai/onnx/repo-docs/IR.html, `onnx.proto`): element
counts of each tensor, external files inside the model's folder and long enough, names that occur once.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx_ir.external_data
import onnx_ir.serde

from narrowcast.errors import ModelFileError, UnsupportedError, at, shown
from narrowcast.model import ir
from narrowcast.readers.check.structure import all_graphs
from narrowcast.schemas.onnx_file import dtype_of, external

if TYPE_CHECKING:
    import onnx

__all__ = ["BESIDE", "load"]

logging.getLogger("onnx_ir").addHandler(logging.NullHandler())  # it warns of what is raised as an error here

LARGEST_IN_MEMORY = 2**27
"""Bytes of external data that are read at once."""

BESIDE = "narrowcast.beside"
"""Key of a loaded model's `meta` under which the files lie that hold its external data."""
SMALLEST_DEFERRED = 2**12
"""Bytes of a tensor that is worth its own mapping."""
_COMMENTS = ("doc_string", "metadata_props", "quantization_annotation", "training_info", "device_configurations")
_Type = ir.DataType
_FIELDS: dict[ir.DataType, tuple[str, int]] = {
    **dict.fromkeys((_Type.FLOAT,), ("float_data", 1)),
    **dict.fromkeys((_Type.COMPLEX64,), ("float_data", 2)),
    **dict.fromkeys((_Type.DOUBLE,), ("double_data", 1)),
    **dict.fromkeys((_Type.COMPLEX128,), ("double_data", 2)),
    **dict.fromkeys((_Type.INT64,), ("int64_data", 1)),
    **dict.fromkeys((_Type.UINT32, _Type.UINT64), ("uint64_data", 1)),
    **dict.fromkeys((_Type.STRING,), ("string_data", 1)),
}
"""Where a tensor without `raw_data` keeps its elements, in how many values each; `int32_data` for all other types."""


def load(proto: onnx.ModelProto, folder: Path) -> ir.Model:
    """Makes a graph whose tensors are sound of a file's protocol buffer; the graph itself is not checked yet.

    Tensors in the file become arrays, and so do those in external files unless they are more than `LARGEST_IN_MEMORY`
    in all: then they stay there, each is mapped into memory when it is looked at, and released afterwards.

    Args:
        proto: changed on the way.
        folder: the file's, which its external data lie in.

    Raises:
        ModelFileError: damaged, truncated, or a tensor is not what it declares to be.
        UnsupportedError: it holds sparse tensors or map types.
    """
    beside: set[Path] = set()
    try:
        _drop_comments(proto)
        for function in proto.functions:
            _check_text(function)
        for graph in (proto.graph, *_subgraphs(proto.graph.node), *_functions_subgraphs(proto)):
            _check_text(graph)
            _check_names(graph)
        for tensor in (*_tensors(proto.graph), *_tensors_of(node for body in proto.functions for node in body.node)):
            with at(f"tensor '{shown(tensor.name)}'" if tensor.name else "a constant"):
                beside.update(_check_tensor(tensor, folder))
        if all(node.domain in ("", "ai.onnx") for node in proto.graph.node):
            del proto.graph.value_info[:]  # inferred anew, once the open dimensions are pinned
        model = onnx_ir.serde.deserialize_model(proto)
    except NotImplementedError as error:
        raise UnsupportedError(f"uses a feature of ONNX that is not supported: {_sentence(error)}") from error
    except RecursionError as error:
        raise ModelFileError("its graphs are nested too deeply") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, onnx_ir.serde.SerdeError) as error:
        raise ModelFileError(f"not a sound ONNX file: {_sentence(error)}") from error
    bodies = [model.graph, *(function.graph for function in model.functions.values())]
    model.meta[BESIDE] = tuple(sorted(beside))
    if beside:
        for body in bodies:
            onnx_ir.external_data.set_base_dir(body, str(folder.resolve()))
    values = [value for body in bodies for inner in all_graphs(body) for value in inner.initializers.values()]
    outside = sum(value.const_value.nbytes for value in values if isinstance(value.const_value, ir.ExternalTensor))
    for value in values:
        _take_out_of_proto(value)
        _take_out_of_file(value, keep=outside <= LARGEST_IN_MEMORY)
    return model


def _sentence(error: BaseException) -> str:
    """The cause of an error in one line; onnx_ir prefixes it with the calls that led there."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(str(error).split())
    return text[:300] or type(error).__name__


def _subgraphs(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.GraphProto]:
    for node in nodes:
        for attribute in node.attribute:
            for graph in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs):
                yield graph
                yield from _subgraphs(graph.node)


def _functions_subgraphs(proto: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    for function in proto.functions:
        yield from _subgraphs(function.node)


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    yield from _tensors_of(graph.node)


def _tensors_of(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
                raise UnsupportedError("holds sparse tensors", hint="export it with dense weights")
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for graph in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs):
                yield from _tensors(graph)


def _drop_comments(proto: onnx.ModelProto) -> None:
    """Removes what means nothing to the network: it need not be text, and can be longer than the network."""
    holders: list[Any] = [proto, *proto.functions]
    for holder in (proto.graph, *_subgraphs(proto.graph.node), *_functions_subgraphs(proto)):
        holders += (holder, *holder.input, *holder.output, *holder.value_info, *holder.initializer)
    for holder in [holder for holder in holders if hasattr(holder, "node")]:
        holders += holder.node
        holders += (attribute for node in holder.node for attribute in node.attribute)
    holders += (holder.t for holder in holders if holder.DESCRIPTOR.name == "AttributeProto" and holder.HasField("t"))
    fields: dict[str, list[str]] = {}
    for holder in holders:
        kind = holder.DESCRIPTOR
        if kind.name not in fields:
            fields[kind.name] = [field for field in _COMMENTS if field in kind.fields_by_name]
        for field in fields[kind.name]:
            holder.ClearField(field)
    for field in ("producer_name", "producer_version", "domain"):
        if not isinstance(getattr(proto, field), str):
            proto.ClearField(field)


def _check_text(body: onnx.GraphProto | onnx.FunctionProto) -> None:
    """Names are text: protocol buffers hand out bytes where they are not UTF-8."""
    texts: list[str] = [body.name]
    if hasattr(body, "initializer"):
        ports = (*body.input, *body.output, *body.value_info)
        texts += [dim.dim_param for port in ports for dim in port.type.tensor_type.shape.dim]
        texts += [item.name for item in (*ports, *body.initializer)]
    else:
        texts += (body.domain, body.overload, *body.input, *body.output, *body.attribute)
        texts += (opset.domain for opset in body.opset_import)
    for node in body.node:
        texts += (node.op_type, node.domain, node.name, node.overload, *node.input, *node.output)
        for attribute in node.attribute:
            texts += (attribute.name, attribute.ref_attr_name, attribute.t.name)
    if any(not isinstance(text, str) for text in texts):
        raise ModelFileError("holds a name that is no UTF-8 text", hint="the file is damaged; copy or export it again")


def _check_names(graph: onnx.GraphProto) -> None:
    """Inputs, initialisers and outputs are named, each once; computed values are checked by onnx_ir."""
    if graph.sparse_initializer:
        raise UnsupportedError("holds sparse tensors", hint="export it with dense weights")
    for what, names in (
        ("input", [value.name for value in graph.input]),
        ("initialiser", [tensor.name for tensor in graph.initializer]),
        ("output", [value.name for value in graph.output]),
    ):
        if "" in names:
            raise ModelFileError(f"has an {what} without a name")
        if what != "initialiser" and any("\0" in name for name in names):
            raise ModelFileError(f"has an {what} with a zero byte in its name", hint="rename it")
        if len(set(names)) < len(names):
            name = next(name for name, count in Counter(names).items() if count > 1)
            raise ModelFileError(f"has two {what}s named '{shown(name)}'")


def _check_tensor(tensor: onnx.TensorProto, folder: Path) -> tuple[Path, ...]:
    """The elements that a tensor declares must be there; the external file that holds them, if there is one."""
    from onnx import TensorProto

    dims, dtype = tuple(tensor.dims), dtype_of(tensor)
    size = math.prod(dims)
    if tensor.HasField("segment"):
        raise UnsupportedError("is stored in segments")
    if tensor.data_location == TensorProto.EXTERNAL:
        return (external(tensor, folder, -(-size * dtype.bitwidth // 8))[0],)
    if dtype is not ir.DataType.STRING and tensor.HasField("raw_data"):
        expected, found, unit = -(-size * dtype.bitwidth // 8), len(tensor.raw_data), "bytes"
    else:
        field, each = _FIELDS.get(dtype, ("int32_data", 1))
        packed = 8 // dtype.bitwidth if dtype is not ir.DataType.STRING and dtype.bitwidth in (2, 4) else 1
        expected, found, unit = -(-size * each // packed), len(getattr(tensor, field)), "values"
    if found != expected:
        raise ModelFileError(
            f"of shape {dims} and type {dtype.name} needs {expected} {unit}, the file holds {found}",
            hint="the file is damaged or truncated",
        )
    return ()


def _take_out_of_proto(value: ir.Value) -> None:
    """Makes an array of an initialiser once: reading a field of a protocol buffer copies it each time."""
    tensor = value.const_value
    assert tensor is not None
    value.dtype, value.shape = tensor.dtype, ir.Shape(tensor.shape.numpy())
    if isinstance(tensor, onnx_ir.serde.TensorProtoTensor) and tensor.dtype.bitwidth >= 8:
        value.const_value = ir.Tensor(tensor.numpy(), dtype=tensor.dtype, shape=tensor.shape, name=tensor.name)


def _take_out_of_file(value: ir.Value, *, keep: bool) -> None:
    """Makes an array of an initialiser in an external file, or a tensor that is mapped anew at each look.

    A mapping that is kept would let the pages that were read count as the process' own memory until its end.
    """
    tensor = value.const_value
    if not isinstance(tensor, ir.ExternalTensor) or tensor.dtype.bitwidth < 8:
        return
    if keep or tensor.nbytes < SMALLEST_DEFERRED:
        value.const_value = ir.Tensor(_mapped(tensor).numpy().copy(), tensor.dtype, name=tensor.name)
    else:
        value.const_value = ir.LazyTensor(lambda: _mapped(tensor), tensor.dtype, tensor.shape, name=tensor.name)


def _mapped(tensor: ir.ExternalTensor) -> ir.ExternalTensor:
    """The tensor with a mapping of its own, which lasts as long as its array."""
    fresh = ir.ExternalTensor(
        tensor.location,
        tensor.offset,
        tensor.length,
        tensor.dtype,
        shape=tensor.shape,
        name=tensor.name or "",
        base_dir=tensor.base_dir,
    )
    try:
        fresh.numpy()
    except (OSError, ValueError) as error:
        raise ModelFileError(
            f"its external data cannot be read: {_sentence(error)}",
            where=shown(tensor.name),
            hint="leave the files where they are until the conversion is done",
        ) from error
    return fresh
