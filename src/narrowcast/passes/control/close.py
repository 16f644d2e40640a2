"""Closes control flow: what its graphs read from outside becomes an input (https://onnx.ai/onnx/repo-docs/IR.html).

1. If, once its branches are closed.
2. Loop, likewise.
3. Scan over axes of known length becomes a closed loop whose body picks the elements itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from narrowcast.dialect.build import Builder
from narrowcast.model import NARROWCAST, Model, ir

__all__ = ["close"]

_OPEN = frozenset({"If", "Loop", "Scan"})


def close(model: Model) -> bool:
    """Closes what can be closed, in place, from the inside out; True if there was anything."""
    return _close_in(model.graph)


def _close_in(graph: ir.Graph) -> bool:
    changed = False
    for node in list(graph):
        if node.domain or node.op_type not in _OPEN:
            continue
        bodies = [attribute.as_graph() for attribute in node.attributes.values() if _is_graph(attribute)]
        for body in bodies:
            body.opset_imports.update(graph.opset_imports)
            changed |= _close_in(body)
        if any(not inner.domain and inner.op_type in _OPEN for body in bodies for inner in body):
            continue  # a Scan whose length is not known yet
        changed |= _scan(graph, node) if node.op_type == "Scan" else _plain(graph, node, bodies)
    return changed


def _is_graph(attribute: ir.Attr) -> bool:
    return attribute.type is ir.AttributeType.GRAPH


def _plain(graph: ir.Graph, node: ir.Node, bodies: Sequence[ir.Graph]) -> bool:
    """Cases 1 and 2."""
    attributes = dict(node.attributes)
    if node.op_type == "Loop":
        node.resize_inputs(max(len(node.inputs), 2))
        attributes["states"] = ir.AttrInt64("states", len(node.inputs) - 2)
    _replace(graph, node, [*node.inputs, *_capture(bodies)], node.op_type, attributes)
    return True


def _replace(
    graph: ir.Graph, node: ir.Node, inputs: Sequence[ir.Value | None], kind: str, attributes: dict[str, ir.Attr]
) -> ir.Node:
    """Puts a closed node in the place of an open one, whose outputs it takes over."""
    outputs = list(node.outputs)
    made = ir.Node(NARROWCAST, kind, inputs, list(attributes.values()), num_outputs=len(outputs), name=node.name)
    graph.insert_before(node, made)
    for old, new in zip(outputs, made.outputs, strict=True):
        new.name, new.type, new.shape = old.name, old.type, old.shape
        for use in tuple(old.uses()):
            use.node.replace_input_with(use.idx, new)
        for index, value in enumerate(graph.outputs):
            if value is old:
                graph.outputs[index] = new
    graph.remove(node, safe=True)
    return made


def _capture(bodies: Sequence[ir.Graph]) -> list[ir.Value]:
    """What graphs read from outside, in order; each gets an input for it, all of them the same ones."""
    found: dict[ir.Value, None] = {}
    for body in bodies:
        for node in body:
            found.update({value: None for value in node.inputs if value is not None and value.graph is not body})
        found.update({value: None for value in body.outputs if value.graph is not body})
    for body in bodies:
        build = Builder(body)
        for value in found:
            formal = ir.Value(name=build.unique(value.name or "captured"), type=value.type, shape=value.shape)
            body.inputs.append(formal)
            for use in tuple(value.uses()):
                if use.node.graph is body:
                    use.node.replace_input_with(use.idx, formal)
            for index, output in enumerate(body.outputs):
                if output is value:
                    body.outputs[index] = formal
    return list(found)


def _scan(graph: ir.Graph, node: ir.Node) -> bool:
    """Case 3: rows of a loop join along the first axis, from the first to the last; others are put right behind it."""
    number = node.attributes.get_int("num_scan_inputs", 0)
    body = node.attributes["body"].as_graph()
    values = [value for value in node.inputs if value is not None]
    states, sequences = values[: len(values) - number], values[len(values) - number :]
    axes = node.attributes.get_ints("scan_input_axes", (0,) * number)
    lengths = {_length(value, axis) for value, axis in zip(sequences, axes, strict=True)}
    rows = list(node.outputs)[len(states) :]
    row_axes = node.attributes.get_ints("scan_output_axes", (0,) * len(rows))
    ranked = all(axis == 0 or value.shape is not None for value, axis in zip(rows, row_axes, strict=True))
    if len(lengths) != 1 or None in lengths or not ranked or len(body.inputs) != len(values):
        return False
    (count,) = (length for length in lengths if length is not None)
    _pick(body, len(states), axes, node.attributes.get_ints("scan_input_directions", (0,) * number), count)
    captured = _capture([body])
    trips = Builder(graph).constant(np.array(count, np.int64), "trips")
    attributes = {"body": node.attributes["body"], "states": ir.AttrInt64("states", len(states))}
    backwards = node.attributes.get_ints("scan_output_directions", (0,) * len(rows))
    made = _replace(graph, node, [trips, None, *states, *sequences, *captured], "Loop", attributes)
    for value, axis, back in zip(made.outputs[len(states) :], row_axes, backwards, strict=True):
        _arrange(graph, value, axis, bool(back))
    return True


def _length(value: ir.Value, axis: int) -> int | None:
    shape = value.shape
    size = shape[axis] if shape is not None and -len(shape) <= axis < len(shape) else None
    return size if isinstance(size, int) else None


def _pick(body: ir.Graph, states: int, axes: Sequence[int], reversed_: Sequence[int], count: int) -> None:
    """Lets a scan's body take the step, a condition and whole sequences, and give a condition."""
    first = body[0] if len(body) else None
    build = Builder(body, anchor=first)
    formals = list(body.inputs)
    step = ir.val(build.unique("step"), dtype=ir.DataType.INT64, shape=[])
    going = ir.val(build.unique("going"), dtype=ir.DataType.BOOL, shape=[])
    whole = [ir.Value(name=build.unique(f"{formal.name}/all")) for formal in formals[states:]]
    body.inputs[:] = [step, going, *formals[:states], *whole]
    last = None
    if any(reversed_):
        last = build("Sub", build.constant(np.array(count - 1, np.int64), "last"), step, shape=[], dtype=np.int64)
    for formal, sequence, axis, back in zip(formals[states:], whole, axes, reversed_, strict=True):
        element = build("Gather", sequence, last if back else step, name=formal.name, axis=axis)
        element.type, element.shape = formal.type, formal.shape
        for use in tuple(formal.uses()):
            use.node.replace_input_with(use.idx, element)
        for index, output in enumerate(body.outputs):
            if output is formal:
                body.outputs[index] = element
    body.outputs.insert(0, going)


def _arrange(graph: ir.Graph, value: ir.Value, axis: int, backwards: bool) -> None:
    """Rows as a loop gives them, turned round and moved to another axis where a scan says so."""
    loop, wanted = value.producer(), value.shape
    assert loop is not None
    rank = len(wanted) if wanted is not None else 0
    build, readers = Builder(graph), tuple(value.uses())
    made, added = value, []
    if backwards:
        numbers = (-1, np.iinfo(np.int64).min, 0, -1)
        made = build("Slice", made, *(build.constant(np.array([number], np.int64), "slice") for number in numbers))
        added.append(made.producer())
    if rank and axis % rank:
        assert wanted is not None
        value.shape = ir.Shape([wanted[axis], *(wanted[i] for i in range(rank) if i != axis % rank)])
        perm = list(range(1, rank))
        perm.insert(axis % rank, 0)
        made = build("Transpose", made, perm=perm)
        added.append(made.producer())
    if made is value:
        return
    graph.remove(added)
    graph.insert_after(loop, added)
    made.type, made.shape = value.type, wanted
    for use in readers:
        use.node.replace_input_with(use.idx, made)
    for index, output in enumerate(graph.outputs):
        if output is value:
            graph.outputs[index] = made
            made.name, value.name = value.name, build.unique(f"{value.name}/rows")
