"""Runs laid-out graphs in ONNX Runtime: spatial operators on channel-last tensors are wrapped in transposes."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort

from narrowcast.model import CHANNELS_LAST, Model, ir


def runnable(model: Model) -> ir.Model:
    """A copy in which every `narrowcast.nhwc` operator is its ONNX namesake between two transposes."""
    copy = model.ir.clone()
    for node in list(copy.graph):
        if node.domain != CHANNELS_LAST:
            continue
        source = node.inputs[0]
        rank = len(source.shape)
        first = ir.node("Transpose", [source], attributes={"perm": [0, rank - 1, *range(1, rank - 1)]})
        inputs = [first.outputs[0], *node.inputs[1:]]
        if node.op_type == "Resize":
            for index in range(2, len(inputs)):
                if inputs[index] is not None and inputs[index].const_value is not None:
                    array = inputs[index].const_value.numpy()
                    if array.size == rank:
                        moved = ir.val(
                            f"{node.name}/{index}",
                            const_value=ir.tensor(
                                array[[0, rank - 1, *range(1, rank - 1)]], name=f"{node.name}/{index}"
                            ),
                        )
                        copy.graph.register_initializer(moved)
                        inputs[index] = moved
        inner = ir.Node("", node.op_type, inputs, list(node.attributes.values()), num_outputs=1)
        last = ir.node("Transpose", [inner.outputs[0]], attributes={"perm": [0, *range(2, rank), 1]})
        for new in (first, inner, last):
            new.outputs[0].name = f"{node.outputs[0].name}/{new.op_type}/{id(new)}"
            copy.graph.insert_before(node, new)
        output = node.outputs[0]
        name = output.name
        last.outputs[0].shape, last.outputs[0].dtype = output.shape, output.dtype
        output.name = f"{name}/old"
        last.outputs[0].name = name
        ir.convenience.replace_all_uses_with(output, last.outputs[0], replace_graph_outputs=True)
        copy.graph.remove(node, safe=True)
    return copy


def run(model: ir.Model, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Outputs in order, graph optimisations off."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString(), options)
    return session.run([output.name for output in model.graph.outputs], feed)
