"""Brings nodes of older opsets to the canonical one: a table of small functions, one per operator and change.

A function is registered for the opset in which the operator changed, and runs on nodes of models older than that; the
functions of one operator run oldest first. What changed is in ONNX's docs/Changelog.md.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from narrowcast.dialect.build import Builder
from narrowcast.errors import UnsupportedOpError, at
from narrowcast.model import ir

__all__ = ["OLDEST", "UPGRADES", "upgrade"]

OLDEST = 7
"""The oldest opset that can be read."""

Upgrade = Callable[[ir.Node, Builder], None]
UPGRADES: dict[str, list[tuple[int, Upgrade]]] = {}


def changed(opset: int, *operators: str) -> Callable[[Upgrade], Upgrade]:
    """Registers an upgrade for operators that changed in `opset`."""

    def register(function: Upgrade) -> Upgrade:
        for operator in operators:
            UPGRADES.setdefault(operator, []).append((opset, function))
            UPGRADES[operator].sort(key=lambda row: row[0])
        return function

    return register


def upgrade(model: ir.Model, opset: int) -> None:
    """Upgrades all nodes of a model of `opset`, in place, subgraphs included."""
    _upgrade_graph(model.graph, opset)


def _upgrade_graph(graph: ir.Graph, opset: int) -> None:
    for node in list(graph):
        for attribute in list(node.attributes.values()):
            if attribute.type == ir.AttributeType.GRAPH:
                _upgrade_graph(attribute.as_graph(), opset)
            elif attribute.type == ir.AttributeType.GRAPHS:
                for body in attribute.as_graphs():
                    _upgrade_graph(body, opset)
        if node.domain not in ("", "ai.onnx"):
            continue
        rows = [function for since, function in UPGRADES.get(node.op_type, ()) if opset < since]
        if rows:
            build = Builder(graph, anchor=node)
            with at(f"{node.name or node.op_type} ({node.op_type})"):
                for function in rows:
                    if node.graph is not None:
                        function(node, build)


def _to_input(node: ir.Node, build: Builder, attribute: str, index: int, dtype: type = np.int64) -> None:
    """Moves an attribute to the input `index`."""
    found = node.attributes.pop(attribute, None)
    if found is None:
        return
    value = build.constant(np.array(found.value, dtype), f"{node.outputs[0].name}/{attribute}")
    while len(node.inputs) <= index:
        node.resize_inputs(len(node.inputs) + 1)
    node.replace_input_with(index, value)


@changed(13, "Squeeze", "Unsqueeze", "ReduceSum")
@changed(18, "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum")
@changed(18, "ReduceLogSumExp", "ReduceSumSquare")
def axes_to_input(node: ir.Node, build: Builder) -> None:
    """The attribute axes became the second input."""
    _to_input(node, build, "axes", 1)


@changed(13, "Split")
def split_to_input(node: ir.Node, build: Builder) -> None:
    """The attribute split became the second input."""
    _to_input(node, build, "split", 1)


@changed(18, "Split")
def split_num_outputs(node: ir.Node, build: Builder) -> None:
    """Without sizes the number of outputs must be said."""
    if len(node.inputs) < 2 or node.inputs[1] is None:
        node.attributes["num_outputs"] = ir.AttrInt64("num_outputs", len(node.outputs))


@changed(11, "Clip")
def clip_bounds_to_inputs(node: ir.Node, build: Builder) -> None:
    """The attributes min and max became inputs."""
    for index, name in ((1, "min"), (2, "max")):
        _to_input(node, build, name, index, np.float32)


@changed(11, "Pad")
def pads_to_inputs(node: ir.Node, build: Builder) -> None:
    """The attributes pads and value became inputs."""
    _to_input(node, build, "pads", 1)
    _to_input(node, build, "value", 2, np.float32)


@changed(10, "Slice")
def slice_to_inputs(node: ir.Node, build: Builder) -> None:
    """The attributes starts, ends, axes became inputs."""
    for index, name in ((1, "starts"), (2, "ends"), (3, "axes")):
        _to_input(node, build, name, index)


@changed(10, "TopK")
def topk_to_input(node: ir.Node, build: Builder) -> None:
    """The attribute k became the second input, a 1-D tensor."""
    k = node.attributes.pop("k", None)
    if k is not None:
        node.resize_inputs(2)
        node.replace_input_with(1, build.constant(np.array([k.as_int()], np.int64), "k"))


@changed(12, "Dropout")
def dropout_ratio(node: ir.Node, build: Builder) -> None:
    """The attribute ratio became an input; without a training flag nothing is dropped."""
    node.attributes.pop("ratio", None)


@changed(9, "BatchNormalization")
def batch_normalization_spatial(node: ir.Node, build: Builder) -> None:
    """The attribute spatial went away; its default is what is left."""
    spatial = node.attributes.pop("spatial", None)
    if spatial is not None and spatial.as_int() == 0:
        raise UnsupportedOpError(
            "batch normalisation with spatial=0 has no counterpart", hint="export with a newer opset"
        )


@changed(14, "BatchNormalization")
def batch_normalization_outputs(node: ir.Node, build: Builder) -> None:
    """The training outputs changed; an inference graph uses the first one."""
    if len(node.outputs) > 1:
        if any(output.uses() or output.is_graph_output() for output in node.outputs[1:]):
            raise UnsupportedOpError("batch normalisation in training mode", hint="export the model in inference mode")
        node.resize_outputs(1)


@changed(13, "Softmax", "LogSoftmax", "Hardmax")
def softmax_over_the_rest(node: ir.Node, build: Builder) -> None:
    """Before 13 all axes from `axis` on were normalised together, and `axis` was 1 by default."""
    source, target = node.inputs[0], node.outputs[0]
    axis = node.attributes.get_int("axis", 1)
    rank = len(source.shape) if source is not None and source.shape is not None else None
    node.attributes["axis"] = ir.AttrInt64("axis", -1)
    if rank is not None and axis % max(rank, 1) == rank - 1:
        return
    shape = build("Shape", source)
    flat = build("Flatten", source, axis=axis)
    node.replace_input_with(0, flat)
    target.shape = None
    after = Builder(build.graph, anchor=_next(node))
    restored = after("Reshape", target, shape, name=f"{target.name}/restored")
    _take_over(target, restored)


@changed(10, "Upsample")
def upsample_scales_to_input(node: ir.Node, build: Builder) -> None:
    """The attribute scales became an input in 9."""
    if "scales" in node.attributes:
        _to_input(node, build, "scales", 1, np.float32)


@changed(10, "Upsample")
def upsample_to_resize(node: ir.Node, build: Builder) -> None:
    """Upsample went away: a Resize with asymmetric coordinates, nearest rounding down."""
    _replace_by_resize(node, build, node.inputs[1])


@changed(11, "Resize")
def resize_10(node: ir.Node, build: Builder) -> None:
    """Resize-10 has the inputs X and scales, and the coordinates of Upsample."""
    if len(node.inputs) == 2:
        _replace_by_resize(node, build, node.inputs[1])


def _replace_by_resize(node: ir.Node, build: Builder, scales: ir.Value | None) -> None:
    mode = node.attributes.get_string("mode", "nearest")
    resized = build(
        "Resize",
        node.inputs[0],
        None,
        scales,
        name=f"{node.outputs[0].name}/resized",
        mode="linear" if mode in ("linear", "bilinear") else mode,
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    _take_over(node.outputs[0], resized)
    build.graph.remove(node, safe=True)


@changed(11, "Scatter")
def scatter_to_scatter_elements(node: ir.Node, build: Builder) -> None:
    """Scatter was renamed in 11."""
    node.op_type = "ScatterElements"


@changed(21, "GroupNormalization")
def group_normalization_per_channel(node: ir.Node, build: Builder) -> None:
    """Scale and bias were one per group, and are one per channel."""
    source = node.inputs[0]
    groups = node.attributes.get_int("num_groups", 1)
    if source is None or source.shape is None or not isinstance(source.shape[1], int):
        raise UnsupportedOpError("group normalisation of an unknown number of channels")
    repeat = build.constant(np.repeat(np.arange(groups), source.shape[1] // groups), "channel_groups")
    for index in (1, 2):
        node.replace_input_with(index, build("Gather", node.inputs[index], repeat, axis=0))


def _next(node: ir.Node) -> ir.Node | None:
    """The node that follows in the graph."""
    graph = node.graph
    found = False
    for other in graph or ():
        if found:
            return other
        found = other is node
    return None


def _take_over(old: ir.Value, new: ir.Value) -> None:
    """Lets `new` stand wherever `old` stood, under its name."""
    producer = new.producer()
    name = old.name
    outputs = old.is_graph_output()
    for use in list(old.uses()):
        if use.node is not producer:
            use.node.replace_input_with(use.idx, new)
    if outputs:
        graph = producer.graph if producer is not None else None
        for index, output in enumerate(graph.outputs if graph is not None else ()):
            if output is old and graph is not None:
                graph.outputs[index] = new
        old.name = f"{name}/old"
        new.name = name
    new.type = new.type or old.type
