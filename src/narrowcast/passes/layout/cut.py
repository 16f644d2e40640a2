"""A minimum s-t cut, solved component by component.

Label 0 is the source's side. An arc (u, v, capacity) costs `capacity` when u is labelled 0 and v is labelled 1; an
arc of `INFINITE` capacity forbids that. Among minimum cuts the one with the fewest zeros is returned.

Method: labels forced by the terminals are spread along infinite arcs; what remains free falls into components that no
arc joins, and each is solved by growing a search tree from either terminal (Y. Boykov and V. Kolmogorov, "An
experimental comparison of min-cut/max-flow algorithms for energy minimization in vision", 2004): layouts are forced in
many places, so that paths are short, and a path leaves most of both trees as they were.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

__all__ = ["INFINITE", "minimum_cut"]

INFINITE = 1 << 60

ArcList = Sequence[tuple[int, int, int]]


def minimum_cut(nodes: int, arcs: ArcList, zeros: Iterable[int], ones: Iterable[int]) -> list[int]:
    """Labels the nodes so that the cut arcs cost least.

    Args:
        nodes: how many; they are numbered from 0.
        arcs: (from, to, capacity in any unit).
        zeros: nodes labelled 0 beforehand.
        ones: nodes labelled 1 beforehand.

    Returns:
        A label for each node.

    Raises:
        ValueError: infinite arcs contradict the given labels.
    """
    forward: list[list[int]] = [[] for _ in range(nodes)]
    backward: list[list[int]] = [[] for _ in range(nodes)]
    neighbours: list[list[int]] = [[] for _ in range(nodes)]
    for index, (u, v, capacity) in enumerate(arcs):
        if capacity >= INFINITE:
            forward[u].append(v)
            backward[v].append(u)
        neighbours[u].append(index)
        neighbours[v].append(index)
    labels: list[int | None] = [None] * nodes
    _spread(labels, forward, zeros, 0)
    _spread(labels, backward, ones, 1)
    component = [-1] * nodes
    for start in range(nodes):
        if labels[start] is not None or component[start] >= 0:
            continue
        members = _component(start, arcs, neighbours, labels, component)
        inside = sorted({index for member in members for index in neighbours[member]})
        _solve(members, [arcs[index] for index in inside], labels)
    return [1 if label is None else label for label in labels]


def _spread(labels: list[int | None], arcs: list[list[int]], given: Iterable[int], label: int) -> None:
    queue = deque(given)
    while queue:
        node = queue.popleft()
        if labels[node] == label:
            continue
        if labels[node] is not None:
            raise ValueError("the constraints of the cut contradict one another")
        labels[node] = label
        queue.extend(arcs[node])


def _component(
    start: int, arcs: ArcList, neighbours: list[list[int]], labels: list[int | None], component: list[int]
) -> list[int]:
    members = [start]
    component[start] = start
    for node in members:
        for index in neighbours[node]:
            u, v, _ = arcs[index]
            other = v if u == node else u
            if labels[other] is None and component[other] < 0:
                component[other] = start
                members.append(other)
    return members


def _solve(members: list[int], arcs: ArcList, labels: list[int | None]) -> None:
    """Cuts one component; nodes already labelled stand for the terminals."""
    local = {node: index + 2 for index, node in enumerate(members)}
    flow = _Network(len(members) + 2)
    for u, v, capacity in arcs:
        a = local[u] if labels[u] is None else labels[u]
        b = local[v] if labels[v] is None else labels[v]
        if a is not None and b is not None and a != b and b != 0 and a != 1:
            flow.arc(a, b, capacity)
    reached = flow.source_side()
    for node, index in local.items():
        labels[node] = 0 if reached[index] else 1


_FREE, _SOURCE, _SINK = -1, 0, 1
"""The tree that a node belongs to; also the roots' numbers."""
_NONE = -1


class _Network:
    """Residual network; node 0 is the source, node 1 the sink.

    Arcs lie in pairs, an arc and its reverse at the numbers 2i and 2i + 1. A tree grows from the source along arcs with
    room, another from the sink against them. Where they meet, flow is pushed along the path; what thereby loses its
    parent looks for another one in its tree. Neither tree is ever built anew.
    """

    def __init__(self, nodes: int) -> None:
        self.heads: list[list[int]] = [[] for _ in range(nodes)]
        self.to: list[int] = []
        self.room: list[int] = []
        self.tree = [_SOURCE, _SINK, *[_FREE] * (nodes - 2)]
        self.parent = [_NONE] * nodes  # the arc to it
        self.depth = [0] * nodes
        self.checked = [0] * nodes  # the last path after which the node was known to hang on its root
        self.paths = 0
        self.position = [0] * nodes  # how many of a node's arcs were looked at since it became active
        self.active = deque([_SOURCE, _SINK])

    def arc(self, u: int, v: int, capacity: int) -> None:
        self.heads[u].append(len(self.to))
        self.to.append(v)
        self.room.append(capacity)
        self.heads[v].append(len(self.to))
        self.to.append(u)
        self.room.append(0)

    def source_side(self) -> list[bool]:
        """Saturates the network; True for each node still reachable from the source."""
        while (bridge := self._grow()) is not None:
            self._adopt(self._push(bridge))
        return [tree == _SOURCE for tree in self.tree]

    def _grow(self) -> int | None:
        """Extends the trees until they meet; the arc from the source's to the sink's, or None if they never will."""
        heads, to, room, tree = self.heads, self.to, self.room, self.tree
        while self.active:
            node = self.active[0]
            side, arcs = tree[node], heads[node] if tree[node] != _FREE else ()
            for index in range(self.position[node], len(arcs)):
                arc = arcs[index]
                if room[arc ^ side] == 0:
                    continue
                other = to[arc]
                if tree[other] == _FREE:
                    tree[other], self.parent[other] = side, arc ^ 1
                    self.depth[other], self.checked[other] = self.depth[node] + 1, self.checked[node]
                    self._activate(other)
                elif tree[other] != side:
                    self.position[node] = index
                    return arc ^ side
            self.active.popleft()
        return None

    def _activate(self, node: int) -> None:
        self.position[node] = 0
        self.active.append(node)

    def _push(self, bridge: int) -> deque[int]:
        """Pushes flow along the path over an arc between the trees; the nodes that lose their parent."""
        to, room, parent, tree = self.to, self.room, self.parent, self.tree
        path = [bridge]
        for side, node in ((_SOURCE, to[bridge ^ 1]), (_SINK, to[bridge])):
            while parent[node] != _NONE:
                path.append(parent[node] ^ 1 ^ side)
                node = to[parent[node]]
        amount = min(room[arc] for arc in path)
        orphans: deque[int] = deque()
        for arc in path:
            room[arc] -= amount
            room[arc ^ 1] += amount
            if room[arc] == 0 and arc != bridge:
                side = tree[to[arc]]
                orphans.append(to[arc ^ side])
                parent[orphans[-1]] = _NONE
        self.paths += 1
        return orphans

    def _adopt(self, orphans: deque[int]) -> None:
        """Finds each orphan the parent nearest to the root, or sets it free and its children adrift."""
        to, room, tree, parent = self.to, self.room, self.tree, self.parent
        while orphans:
            node = orphans.popleft()
            side = tree[node]
            kin = [arc for arc in self.heads[node] if tree[to[arc]] == side]
            open_arcs = [arc for arc in kin if room[arc ^ 1 ^ side] > 0]
            depth, parent[node] = min(
                ((found, arc) for arc in open_arcs if (found := self._depth_below_root(to[arc])) is not None),
                default=(0, _NONE),
            )
            if parent[node] != _NONE:
                self.depth[node], self.checked[node] = depth + 1, self.paths
                continue
            tree[node] = _FREE
            for arc in open_arcs:
                self._activate(to[arc])
            for arc in kin:
                child = to[arc]
                if parent[child] == arc ^ 1:
                    parent[child] = _NONE
                    orphans.append(child)

    def _depth_below_root(self, node: int) -> int | None:
        """How far a node is from its root; None for one that hangs on an orphan. Remembered until the next path."""
        trail = []
        while self.checked[node] != self.paths:
            if self.parent[node] == _NONE:
                if node > _SINK:
                    return None
                break
            trail.append(node)
            node = self.to[self.parent[node]]
        depth = self.depth[node]
        for below in reversed(trail):
            depth += 1
            self.depth[below], self.checked[below] = depth, self.paths
        return depth
