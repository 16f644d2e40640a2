"""Constant folding: what can be computed from initialisers alone is computed once, by ONNX Runtime."""

from __future__ import annotations

import math

import numpy as np

from narrowcast.dialect.build import Builder, constant_of
from narrowcast.model import Array, Model, ir
from narrowcast.passes.infer import infer_shapes

__all__ = ["fold_constants"]

NEVER = frozenset(
    {
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
        "Bernoulli",
        "Multinomial",
        "If",
        "Loop",
        "Scan",
    }
)
LARGEST = 512 * 2**20
"""No folded tensor may be larger, in bytes."""
GROWTH, GROWTH_FROM = 8, 16 * 2**20
"""A tensor of more than `GROWTH_FROM` bytes may be at most `GROWTH` times its inputs' bytes."""
ROUNDS = 8


def fold_constants(model: Model) -> bool:
    """Replaces everything computable by initialisers, in place; True if anything was.

    Kept as they are: random operators, quantised or float16 weights behind a DequantizeLinear or a Cast (that is how
    the dialect spells them), and tensors that folding would blow up.
    """
    changed = False
    for _ in range(ROUNDS):
        static = _fold_shapes(model)
        if static:
            infer_shapes(model)
        folded = _fold_once(model)
        if folded and _shapes_missing(model):
            infer_shapes(model)
        elif not static and not folded:
            break
        changed = True
    return changed


def _shapes_missing(model: Model) -> bool:
    values = (value for node in model.graph for value in node.outputs)
    return any(value.dtype is None or value.shape is None or not value.shape.is_static() for value in values)


def _fold_shapes(model: Model) -> bool:
    """Shape and Size of static tensors, Constant nodes: no need to run those."""
    graph = model.graph
    changed = False
    build = Builder(graph)
    for node in list(graph):
        array = _trivial(node)
        if array is not None:
            _substitute(graph, node.outputs[0], build.constant(array, f"{node.outputs[0].name}/folded"))
            graph.remove(node, safe=True)
            changed = True
    return changed


def _trivial(node: ir.Node) -> Array | None:
    if node.domain or node.op_type not in ("Shape", "Size", "Constant"):
        return None
    if node.op_type == "Constant":
        return _constant_node(node)
    source = node.inputs[0]
    if source is None or source.shape is None:
        return None
    if node.op_type == "Shape":
        start, end = node.attributes.get_int("start", 0), node.attributes.get("end")
        dims = list(source.shape)[start : None if end is None else end.as_int()]
    else:
        dims = list(source.shape)
    if not all(isinstance(dim, int) for dim in dims):
        return None
    if node.op_type == "Size":
        return np.array(math.prod(int(dim) for dim in dims), np.int64)  # type: ignore[arg-type]
    return np.array(dims, np.int64)


def _constant_node(node: ir.Node) -> Array | None:
    for name, dtype in (
        ("value", None),
        ("value_int", np.int64),
        ("value_ints", np.int64),
        ("value_float", np.float32),
        ("value_floats", np.float32),
    ):
        attribute = node.attributes.get(name)
        if attribute is not None:
            return attribute.as_tensor().numpy() if dtype is None else np.array(attribute.value, dtype)
    return None


def _substitute(graph: ir.Graph, old: ir.Value, new: ir.Value) -> None:
    for use in tuple(old.uses()):
        use.node.replace_input_with(use.idx, new)
    if old.is_graph_output():
        for index, output in enumerate(graph.outputs):
            if output is old:
                node = ir.node("Identity", [new])
                node.outputs[0].name, old.name = old.name, f"{old.name}/folded"
                node.outputs[0].shape, node.outputs[0].type = new.shape, new.type
                graph.append(node)
                graph.outputs[index] = node.outputs[0]


def _fold_once(model: Model) -> bool:
    """Runs the constant part of the graph in one go."""
    graph = model.graph
    nodes: list[ir.Node] = []
    computed: set[ir.Value] = set()
    for node in graph:
        if _foldable(node, computed):
            nodes.append(node)
            computed.update(node.outputs)
    if not nodes:
        return False
    inside = set(nodes)
    frontier = [
        value
        for node in nodes
        for value in node.outputs
        if value.is_graph_output() or any(use.node not in inside for use in value.uses())
    ]
    build = Builder(graph)
    for value, array in zip(frontier, _run(model, nodes, frontier), strict=True):
        _substitute(graph, value, build.constant(array, f"{value.name}/folded"))
    for node in reversed(nodes):
        graph.remove(node, safe=True)
    return True


def _foldable(node: ir.Node, computed: set[ir.Value]) -> bool:
    if node.domain or node.op_type in NEVER or not any(value is not None for value in node.inputs):
        return False
    constants = [value in computed or constant_of(value) is not None for value in node.inputs if value is not None]
    if not all(constants) or any(attribute.type == ir.AttributeType.GRAPH for attribute in node.attributes.values()):
        return False
    source = node.inputs[0]
    if node.op_type == "DequantizeLinear":
        return False
    if node.op_type == "Cast" and source is not None and source.dtype is ir.DataType.FLOAT16:
        return False
    if node.op_type == "Identity" and all(output.is_graph_output() for output in node.outputs):
        return False
    return all(_affordable(node, value) for value in node.outputs)


def _affordable(node: ir.Node, value: ir.Value) -> bool:
    if value.shape is None or not value.shape.is_static() or value.dtype is None:
        return node.op_type not in ("Expand", "Tile", "ConstantOfShape", "Range", "EyeLike", "OneHot")
    size = math.prod(int(dim) for dim in value.shape) * max(value.dtype.itemsize, 1)  # type: ignore[arg-type]
    inputs = sum(
        tensor.const_value.nbytes for tensor in node.inputs if tensor is not None and tensor.const_value is not None
    )
    return size <= LARGEST and (size <= GROWTH_FROM or size <= GROWTH * inputs)


def _run(model: Model, nodes: list[ir.Node], outputs: list[ir.Value]) -> list[Array]:
    """Runs nodes that depend on initialisers only."""
    import onnx
    import onnxruntime

    def info(value: ir.Value) -> onnx.ValueInfoProto:
        proto = onnx.ValueInfoProto(name=value.name or "")
        if value.dtype is not None:
            proto.type.tensor_type.elem_type = int(value.dtype)
        return proto

    made = {value for node in nodes for value in node.outputs}
    needed = {value for node in nodes for value in node.inputs if value is not None and value not in made}
    graph = onnx.GraphProto(name="constants")
    graph.node.extend(ir.serde.serialize_node(node) for node in nodes)
    feeds = {}
    for value in needed:
        array = constant_of(value)
        assert array is not None
        if array.nbytes > 4096 and array.dtype.kind in "fiub":
            feed = info(value)
            feed.type.tensor_type.shape.SetInParent()
            for dim in array.shape:
                feed.type.tensor_type.shape.dim.add().dim_value = dim
            graph.input.append(feed)
            feeds[value.name or ""] = array
        else:
            graph.initializer.append(ir.serde.serialize_tensor(ir.tensor(array, name=value.name)))
    graph.output.extend(info(value) for value in outputs)
    opsets = [
        onnx.OperatorSetIdProto(domain=domain, version=version) for domain, version in model.graph.opset_imports.items()
    ]
    proto = onnx.ModelProto(ir_version=10, graph=graph, opset_import=opsets)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found: list[Array] = session.run([value.name for value in outputs], feeds)
    return found
