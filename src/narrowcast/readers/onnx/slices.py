"""What a Slice cuts from must have a size: ONNX's shape inference ends the process where it would be negative.

Its C++ code (`std::clamp` in the inference of Slice) asserts that there is something to cut from, which a window larger
than its input, or a negative scale, breaks. So the graph of a file with Slices is inferred in steps, each of which ends
where Slices begin, and each node of it once; what is found serves this check alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

import onnx_ir.serde

from narrowcast.errors import ModelFileError, shown
from narrowcast.model import ir

if TYPE_CHECKING:
    import onnx

__all__ = ["check_slices"]

LARGEST_KEPT = 1024
"""Constants up to this many bytes may be shapes."""


def check_slices(graph: ir.Graph, opset: int) -> None:
    """Every size before a Slice can be computed without being negative.

    Raises:
        ModelFileError: one is negative.
    """
    steps = _steps(graph)
    if len(steps) < 2:
        return
    known: dict[str, onnx.ValueInfoProto] = {}
    for value in (*graph.inputs, *graph.initializers.values()):
        info = onnx_ir.serde.serialize_value(value)
        known[info.name] = info
    for step in steps[:-1]:
        for info in _inferred(graph, step, known, opset):
            if any(dim.dim_value < 0 for dim in info.type.tensor_type.shape.dim):
                sizes = [dim.dim_value for dim in info.type.tensor_type.shape.dim]
                raise ModelFileError(
                    f"the tensor '{shown(info.name)}' would have the shape {sizes}",
                    hint="the input is too small for it",
                )
            known[info.name] = info


def _steps(graph: ir.Graph) -> list[list[ir.Node]]:
    """The nodes in steps: an even one before the Slices that follow it, an odd one of these Slices alone."""
    of: dict[ir.Node, int] = {}
    steps: dict[int, list[ir.Node]] = defaultdict(list)
    for node in graph:
        before = max((of[maker] for value in node.inputs if value and (maker := value.producer()) in of), default=0)
        of[node] = before + (before % 2 != (node.op_type == "Slice"))
        steps[of[node]].append(node)
    return [steps[index] for index in range(max(steps, default=0) + 1)]


def _inferred(
    graph: ir.Graph, nodes: Iterable[ir.Node], known: dict[str, onnx.ValueInfoProto], opset: int
) -> Iterable[onnx.ValueInfoProto]:
    """The types of what some nodes make."""
    import onnx
    from onnx import shape_inference

    proto = onnx.GraphProto(name="part")
    made = {value.name for node in nodes for value in node.outputs}
    for name in {value.name or "" for node in nodes for value in node.inputs if value is not None} - made:
        constant = graph.initializers[name].const_value if name in graph.initializers else None
        if constant is not None and constant.nbytes <= LARGEST_KEPT:
            onnx_ir.serde.serialize_tensor_into(proto.initializer.add(), constant)
            proto.initializer[-1].name = name
        elif name in known:
            proto.input.append(known[name])
    for node in nodes:
        onnx_ir.serde.serialize_node_into(proto.node.add(), node)
    imports = [onnx.OperatorSetIdProto(domain="", version=opset)]
    model = onnx.ModelProto(ir_version=10, graph=proto, opset_import=imports)
    try:
        return shape_inference.infer_shapes(model, data_prop=True).graph.value_info
    except (shape_inference.InferenceError, ValueError) as error:
        raise ModelFileError("the types or shapes of its tensors do not fit together") from error
