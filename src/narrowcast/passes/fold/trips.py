"""A loop that counts to a known number ends there: `while i < 7` has seven trips, whatever else it computes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir.serde

from narrowcast.dialect.build import Builder, constant_of
from narrowcast.dialect.control import bodies_of, captured_from, goes_on, is_closed
from narrowcast.model import Array, ir
from narrowcast.passes.fold.run import NEVER

__all__ = ["count_trips"]

MOST_TRIPS = 20_000
"""A loop that has not ended by then is left as it is."""
LARGEST_STATE = 64
"""Elements of a state that may decide: counters are small."""


def count_trips(graph: ir.Graph) -> bool:
    """Gives loops the number of trips after which their conditions end them; True if there was any such loop."""
    changed = False
    for node in graph:
        if not is_closed(node, "Loop") or goes_on(node) or not _begins(node):
            continue
        count = _count(node)
        if not count:
            continue
        body = bodies_of(node)["body"]
        body.outputs[0] = body.inputs[1]
        node.replace_input_with(0, Builder(graph, anchor=node).constant(np.array(count, np.int64), "trips"))
        changed = True
    return changed


def _begins(loop: ir.Node) -> bool:
    condition = constant_of(loop.inputs[1])
    return loop.inputs[1] is None or (condition is not None and condition.size == 1 and bool(condition.item()))


@dataclass(slots=True)
class _Decision:
    """What a loop's condition depends on.

    Attributes:
        nodes: of its body.
        states: places of the states, and what these are at first.
        constants: what else is read, by name.
    """

    nodes: set[ir.Node] = field(default_factory=set)
    states: dict[int, Array] = field(default_factory=dict)
    constants: dict[str, Array] = field(default_factory=dict)


def _decision(loop: ir.Node) -> _Decision | None:
    """None where the condition depends on what is not known before the loop runs."""
    body, found = bodies_of(loop)["body"], _Decision()
    formals = {value: index for index, value in enumerate(body.inputs)}
    waiting = [body.outputs[0]]
    while waiting:
        value = waiting.pop()
        index, producer = formals.get(value), value.producer()
        if index is not None and index > 1:
            known = constant_of(loop.inputs[index])
            if known is None:
                return None
            if index >= captured_from(loop):
                found.constants[value.name or ""] = known
            elif index - 2 not in found.states:
                if known.size > LARGEST_STATE:
                    return None
                found.states[index - 2] = known
                waiting.append(body.outputs[index - 1])
        elif producer is not None and producer not in found.nodes:
            if producer.domain or producer.op_type in NEVER or producer.graph is not body:
                return None
            found.nodes.add(producer)
            waiting += [source for source in producer.inputs if source is not None]
        elif index is None and producer is None:
            known = constant_of(value)
            if known is None:
                return None
            found.constants[value.name or ""] = known
    return found


def _count(loop: ir.Node) -> int | None:
    """How often the loop runs; None where that is not known, or very often."""
    decision, trips = _decision(loop), constant_of(loop.inputs[0])
    if decision is None or (loop.inputs[0] is not None and (trips is None or trips.size != 1)):
        return None
    most = MOST_TRIPS if trips is None else min(int(trips.item()), MOST_TRIPS)
    try:
        session, names = _session(bodies_of(loop)["body"], decision)
        fed = {value.name for value in session.get_inputs()}
        states = list(decision.states.values())
        for step in range(most):
            given = (np.array(step, np.int64), np.array(True), *states)
            feed = {name: array for name, array in zip(names, given, strict=True) if name in fed}
            goes, *states = session.run(None, feed)
            if not goes.item():
                return step + 1
    except Exception:  # ONNX Runtime's errors share no other base; the loop is left for others to refuse by name
        return None
    return most if trips is not None and most == int(trips.item()) else None


def _session(body: ir.Graph, decision: _Decision) -> tuple[Any, list[str]]:
    """What computes the condition and the states behind it, and the names of its inputs: step, condition, states."""
    import onnx
    import onnxruntime

    inputs = [body.inputs[index] for index in (0, 1, *(index + 2 for index in decision.states))]
    outputs = [body.outputs[index] for index in (0, *(index + 1 for index in decision.states))]
    proto = onnx.GraphProto(name="condition")
    for value in inputs:
        onnx_ir.serde.serialize_value_into(proto.input.add(), value)
    for name, array in decision.constants.items():
        onnx_ir.serde.serialize_tensor_into(proto.initializer.add(), ir.tensor(array, name=name))
    for node in body:
        if node in decision.nodes:
            onnx_ir.serde.serialize_node_into(proto.node.add(), node)
    build = Builder(body)
    for value in outputs:
        name = build.unique("decided")
        proto.node.add(op_type="Identity", input=[value.name], output=[name])
        proto.output.add(name=name)
        if value.dtype is not None:
            proto.output[-1].type.tensor_type.elem_type = int(value.dtype)
    imports = [onnx.OperatorSetIdProto(domain="", version=body.opset_imports[""])]
    model = onnx.ModelProto(ir_version=10, graph=proto, opset_import=imports)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session, [value.name or "" for value in inputs]
