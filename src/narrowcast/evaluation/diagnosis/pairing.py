"""Which blocks of a float graph stand for which of a quantised one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

from narrowcast.dialect.build import dims
from narrowcast.errors import UsageError
from narrowcast.evaluation.diagnosis.blocks import Block, blocks_of
from narrowcast.evaluation.diagnosis.plain import Plain, clipped
from narrowcast.evaluation.networks.matching import common
from narrowcast.model import Model, ir
from narrowcast.targets.groups import activation_of
from narrowcast.targets.rules import Target

__all__ = ["Pair", "Pairing", "paired", "turned"]


NAMED = 0.5
"""The share of blocks that have to be found by name for names to be trusted alone."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A block of the float graph, and what the quantised one has of it.

    Attributes:
        floats: the block; without nodes for an input of the graph.
        outputs: the values that leave it, and those of the quantised graph that stand for them.
        inner: likewise the values within.
    """

    floats: Block
    outputs: tuple[tuple[ir.Value, ir.Value], ...]
    inner: tuple[tuple[ir.Value, ir.Value], ...] = ()

    @property
    def name(self) -> str:
        """The name of what leaves the block first."""
        return self.floats.outputs[0].name or ""

    @property
    def nodes(self) -> tuple[str, ...]:
        """The names of its nodes, as patterns of names fit them, without clips that are part of another's operator."""
        first, *rest = self.floats.nodes or (None,)
        nodes = [node for node in (first, *(node for node in rest if not activation_of(node))) if node is not None]
        return tuple(node.name for node in nodes if node.name)

    @property
    def kind(self) -> str:
        """Its operators in words."""
        return " + ".join(node.op_type for node in self.floats.nodes) or "input"


@dataclass(frozen=True, slots=True)
class Pairing:
    """Two graphs, block by block.

    Attributes:
        floats: the float model.
        plain: the quantised one without its roundings.
        pairs: what stands for one another, inputs first, in the order of the quantised graph.
        outputs: the graphs' outputs, which stand for one another in their order.
        alone: names of blocks of the float graph that the quantised one lacks.
    """

    floats: Model
    plain: Plain
    pairs: tuple[Pair, ...]
    outputs: tuple[tuple[ir.Value, ir.Value], ...]
    alone: tuple[str, ...]


def paired(floats: Model, plain: Plain, target: Target) -> Pairing:
    """Finds the pairs.

    1. By the name of what leaves a block, or of a value or node within, where only one of each graph has it.
    2. Where names say nothing of most blocks, by place: as many as can be, of one operator and one shape, in the order
       in which they stand.
    3. What the graphs hand out stands for one another in any case.

    Raises:
        UsageError: the two have other inputs or outputs.
    """
    floats, graph = floats.clone(), plain.model.graph
    inputs = [value for value in graph.inputs if not value.is_initializer()]
    wanted = [value for value in floats.graph.inputs if not value.is_initializer()]
    _same("inputs", wanted, inputs)
    _same("outputs", floats.graph.outputs, graph.outputs)
    ours, theirs = blocks_of(floats.graph, target), blocks_of(graph, target)
    places = dict(_matched(ours, theirs))
    found: dict[ir.Value, Pair] = {}
    for at, to in places.items():
        pair = _pair(ours[at], theirs[to], plain)
        if pair is not None:
            found[pair.outputs[0][1]] = pair
    order = {value: at for at, node in enumerate(graph) for value in node.outputs}
    blocks = sorted(found.values(), key=lambda pair: order.get(pair.outputs[0][1], 0))
    by_name = {value.name: value for value in inputs}
    ports = [
        Pair(Block((), (value,)), ((value, by_name.get(value.name, inputs[place])),))
        for place, value in enumerate(wanted)
        if value.dtype is ir.DataType.FLOAT
    ]
    known = {pair.name for pair in blocks}
    alone = tuple(name for block in ours if (name := block.outputs[0].name or "") not in known)
    outputs = tuple(zip(floats.graph.outputs, graph.outputs, strict=True))
    return Pairing(floats, plain, (*ports, *blocks), outputs, alone)


def _same(what: str, ours: Sequence[ir.Value], theirs: Sequence[ir.Value]) -> None:
    """Asks for ports of the same sizes, but for the order of channels and for axes of size 1."""
    shapes = [[dims(value) for value in side] for side in (ours, theirs)]
    if len(ours) != len(theirs) or not all(_fit(*pair) for pair in zip(*shapes, strict=True)):
        told = (", ".join(f"{value.name} {dims(value)}" for value in side) for side in (ours, theirs))
        raise UsageError(f"the {what} differ: {' beside '.join(told)}", hint="give two files of one network")


def _fit(one: tuple[int, ...] | None, other: tuple[int, ...] | None) -> bool:
    return one is None or other is None or turned(one, other) is not None


def turned(have: tuple[int, ...], want: tuple[int, ...]) -> tuple[int, ...] | None:
    """The order of axes that makes one shape of another, channels first or last; empty where axes of size 1 differ."""
    rank = len(have)
    for order in (tuple(range(rank)), (0, *range(2, rank), 1), (0, rank - 1, *range(1, rank - 1))):
        if len(order) == rank and tuple(have[axis] for axis in order) == want:
            return order
    return () if [dim for dim in have if dim != 1] == [dim for dim in want if dim != 1] else None


def _pair(ours: Block, theirs: Block, plain: Plain) -> Pair | None:
    """Two blocks as a pair; None where what leaves them has another shape."""
    outputs = list(theirs.outputs)
    if activation_of(ours.nodes[-1]) and not activation_of(theirs.nodes[-1]) and len(outputs) == 1:
        outputs = [clipped(plain, outputs[0], ours.nodes[-1]) or outputs[0]]
    if len(outputs) != len(ours.outputs) or any(
        dims(one) is not None and dims(other) is not None and dims(one) != dims(other)
        for one, other in zip(ours.outputs, outputs, strict=True)
    ):
        return None
    makers = {_maker(value): value for value in reversed(theirs.inner)}
    inner = tuple((value, makers[_maker(value)]) for value in ours.inner if _maker(value) in makers)
    return Pair(ours, tuple(zip(ours.outputs, outputs, strict=True)), inner)


def _maker(value: ir.Value) -> str:
    node = value.producer()
    return node.op_type if node is not None else ""


def _outputs_of(block: Block) -> Iterable[str]:
    return (part for value in block.outputs for part in _parts(value.name, _maker(value)))


def _values_of(block: Block) -> Iterable[str]:
    return (part for node in block.nodes for value in node.outputs for part in _parts(value.name, node.op_type))


def _nodes_of(block: Block) -> Iterable[str]:
    return (part for node in block.nodes for part in _parts(node.name, node.op_type))


def _parts(name: str | None, kind: str) -> list[str]:
    """A name without what was put behind it; of a fused operator, the names that it has taken over."""
    return [_BEHIND.sub("", part).removesuffix(f"/{kind.lower()}") for part in (name or "").split(";") if part]


_BEHIND = re.compile(r"(/(float|dequantized|real|moved))+$")
"""What quantising, and taking the roundings out, puts behind a name."""

NAMES: tuple[Callable[[Block], Iterable[str]], ...] = (_outputs_of, _values_of, _nodes_of)


def _matched(ours: Sequence[Block], theirs: Sequence[Block]) -> list[tuple[int, int]]:
    """Cases 1 and 2."""
    pairs: dict[int, int] = {}
    for names in NAMES:
        sides = [_unique(ours, pairs, names), _unique(theirs, pairs.values(), names)]
        taken = set(pairs.values())
        for name, at in sides[0].items():
            to = sides[1].get(name)
            if to is not None and at not in pairs and to not in taken and ours[at].key == theirs[to].key:
                pairs[at] = to
                taken.add(to)
    if len(pairs) >= min(len(ours), len(theirs)) * NAMED:
        return sorted(pairs.items())
    left = [
        [at for at in range(len(side)) if at not in done]
        for side, done in ((ours, pairs.keys()), (theirs, set(pairs.values())))
    ]
    keys: list[list[Hashable]] = [
        [side[at].key for at in places] for side, places in zip((ours, theirs), left, strict=True)
    ]
    pairs.update((left[0][at], left[1][to]) for at, to in common(*keys))
    return sorted(pairs.items())


def _unique(blocks: Sequence[Block], taken: Iterable[int], names: Callable[[Block], Iterable[str]]) -> dict[str, int]:
    """Blocks that are not taken, by names that only one of them has."""
    done = set(taken)
    found = [(name, at) for at, block in enumerate(blocks) if at not in done for name in set(names(block))]
    counts = Counter(name for name, _ in found)
    return {name: at for name, at in found if counts[name] == 1}
