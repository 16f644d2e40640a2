"""A network in pieces that can learn one after the other, each to do what its twin in the float network does.

A piece is a run of nodes: it reads the values that cross its upper border, and answers for those that cross the lower
one. Gradients stay inside, so each learns from near by and costs only itself (block reconstruction: Li et al.,
https://arxiv.org/abs/2102.05426, whose blocks are those of residual networks; here any graph is cut, where least
crosses).
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from narrowcast.dialect.build import dims, tensor_of
from narrowcast.model import Model, ir

__all__ = ["Piece", "pieces_of", "whole"]

LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU", "RNN")
MOST_LAYERS = 4
"""Products with weights in one piece."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a network, by the names of values that a float and a quantised graph of it have in common.

    Attributes:
        inputs: what it reads.
        outputs: what it answers for.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def whole(floats: Model) -> Piece:
    """All of a network; scores are compared before the Softmax that makes probabilities of them, or an ArgMax."""
    inputs = tuple(spec.name for spec in floats.inputs)
    return Piece(inputs, tuple(dict.fromkeys(_score(value) for value in floats.graph.outputs)))


def pieces_of(floats: Model, quantized: Model) -> list[Piece]:
    """A network cut wherever least crosses, with at most `MOST_LAYERS` layers in a piece.

    Args:
        floats: adapted to the target.
        quantized: made of it.
    """
    ends, crossing = whole(floats), list(_crossing(floats.graph))
    borders = [
        frozenset(ends.inputs),
        *(crossing[cut] for cut in _cuts(floats.graph, crossing, _names(quantized.graph))),
    ]
    rows = [*(tuple(sorted(border)) for border in borders), ends.outputs]
    return [Piece(above, below) for above, below in itertools.pairwise(rows)]


def _cuts(graph: ir.Graph, crossing: list[frozenset[str]], common: set[str]) -> list[int]:
    """Before which nodes a graph is cut: of the places within `MOST_LAYERS` layers where least crosses, and so on."""
    sizes = _sizes(graph)
    layers = list(itertools.accumulate((node.op_type in LAYERS for node in graph), initial=0))
    places = [place for place in range(1, len(layers) - 1) if crossing[place] and crossing[place] <= common]
    counts = [layers[place] for place in places]
    cuts, done = list[int](), 0
    while layers[-1] - done > MOST_LAYERS:
        first, last = bisect_right(counts, done), bisect_right(counts, done + MOST_LAYERS)
        near = places[first:last] or places[last : last + 1]
        if not near:
            break
        best = min(near, key=lambda place: (sum(sizes[name] for name in crossing[place]), -place))
        cuts.append(best)
        done = layers[best]
    return cuts


def _names(graph: ir.Graph) -> set[str]:
    return {value.name or "" for value in (*graph.inputs, *(value for node in graph for value in node.outputs))}


def _crossing(graph: ir.Graph) -> Iterator[frozenset[str]]:
    """Before each node, and at the end, the computed values that are still to be read; outputs are, to the end."""
    last: dict[str, int] = {}
    for index, node in enumerate(graph):
        for value in node.inputs:
            if value is not None and tensor_of(value) is None:
                last[value.name or ""] = index
    for value in graph.outputs:
        last[value.name or ""] = len(graph)
    live = {value.name or "" for value in graph.inputs if value.name in last}
    for index, node in enumerate(graph):
        live = {name for name in live if last[name] >= index}
        yield frozenset(live)
        live |= {value.name or "" for value in node.outputs if value.name in last}
    yield frozenset(value.name or "" for value in graph.outputs)


def _sizes(graph: ir.Graph) -> dict[str, int]:
    values = [*graph.inputs, *(value for node in graph for value in node.outputs)]
    return {value.name or "": math.prod(dims(value) or (1,)) for value in values}


def _score(value: ir.Value) -> str:
    """The name of what a Softmax or ArgMax at the end takes, of any other output its own."""
    node = value.producer()
    source = node.inputs[0] if node is not None and node.op_type in ("Softmax", "ArgMax") and not node.domain else None
    return (value.name if source is None else source.name) or ""
