"""A written file, layer by layer: each computed again from the integers that the file itself has before it.

Differences do not add up from layer to layer so: whatever is more than a rounding stands where it is made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from narrowcast.dialect.control import all_graphs, bodies_of
from narrowcast.errors import ModelFileError
from narrowcast.evaluation.metrics import Steps
from narrowcast.evaluation.ports import graph_ports, outputs_as_source
from narrowcast.evaluation.resolution import THROW, TIMES, is_hybrid, shaken
from narrowcast.evaluation.results import LayerParity
from narrowcast.evaluation.source import THREADS
from narrowcast.model import Array, Feed, Model, ir
from narrowcast.reference import Reference
from narrowcast.runtimes.protocol import Layered
from narrowcast.writers.formats import Port

__all__ = ["Layers"]

MOST_BYTES = 2**30
"""Tensors that are larger together are not looked at: all are kept at once."""

ROUNDINGS = {1: (1, 0.5), 2: (4, 2.0)}
"""What roundings of kernels account for, by the bytes of an integer: its difference in steps, and the mean of all.

Over every operator case and network that is tested, no 8-bit layer was further than 1 and 0.34 away; 16-bit ones, whose
TANH and LOGISTIC interpolate, 3 and 1.75.
"""


class Layers:
    """The graph that a file was written from, cut at every tensor that the file shows.

    Args:
        model: prepared, and quantised where there are layers to look at; it is not changed.
        shown: tensors of the file by their indices, and what they are in the graph.

    Attributes:
        model: the cut graph, whose further inputs are what the file holds.
    """

    def __init__(self, model: Model, shown: Sequence[tuple[int, Port]]) -> None:
        self.model = model.clone()
        graph = self.model.graph
        values = {node.outputs[0].name: node.outputs[0] for node in graph if node.op_type == "QuantizeLinear"}
        self.shown = [(index, port) for index, port in shown if port.name in values]
        if sum(_bytes(values[port.name]) for _, port in self.shown) > MOST_BYTES:
            self.shown = []
        self._shapes = {name: _static(value) for name, value in values.items()}
        self._names = {name: _source_name(value) for name, value in values.items()}
        self._stored: dict[str, str] = {}
        for _, port in self.shown:
            value = values[port.name]
            uses = [(use.node, use.idx) for use in value.uses()]
            if uses:
                stored = ir.Value(name=f"{port.name}/stored", type=value.type, shape=value.shape)
                graph.inputs.append(stored)
                self._stored[port.name] = stored.name or ""
            for node, index in uses:
                node.replace_input_with(index, stored)
        self._reference = self._opened(self.model)
        self._coarse = {port.name for _, port in self.shown if _is_coarse(values[port.name])}

    def _opened(self, model: Model) -> Reference:
        return Reference(model, [port.name for _, port in self.shown], threads=THREADS, optimize=False)

    def feed(self, file: Layered, feed: Feed) -> dict[str, Array]:
        """What the cut graph is fed: what the uncut one is, and what the file computed on it.

        Raises:
            ModelFileError: a tensor of the file has another size than the graph's.
        """
        fed = dict(feed)
        for index, port in self.shown:
            array, shape = _logical(file.tensor(index), port), self._shapes[port.name]
            if shape is not None and array.size != math.prod(shape):
                name = self._names[port.name]
                raise ModelFileError(f"{name!r} has the shape {array.shape} where it should be {shape}")
            fed[self._stored.get(port.name, port.name)] = array if shape is None else array.reshape(shape)
        return fed

    def compare(self, feed: Feed) -> tuple[list[LayerParity], dict[str, Array]]:
        """Computes every layer anew from what the file computed before it.

        Args:
            feed: of `feed`.

        Returns:
            The layers in order, and the graph's outputs in real values.
        """
        wanted = self._reference.run(feed)
        moved = self._opened(shaken(self.model)).run({**feed, THROW: np.ones(())}) if self._coarse else wanted
        layers = []
        for _, port in self.shown:
            found = feed[self._stored.get(port.name, port.name)]
            steps = Steps(*ROUNDINGS[found.dtype.itemsize])
            if port.name in self._coarse:
                steps = _widened(steps, wanted[port.name], moved[port.name])
            steps.update(wanted[port.name], found.reshape(wanted[port.name].shape))
            layers.append(steps.result(self._names[port.name]))
        return layers, outputs_as_source(graph_ports(self.model).outputs, wanted)


def _is_coarse(value: ir.Value) -> bool:
    """Whether what lies between a layer's tensor and those of the file before it makes much of little.

    Kernels that quantise activations as they come do, and logarithms of what other terms have nearly cancelled.
    """
    pending, seen = [value.producer()], set()
    while pending:
        node = pending.pop()
        if node is None or node in seen:
            continue
        inner = [item for body in bodies_of(node).values() for graph in all_graphs(body) for item in graph]
        if any(item.op_type == "Log" or is_hybrid(item) for item in (node, *inner)):
            return True
        seen.add(node)
        pending += [source.producer() for source in node.inputs if source is not None]
    return False


def _widened(steps: Steps, wanted: Array, moved: Array) -> Steps:
    """Allows for what these roundings, made anew, make of a layer: no more noise than so many times theirs."""
    difference = np.abs(moved.astype(np.float64) - wanted)
    largest, usual = difference.max(initial=0), np.sqrt(np.square(difference).mean()) if difference.size else 0.0
    times = math.sqrt(TIMES)
    return Steps(max(steps.tolerance, math.ceil(times * largest)), max(steps.mean_allowed, float(times * usual)))


def _static(value: ir.Value) -> tuple[int, ...] | None:
    """A value's shape; None where a dimension is open."""
    dims = [dim for dim in value.shape or () if isinstance(dim, int)]
    return tuple(dims) if value.shape is not None and len(dims) == len(value.shape) else None


def _source_name(value: ir.Value) -> str:
    """What a quantised tensor stands for."""
    node = value.producer()
    source = node.inputs[0] if node is not None else None
    return (source.name if source is not None else value.name) or ""


def _logical(array: Array, port: Port) -> Array:
    """A stored array in the order of the graph's axes."""
    if port.permutation is None:
        return array
    return array.transpose(sorted(range(len(port.permutation)), key=port.permutation.__getitem__))


def _bytes(value: ir.Value) -> int:
    dims = [dim if isinstance(dim, int) else 1 for dim in value.shape or ()]
    return math.prod(dims) * 4
