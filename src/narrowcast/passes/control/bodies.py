"""The graphs inside of closed nodes: made canonical like the one around them, and asked for what they give."""

from __future__ import annotations

from collections.abc import Callable
from itertools import compress

from narrowcast.dialect.build import constant_of
from narrowcast.dialect.control import bodies_of, captured_from, is_closed, runs_always
from narrowcast.model import Model, ir
from narrowcast.passes.infer import infer_shapes

__all__ = [
    "KEEP_LOOPS",
    "KEEP_RECURRENT",
    "LOOPS",
    "SETTLED",
    "settle",
]

KEEP_LOOPS = "narrowcast.keep_loops"
"""Where a graph notes that its loops stay loops, however few steps they have."""
KEEP_RECURRENT = "narrowcast.keep_recurrent"
"""Where a graph notes that its recurrent layers stay one operator each for now."""
LOOPS = "narrowcast.loops"
"""Where a graph notes its target's `Loops`; as long as it is for any target, it notes none."""
SETTLED = "narrowcast.settled"
"""Where a node notes the types of the operands that its graphs were made canonical for."""
IR_VERSION = 10


def settle(model: Model, canonicalize: Callable[[Model], object]) -> bool:
    """Makes the graphs inside canonical, in place, as soon as the types of what they read are known.

    1. Captured constants move inside; what a graph does not read is not captured.
    2. The graphs' inputs have the types of the operands, and `canonicalize` is run on each graph.
    3. The outputs have the shapes that the graphs give: If, what both agree on; Loop, those of the states, and of the
       rows with the number of trips, where that is known.

    Returns:
        Whether anything changed.
    """
    changed = False
    for node in model.graph:
        if not is_closed(node) or node.meta.get(SETTLED) == (found := _operands(node)) or None in found:
            continue
        _take_constants(node)
        _drop_unread(node)
        for graph in bodies_of(node).values():
            _settle_graph(node, graph, canonicalize)
        _drop_unread(node)
        _infer_outputs(node)
        node.meta[SETTLED] = _operands(node)
        changed = True
    if changed:
        infer_shapes(model)
    return changed


def _operands(node: ir.Node) -> list[object]:
    """What is known of the operands, and None for each of which not even the type is."""
    values = [value for value in node.inputs if value is not None]
    return [(v.dtype, v.is_initializer(), v.shape and list(v.shape)) if v.dtype is not None else None for v in values]


def _formal(node: ir.Node, graph: ir.Graph, index: int) -> ir.Value:
    """What an input of a closed node is called inside one of its graphs."""
    return graph.inputs[index - (1 if node.op_type == "If" else 0)]


def _settle_graph(node: ir.Node, graph: ir.Graph, canonicalize: Callable[[Model], object]) -> None:
    """Case 2."""
    formals, operands = list(graph.inputs), list(node.inputs[1:])
    if node.op_type == "Loop":
        for formal, kind in zip(formals, (ir.DataType.INT64, ir.DataType.BOOL), strict=False):
            formal.type, formal.shape = ir.TensorType(kind), ir.Shape([])
        formals, operands = formals[2:], operands[1:]
    for formal, actual in zip(formals, operands, strict=True):
        assert actual is not None
        formal.type, formal.shape = actual.type, actual.shape and ir.Shape(actual.shape)
    inner = Model(ir.Model(graph, ir_version=IR_VERSION))
    infer_shapes(inner)
    canonicalize(inner)


def _take_constants(node: ir.Node) -> None:
    """Case 1: inside, a constant can be folded, and be weights."""
    for index in range(captured_from(node), len(node.inputs)):
        value = node.inputs[index]
        if value is None or constant_of(value) is None:
            continue
        for graph in bodies_of(node).values():
            formal = _formal(node, graph, index)
            kept = ir.Value(name=formal.name, type=value.type, shape=value.shape, const_value=value.const_value)
            _redirect(graph, formal, kept)
            graph.inputs[graph.inputs.index(formal)] = ir.Value(name=f"{formal.name}/moved")
            graph.register_initializer(kept)


def _redirect(graph: ir.Graph, old: ir.Value, new: ir.Value) -> None:
    for use in tuple(old.uses()):
        use.node.replace_input_with(use.idx, new)
    for index, output in enumerate(graph.outputs):
        if output is old:
            graph.outputs[index] = new


def _drop_unread(node: ir.Node) -> None:
    """Case 1: captured values that no graph reads."""
    graphs = list(bodies_of(node).values())
    first = captured_from(node)
    read = [
        any(formal.uses() or formal.is_graph_output() for formal in (_formal(node, graph, index) for graph in graphs))
        for index in range(first, len(node.inputs))
    ]
    if all(read):
        return
    for graph in graphs:
        formals = list(graph.inputs)
        count = len(formals) - len(read)
        graph.inputs[:] = [*formals[:count], *compress(formals[count:], read)]
    kept = [*node.inputs[:first], *compress(node.inputs[first:], read)]
    node.resize_inputs(len(kept))
    for index, value in enumerate(kept):
        node.replace_input_with(index, value)


def _infer_outputs(node: ir.Node) -> None:
    """Case 3."""
    if node.op_type == "If":
        then_branch, else_branch = bodies_of(node).values()
        for output, one, other in zip(node.outputs, then_branch.outputs, else_branch.outputs, strict=True):
            output.type, output.shape = one.type, _agreed(one.shape, other.shape)
        return
    body = bodies_of(node)["body"]
    states = node.attributes.get_int("states", 0)
    trips = constant_of(node.inputs[0])
    count = max(int(trips.item()), 0) if trips is not None and runs_always(node) else None
    for index, (output, given) in enumerate(zip(node.outputs, body.outputs[1:], strict=True)):
        output.type = given.type
        if index < states:
            output.shape = _agreed(given.shape, body.inputs[2 + index].shape)
        elif given.shape is not None:
            output.shape = ir.Shape([count, *given.shape])


def _agreed(one: ir.Shape | None, other: ir.Shape | None) -> ir.Shape | None:
    if one is None or other is None or len(one) != len(other):
        return None
    return ir.Shape([a if a == b else None for a, b in zip(one, other, strict=True)])
