"""Which layer each box of a drawing lies in, and in which order: the first half of a layered drawing.

After Sugiyama, Tagawa and Toda 1981: longest paths give layers, connections that pass layers get a bend in each of
them, and barycentres, layer by layer, remove crossings. Each step takes time in proportion to the drawing, with a fixed
number of sweeps. A connection has one source and any number of targets, which share its bends.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

__all__ = ["Layers", "Net", "ordered", "ranks"]

Net: TypeAlias = tuple[int, Sequence[int]]
"""A connection: the box that it comes from, and those that it leads to."""

SWEEPS = 12
BENDS = 16
"""For each box, on average; connections that would need more are drawn straight."""


@dataclass(frozen=True, slots=True)
class Layers:
    """Boxes, and behind them bends, in layers.

    Attributes:
        layers: numbers of boxes and bends, from left to right in each layer, the top layer first.
        edges: pairs of neighbours in adjacent layers, upper and lower.
        chains: for each connection, by layer, what it passes there: its source, then its bends; empty where it is drawn
            straight.
        boxes: how many boxes there are; what has a higher number is a bend.
    """

    layers: tuple[tuple[int, ...], ...]
    edges: tuple[tuple[int, int], ...]
    chains: tuple[dict[int, int], ...]
    boxes: int


def ranks(count: int, nets: Sequence[Net]) -> list[int]:
    """The layer of each box: below all that it comes from, and as near to what it leads to as costs no length.

    Boxes are numbered in an order in which connections lead from lower to higher numbers; others do not count.
    """
    above: list[list[int]] = [[] for _ in range(count)]
    below: list[list[int]] = [[] for _ in range(count)]
    for source, targets in nets:
        for target in {target for target in targets if target > source}:
            above[target].append(source)
            below[source].append(target)
    found = [0] * count
    for box in range(count):
        found[box] = max((found[other] + 1 for other in above[box]), default=0)
    for box in reversed(range(count)):
        if below[box] and len(above[box]) < len(below[box]) + (not above[box]):
            found[box] = max(found[box], min(found[other] for other in below[box]) - 1)
    numbers = {rank: place for place, rank in enumerate(sorted(set(found)))}
    return [numbers[rank] for rank in found]


def ordered(count: int, nets: Sequence[Net]) -> Layers:
    """Puts boxes into layers with few crossings."""
    rank = ranks(count, nets)
    chains, rank = _bends(rank, nets)
    edges = sorted(_edges(rank, nets, chains))
    layers = _first_order(rank, edges)
    _uncross(layers, edges, len(rank))
    return Layers(tuple(map(tuple, layers)), tuple(edges), tuple(chains), count)


def _bends(rank: list[int], nets: Sequence[Net]) -> tuple[list[dict[int, int]], list[int]]:
    """What each connection passes in each layer, and the layers of all boxes and bends; short connections first."""
    rank, left = list(rank), BENDS * len(rank) + 1000
    chains: list[dict[int, int]] = [{} for _ in nets]
    spans = [max((rank[target] for target in targets), default=0) - rank[source] for source, targets in nets]
    for place in sorted(range(len(nets)), key=spans.__getitem__):
        if spans[place] < 1 or (left := left - spans[place]) < 0:
            continue
        source = nets[place][0]
        chains[place][rank[source]] = source
        for layer in range(rank[source] + 1, rank[source] + spans[place]):
            chains[place][layer] = len(rank)
            rank.append(layer)
    return chains, rank


def _edges(rank: Sequence[int], nets: Sequence[Net], chains: Sequence[dict[int, int]]) -> set[tuple[int, int]]:
    found: set[tuple[int, int]] = set()
    for (source, targets), chain in zip(nets, chains, strict=True):
        found.update(pairwise(chain.values()))
        found.update((chain[rank[target] - 1], target) for target in targets if chain and rank[target] > rank[source])
    return found


def _first_order(rank: Sequence[int], edges: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Layers in the order in which a walk downwards meets what is in them, so that branches stay together."""
    below: list[list[int]] = [[] for _ in rank]
    for upper, lower in edges:
        below[upper].append(lower)
    layers: list[list[int]] = [[] for _ in range(max(rank, default=-1) + 1)]
    seen = [False] * len(rank)
    for start in sorted(range(len(rank)), key=rank.__getitem__):
        waiting = [start]
        while waiting:
            at = waiting.pop()
            if not seen[at]:
                seen[at] = True
                layers[rank[at]].append(at)
                waiting += reversed(below[at])
    return layers


def _uncross(layers: list[list[int]], edges: Sequence[tuple[int, int]], count: int) -> None:
    """Sorts each layer by the barycentres of its neighbours, downwards and upwards in turn; keeps the best order."""
    above: list[list[int]] = [[] for _ in range(count)]
    below: list[list[int]] = [[] for _ in range(count)]
    for upper, lower in edges:
        above[lower].append(upper)
        below[upper].append(lower)
    place = [0] * count
    for layer in layers:
        _number(layer, place)
    best, least, idle = [list(layer) for layer in layers], _crossings(layers, below, place), 0
    for sweep in range(SWEEPS):
        if not least or idle > 3:
            break
        near = below if sweep % 2 else above
        for layer in reversed(layers) if sweep % 2 else layers:
            _sort(layer, near, place, ties_right=sweep % 4 > 1)
        crossings = _crossings(layers, below, place)
        idle += 1
        if crossings < least:
            best, least, idle = [list(layer) for layer in layers], crossings, 0
    for layer, kept in zip(layers, best, strict=True):
        layer[:] = kept


def _number(layer: Iterable[int], place: list[int]) -> None:
    for position, at in enumerate(layer):
        place[at] = position


def _sort(layer: list[int], near: Sequence[Sequence[int]], place: list[int], *, ties_right: bool) -> None:
    """Sorts what has neighbours by their mean place; the rest stays where it is."""
    moving = [at for at in layer if near[at]]
    keys = {at: sum(place[other] for other in near[at]) / len(near[at]) for at in moving}
    moving = sorted(reversed(moving) if ties_right else moving, key=keys.__getitem__)
    following = iter(moving)
    layer[:] = [next(following) if near[at] else at for at in layer]
    _number(layer, place)


def _crossings(layers: Sequence[Sequence[int]], below: Sequence[Sequence[int]], place: Sequence[int]) -> int:
    """How often connections cross: inversions among their lower ends, counted by a binary indexed tree."""
    total = 0
    for layer, lower in pairwise(layers):
        if len(layer) < 2 or len(lower) < 2:
            continue
        tree, size, seen = [0] * (len(lower) + 1), len(lower) + 1, 0
        for at in layer:
            ends = sorted(place[other] for other in below[at])
            for end in ends:
                index, before = end + 1, 0
                while index:
                    before += tree[index]
                    index &= index - 1
                total += seen - before
            for end in ends:
                index = end + 1
                while index < size:
                    tree[index] += 1
                    index += index & -index
            seen += len(ends)
    return total
