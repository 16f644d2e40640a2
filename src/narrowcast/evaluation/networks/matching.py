"""Which operators of two graphs stand for one another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence

from narrowcast.evaluation.networks.records import Operator, Subgraph

__all__ = ["common", "matched"]

MOST_EDITS = 1000
"""Operators of both graphs that a common order may leave out; beyond, the n-th of a type is taken for the n-th."""


def _first_output(graph: Subgraph, operator: Operator) -> str:
    return next((graph.tensors[at].name for at in operator.outputs if at is not None), "")


NAMES: tuple[Callable[[Subgraph, Operator], str], ...] = (_first_output, lambda _, operator: operator.name)


def matched(a: Subgraph, b: Subgraph) -> list[tuple[int, int]]:
    """Pairs of operators that stand for one another, in the order of the first graph.

    1. Of one type, by the name of the first output, and then by the operator's own: names that each graph has once.
    2. By place: as many as can be, of one type and with outputs of one shape, in the order in which they stand.
    3. Of two types, by their names.
    4. The rest, the n-th of a type with the n-th.
    """
    pairs: dict[int, int] = {}
    for name in NAMES:
        _pair(pairs, _unique(a, pairs, name, typed=True), _unique(b, pairs.values(), name, typed=True))
    ones, others = _left(a, pairs), _left(b, pairs.values())
    keys = [[_shape_key(graph, graph.operators[at]) for at in left] for graph, left in ((a, ones), (b, others))]
    pairs.update((ones[at], others[to]) for at, to in common(*keys))
    for name in NAMES:
        _pair(pairs, _unique(a, pairs, name), _unique(b, pairs.values(), name))
    _pair(pairs, _counted(a, _left(a, pairs)), _counted(b, _left(b, pairs.values())))
    return sorted(pairs.items())


def _pair(pairs: dict[int, int], ones: dict[Hashable, int], others: dict[Hashable, int]) -> None:
    pairs.update((at, others[key]) for key, at in ones.items() if key in others)


def _unique(
    graph: Subgraph, taken: Iterable[int], name: Callable[[Subgraph, Operator], str], *, typed: bool = False
) -> dict[Hashable, int]:
    """Operators that are not taken, by names that only one of them has, and their type if that is to be the same."""
    names = [(name(graph, graph.operators[at]), at) for at in _left(graph, taken)]
    counts = Counter(name for name, _ in names)
    return {(name, typed and graph.operators[at].type): at for name, at in names if name and counts[name] == 1}


def _left(graph: Subgraph, taken: Iterable[int]) -> list[int]:
    done = set(taken)
    return [at for at in range(len(graph.operators)) if at not in done]


def _shape_key(graph: Subgraph, operator: Operator) -> Hashable:
    return operator.type, tuple(graph.tensors[at].shape for at in operator.outputs if at is not None)


def common(a: Sequence[Hashable], b: Sequence[Hashable]) -> Iterator[tuple[int, int]]:
    """Places of a longest common subsequence, from its end; none where it leaves out more than `MOST_EDITS`.

    Myers 1986, "An O(ND) difference algorithm and its variations": for each number of edits, the furthest point that
    it reaches on each diagonal.
    """
    furthest, history = {1: 0}, []
    for edits in range(min(len(a) + len(b), MOST_EDITS) + 1):
        history.append(dict(furthest))
        for diagonal in range(-edits, edits + 1, 2):
            x = _reached(furthest, diagonal, edits)[1]
            while x < len(a) and x - diagonal < len(b) and a[x] == b[x - diagonal]:
                x += 1
            furthest[diagonal] = x
        if furthest.get(len(a) - len(b), -1) >= len(a):
            break
    else:
        return
    x, y = len(a), len(b)
    for edits in reversed(range(len(history))):
        before, start = _reached(history[edits], x - y, edits)
        while x > start:
            x, y = x - 1, y - 1
            yield x, y
        x = history[edits][before]
        y = x - before


def _reached(furthest: Mapping[int, int], diagonal: int, edits: int) -> tuple[int, int]:
    """The diagonal from which the last edit comes, and how far it leads on its own."""
    inserted = diagonal == -edits or (
        diagonal != edits and furthest.get(diagonal - 1, -1) < furthest.get(diagonal + 1, -1)
    )
    return (diagonal + 1, furthest[diagonal + 1]) if inserted else (diagonal - 1, furthest[diagonal - 1] + 1)


def _counted(graph: Subgraph, left: Sequence[int]) -> dict[Hashable, int]:
    """Operators by their type and how many of it stand before."""
    seen: Counter[str] = Counter()
    found: dict[Hashable, int] = {}
    for at in left:
        kind = graph.operators[at].type
        found[kind, seen[kind]] = at
        seen[kind] += 1
    return found
