"""Finds the role of every axis: seeds at the spatial operators, spread through all that keeps or renames axes."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from narrowcast.dialect.ops import Kind, kind_of
from narrowcast.model import ir
from narrowcast.passes.layout.forms import Axis, Form, Role, Tag, forms_of, identity, match_atoms
from narrowcast.passes.rewrite import need, reduced_axes
from narrowcast.targets.rules import Target
from narrowcast.targets.spelling import is_weight

__all__ = ["DYNAMIC", "ROUNDING", "Tags", "find_tags", "neighbours", "shape_of", "stored_alike"]

DYNAMIC = 1_000_003
"""Stands for a dimension that is only known at run time; a prime, so that no reshape can split it."""


ROUNDING = ("QuantizeLinear", "DequantizeLinear")


def shape_of(value: ir.Value) -> tuple[int, ...]:
    """The logical shape, with `DYNAMIC` for symbolic dimensions."""
    if value.shape is None:
        return ()
    return tuple(dim if isinstance(dim, int) else DYNAMIC for dim in value.shape)


@dataclass(slots=True)
class Tags:
    """What is known of the tensors of one graph.

    Attributes:
        target: what the graph is laid out for.
        tags: by value; a value that is missing has no known roles.
    """

    target: Target
    tags: dict[ir.Value, Tag] = field(default_factory=dict)
    _forms: dict[ir.Value, tuple[Form, Form]] = field(default_factory=dict)

    def set(self, value: ir.Value | None, tag: Tag | None) -> bool:
        """Tags a value unless it has a tag or the tag says nothing; True if this was news."""
        if value is None or tag is None or value in self.tags or is_weight(value):
            return False
        forms = forms_of(tag)
        if forms is None:
            return False
        self.tags[value] = tag
        self._forms[value] = forms
        return True

    def forget(self, value: ir.Value) -> None:
        """Untags a value: it will be stored as the graph says."""
        self.tags.pop(value, None)
        self._forms.pop(value, None)

    def forms(self, value: ir.Value) -> tuple[Form, Form]:
        """The storage forms of a value under labels 0 (channels first) and 1 (channels last)."""
        found = self._forms.get(value)
        if found is None:
            plain = identity(len(shape_of(value)))
            return (plain, plain)
        return found


def find_tags(graph: ir.Graph, target: Target) -> Tags:
    """Tags all values whose axes have a role, nearest spatial operator first."""
    found = Tags(target)
    queue: deque[ir.Node] = deque()

    def spread(value: ir.Value, tag: Tag | None) -> None:
        if found.set(value, tag):
            for same in stored_alike(value):
                found.set(same, tag)
                queue.extend(neighbours(same))

    for node in graph:
        if kind_of(node) is Kind.SPATIAL:
            for value in (node.inputs[0], *node.outputs):
                if value is not None:
                    spread(value, _spatial(value))
    while queue:
        node = queue.popleft()
        for value, tag in _infer(node, found):
            spread(value, tag)
    return found


def stored_alike(value: ir.Value) -> list[ir.Value]:
    """A value, and what it is before and after it is quantised and dequantised: it has one order all the way."""
    found = [value]
    for one in found:
        producer = one.producer()
        before = [producer.inputs[0]] if producer is not None and producer.op_type in ROUNDING else []
        after = [use.node.outputs[0] for use in one.uses() if use.node.op_type in ROUNDING and use.idx == 0]
        found.extend(other for other in (*before, *after) if other is not None and other not in found)
    return found


def neighbours(value: ir.Value) -> Iterator[ir.Node]:
    """The nodes that make a value and read it."""
    producer = value.producer()
    if producer is not None:
        yield producer
    for use in value.uses():
        yield use.node


def _spatial(value: ir.Value) -> Tag | None:
    shape = shape_of(value)
    if len(shape) < 3:
        return None
    roles = (Role.BATCH, Role.CHANNEL, *(Role.SPATIAL,) * (len(shape) - 2))
    return tuple(((size, role),) for size, role in zip(shape, roles, strict=True))


def _infer(node: ir.Node, found: Tags) -> Iterator[tuple[ir.Value, Tag | None]]:
    kind = kind_of(node)
    if kind is Kind.SPECIAL:
        yield from _SPECIAL[node.op_type](node, found)
    elif kind is Kind.REDUCTION:
        yield from _reduction(node, found)
    elif kind in (Kind.ELEMENTWISE, Kind.AXIS_ATTRIBUTE, Kind.AXES_INPUT, Kind.PER_AXIS_INPUT):
        yield from _alike(node, found)


def _alike(node: ir.Node, found: Tags) -> Iterator[tuple[ir.Value, Tag | None]]:
    """All tensors of the output's rank have its roles."""
    rank = len(shape_of(node.outputs[0]))
    values = [value for value in (*node.outputs, *node.inputs) if value is not None and len(shape_of(value)) == rank]
    known = next((value for value in values if value in found.tags), None)
    if known is None:
        return
    tag = found.tags[known]
    for value in values:
        if value is not known:
            yield value, _resized(tag, shape_of(value))


def _resized(tag: Tag, shape: tuple[int, ...]) -> Tag | None:
    axes: list[Axis] = []
    for axis, size in zip(tag, shape, strict=True):
        roles = {role for _, role in axis}
        if math.prod(atom[0] for atom in axis) == size:
            axes.append(axis)
        elif len(roles) == 1:
            axes.append(((size, axis[0][1]),))
        elif size == 1:
            axes.append(((1, Role.SPATIAL),))
        else:
            return None
    return tuple(axes)


def _transpose(node: ir.Node, found: Tags) -> Iterator[tuple[ir.Value, Tag | None]]:
    source, target = need(node.inputs[0]), node.outputs[0]
    perm = node.attributes.get_ints("perm", tuple(reversed(range(len(shape_of(source))))))
    if source in found.tags:
        yield target, tuple(found.tags[source][axis] for axis in perm)
    elif target in found.tags:
        yield source, tuple(found.tags[target][list(perm).index(axis)] for axis in range(len(perm)))


def _reshape(node: ir.Node, found: Tags) -> Iterator[tuple[ir.Value, Tag | None]]:
    source, target = need(node.inputs[0]), node.outputs[0]
    for known, other in ((source, target), (target, source)):
        if known in found.tags:
            yield other, match_atoms([atom for axis in found.tags[known] for atom in axis], shape_of(other))


def _reduction(node: ir.Node, found: Tags) -> Iterator[tuple[ir.Value, Tag | None]]:
    source, target = need(node.inputs[0]), node.outputs[0]
    if node.attributes.get_int("keepdims", 1):
        yield from _alike(node, found)
        return
    axes = reduced_axes(node)
    if source in found.tags and axes is not None:
        yield target, tuple(axis for index, axis in enumerate(found.tags[source]) if index not in axes)


def _gather(node: ir.Node, found: Tags) -> Iterator[tuple[ir.Value, Tag | None]]:
    source, indices, target = need(node.inputs[0]), need(node.inputs[1]), node.outputs[0]
    rank = len(shape_of(indices))
    if rank == 1:
        yield from _alike(node, found)
    elif rank == 0 and source in found.tags:
        dropped = node.attributes.get_int("axis", 0) % len(shape_of(source))
        yield target, tuple(axis for index, axis in enumerate(found.tags[source]) if index != dropped)


def _matmul(node: ir.Node, found: Tags) -> Iterator[tuple[ir.Value, Tag | None]]:
    """A dense layer keeps all axes but the last, whose role stays although its size changes."""
    source, weights, target = need(node.inputs[0]), need(node.inputs[1]), node.outputs[0]
    if len(shape_of(weights)) == 2 and is_weight(weights):
        for known, other in ((source, target), (target, source)):
            if known in found.tags:
                yield other, _resized(found.tags[known], shape_of(other))


def _nothing(node: ir.Node, found: Tags) -> Iterator[tuple[ir.Value, Tag | None]]:
    return iter(())


_SPECIAL: dict[str, Callable[[ir.Node, Tags], Iterator[tuple[ir.Value, Tag | None]]]] = {
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Gather": _gather,
    "MatMul": _matmul,
    "Gemm": _nothing,
}
