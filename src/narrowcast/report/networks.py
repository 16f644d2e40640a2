# ruff: noqa: RUF001, RUF002 - typographic signs are meant
"""The operators of a network as a tree of their names' scopes, or as a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from narrowcast.evaluation.networks.records import Network, Operator, Quantization, Subgraph, Tensor, Value
from narrowcast.report.blocks import Block, Cell, Column, Table
from narrowcast.report.text import byte_size, plural, printable

__all__ = ["label", "operand", "quantization_text", "shape", "table", "tree", "type_and_shape", "value_text"]

DEEPEST = 16
"""Scopes of a name, and graphs inside others, that a tree follows; what is deeper stays in one piece, or on its own."""

MOST = 3
"""Tensors that are told in one cell."""

FARTHEST = {2**63 - 1: "2^63-1", -(2**63): "-2^63", 1 - 2**63: "-2^63+1"}
"""Integers that mean "as far as there is"."""

LONGEST = 80
"""Characters of an attribute that a terminal is shown."""


def shape(dims: Iterable[int | None] | None) -> str:
    """1×224×224×3, with ? for an open dimension or an unknown rank; "scalar" for no dimension."""
    return "?" if dims is None else "×".join("?" if dim is None else str(dim) for dim in dims) or "scalar"


def type_and_shape(tensor: Tensor) -> str:
    """1×224×224×3 float32."""
    return f"{shape(tensor.shape)} {printable(tensor.dtype)}".rstrip()


def quantization_text(found: Quantization | None) -> str:
    """A scale and its zero point, or how many there are along which axis."""
    if found is None or not found.scales:
        return ""
    if len(found.scales) == 1:
        return f"{found.scales[0]:.6g}, {found.zero_points[0] if found.zero_points else 0}"
    low, high = min(found.scales), max(found.scales)
    return f"{len(found.scales)} scales, {low:.3g} to {high:.3g}"


def value_text(value: Value) -> str:
    """An attribute's value on one line."""
    match value:
        case tuple():
            return f"[{', '.join(map(value_text, value))}]"
        case bool() | None:
            return str(value).lower()
        case float():
            return f"{value:.6g}"
        case int():
            return FARTHEST.get(value, str(value))
    return printable(value)


def operand(operator: Operator, place: int) -> str:
    """What an operand is called; the last name of the format's stands for all that follow."""
    names = operator.operands
    return names[min(place, len(names) - 1)] if names else f"input {place}"


def label(operator: Operator) -> str:
    """An operator's name; of several that were joined by semicolons the first."""
    return printable(operator.name.partition(";")[0] or operator.type)


def table(network: Network, *, attributes: bool = False) -> Iterator[Block]:
    """One table for each graph, the operators in the order in which they run."""
    titles = (
        "operator",
        "type",
        "inputs",
        "weights",
        "outputs",
        "scale, zero point",
        *(["attributes"] if attributes else []),
    )
    columns = tuple(Column(title, "left") for title in titles)
    for number, graph in enumerate(network.graphs):
        rows = (
            (
                Cell(f"{place} {label(operator)}"),
                Cell(printable(operator.type), "title"),
                Cell(_listed(type_and_shape(tensor) for tensor in _read(graph, operator))),
                Cell(_listed(_constant(tensor) for tensor in _weights(graph, operator)), "muted"),
                Cell(_listed(type_and_shape(tensor) for tensor in _written(graph, operator))),
                Cell(_listed(filter(None, (quantization_text(t.quantization) for t in _written(graph, operator))))),
                *([Cell(_attributes(operator), "muted")] if attributes else []),
            )
            for place, operator in enumerate(graph.operators)
        )
        yield _without_empty(Table(_title(network, number), columns, tuple(rows)))


def tree(network: Network, *, attributes: bool = False) -> Iterator[Block]:
    """The operators under the scopes of their names, and the graphs inside operators below these."""
    titles = ("operator", "type", "outputs", "scale, zero point", "weights", *(["attributes"] if attributes else []))
    columns = tuple(Column(title, "right" if title == "weights" else "left") for title in titles)
    shown: set[int] = set()
    for number in range(len(network.graphs)):
        if number not in shown:
            rows = tuple(_Tree(network, attributes, shown).rows(number))
            yield _without_empty(Table(_title(network, number), columns, rows))


@dataclass(slots=True)
class _Scope:
    """Operators whose names begin alike, and the scopes within; both in the order of their first operator."""

    name: str
    entries: list[_Scope | tuple[str, Operator]] = field(default_factory=list)
    scopes: dict[str, _Scope] = field(default_factory=dict)

    def add(self, parts: Sequence[str], operator: Operator) -> None:
        scope = self
        for part in parts[:-1]:
            if part not in scope.scopes:
                scope.scopes[part] = _Scope(part)
                scope.entries.append(scope.scopes[part])
            scope = scope.scopes[part]
        scope.entries.append((parts[-1], operator))

    def joined(self) -> tuple[str, _Scope | Operator]:
        """A scope that holds but one thing is told with it, as a/b."""
        name, scope = self.name, self
        while len(scope.entries) == 1:
            only = scope.entries[0]
            if not isinstance(only, _Scope):
                return f"{name}/{only[0]}", only[1]
            scope = only
            name = f"{name}/{scope.name}"
        return name, scope

    def operators(self) -> Iterator[Operator]:
        for entry in self.entries:
            if isinstance(entry, _Scope):
                yield from entry.operators()
            else:
                yield entry[1]


@dataclass(slots=True)
class _Tree:
    """The rows of one graph and of those inside; each graph is shown where it is met first."""

    network: Network
    attributes: bool
    shown: set[int]

    def rows(self, number: int, indent: str = "", depth: int = 0) -> Iterator[tuple[Cell, ...]]:
        self.shown.add(number)
        graph, root = self.network.graphs[number], _Scope("")
        for operator in graph.operators:
            parts = [part for part in label(operator).split("/") if part] or [label(operator)]
            root.add([*parts[:DEEPEST], "/".join(parts[DEEPEST:])] if len(parts) > DEEPEST else parts, operator)
        yield from self._entries(root, graph, indent, depth)

    def _entries(self, scope: _Scope, graph: Subgraph, indent: str, depth: int) -> Iterator[tuple[Cell, ...]]:
        last = len(scope.entries) - 1
        for place, entry in enumerate(scope.entries):
            branch, below = ("└─ ", "   ") if place == last else ("├─ ", "│  ")
            name, inside = entry.joined() if isinstance(entry, _Scope) else entry
            if isinstance(inside, _Scope):
                yield self._scope_row(f"{indent}{branch}{name}", inside, graph)
                yield from self._entries(inside, graph, indent + below, depth)
            else:
                yield self._operator_row(f"{indent}{branch}{name}", inside, graph)
                yield from self._bodies(inside, indent + below, depth + 1)

    def _bodies(self, operator: Operator, indent: str, depth: int) -> Iterator[tuple[Cell, ...]]:
        for place, (role, number) in enumerate(operator.subgraphs):
            branch, below = ("└─ ", "   ") if place == len(operator.subgraphs) - 1 else ("├─ ", "│  ")
            name = printable(self.network.graphs[number].name) or f"graph {number}"
            told = "shown above" if number in self.shown else "shown below" if depth > DEEPEST else ""
            yield (Cell(f"{indent}{branch}{printable(role)}: {name}", "best"), *self._rest(Cell(told, "muted")))
            if not told:
                yield from self.rows(number, indent + below, depth)

    def _scope_row(self, name: str, scope: _Scope, graph: Subgraph) -> tuple[Cell, ...]:
        operators = list(scope.operators())
        weights = {id(tensor): tensor.bytes or 0 for operator in operators for tensor in _weights(graph, operator)}
        count, size = plural(len(operators), "operator"), sum(weights.values())
        empty = (Cell(""), Cell(""))
        return (Cell(name), *self._rest(Cell(count, "muted"), *empty, Cell(byte_size(size) if size else "", "muted")))

    def _operator_row(self, name: str, operator: Operator, graph: Subgraph) -> tuple[Cell, ...]:
        size = sum(tensor.bytes or 0 for tensor in _weights(graph, operator))
        outputs = list(_written(graph, operator))
        return (
            Cell(name),
            Cell(printable(operator.type), "title"),
            Cell(_listed(map(type_and_shape, outputs))),
            Cell(_listed(filter(None, (quantization_text(tensor.quantization) for tensor in outputs)))),
            Cell(byte_size(size) if size else ""),
            *([Cell(_attributes(operator), "muted")] if self.attributes else []),
        )

    def _rest(self, *cells: Cell) -> Iterator[Cell]:
        """The cells after the name, filled up with empty ones."""
        yield from cells
        yield from [Cell("")] * (4 + self.attributes - len(cells))


def _without_empty(table: Table) -> Table:
    """A table without the columns in which nothing stands."""
    kept = [place for place in range(len(table.columns)) if place < 2 or any(row[place].text for row in table.rows)]
    rows = tuple(tuple(row[place] for place in kept) for row in table.rows)
    return replace(table, columns=tuple(table.columns[place] for place in kept), rows=rows)


def _title(network: Network, number: int) -> str:
    name = printable(network.graphs[number].name)
    return f"operators, {network.form}" if not number else f"graph {number} {name}".rstrip()


def _read(graph: Subgraph, operator: Operator) -> Iterator[Tensor]:
    return (tensor for tensor in _tensors(graph, operator.inputs) if tensor.role != "constant")


def _weights(graph: Subgraph, operator: Operator) -> Iterator[Tensor]:
    return (tensor for tensor in _tensors(graph, operator.inputs) if tensor.role == "constant")


def _written(graph: Subgraph, operator: Operator) -> Iterator[Tensor]:
    return _tensors(graph, operator.outputs)


def _tensors(graph: Subgraph, indices: Iterable[int | None]) -> Iterator[Tensor]:
    return (graph.tensors[index] for index in indices if index is not None)


def _constant(tensor: Tensor) -> str:
    """A constant in a cell: its one element, or its type, shape and scales."""
    match tensor.values:
        case (only,):
            return value_text(only)
    scales = quantization_text(tensor.quantization)
    return f"{type_and_shape(tensor)} ({scales})" if scales else type_and_shape(tensor)


def _attributes(operator: Operator) -> str:
    told = (f"{printable(name)}={value_text(value)}" for name, value in operator.attributes.items())
    return ", ".join(text if len(text) <= LONGEST else f"{text[:LONGEST]}…" for text in told)


def _listed(texts: Iterable[str]) -> str:
    told = list(texts)
    rest = f", {len(told) - MOST} more" if len(told) > MOST else ""
    return ", ".join(told[:MOST]) + rest
