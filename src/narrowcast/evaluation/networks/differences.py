"""What differs between two networks: ports, operators matched by name or by place, their tensors and weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from narrowcast.evaluation.networks.records import (
    Described,
    Network,
    Operator,
    Quantization,
    Subgraph,
    Tensor,
    Value,
)
from narrowcast.model import Array

__all__ = ["Difference", "Differences", "Side", "differences", "matched"]

Told: TypeAlias = Value | Quantization

MOST_EDITS = 1000
"""Operators of both graphs that a common order may leave out; beyond, the n-th of a type is taken for the n-th."""

EMPTY = Subgraph("", (), (), (), ())


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two networks.

    Attributes:
        operators: how many there are, in all graphs.
        constants: their bytes.
    """

    path: Path
    bytes: int
    format: str
    producer: str
    form: str
    operators: int
    constants: int


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that both have, and have differently.

    Attributes:
        graph: its number; 0 is the main one.
        owner: the operator, input or output concerned, as the first names it.
        type: the operator's type, "input" or "output".
        what: "name", "type", "shape", "dtype", "quantisation", or an attribute or constant by name.
        first, second: what each has; None for nothing, and for the elements of constants.
        largest: of constants of one shape: the largest absolute difference of two elements, as real numbers.
        count: likewise: how many elements differ.
        reach: likewise: the largest absolute element of the first.
        place: index of the operator in its graph of the first; None for inputs and outputs.
    """

    graph: int
    owner: str
    type: str
    what: str
    first: Told
    second: Told
    largest: float | None = None
    count: int | None = None
    reach: float | None = None
    place: int | None = None


@dataclass(frozen=True, slots=True)
class Differences:
    """Two networks side by side.

    Attributes:
        ports: how inputs and outputs differ.
        types: operators whose number differs: type, and how many each has.
        pairs: graph, and indices in the first and in the second, of operators that were recognised in both.
        operators: how these differ.
        only_first, only_second: names and types of the others.
        notes: what the reader should know.
        networks: the two, only where they were asked for.
    """

    first: Side
    second: Side
    ports: tuple[Difference, ...]
    types: tuple[tuple[str, int, int], ...]
    pairs: tuple[tuple[int, int, int], ...]
    operators: tuple[Difference, ...]
    only_first: tuple[tuple[str, str], ...]
    only_second: tuple[tuple[str, str], ...]
    notes: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()

    @property
    def alike(self) -> bool:
        """Whether nothing of the networks differs."""
        return not (self.ports or self.types or self.operators or self.only_first or self.only_second)


def differences(first: Described, second: Described) -> Differences:
    """Compares two networks; weights are read one after the other."""
    ones, others = first.network.graphs, second.network.graphs
    ports = _ports(ones[0], others[0])
    pairs: list[tuple[int, int, int]] = []
    found: list[Difference] = []
    only: tuple[list[tuple[str, str]], list[tuple[str, str]]] = ([], [])
    for number, (a, b) in enumerate(zip_longest(ones, others, fillvalue=EMPTY)):
        here = matched(a, b)
        for one, other in here:
            pairs.append((number, one, other))
            pair = _Pair(number, a, b, a.operators[one], b.operators[other])
            found += (replace(item, place=one) for item in pair.differences(first, second))
        for side, graph, taken in ((0, a, {one for one, _ in here}), (1, b, {other for _, other in here})):
            left = (operator for at, operator in enumerate(graph.operators) if at not in taken)
            only[side].extend((operator.name, operator.type) for operator in left)
    counts = [Counter(operator.type for graph in graphs for operator in graph.operators) for graphs in (ones, others)]
    types = ((name, counts[0][name], counts[1][name]) for name in sorted(counts[0] | counts[1]))
    return Differences(
        first=_side(first.network),
        second=_side(second.network),
        ports=tuple(ports),
        types=tuple(row for row in types if row[1] != row[2]),
        pairs=tuple(pairs),
        operators=tuple(found),
        only_first=tuple(only[0]),
        only_second=tuple(only[1]),
    )


def _side(network: Network) -> Side:
    tensors = (tensor for graph in network.graphs for tensor in graph.tensors)
    return Side(
        network.path,
        network.bytes,
        network.format,
        network.producer,
        network.form,
        sum(len(graph.operators) for graph in network.graphs),
        sum(tensor.bytes or 0 for tensor in tensors),
    )


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
    pairs.update((ones[at], others[to]) for at, to in _common(*keys))
    for name in NAMES:
        _pair(pairs, _unique(a, pairs, name), _unique(b, pairs.values(), name))
    _pair(pairs, _counted(a, _left(a, pairs)), _counted(b, _left(b, pairs.values())))
    return sorted(pairs.items())


def _pair(pairs: dict[int, int], ones: dict[Hashable, int], others: dict[Hashable, int]) -> None:
    pairs.update((at, others[key]) for key, at in ones.items() if key in others)


def _first_output(graph: Subgraph, operator: Operator) -> str:
    return next((graph.tensors[at].name for at in operator.outputs if at is not None), "")


def _unique(
    graph: Subgraph, taken: Iterable[int], name: Callable[[Subgraph, Operator], str], *, typed: bool = False
) -> dict[Hashable, int]:
    """Operators that are not taken, by names that only one of them has, and their type if that is to be the same."""
    names = [(name(graph, graph.operators[at]), at) for at in _left(graph, taken)]
    counts = Counter(name for name, _ in names)
    return {(name, typed and graph.operators[at].type): at for name, at in names if name and counts[name] == 1}


NAMES: tuple[Callable[[Subgraph, Operator], str], ...] = (_first_output, lambda _, operator: operator.name)


def _left(graph: Subgraph, taken: Iterable[int]) -> list[int]:
    done = set(taken)
    return [at for at in range(len(graph.operators)) if at not in done]


def _shape_key(graph: Subgraph, operator: Operator) -> Hashable:
    return operator.type, tuple(graph.tensors[at].shape for at in operator.outputs if at is not None)


def _common(a: Sequence[Hashable], b: Sequence[Hashable]) -> Iterator[tuple[int, int]]:
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


def _ports(a: Subgraph, b: Subgraph) -> Iterator[Difference]:
    """How the inputs and outputs of the main graphs differ, in their order."""
    kinds: tuple[tuple[Literal["input", "output"], Sequence[int], Sequence[int]], ...]
    kinds = (("input", a.inputs, b.inputs), ("output", a.outputs, b.outputs))
    for kind, ones, others in kinds:
        for one, other in zip_longest(ones, others):
            first = None if one is None else a.tensors[one]
            second = None if other is None else b.tensors[other]
            if first is None or second is None:
                name, other_name = (None if tensor is None else tensor.name for tensor in (first, second))
                yield Difference(0, name or other_name or "", kind, "name", name, other_name)
                continue
            if first.name != second.name:
                yield Difference(0, first.name, kind, "name", first.name, second.name)
            yield from _facets(0, first.name, kind, first, second, "")


def _facets(graph: int, owner: str, kind: str, first: Tensor, second: Tensor, where: str) -> Iterator[Difference]:
    """How two tensors differ beside their names."""
    facets: tuple[tuple[str, Told, Told], ...] = (
        ("shape", first.shape, second.shape),
        ("dtype", first.dtype, second.dtype),
        ("quantisation", first.quantization, second.quantization),
    )
    for what, one, other in facets:
        if one != other:
            yield Difference(graph, owner, kind, f"{where} {what}".lstrip(), one, other)


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two operators that stand for one another."""

    graph: int
    a: Subgraph
    b: Subgraph
    one: Operator
    other: Operator

    def differences(self, first: Described, second: Described) -> Iterator[Difference]:
        """How they differ: type, attributes, outputs and constants."""
        if self.one.type != self.other.type:
            yield self._difference("type", self.one.type, self.other.type)
        for name in dict.fromkeys((*self.one.attributes, *self.other.attributes)):
            values = self.one.attributes.get(name), self.other.attributes.get(name)
            if values[0] != values[1]:
                yield self._difference(f"attribute {name}", *values)
        for place, (at, to) in enumerate(zip_longest(self.one.outputs, self.other.outputs)):
            if at is not None and to is not None:
                where = f"output {place}" if place else ""
                yield from _facets(
                    self.graph, self.one.name, self.one.type, self.a.tensors[at], self.b.tensors[to], where
                )
        for place, (at, to) in enumerate(zip(self.one.inputs, self.other.inputs, strict=False)):
            if at is not None and to is not None:
                yield from self._constants(place, at, to, first, second)

    def _constants(self, place: int, at: int, to: int, first: Described, second: Described) -> Iterator[Difference]:
        one, other = self.a.tensors[at], self.b.tensors[to]
        if one.role != "constant" or other.role != "constant":
            return
        names = self.one.operands
        name = names[min(place, len(names) - 1)] if names else f"input {place}"
        yield from _facets(self.graph, self.one.name, self.one.type, one, other, name)
        if one.shape == other.shape:
            arrays = first.values(self.graph, at), second.values(self.graph, to)
            if arrays[0] is not None and arrays[1] is not None:
                figures = _apart(_real(arrays[0], one.quantization), _real(arrays[1], other.quantization))
                if figures is not None:
                    yield self._difference(f"{name} elements", None, None, *figures)

    def _difference(self, what: str, first: Told, second: Told, *figures: Any) -> Difference:
        return Difference(self.graph, self.one.name, self.one.type, what, first, second, *figures)


def _apart(first: Array, second: Array) -> tuple[float, int, float] | None:
    """How two arrays of one shape differ: see `Difference`; None where they do not. NaN is like NaN."""
    if first.dtype == second.dtype and np.array_equal(first, second):
        return None
    with np.errstate(invalid="ignore", over="ignore"):
        wide = [array.astype(np.float64) for array in (first, second)]
        differ = (wide[0] != wide[1]) & ~(np.isnan(wide[0]) & np.isnan(wide[1]))
        apart = np.abs(wide[0] - wide[1])[differ]
        if not apart.size:
            return None
        return float(apart.max()), int(apart.size), float(np.abs(wide[0]).max())


def _real(array: Array, quantization: Quantization | None) -> Array:
    """The real numbers that stored ones stand for."""
    if quantization is None or not quantization.scales:
        return array
    shape = [1] * array.ndim
    if quantization.axis is not None and len(quantization.scales) > 1:
        shape[quantization.axis] = -1
    scales, points = (
        np.array(part, np.float64).reshape(shape) for part in (quantization.scales, quantization.zero_points)
    )
    real: Array = (array.astype(np.float64) - points) * scales
    return real
