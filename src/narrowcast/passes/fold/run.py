"""Runs the constant part of a graph in ONNX Runtime, all of it in one session."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir.serde

from narrowcast.dialect.build import Builder, constant_of, tensor_of
from narrowcast.dialect.deferred import derive, is_deferred
from narrowcast.model import Array, ir
from narrowcast.passes.fold.replace import drop, initializer, substitute

__all__ = ["run_constants"]

NEVER = {
    *("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
    *("If", "Loop", "Scan"),
    "DequantizeLinear",
}
"""Random operators; operators with graphs; the dialect's spelling of quantised weights."""
EXPANDING = {
    *("CenterCropPad", "Col2Im", "ConstantOfShape", "Expand", "EyeLike", "OneHot", "Pad", "Range", "Resize", "Tile"),
    *("BlackmanWindow", "HammingWindow", "HannWindow", "MelWeightMatrix"),
}
"""Operators whose output may be far larger than their inputs: not run while its shape is unknown."""
LARGEST = 512 * 2**20
"""No folded tensor may be larger, in bytes."""
GROWTH, GROWTH_FROM = 8, 16 * 2**20
"""A tensor of more than `GROWTH_FROM` bytes may be at most `GROWTH` times as large as what it is made from."""
FED = 4096
"""Constants of more bytes are fed to the session as they lie in memory, smaller ones are written into its model."""


def run_constants(graph: ir.Graph) -> bool:
    """Replaces what depends on initialisers alone by initialisers; True if there was anything."""
    build = Builder(graph)
    deferred = [node for node in list(graph) if _defer(build, node)]
    nodes = _constant_part(graph)
    if not nodes:
        return bool(deferred)
    try:
        _fold(build, nodes)
    except Exception:  # ONNX Runtime's errors share no other base; which node it was is found out below
        return _fold_one_by_one(build, nodes)
    return True


def _defer(build: Builder, node: ir.Node) -> bool:
    """Lets what only rearranges or casts a deferred tensor be a deferred tensor too; True if it was such a node."""
    view = _VIEWS.get(node.op_type) if not node.domain else None
    source = tensor_of(node.inputs[0]) if node.inputs else None
    if view is None or source is None or not is_deferred(source) or not _is_constant(node, set()):
        return False
    output = node.outputs[0]
    if output.shape is None or output.dtype is None or not output.shape.is_static():
        return False
    made = derive(view(node), source, shape=output.shape.numpy(), dtype=output.dtype)
    substitute(build, output, initializer(build.graph, made, build.unique(f"{output.name}/folded")))
    drop(build.graph, node)
    return True


def _transpose(node: ir.Node) -> Callable[[Array], Array]:
    perm = node.attributes.get_ints("perm", None)
    return lambda array: array.transpose(perm)


def _reshape(node: ir.Node) -> Callable[[Array], Array]:
    shape = node.outputs[0].shape
    return lambda array: array.reshape(shape.numpy() if shape is not None else ())


def _cast(node: ir.Node) -> Callable[[Array], Array]:
    dtype = node.outputs[0].dtype
    return lambda array: array.astype(dtype.numpy() if dtype is not None else np.float32)


_VIEWS: dict[str, Callable[[ir.Node], Callable[[Array], Array]]] = {
    "Transpose": _transpose,
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _reshape),
    "Cast": _cast,
}


def _fold_one_by_one(build: Builder, nodes: Sequence[ir.Node]) -> bool:
    """The slow way round a node that ONNX Runtime cannot run: that one stays, and what depends on it."""
    changed = False
    for node in nodes:
        if not _is_constant(node, set()):
            continue
        try:
            _fold(build, [node])
        except Exception:  # as above; the node is left for a later stage to refuse by name
            continue
        changed = True
    return changed


def _fold(build: Builder, nodes: Sequence[ir.Node]) -> None:
    inside = set(nodes)
    frontier = [
        value
        for node in nodes
        for value in node.outputs
        if value.is_graph_output() or any(use.node not in inside for use in value.uses())
    ]
    for value, array in zip(frontier, _run(build.graph, nodes, frontier), strict=True):
        substitute(build, value, array)
    for node in reversed(nodes):
        drop(build.graph, node)


def _constant_part(graph: ir.Graph) -> list[ir.Node]:
    nodes: list[ir.Node] = []
    computed: set[ir.Value] = set()
    for node in graph:
        if _is_constant(node, computed):
            nodes.append(node)
            computed.update(node.outputs)
    return nodes


def _is_constant(node: ir.Node, computed: set[ir.Value]) -> bool:
    if node.domain or node.op_type in NEVER:
        return False
    inputs = [value for value in node.inputs if value is not None]
    if not inputs or not all(value in computed or _is_initializer(value) for value in inputs):
        return False
    if node.op_type == "Cast" and inputs[0].dtype is ir.DataType.FLOAT16:
        return False
    if node.op_type == "Identity" and node.outputs[0].is_graph_output():
        return False
    return all(_is_affordable(node, value, inputs) for value in node.outputs if value.name)


def _is_initializer(value: ir.Value) -> bool:
    return value.const_value is not None and not value.is_graph_input() and value.dtype is not ir.DataType.STRING


def _is_affordable(node: ir.Node, value: ir.Value, inputs: Sequence[ir.Value]) -> bool:
    size = _bytes(value)
    if size is None:
        return node.op_type not in EXPANDING
    return size <= LARGEST and (size <= GROWTH_FROM or size <= GROWTH * sum(_bytes(source) or 0 for source in inputs))


def _bytes(value: ir.Value) -> int | None:
    if value.shape is None or value.dtype is None or not value.shape.is_static():
        return None
    return math.prod(value.shape.numpy()) * value.dtype.bitwidth // 8


def _run(graph: ir.Graph, nodes: Sequence[ir.Node], outputs: Sequence[ir.Value]) -> list[Array]:
    """The values of `outputs`, which depend on initialisers through `nodes` alone."""
    import onnx
    import onnxruntime

    made = {value for node in nodes for value in node.outputs}
    needed = {value for node in nodes for value in node.inputs if value is not None and value not in made}
    proto = onnx.GraphProto(name="constants")
    for node in nodes:
        onnx_ir.serde.serialize_node_into(proto.node.add(), node)
    feeds: dict[str, Array] = {}
    for value in needed:
        array = constant_of(value)
        assert array is not None
        name = value.name or ""
        if array.nbytes > FED and array.dtype.kind in "fiub":
            onnx_ir.serde.serialize_value_into(proto.input.add(), value)
            feeds[name] = array
        else:
            onnx_ir.serde.serialize_tensor_into(proto.initializer.add(), ir.tensor(array, value.dtype, name=name))
    for value in outputs:
        proto.output.add(name=value.name or "")
        if value.dtype is not None:
            proto.output[-1].type.tensor_type.elem_type = int(value.dtype)
    imports = [onnx.OperatorSetIdProto(domain="", version=graph.opset_imports[""])]
    model = onnx.ModelProto(ir_version=10, graph=proto, opset_import=imports)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found: list[Array] = session.run([value.name for value in outputs], feeds)
    return found
