"""Where a quantised graph loses most of its source's signal."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from narrowcast.evaluation.real import THREADS, RealGraph
from narrowcast.model import Array, Feed, Model, ir
from narrowcast.reference import Reference

__all__ = ["weakest_layer"]


def weakest_layer(floats: Model, graph: Model, feed: Feed) -> str:
    """The layer at which the share of noise rises most, in words; empty where the two have no layer in common.

    Args:
        floats: the graph before it was quantised.
        graph: the quantised one.
        feed: one sample of real values.
    """
    computed = {output.name: output for node in floats.graph for output in node.outputs}
    layers = {name: value for name, value in _layers(graph) if name in computed}
    if not layers:
        return ""
    wanted = Reference(floats, list(layers), threads=THREADS, optimize=False).run(feed)
    stored = [value.name or "" for value in layers.values()]
    found = Reference(graph, stored, threads=THREADS, optimize=False).run(RealGraph(graph).feed(feed))
    shares = {
        value: _share(wanted[name], found[value.name or ""])
        for name, value in layers.items()
        if name in wanted and value.name in found
    }
    added = {value: share - max(_before(value, shares), default=0.0) for value, share in shares.items()}
    if not added:
        return ""
    worst = max(added, key=added.__getitem__)
    name = next(name for name, value in layers.items() if value is worst)
    node = computed[name].producer()
    return f"{name} ({node.op_type})" if node is not None else name


def _layers(graph: Model) -> Iterator[tuple[str, ir.Value]]:
    """The float values of a quantised graph by the source's names, as they are read: behind their quantisation."""
    for node in graph.graph:
        for output in node.outputs:
            if output.dtype is not ir.DataType.FLOAT or node.op_type == "DequantizeLinear":
                continue
            steps = [use.node for use in output.uses() if use.node.op_type == "QuantizeLinear"]
            back = [use.node.outputs[0] for step in steps[:1] for use in step.outputs[0].uses()]
            read = [value for value in back if value.dtype is ir.DataType.FLOAT]
            yield output.name or "", read[0] if read else output


def _share(wanted: Array, found: Array) -> float:
    """The noise as a share of the signal, 1 at most."""
    want = wanted.astype(np.float64)
    signal, noise = float(np.square(want).sum()), float(np.square(want - found).sum())
    return 0.0 if noise == 0 else 1.0 if signal == 0 else min(noise / signal, 1.0)


def _before(value: ir.Value, shares: dict[ir.Value, float]) -> Iterator[float]:
    """The shares of the nearest layers that a layer is computed from."""
    pending, seen = [value], {value}
    while pending:
        node = pending.pop().producer()
        for source in node.inputs if node is not None else ():
            if source is None or source in seen:
                continue
            seen.add(source)
            if source in shares:
                yield shares[source]
            else:
                pending.append(source)
