"""Where boxes in layers lie, and how connections run between them: the second half of a layered drawing.

The longest way through the network runs straight down, and beside it what is left, in straight lines that are as long
as can be (blocks, a notion of Brandes and Köpf 2001). Blocks are packed, and then drawn, a few times in turn, to the
mean of what they are connected with, as far as their neighbours let them. Time in proportion to the drawing.
"""

from __future__ import annotations

import math
from bisect import bisect, insort
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from narrowcast.report.drawing.layers import Layers, Net, ordered

__all__ = ["Drawing", "Route", "draw"]

Size: TypeAlias = tuple[float, float]
"""Width and height."""

Pieces: TypeAlias = tuple[float, ...]

APART = 26.0
"""Between two boxes of a layer."""
BEND = 10.0
"""Width that a connection takes as it passes a layer."""
LAYERS_APART = 46.0
STEEPEST = 0.07
"""Of the way that a connection goes sideways, what its layers are further apart."""
MARGIN = 40.0
PORTS_APART = 22.0
TURNS = 10
"""In which blocks are drawn to their neighbours."""


@dataclass(frozen=True, slots=True)
class Route:
    """How one connection runs.

    Attributes:
        pieces: x1, y1, x2, y2 of each piece; all begin and end vertically.
        heads: x, y of each arrow's head.
        start: x, y where it leaves its source.
    """

    pieces: Pieces
    heads: Pieces
    start: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Drawing:
    """Boxes by their left upper corners, the routes of all connections, and the size of it all."""

    corners: tuple[tuple[float, float], ...]
    routes: tuple[Route, ...]
    width: float
    height: float


def draw(sizes: Sequence[Size], nets: Sequence[Net]) -> Drawing:
    """Places boxes and routes connections.

    Args:
        sizes: of the boxes, numbered in an order in which connections lead from lower to higher numbers.
        nets: the connections; targets of a box on itself or on earlier ones are drawn straight.
    """
    order = ordered(len(sizes), nets)
    widths = [width for width, _ in sizes] + [BEND] * (sum(map(len, order.layers)) - len(sizes))
    xs = _columns(order, widths)
    left = min((x - width / 2 for x, width in zip(xs, widths, strict=True)), default=0.0)
    xs = [x - left + MARGIN for x in xs]
    tops, bottoms, ranks = _rows(order, sizes, xs)
    corners = tuple((xs[box] - sizes[box][0] / 2, tops[ranks[box]]) for box in range(len(sizes)))
    routes = _routes(order, nets, _Places(xs, tops, bottoms, ranks, sizes))
    right = max((x + width / 2 for x, width in zip(xs, widths, strict=True)), default=0.0)
    return Drawing(corners, routes, right + MARGIN, (bottoms[-1] if bottoms else 0.0) + MARGIN)


def _columns(order: Layers, widths: Sequence[float]) -> list[float]:
    """The x of the middle of each box and bend: that of its block."""
    block = _blocks(order)
    beside = _neighbours(order, block, widths)
    x, ready = _packed(beside)
    left_of: dict[int, list[tuple[int, float]]] = {at: [] for at in beside}
    for at, others in beside.items():
        for other, apart in others.items():
            left_of[other].append((at, apart))
    pulls: dict[int, list[int]] = {at: [] for at in beside}
    for upper, lower in order.edges:
        if block[upper] != block[lower]:
            pulls[block[upper]].append(block[lower])
            pulls[block[lower]].append(block[upper])
    for turn in range(TURNS):
        for at in ready if turn % 2 else reversed(ready):
            if pulls[at]:
                low = max((x[other] + apart for other, apart in left_of[at]), default=-math.inf)
                high = min((x[other] - apart for other, apart in beside[at].items()), default=math.inf)
                x[at] = max(low, min(high, sum(x[other] for other in pulls[at]) / len(pulls[at])))
    return [x[at] for at in block]


def _blocks(order: Layers) -> list[int]:
    """For each box and bend the first of its block: boxes and bends of adjacent layers that lie straight below another.

    The first block follows the longest way through the network. Each further one begins at what has the longest way
    down of all that is left, and ends where the next is taken, or lies across a connection that is straight already.
    """
    count = sum(map(len, order.layers))
    below: list[list[int]] = [[] for _ in range(count)]
    for upper, lower in order.edges:
        below[upper].append(lower)
    place, length = [0] * count, [0] * count
    for layer in reversed(order.layers):
        for position, at in enumerate(layer):
            place[at] = position
            length[at] = max((length[other] for other in below[at]), default=0) + (at < order.boxes)
    straight: list[list[tuple[int, int]]] = [[] for _ in order.layers]
    block = [-1] * count
    downwards = [(at, rank) for rank, layer in enumerate(order.layers) for at in layer]
    for start, rank in sorted(downwards, key=lambda found: -length[found[0]]):
        at, depth = start, rank
        while block[at] < 0:
            block[at] = start
            free = [to for to in below[at] if block[to] < 0 and _fits(place[at], place[to], straight[depth])]
            if not free:
                break
            longest = max(length[to] for to in free)
            alike = sorted((to for to in free if length[to] == longest), key=place.__getitem__)
            following = alike[(len(alike) - 1) // 2]
            insort(straight[depth], (place[at], place[following]))
            at, depth = following, depth + 1
    return block


def _fits(upper: int, lower: int, straight: Sequence[tuple[int, int]]) -> bool:
    """Whether a connection between two places crosses none of the straight ones, which are sorted."""
    after = bisect(straight, (upper, lower))
    return (not after or straight[after - 1][1] < lower) and (after == len(straight) or straight[after][1] > lower)


def _neighbours(order: Layers, block: Sequence[int], widths: Sequence[float]) -> dict[int, dict[int, float]]:
    """For each block those that lie to the right of it in some layer, and how far apart they are at least."""
    beside: dict[int, dict[int, float]] = {at: {} for at in block}
    for layer in order.layers:
        for left, right in pairwise(layer):
            apart = (widths[left] + widths[right]) / 2 + (
                APART if right < order.boxes and left < order.boxes else APART / 2
            )
            found = beside[block[left]]
            found[block[right]] = max(found.get(block[right], 0.0), apart)
    return beside


def _packed(beside: Mapping[int, Mapping[int, float]]) -> tuple[dict[int, float], list[int]]:
    """The x of each block as far to the left as it can be, and the blocks in an order from left to right."""
    waits = dict.fromkeys(beside, 0)
    for others in beside.values():
        for other in others:
            waits[other] += 1
    ready = [at for at, count in waits.items() if not count]
    x = dict.fromkeys(beside, 0.0)
    for at in ready:  # grows while it is walked
        for other, apart in beside[at].items():
            x[other] = max(x[other], x[at] + apart)
            waits[other] -= 1
            if not waits[other]:
                ready.append(other)
    return x, ready


def _rows(order: Layers, sizes: Sequence[Size], xs: Sequence[float]) -> tuple[list[float], list[float], list[int]]:
    """Top and bottom of each layer, further apart where connections go far sideways; and the layer of each box."""
    ranks = [0] * len(xs)
    for number, layer in enumerate(order.layers):
        for at in layer:
            ranks[at] = number
    far = [0.0] * (len(order.layers) + 1)
    for upper, lower in order.edges:
        far[ranks[lower]] = max(far[ranks[lower]], abs(xs[upper] - xs[lower]))
    tops: list[float] = []
    bottoms: list[float] = []
    for number, layer in enumerate(order.layers):
        gap = LAYERS_APART + min(far[number] * STEEPEST, 2 * LAYERS_APART)
        tops.append(bottoms[-1] + gap if bottoms else MARGIN)
        bottoms.append(tops[-1] + max((sizes[at][1] for at in layer if at < order.boxes), default=0.0))
    return tops, bottoms, ranks


@dataclass(frozen=True, slots=True)
class _Places:
    """Where everything lies, for routes."""

    xs: Sequence[float]
    tops: Sequence[float]
    bottoms: Sequence[float]
    ranks: Sequence[int]
    sizes: Sequence[Size]


def _routes(order: Layers, nets: Sequence[Net], at: _Places) -> tuple[Route, ...]:
    leaving, entering = _ports(order, nets, at)
    return tuple(_route(number, net, order, at, leaving, entering) for number, net in enumerate(nets))


def _ports(order: Layers, nets: Sequence[Net], at: _Places) -> tuple[list[float], dict[tuple[int, int], float]]:
    """The x where each connection leaves its source and enters each target: in the order of the other ends."""
    leaving = [0.0] * len(nets)
    entering: dict[tuple[int, int], float] = {}
    from_box: dict[int, list[tuple[float, int]]] = {}
    into_box: dict[int, list[tuple[float, int]]] = {}
    for number, (source, targets) in enumerate(nets):
        chain = order.chains[number]
        following = chain.get(at.ranks[source] + 1)
        ends = [following] if following is not None else list(targets)
        from_box.setdefault(source, []).append((sum(at.xs[end] for end in ends) / max(len(ends), 1), number))
        for target in dict.fromkeys(targets):
            before = chain.get(at.ranks[target] - 1, source)
            into_box.setdefault(target, []).append((at.xs[before], number))
    for box, found in from_box.items():
        apart = at.sizes[box][0] / len(found)
        for place, (_, number) in enumerate(sorted(found)):
            leaving[number] = at.xs[box] + (place - (len(found) - 1) / 2) * apart
    for box, found in into_box.items():
        for x, (_, number) in zip(_entrances(box, sorted(found), at), sorted(found), strict=True):
            entering[number, box] = x
    return leaving, entering


def _entrances(box: int, found: Sequence[tuple[float, int]], at: _Places) -> Iterator[float]:
    """Places on the upper side of a box; what comes from straight above goes in straight."""
    middle, half = at.xs[box], at.sizes[box][0] / 2 - 10
    above = [place for place, (x, _) in enumerate(found) if abs(x - middle) < 0.5]
    zero = above[len(above) // 2] if above else (len(found) - 1) / 2
    apart = min(PORTS_APART, half / max(zero, len(found) - 1 - zero, 1))
    return (middle + (place - zero) * apart for place in range(len(found)))


def _route(
    number: int,
    net: Net,
    order: Layers,
    at: _Places,
    leaving: Sequence[float],
    entering: dict[tuple[int, int], float],
) -> Route:
    """The pieces of one connection: down through its bends, and from these to its targets."""
    source, targets = net
    chain, rank = order.chains[number], at.ranks[source]
    start = (leaving[number], at.tops[rank] + at.sizes[source][1])
    pieces: list[tuple[float, float, float, float]] = []
    heads: list[float] = []
    below = {rank: start}
    if chain and start[1] < at.bottoms[rank]:
        pieces.append((*start, start[0], at.bottoms[rank]))
        below[rank] = (start[0], at.bottoms[rank])
    for layer, bend in list(chain.items())[1:]:
        top, x = at.tops[layer], at.xs[bend]
        pieces += [(*below[layer - 1], x, top), (x, top, x, at.bottoms[layer])]
        below[layer] = (x, at.bottoms[layer])
    for target in dict.fromkeys(targets):
        layer = at.ranks[target]
        end = (entering[number, target], at.tops[layer])
        pieces.append((*(below.get(layer - 1, start) if chain and layer > rank else start), *end))
        heads += end
    return Route(tuple(part for piece in _joined(pieces) for part in piece), tuple(heads), start)


def _joined(pieces: Sequence[tuple[float, float, float, float]]) -> list[tuple[float, float, float, float]]:
    """Pieces, those joined that go straight on, and none without length."""
    found: list[tuple[float, float, float, float]] = []
    for x1, y1, x2, y2 in pieces:
        if found and x1 == x2 == found[-1][0] == found[-1][2] and found[-1][3] == y1:
            found[-1] = (x1, found[-1][1], x2, y2)
        elif (x1, y1) != (x2, y2):
            found.append((x1, y1, x2, y2))
    return found
