"""One graph of all that is asked of a quantised network, block by block: it is run once for each sample.

For each block, X is what leaves it in the float network, and Q what leaves it in the quantised one. Two more are
computed beside them, both from float inputs: W by the quantised weights, and T with the block's own roundings too. So
the error falls into three parts without a rest, Q - X = (W - X) + (T - W) + (Q - T): of the weights, of the block's own
roundings, and of what came from above.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from narrowcast.dialect.build import Builder, dims
from narrowcast.evaluation.diagnosis.pairing import Pair, Pairing, turned
from narrowcast.evaluation.diagnosis.plain import Plain, grid
from narrowcast.model import Model, ir
from narrowcast.targets.spelling import Parameters, Speller, is_weight, real_of

__all__ = ["Branches", "Copier", "Key", "Rounding", "aligned", "branches_of", "computing", "ports", "segment"]

MOST_SOURCES = 8
"""Of so many other blocks that a block reads, each has its part in the error told."""

Key = tuple[int, str, int]
"""Of which pair, what is summed, and of which of its places: outputs, parts of what it joins, or inner values."""

KEEPING = frozenset(
    {"Concat", "DepthToSpace", "Expand", "Gather", "Identity", "Max", "MaxPool", "Min", "Pad", "ReduceMax", "ReduceMin"}
    | {"Relu", "Reshape", "Slice", "SpaceToDepth", "Split", "Tile", "Transpose"}
)
"""Operators that give numbers of a scale for numbers of that scale: nothing is rounded twice."""


@dataclass(frozen=True, slots=True)
class Rounding:
    """Which roundings a copy has: of `Plain`."""

    stored: Mapping[ir.Value, Parameters] = field(default_factory=dict)
    edges: Mapping[tuple[ir.Node, int], Sequence[Parameters]] = field(default_factory=dict)


NONE = Rounding()

Known = dict[ir.Value, ir.Value]
"""What values of other graphs are in the one at hand."""


class Copier:
    """Copies nodes of other graphs into a new one, where each of their constants stands once, in floats."""

    def __init__(self, name: str) -> None:
        self.build = Builder.new(name)
        self.speller = Speller(self.build.graph)
        self._constants: dict[ir.Value, ir.Value] = {}
        self.parts: dict[ir.Value, list[ir.Value]] = {}

    def nodes(self, nodes: Iterable[ir.Node], known: Known, rounding: Rounding = NONE) -> None:
        """Copies nodes in their order.

        Args:
            nodes: each after those that it reads.
            known: what the values that are read are here; learns what the nodes give.
            rounding: what is rounded on the way.
        """
        for node in nodes:
            inputs = [
                None if value is None else self._anew(self.read(value, known), rounding.edges.get((node, at), ()))
                for at, value in enumerate(node.inputs)
            ]
            made = ir.Node(
                node.domain,
                node.op_type,
                inputs,
                [_attribute(attribute) for attribute in node.attributes.values()],
                num_outputs=len(node.outputs),
                name=self.build.unique(node.name or node.op_type),
                metadata_props=dict(node.metadata_props),
            )
            self.build.graph.append(made)
            for old, new in zip(node.outputs, made.outputs, strict=True):
                if old.name:
                    new.name = self.build.unique(old.name)
                new.type, new.shape = old.type, old.shape
                known[old] = self.rounded(new, rounding.stored[old]) if old in rounding.stored else new

    def read(self, value: ir.Value, known: Known) -> ir.Value:
        """What a value of another graph is here."""
        if value in known:
            return known[value]
        if value not in self._constants:
            self._constants[value] = self._constant(value)
        return self._constants[value]

    def rounded(self, value: ir.Value, how: Parameters) -> ir.Value:
        """A value as integers hold it."""
        return self.speller.pair(value, how)

    def _anew(self, value: ir.Value, chain: Iterable[Parameters]) -> ir.Value:
        for how in chain:
            value = self.rounded(value, how)
        return value

    def _constant(self, value: ir.Value) -> ir.Value:
        node, tensor = value.producer(), value.const_value
        if node is None:
            assert tensor is not None, f"{value.name} is neither computed nor constant"
            return self.build.initializer(tensor, value.name or "constant")
        array = real_of(node)
        if array is not None:
            return self.build.constant(array, value.name or "weights")
        known = Known()
        self.nodes([node], known)
        return known[value]

    def spread(self, one: ir.Value, other: ir.Value) -> ir.Value:
        """The sum of the squares of a difference."""
        return self.power(self.build("Sub", one, other, name="difference"))

    def power(self, value: ir.Value) -> ir.Value:
        """The sum of squares."""
        made: ir.Value = self.build("ReduceSumSquare", value, name="power", keepdims=0, shape=(), dtype="float32")
        return made


def _attribute(attribute: ir.Attr) -> ir.Attr:
    if attribute.type is not ir.AttributeType.GRAPH:
        return attribute
    return ir.AttrGraph(attribute.name, attribute.as_graph().clone())


@dataclass(frozen=True, slots=True)
class Branches:
    """A graph whose outputs are sums over the elements of tensors.

    Attributes:
        model: takes what the float model takes.
        sums: the output that says a sum; several keys may have one.
        sources: for each pair, the pairs that it reads.
    """

    model: Model
    sums: Mapping[Key, str]
    sources: Sequence[Sequence[int]]


def branches_of(pairing: Pairing) -> Branches:
    """Builds the graph.

    Its sums are, for each place of a pair, "signal" X, "error" Q - X, "weights" W - X, "rounding" T - W, "own" T - X,
    "above" Q - T, and for each pair that is read, "from" by it alone; "signal inside" and "error inside" of inner
    values; and of the graph's outputs, as a last pair, "signal" and "error". What is not there is zero. The places of
    a pair are its outputs, but of a Concat what it joins, each of which has a ratio of its own.
    """
    copy, plain = Copier("branches"), pairing.plain
    given, real, found = ports(copy, pairing)
    copy.nodes(computing(pairing.floats.graph), real)
    copy.nodes(computing(plain.model.graph), found, Rounding(plain.stored, plain.edges))
    ideal = {there: given.get(there) or real[here] for pair in pairing.pairs for here, there in pair.outputs}
    homes = {there: at for at, pair in enumerate(pairing.pairs) for _, there in pair.outputs}
    order = {node: at for at, node in enumerate(plain.model.graph)}
    loose = {value: found[value] for value in plain.model.graph.inputs}
    sums: dict[Key, ir.Value] = {}
    sources: list[list[int]] = []
    for at, pair in enumerate(pairing.pairs):
        for place, (here, there) in enumerate(pair.inner):
            sums[at, "signal inside", place] = copy.power(real[here])
            sums[at, "error inside", place] = copy.spread(found[there], real[here])
        nodes, read = segment([there for _, there in pair.outputs], homes, order)
        sources.append(sorted({homes[value] for value in read}))
        sides = [{value: found[value] for value in read if homes[value] == home} for home in sources[at]]
        part = _Part(copy, plain, pair, nodes, read)
        sums.update(((at, name, place), value) for name, place, value in part.sums(ideal, found, loose, sides))
    for place, (here, there) in enumerate(pairing.outputs):
        if here.dtype is ir.DataType.FLOAT:
            wanted, have = real[here], aligned(copy.build, found[there], dims(there), dims(here))
            sums[len(pairing.pairs), "signal", place] = copy.power(wanted)
            sums[len(pairing.pairs), "error", place] = copy.spread(have, wanted)
    model = copy.build.finish(list(dict.fromkeys(sums.values())))
    model.graph.opset_imports.update(pairing.floats.graph.opset_imports)
    return Branches(Model(model), {key: value.name or "" for key, value in sums.items()}, sources)


def ports(copy: Copier, pairing: Pairing) -> tuple[Known, Known, Known]:
    """The inputs: as the quantised graph has them without and with its roundings, and as the float one has them."""
    plain, given, real, found = pairing.plain, Known(), Known(), Known()
    theirs = [value for value in plain.model.graph.inputs if not value.is_initializer()]
    partners = {here: there for pair in pairing.pairs for here, there in pair.outputs if not pair.floats.nodes}
    ours = [value for value in pairing.floats.graph.inputs if not value.is_initializer()]
    by_name = {value.name: value for value in theirs}
    for place, value in enumerate(ours):
        made = ir.Value(name=value.name, type=value.type, shape=value.shape)
        copy.build.unique(value.name or "input")
        copy.build.graph.inputs.append(made)
        there = partners.get(value) or by_name.get(value.name, theirs[place])
        real[value] = made
        given[there] = found[there] = aligned(copy.build, made, dims(value), dims(there))
        if there in plain.stored:
            found[there] = copy.rounded(found[there], plain.stored[there])
    return given, real, found


def aligned(build: Builder, value: ir.Value, have: tuple[int, ...] | None, want: tuple[int, ...] | None) -> ir.Value:
    """A value in another order of axes, channels last or first, or with other axes of size 1."""
    if have is None or want is None or have == want:
        return value
    if order := turned(have, want):
        made: ir.Value = build("Transpose", value, name="turned", shape=want, perm=list(order))
        return made
    shaped: ir.Value = build("Reshape", value, build.constant(want, "shape", "int64"), name="shaped", shape=want)
    return shaped


def segment(
    values: Sequence[ir.Value], stops: Collection[ir.Value], order: Mapping[ir.Node, int]
) -> tuple[list[ir.Node], list[ir.Value]]:
    """The nodes that compute values from the nearest of other values, in their order; and those others."""
    pending = [node for value in values if (node := value.producer()) is not None]
    nodes: set[ir.Node] = set()
    read: dict[ir.Value, None] = {}
    while pending:
        node = pending.pop()
        if node in nodes:
            continue
        nodes.add(node)
        for value in node.inputs:
            if value is None or is_weight(value):
                continue
            maker = value.producer()
            if value in stops:
                read[value] = None
            elif maker is not None:
                pending.append(maker)
    return sorted(nodes, key=order.__getitem__), list(read)


def computing(graph: ir.Graph) -> Iterator[ir.Node]:
    """The nodes that make no constants."""
    return (node for node in graph if not all(map(is_weight, node.outputs)))


def _without_twice(rounding: Rounding, nodes: Sequence[ir.Node], read: Sequence[ir.Value]) -> Rounding:
    """The roundings of nodes, without those of numbers that were rounded by the same scale where they were made."""
    stored = dict(rounding.stored)
    before = {value: grid(stored[value]) for value in read if value in stored}
    for node in nodes:
        scales = {before.get(value) for value in node.inputs if value is not None and not is_weight(value)}
        again = {grid(stored[value]) for value in node.outputs if value in stored}
        only = scales.pop() if len(scales) == 1 else None
        if node.op_type in KEEPING and only is not None and again <= {only}:
            before.update(dict.fromkeys(node.outputs, only))
            for value in node.outputs:
                stored.pop(value, None)
    return Rounding(stored, rounding.edges)


DIFFERENCES = {"error": (3, 0), "weights": (1, 0), "rounding": (2, 1), "own": (2, 0), "above": (3, 2)}
"""Which of X, W, T and Q are subtracted from one another."""


@dataclass(frozen=True, slots=True)
class _Places:
    """Where what leaves a block is cut: a Concat's along its axis, into what it joins."""

    copy: Copier
    axis: int = 0
    sizes: tuple[int, ...] = ()

    @classmethod
    def of(cls, copy: Copier, pair: Pair) -> _Places:
        node = pair.floats.nodes[-1] if pair.floats.nodes else None
        if node is None or node.op_type != "Concat":
            return cls(copy)
        axis = node.attributes.get_int("axis", 0)
        sizes = [shape[axis] if (shape := dims(value)) else 0 for value in node.inputs]
        return cls(copy, axis, tuple(sizes) if min(sizes) > 0 and len(sizes) <= MOST_SOURCES else ())

    def cut(self, values: Sequence[ir.Value]) -> list[ir.Value]:
        """The parts of what leaves the block, or that itself."""
        if not self.sizes:
            return list(values)
        key = values[0]
        build = self.copy.build
        if key not in self.copy.parts:
            sizes = build.constant(self.sizes, "sizes", "int64")
            self.copy.parts[key] = list(build("Split", key, sizes, outputs=len(self.sizes), axis=self.axis))
        return self.copy.parts[key]


class _Part:
    """The nodes of a pair, to be computed again from other values."""

    def __init__(
        self, copy: Copier, plain: Plain, pair: Pair, nodes: Sequence[ir.Node], read: Sequence[ir.Value]
    ) -> None:
        self.copy, self.nodes, self.read = copy, nodes, read
        self.values = [there for _, there in pair.outputs]
        self.places = _Places.of(copy, pair)
        self.rounding = _without_twice(Rounding(plain.stored, plain.edges), nodes, read)

    def sums(
        self, ideal: Known, found: Known, loose: Known, sides: Sequence[Known]
    ) -> Iterator[tuple[str, int, ir.Value]]:
        """What is summed of it, by name and place.

        Args:
            ideal: X of all pairs.
            found: Q of all values.
            loose: the graph's inputs.
            sides: Q of the values that are read of each pair that is.
        """
        exact = [ideal[value] for value in self.values]
        read = {**loose, **{value: ideal[value] for value in (self.read if self.nodes else self.values)}}
        weights = self.computed(read, NONE) if self.weighed else exact
        own = self.computed(read, self.rounding) if self.rounds else weights
        rows = [self.places.cut(row) for row in (exact, weights, own, [found[value] for value in self.values])]
        few = sides if 1 < len(sides) <= MOST_SOURCES else ()
        alone = [self.places.cut(self.computed({**read, **side}, self.rounding)) for side in few]
        for place, branch in enumerate(zip(*rows, strict=True)):
            yield "signal", place, self.copy.power(branch[0])
            for name, (one, other) in DIFFERENCES.items():
                if branch[one] is not branch[other]:
                    yield name, place, self.copy.spread(branch[one], branch[other])
            for source, outputs in enumerate(alone):
                yield f"from {source}", place, self.copy.spread(outputs[place], branch[2])

    @property
    def weighed(self) -> bool:
        """Whether it reads constants."""
        return any(is_weight(value) for node in self.nodes for value in node.inputs)

    @property
    def rounds(self) -> bool:
        """Whether it rounds anything."""
        outputs = (value for node in self.nodes for value in node.outputs)
        edges = ((node, at) for node in self.nodes for at in range(len(node.inputs)))
        return any(value in self.rounding.stored for value in (*outputs, *self.values)) or any(
            edge in self.rounding.edges for edge in edges
        )

    def computed(self, given: Known, rounding: Rounding) -> list[ir.Value]:
        """What it gives."""
        if not self.nodes:  # an input, of which only the rounding is its own
            return [
                self.copy.rounded(given[value], rounding.stored[value]) if value in rounding.stored else given[value]
                for value in self.values
            ]
        own = {value for node in self.nodes for value in node.outputs}
        known = {value: what for value, what in given.items() if value not in own}
        self.copy.nodes(self.nodes, known, rounding)
        return [known[value] for value in self.values]
