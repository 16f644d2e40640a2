"""A loop that runs a known number of times becomes its body as often, one after the other.

A `Scan` is such a loop by now (`control.close`). A loop whose states change their shapes from step to step, which no
target can keep, is unrolled at once, the others where the target that the graph is for would rather have the nodes. One
that was a loop in a file for a runtime (`LOOPED`) is unrolled only where it is as small without.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from narrowcast.dialect.build import Builder, constant_of
from narrowcast.dialect.control import LOOPED, bodies_of, captured_from, is_closed, keeps_shapes, runs_always
from narrowcast.model import ir
from narrowcast.passes.control.bodies import KEEP_LOOPS, LOOPS, SETTLED
from narrowcast.passes.fold.replace import drop, substitute
from narrowcast.passes.fold.splice import splice
from narrowcast.targets.rules import Loops

__all__ = ["unroll_loops"]

LARGEST = 20_000
"""No graph is unrolled to more nodes than this for the want of a target that could keep the loop."""


FEW = 16
"""A loop that its file had as one is unrolled to at most so many nodes: about what it takes as a loop."""


def unroll_loops(graph: ir.Graph) -> bool:
    """Unrolls what runs a known number of times and at least once; True if there was any."""
    if graph.meta.get(KEEP_LOOPS):
        return False
    held = [node for node in graph if is_closed(node, "Loop")]
    policy = graph.meta.get(LOOPS, Loops(most=0))
    return sum(_unroll(Builder(graph, anchor=node), node, policy) for node in held) > 0


def _unroll(build: Builder, node: ir.Node, policy: Loops) -> bool:
    """Puts a loop's bodies in its place."""
    body = bodies_of(node)["body"]
    trips = constant_of(node.inputs[0])
    if trips is None or trips.size != 1 or not runs_always(node):
        return False
    count, size = int(trips.item()), len(body) + 1
    most, largest = (policy.most, policy.largest) if keeps_shapes(node) is not False else (LARGEST, LARGEST)
    if node.meta.get(LOOPED) and keeps_shapes(node) is not False:
        most = min(most, FEW)
    if count < 1 or count * size > most or len(build.graph) + count * size > largest:
        return False
    first = captured_from(node)
    values = [value for value in node.inputs[2:] if value is not None]
    now, captured = values[: first - 2], values[first - 2 :]
    true = build.constant(np.array(True), "true")
    rows: list[list[ir.Value]] = [[] for _ in node.outputs[len(now) :]]
    for step in range(count):
        copy = body.clone()
        for inner in copy:
            inner.meta.pop(SETTLED, None)
            for output in inner.outputs:
                output.shape = None  # inferred anew: a body's own may leave open what is known here
        number = build.constant(np.array(step, np.int64), "step")
        results = splice(build, copy, [number, true, *now, *captured])[1:]
        now = results[: len(now)]
        for row, value in zip(rows, results[len(now) :], strict=True):
            row.append(value)
    for old, new in zip(node.outputs, [*now, *(_joined(build, row) for row in rows)], strict=True):
        substitute(build, old, new)
    drop(build.graph, node)
    return True


def _joined(build: Builder, row: Sequence[ir.Value]) -> ir.Value:
    axes = build.constant(np.array([0], np.int64), "axes")
    joined: ir.Value = build("Concat", *(build("Unsqueeze", value, axes) for value in row), axis=0)
    return joined
