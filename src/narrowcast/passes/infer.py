"""Shape inference: ONNX's own, on a skeleton of the graph without its weights.

Building the skeleton takes most of the time (10 ms for 370 nodes), so it holds what inference needs and no more: nodes,
inputs, constants that may be shapes, and the shapes of operators that ONNX does not know.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import onnx_ir.serde

from narrowcast.dialect.build import values_read
from narrowcast.errors import ModelFileError
from narrowcast.model import Model, ir

if TYPE_CHECKING:
    import onnx

__all__ = ["infer_shapes", "infer_within", "shapes_missing"]

LARGEST_KEPT = 1024
"""Initialisers up to this many bytes are sent along: they may be shapes."""
IR_VERSION = 10
STAND_INS = {"GroupNormalization": "InstanceNormalization", "MeanVarianceNormalization": "Relu"}
"""Operators of which ONNX infers nothing, or fails to, and another that takes as many inputs and has the same rule."""


def infer_shapes(model: Model, nodes: Sequence[ir.Node] | None = None) -> None:
    """Fills in the dtype and shape of every value of the main graph, in place.

    What inference finds replaces what was there; where it finds less, the known shape stays and helps it on.

    Args:
        model: changed in place.
        nodes: those whose outputs are looked at, in order; all if None.

    Raises:
        ModelFileError: the types or shapes contradict one another.
    """
    graph = model.graph
    asked = list(graph) if nodes is None else nodes
    values: dict[str | None, ir.Value] = {value.name: value for node in asked for value in node.outputs if value.name}
    skeleton = _skeleton(graph) if nodes is None else _part(graph, nodes)
    if _merge_all(values, _inferred(skeleton)) and not all(map(_is_static, values.values())):
        del skeleton.graph.value_info[:]
        skeleton.graph.value_info.extend(_infos(value for value in values.values() if _is_static(value)))
        _merge_all(values, _inferred(skeleton))


def infer_within(model: Model) -> None:
    """Fills in what can be known of values of the graphs inside others, in place: of open control flow, as it is read.

    Raises:
        ModelFileError: the types or shapes contradict one another.
    """
    if any(attribute.type is ir.AttributeType.GRAPH for node in model.graph for attribute in node.attributes.values()):
        _merge_within(model.graph, _inferred(_skeleton(model.graph)))


def _merge_within(graph: ir.Graph, inferred: onnx.GraphProto) -> None:
    for node, found in zip(graph, inferred.node, strict=True):
        for attribute in found.attribute:
            if attribute.HasField("g"):
                body = node.attributes[attribute.name].as_graph()
                values: dict[str | None, ir.Value] = {value.name: value for inner in body for value in inner.outputs}
                _merge_all(values, attribute.g)
                _merge_within(body, attribute.g)


def shapes_missing(model: Model) -> bool:
    """Whether a value of the main graph has no dtype or no static shape."""
    return any(not _is_static(value) for node in model.graph for value in node.outputs if value.name)


def _is_static(value: ir.Value) -> bool:
    return value.dtype is not None and value.shape is not None and value.shape.is_static()


def _inferred(skeleton: onnx.ModelProto, *, propagate: bool = True) -> onnx.GraphProto:
    """What ONNX finds; its propagation of shapes as data refuses some sound graphs, so it is left out if it fails."""
    from onnx import shape_inference

    try:
        return shape_inference.infer_shapes(skeleton, check_type=True, strict_mode=True, data_prop=propagate).graph
    except (shape_inference.InferenceError, ValueError) as error:
        if propagate:
            return _inferred(skeleton, propagate=False)
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise ModelFileError(
            f"the types or shapes of its tensors do not fit together: {lines[-1] if lines else error}",
            hint="the file contradicts itself, or a given shape does not fit it",
        ) from error


def _skeleton(graph: ir.Graph) -> onnx.ModelProto:
    """The graph as a protocol buffer, large initialisers as inputs."""
    return _spelled(graph, graph, graph.inputs, graph.initializers.values(), graph.outputs)


def _part(graph: ir.Graph, nodes: Sequence[ir.Node]) -> onnx.ModelProto:
    """The same of some of its nodes: what they read from elsewhere are inputs, what they give outputs."""
    made = {value for node in nodes for value in node.outputs}
    read = dict.fromkeys(
        value for node in nodes for value in values_read(node) if value not in made and value.graph is graph
    )
    constants = [value for value in read if value.is_initializer()]
    fed = [value for value in read if not value.is_initializer() or value.is_graph_input()]
    return _spelled(graph, nodes, fed, constants, [value for value in made if value.name])


def _spelled(
    graph: ir.Graph,
    nodes: Iterable[ir.Node],
    inputs: Iterable[ir.Value],
    constants: Iterable[ir.Value],
    outputs: Iterable[ir.Value],
) -> onnx.ModelProto:
    import onnx

    proto = onnx.GraphProto(name=graph.name or "graph")
    domains = {"": graph.opset_imports.get("", 1)}
    for node in nodes:
        domains.setdefault(node.domain, graph.opset_imports.get(node.domain, 1))
        if node.domain:
            proto.node.add(
                op_type=node.op_type,
                domain=node.domain,
                input=[value.name or "" if value is not None else "" for value in node.inputs],
                output=[value.name or "" for value in node.outputs],
            )
            proto.value_info.extend(_infos(value for value in node.outputs if value.name and value.shape is not None))
            continue
        added = proto.node.add()
        onnx_ir.serde.serialize_node_into(added, node)
        if node.op_type in STAND_INS:
            added.op_type = STAND_INS[node.op_type]
            del added.attribute[:]
    proto.input.extend(_infos(inputs))
    for value in constants:
        tensor = value.const_value
        assert tensor is not None
        if tensor.nbytes <= LARGEST_KEPT:
            onnx_ir.serde.serialize_tensor_into(proto.initializer.add(), from_=tensor)
            proto.initializer[-1].name = value.name or ""
        elif not value.is_graph_input():
            proto.input.append(_info(value.name or "", tensor.dtype, tensor.shape))
    for value in outputs:
        proto.output.add(name=value.name or "")
    imports = [onnx.OperatorSetIdProto(domain=domain, version=version) for domain, version in domains.items()]
    return onnx.ModelProto(ir_version=IR_VERSION, graph=proto, opset_import=imports)


def _infos(values: Iterable[ir.Value]) -> Iterator[onnx.ValueInfoProto]:
    return (_info(value.name or "", value.dtype, value.shape) for value in values)


def _info(name: str, dtype: ir.DataType | None, shape: ir.Shape | ir.ShapeProtocol | None) -> onnx.ValueInfoProto:
    import onnx

    info = onnx.ValueInfoProto(name=name)
    tensor = info.type.tensor_type
    tensor.elem_type = int(dtype or 0)
    if shape is None:
        return info
    tensor.shape.SetInParent()
    for dim in shape:
        added = tensor.shape.dim.add()
        if isinstance(dim, int):
            added.dim_value = dim
        elif dim.value is not None:
            added.dim_param = dim.value
    return info


def _merge_all(values: dict[str | None, ir.Value], inferred: onnx.GraphProto) -> bool:
    """Takes over what was found; True if a known shape is more than what was found."""
    knew_more = False
    for info in (*inferred.value_info, *inferred.output):
        value = values.get(info.name)
        if value is not None and info.type.HasField("tensor_type"):
            knew_more |= _merge(value, info.type.tensor_type)
    return knew_more


def _merge(value: ir.Value, inferred: onnx.TypeProto.Tensor) -> bool:
    if inferred.elem_type and inferred.elem_type != value.dtype:
        value.dtype = ir.DataType(inferred.elem_type)
    known = value.shape
    if not inferred.HasField("shape"):
        return known is not None
    found: list[int | str | None] = [
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None for dim in inferred.shape.dim
    ]
    knew_more = False
    for axis, dim in enumerate(found):
        if isinstance(dim, int):
            if dim < 0:
                raise ModelFileError(f"the tensor {value.name!r} would have the shape {found}")
        elif known is not None and len(known) == len(found) and isinstance(size := known[axis], int):
            found[axis] = size
            knew_more = True
    if known is None or list(known) != found:
        value.shape = ir.Shape(found)
    return knew_more
