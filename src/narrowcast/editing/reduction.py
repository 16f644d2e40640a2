"""The smallest part of a network on which something still fails: by bisection from both ends, then by delta debugging.

1. The shortest beginning of the nodes, in order, that still fails, by bisection; of that the shortest end.
2. Of what is left, chunks are taken out, half of the nodes first, then a quarter, down to single nodes, as long as the
   rest fails (A. Zeller, R. Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", IEEE TSE 28(2), 2002).

What is taken out is cut at its tensors: these become inputs and outputs of the rest. Weights can be replaced by random
numbers in the range of each, and names by numbers, so that the part tells nothing of the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from narrowcast.dialect.build import tensor_of, values_read
from narrowcast.editing.action import Site
from narrowcast.editing.parameters import is_stored
from narrowcast.editing.ports import cut_at
from narrowcast.model import Array, Model, ir
from narrowcast.readers.check.structure import all_graphs, graphs_of

__all__ = ["Reduction", "anonymous", "part", "smallest"]

Nodes = tuple[int, ...]
"""Places of nodes in the order of the graph."""


@dataclass(frozen=True, slots=True)
class Reduction:
    """The part of a network on which a command still fails.

    Attributes:
        path: the .onnx file that holds it.
        bytes: its size.
        command: what fails.
        outcome: how: "exit code 1", "signal 11", "time limit".
        nodes: in it.
        source_nodes: in the network.
        operators: nodes by operator, the most frequent first.
        inputs, outputs: names and shapes.
        runs: of the command.
        is_minimal: whether no node of it can be taken out; if not, the runs were used up.
        random_weights: whether weights and names were replaced.
    """

    path: Path
    bytes: int
    command: str
    outcome: str
    nodes: int
    source_nodes: int
    operators: tuple[tuple[str, int], ...]
    inputs: tuple[tuple[str, tuple[int | None, ...]], ...]
    outputs: tuple[tuple[str, tuple[int | None, ...]], ...]
    runs: int
    is_minimal: bool
    random_weights: bool


class _Exhausted(Exception):  # noqa: N818 - no error
    """There are no more runs."""


def smallest(count: int, fails: Callable[[Nodes], bool], most: int) -> tuple[Nodes, bool]:
    """The smallest part that still fails of what fails as a whole.

    Args:
        count: nodes of the whole.
        fails: whether a part does; it is asked once about each, and never about the whole.
        most: how often it may be asked.

    Returns:
        The part, and whether no single node can be taken out of it; if not, `most` was not enough.
    """
    asked: dict[Nodes, bool] = {(): False, tuple(range(count)): True}
    best = tuple(range(count))

    def ask(nodes: Nodes) -> bool:
        nonlocal best
        if nodes not in asked:
            if len(asked) - 2 >= most:
                raise _Exhausted
            asked[nodes] = fails(nodes)
        if asked[nodes] and len(nodes) < len(best):
            best = nodes
        return asked[nodes]

    def take_out() -> None:
        size = len(best) // 2
        while size:
            before, start = best, 0
            while start < len(best):
                rest = best[:start] + best[start + size :]
                start += 0 if ask(rest) else size
            size = size // 2 if size > 1 else int(best != before)

    try:
        whole = best
        beginning = whole[: _bisected(count, lambda length: ask(whole[:length]))]
        _bisected(len(beginning), lambda length: ask(beginning[-length:]))
        take_out()
    except _Exhausted:
        return best, False
    return best, True


def _bisected(count: int, fails: Callable[[int], bool]) -> int:
    """The smallest number for which something fails, if it fails for all that are larger."""
    low, high = 0, count
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fails(middle) else (middle, high)
    return high


def part(model: Model, nodes: Sequence[int]) -> Model | None:
    """Some nodes of a model, with the tensors between them and the others as inputs and outputs.

    Args:
        model: it is not changed.
        nodes: their places in the graph.

    Returns:
        A model of its own; None where a tensor that would be an input is of unknown type or shape.
    """
    made = model.clone()
    every = list(made.graph)
    kept = {every[place] for place in nodes}
    owners: dict[ir.Node | None, ir.Node] = {inner: node for node in every for inner in _within(node)}
    begins: list[ir.Value] = []
    ends: list[ir.Value] = []
    for node in every:
        if node not in kept:
            continue
        begins += [value for value in values_read(node) if owners.get(value.producer(), node) not in kept]
        given = [
            value
            for value in node.outputs
            if value.is_graph_output() or any(owners[use.node] not in kept for use in value.uses())
        ]
        unread = not any(value.uses() or value.is_graph_output() for value in node.outputs)
        ends += node.outputs[:1] if unread else given
    if any(value.dtype is None or value.shape is None for value in begins):
        return None
    cut_at(Site(made, "reduce"), list(dict.fromkeys(begins)), ends)
    return made


def _within(node: ir.Node) -> Iterator[ir.Node]:
    """A node and those in the graphs within."""
    yield node
    for body in graphs_of(node):
        for inner in body:
            yield from _within(inner)


def anonymous(model: Model, seed: int = 0) -> Model:
    """A copy that tells nothing of a network but its operators and shapes.

    Weights are numbers drawn evenly from the range of each, integers that stand for floats too; single numbers, scales
    and arguments of operators stay, and so do tables of integers. Names are numbers.
    """
    made, random = model.clone(), np.random.default_rng(seed)
    for graph in all_graphs(made.graph):
        for value in graph.initializers.values():
            tensor = tensor_of(value)
            if tensor is None or tensor.dtype is ir.DataType.STRING:
                continue
            array, weight = tensor.numpy(), tensor.dtype.is_floating_point() or is_stored(value)
            drawn = _drawn(array, random) if weight and tensor.size > 1 else array
            value.const_value = ir.Tensor(drawn, dtype=tensor.dtype, name=value.name)
    _rename(made)
    return made


def _drawn(array: Array, random: np.random.Generator) -> Array:
    wide = array.astype(np.float64)
    finite = wide[np.isfinite(wide)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    if array.dtype.kind in "iu":
        return random.integers(int(low), int(high), array.shape, endpoint=True).astype(array.dtype)
    drawn = np.where(np.isfinite(wide), random.uniform(low, high, array.shape), wide)
    return np.clip(drawn, low, high).astype(array.dtype) if finite.size else array


def _rename(model: Model) -> None:
    """Gives numbers for names, to graphs within too."""
    numbers = iter(range(2**63))
    model.ir.metadata_props.clear()
    for graph in all_graphs(model.graph):
        graph.name, graph.doc_string = f"graph_{next(numbers)}", None
        graph.metadata_props.clear()
        for value in graph.inputs:
            value.name = f"input_{next(numbers)}"
        for value in list(graph.initializers.values()):
            if not value.is_graph_input():
                value.name = f"constant_{next(numbers)}"
        for node in graph:
            node.name, node.doc_string = f"node_{next(numbers)}", None
            node.metadata_props.clear()
            for value in node.outputs:
                value.name = f"tensor_{next(numbers)}" if value.name else value.name
