"""A `Loop` or `Scan` that runs a known number of times becomes its body as often, one after the other.

1. Loop (https://onnx.ai/onnx/operators/onnx__Loop.html) with a constant trip count and a condition that stays true.
2. Scan (https://onnx.ai/onnx/operators/onnx__Scan.html) over axes of known length, in either direction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from narrowcast.dialect.build import Builder, constant_of
from narrowcast.model import ir
from narrowcast.passes.fold.replace import drop, substitute
from narrowcast.passes.fold.splice import splice

__all__ = ["unroll_loops"]

LARGEST = 20_000
"""No graph is unrolled to more nodes: such a file would be slow and large."""


def unroll_loops(graph: ir.Graph) -> bool:
    """Unrolls what runs a known number of times and at least once; True if there was any."""
    unroll = {"Loop": _loop, "Scan": _scan}
    held = [node for node in graph if node.op_type in unroll and not node.domain]
    return sum(unroll[node.op_type](Builder(graph, anchor=node), node) for node in held) > 0


def _loop(build: Builder, node: ir.Node) -> bool:
    """Case 1: the body takes the step, the condition and the state, and gives a condition, the state and rows."""
    body = node.attributes["body"].as_graph()
    trips, condition = (constant_of(value) for value in node.inputs[:2])
    states = [value for value in node.inputs[2:] if value is not None]
    runs = node.inputs[1] is None or (condition is not None and condition.size == 1 and bool(condition.item()))
    if trips is None or trips.size != 1 or not runs or not _stays_true(body) or len(body.inputs) != len(states) + 2:
        return False
    count = int(trips.item())
    if not _affordable(build.graph, body, count):
        return False
    true = build.constant(np.array(True), "true")

    def arguments(step: int) -> list[ir.Value]:
        return [build.constant(np.array(step, np.int64), "step"), true]

    rows = len(body.outputs) - 1 - len(states)
    _unroll(build, node, count, states, lambda step, now: [*arguments(step), *now], [(0, False)] * rows, skipped=1)
    return True


def _stays_true(body: ir.Graph) -> bool:
    """Whether the condition that a loop's body gives is true whenever the one that it takes is."""
    value = body.outputs[0]
    while (producer := value.producer()) is not None and producer.op_type == "Identity" and producer.inputs[0]:
        value = producer.inputs[0]
    constant = constant_of(value)
    if constant is not None:
        return constant.size == 1 and bool(constant.item())
    return len(body.inputs) > 1 and value is body.inputs[1]


def _scan(build: Builder, node: ir.Node) -> bool:
    """Case 2: the body takes the state and one element of each sequence, and gives the state and rows."""
    body, attributes = node.attributes["body"].as_graph(), node.attributes
    number = attributes.get_int("num_scan_inputs", 0)
    values = [value for value in node.inputs if value is not None]
    states, sequences = values[: len(values) - number], values[len(values) - number :]
    if not sequences or len(body.inputs) != len(values):
        return False
    rows = len(body.outputs) - len(states)
    axes = attributes.get_ints("scan_input_axes", (0,) * number)
    lengths = {_length(value, axis) for value, axis in zip(sequences, axes, strict=True)}
    count = lengths.pop()
    if lengths or count is None or not _affordable(build.graph, body, count):
        return False
    reversed_ = attributes.get_ints("scan_input_directions", (0,) * number)
    parts = [_elements(build, value, axis, count) for value, axis in zip(sequences, axes, strict=True)]
    ordered = [part[::-1] if back else part for part, back in zip(parts, reversed_, strict=True)]
    ways = zip(
        attributes.get_ints("scan_output_axes", (0,) * rows),
        map(bool, attributes.get_ints("scan_output_directions", (0,) * rows)),
        strict=True,
    )
    _unroll(build, node, count, states, lambda step, now: [*now, *(part[step] for part in ordered)], list(ways))
    return True


def _length(value: ir.Value, axis: int) -> int | None:
    shape = value.shape
    size = shape[axis] if shape is not None and -len(shape) <= axis < len(shape) else None
    return size if isinstance(size, int) else None


def _affordable(graph: ir.Graph, body: ir.Graph, count: int) -> bool:
    return count > 0 and len(graph) + count * (len(body) + 1) <= LARGEST


def _elements(build: Builder, value: ir.Value, axis: int, count: int) -> list[ir.Value]:
    """The elements along an axis, without it."""
    ones = build.constant(np.ones(count, np.int64), "sizes")
    parts = build("Split", value, ones, outputs=count, axis=axis) if count > 1 else (value,)
    axes = build.constant(np.array([axis], np.int64), "axes")
    return [build("Squeeze", part, axes) for part in parts]


def _unroll(
    build: Builder,
    node: ir.Node,
    count: int,
    states: Sequence[ir.Value],
    arguments: Callable[[int, Sequence[ir.Value]], list[ir.Value]],
    ways: Sequence[tuple[int, bool]],
    *,
    skipped: int = 0,
) -> None:
    """Puts `count` bodies in the place of a node.

    Args:
        build: a builder before the node.
        node: the loop.
        count: how often it runs, at least once.
        states: the first state.
        arguments: what the body takes, from the step and the state.
        ways: the axis along which each output of rows joins them, and whether from the last to the first.
        skipped: how many outputs of the body come before the state.
    """
    body = node.attributes["body"].as_graph()
    now = list(states)
    rows: list[list[ir.Value]] = [[] for _ in ways]
    for step in range(count):
        copy = body.clone(allow_outer_scope_values=True)
        for inner in copy:
            for output in inner.outputs:
                output.shape = None  # inferred anew: a body's own may leave open what is known here
        results = splice(build, copy, arguments(step, now))[skipped:]
        now = results[: len(states)]
        for row, value in zip(rows, results[len(states) :], strict=True):
            row.append(value)
    joined = []
    for row, (axis, back) in zip(rows, ways, strict=True):
        axes = build.constant(np.array([axis], np.int64), "axes")
        wide = [build("Unsqueeze", value, axes) for value in row]
        joined.append(build("Concat", *(wide[::-1] if back else wide), axis=axis))
    for old, new in zip(node.outputs, [*now, *joined], strict=True):
        substitute(build, old, new)
    drop(build.graph, node)
