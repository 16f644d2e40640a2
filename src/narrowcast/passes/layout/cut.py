"""A minimum s-t cut, solved component by component.

Label 0 is the source's side. An arc (u, v, capacity) costs `capacity` when u is labelled 0 and v is labelled 1; an
arc of `INFINITE` capacity forbids that. Among minimum cuts the one with the fewest zeros is returned.

Method: labels forced by the terminals are spread along infinite arcs; what remains free falls into components that no
arc joins, and each is solved by Dinic's blocking flows (E. A. Dinic, "Algorithm for solution of a problem of maximum
flow in networks with power estimation", 1970).
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


class _Network:
    """Residual network; node 0 is the source, node 1 the sink."""

    def __init__(self, nodes: int) -> None:
        self.heads: list[list[int]] = [[] for _ in range(nodes)]
        self.to: list[int] = []
        self.room: list[int] = []

    def arc(self, u: int, v: int, capacity: int) -> None:
        self.heads[u].append(len(self.to))
        self.to.append(v)
        self.room.append(capacity)
        self.heads[v].append(len(self.to))
        self.to.append(u)
        self.room.append(0)

    def source_side(self) -> list[bool]:
        """Saturates the network; True for each node still reachable from the source."""
        while True:
            level = self._levels()
            if level[1] < 0:
                return [depth >= 0 for depth in level]
            position = [0] * len(self.heads)
            while self._augment(level, position):
                pass

    def _levels(self) -> list[int]:
        level = [-1] * len(self.heads)
        level[0] = 0
        queue = deque([0])
        while queue:
            node = queue.popleft()
            for arc in self.heads[node]:
                if self.room[arc] > 0 and level[self.to[arc]] < 0:
                    level[self.to[arc]] = level[node] + 1
                    queue.append(self.to[arc])
        return level

    def _augment(self, level: list[int], position: list[int]) -> bool:
        """Pushes flow along one path of the level graph; False when none is left."""
        path: list[int] = []
        node = 0
        while node != 1:
            heads = self.heads[node]
            while position[node] < len(heads):
                arc = heads[position[node]]
                if self.room[arc] > 0 and level[self.to[arc]] == level[node] + 1:
                    break
                position[node] += 1
            else:
                if not path:
                    return False
                last = path.pop()
                node = self.to[last ^ 1]
                position[node] += 1
                continue
            path.append(arc)
            node = self.to[arc]
        amount = min(self.room[arc] for arc in path)
        for arc in path:
            self.room[arc] -= amount
            self.room[arc ^ 1] += amount
        return True
