"""What differs between two networks: ports, operators matched by name or by place, their tensors and weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from narrowcast.evaluation.networks.matching import matched
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

__all__ = ["Difference", "Differences", "Side", "differences"]

Told: TypeAlias = Value | Quantization

BLOCK = 1 << 20
"""Elements that are compared at a time."""

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
        largest: of constants of one shape: the largest absolute difference of two elements, as real numbers; infinite
            where only one is a number.
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
                figures = _apart(arrays[0], one.quantization, arrays[1], other.quantization)
                if figures is not None:
                    yield self._difference(f"{name} elements", None, None, *figures)

    def _difference(self, what: str, first: Told, second: Told, *figures: Any) -> Difference:
        return Difference(self.graph, self.one.name, self.one.type, what, first, second, *figures)


def _apart(
    first: Array, one: Quantization | None, second: Array, other: Quantization | None
) -> tuple[float, int, float] | None:
    """How two constants of one shape differ: see `Difference`; None where they do not. NaN is like NaN."""
    if first.dtype == second.dtype and one == other and np.array_equal(first, second):
        return None
    largest, count, reach = 0.0, 0, 0.0
    first, second = np.atleast_1d(first), np.atleast_1d(second)
    rows = max(1, BLOCK * len(first) // max(first.size, 1))
    for start in range(0, len(first), rows):
        part = slice(start, start + rows)
        a, b = _real(first, one, part), _real(second, other, part)
        with np.errstate(invalid="ignore", over="ignore"):
            differ = (a != b) & ~(np.isnan(a) & np.isnan(b))
            largest = max(largest, np.nan_to_num(np.abs(a - b)[differ], nan=np.inf).max(initial=0))
        count += int(np.count_nonzero(differ))
        reach = max(reach, np.nan_to_num(np.abs(a)).max(initial=0))
    return (float(largest), count, float(reach)) if count else None


def _real(array: Array, quantization: Quantization | None, rows: slice) -> Array:
    """The real numbers that some rows of what is stored stand for."""
    real: Array = array[rows].astype(np.float64)
    if quantization is None or not quantization.scales:
        return real
    scales, points = (np.array(part, np.float64) for part in (quantization.scales, quantization.zero_points))
    if quantization.axis is not None and scales.size > 1:
        shape = [1] * array.ndim
        shape[quantization.axis] = -1
        scales, points = (part.reshape(shape)[rows if not quantization.axis else ...] for part in (scales, points))
    return (real - points) * scales
