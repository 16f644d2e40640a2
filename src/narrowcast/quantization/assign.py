"""Decides who computes in integers, and which tensors share a scale.

1. A group of nodes that the target fuses is integer where `targets.decide` finds a kernel for it in the storage that
   the scheme, or an override by name, gives it, and `kept` knows no reason against it.
2. Operators that only move values stay in float between floats, where they would cost two conversions, and wherever one
   scale for all that they move would be too coarse on both sides (`parts`).
3. Tensors of operators that demand equal scales form one slot, whose range is the union of theirs. What would be read
   too coarsely elsewhere by the scale of those that it is joined with keeps its own, and is requantised on that edge.
4. A tensor whose scale is prescribed is pinned to it; operators that only move it pass the scale on, if that holds the
   numbers that they write themselves; where it meets others in an operator that demands equal scales, it is
   requantised on that edge.
5. Cells that are written out stay in float, and so do layers of a few rows beside recurrent ones, but for their
   weights (`recurrence`).
6. Where neighbours are stored by different types, the tensor between them is stored by both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from narrowcast.dialect.build import constant_of
from narrowcast.model import Model, ir
from narrowcast.quantization.kept import kept_in_float, positions
from narrowcast.quantization.members import Member, Stored
from narrowcast.quantization.overrides import Choice
from narrowcast.quantization.parts import Extent, Parts
from narrowcast.quantization.recurrence import cells, few_rows, has_layers
from narrowcast.targets.decide import decide, fixed_parameters
from narrowcast.targets.groups import groups_of
from narrowcast.targets.rules import Target
from narrowcast.targets.spelling import Parameters

__all__ = ["Assignment", "Island", "assign"]


@dataclass(frozen=True, slots=True)
class Island:
    """A node that stays in float.

    Attributes:
        node: the anchor of its group.
        why: in words that follow "as".
        able: whether the target has integers for its operator.
    """

    node: ir.Node
    why: str
    able: bool


@dataclass(slots=True)
class Assignment:
    """Who is integer, and by which scale.

    Attributes:
        members: the integer groups in graph order.
        islands: the nodes in graph order that compute floats.
        pinned: activations whose scale is prescribed.
        rows: the islands whose weights become integers, beside activations that are quantised as they come.
        notes: for the user.
        extents: of values by themselves.
    """

    members: list[Member] = field(default_factory=list)
    islands: list[Island] = field(default_factory=list)
    pinned: dict[Stored, Parameters] = field(default_factory=dict)
    rows: list[ir.Node] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    extents: Mapping[ir.Value, Extent] = field(default_factory=dict)
    _parent: dict[Stored, Stored] = field(default_factory=dict)
    _extents: dict[Stored, Extent] = field(default_factory=dict)

    def slot(self, stored: Stored) -> Stored:
        """The representative of all activations that share the scale."""
        root = stored
        while (parent := self._parent.get(root, root)) is not root:
            root = parent
        while stored is not root:
            self._parent[stored], stored = root, self._parent.get(stored, root)
        return root

    def join(self, first: Stored, second: Stored) -> None:
        """Lets two activations share a scale."""
        root, other = self.slot(first), self.slot(second)
        if root != other:
            self._extents[other] = self.extent(root) | self.extent(other)
            self._parent[root] = other

    def extent(self, stored: Stored) -> Extent:
        """That of all activations that share the scale."""
        slot = self.slot(stored)
        return self._extents.get(slot) or self.extents.get(slot[0], Extent())

    @property
    def stored(self) -> list[Stored]:
        """All quantised activations, in graph order, without the pinned ones."""
        found: dict[Stored, None] = {}
        for member in self.members:
            found.update(dict.fromkeys(map(member.stored, (*member.activations, *member.outputs))))
        return [stored for stored in found if stored not in self.pinned]


def assign(
    model: Model,
    target: Target,
    choice: Choice,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    *,
    integer_ports: bool = False,
) -> Assignment:
    """Assigns a canonical float model.

    Args:
        model: canonical and decomposed for the target.
        target: its rules.
        choice: how each group is to be stored.
        ranges: (low, high) by value name, where they are known; cases 2 and 3 need them.
        integer_ports: whether inputs and outputs are integers too.
    """
    found = Assignment()
    exact = positions(model.graph)
    kept = kept_in_float(model.graph, target, exact)
    going_on = cells(model.graph)
    candidates: dict[ir.Node, Member] = {}
    reasons: dict[ir.Node, Island] = {}
    for grouped in groups_of(model.graph, target):
        stored = choice.of(grouped.nodes)
        verdict = decide(grouped, target, stored)
        why = verdict.why or next((kept[node] for node in grouped.nodes if node in kept), "")
        if not why and stored.activations != "int16" and not going_on.isdisjoint(grouped.nodes):
            why = "what a cell adds up from step to step needs more than 8 bits"
        if not why and verdict.rule is not None:
            candidates[grouped.anchor] = Member(grouped, verdict.rule, verdict.data, stored)
        elif any(value.dtype is ir.DataType.FLOAT for value in grouped.anchor.outputs):
            reasons[grouped.anchor] = Island(grouped.anchor, why, verdict.rule is not None)
    if going_on or has_layers(model.graph):
        for anchor, product in few_rows(candidates, integer_ports=integer_ports).items():
            del candidates[anchor]
            reasons[anchor] = Island(anchor, "it is no faster in integers beside a recurrent layer", True)
            found.rows += [anchor] if product else []
    parts = Parts(candidates, ranges or {}, integer_ports)
    for anchor, why in parts.moved_in_float().items():
        del candidates[anchor]
        reasons[anchor] = Island(anchor, why, True)
    if integer_ports:
        found.notes = Parts(candidates, ranges or {}, integer_ports).lost() + [
            f"input {value.name!r} is a position, a count or a phase, and is rounded to an integer of 8 bits: "
            "take the scheme int8, whose inputs are floats"
            for value in model.graph.inputs
            if value in exact
        ]
    found.islands = list(reasons.values())
    found.members = list(candidates.values())
    found.extents = Parts(candidates, ranges or {}, integer_ports).extents()
    for member in found.members:
        _tie(member, found)
    return found


def _tie(member: Member, found: Assignment) -> None:
    """Cases 3 and 4."""
    outputs, inputs = [*map(member.stored, member.outputs)], [*map(member.stored, member.activations)]
    if member.rule.fixed is not None:
        found.pinned.update(dict.fromkeys(outputs, fixed_parameters(member.rule.fixed, member.storage.activations)))
        return
    if not member.shares:
        return
    scales = {found.pinned.get(stored) for stored in inputs}
    only = scales.pop() if len(scales) == 1 else None
    if only is not None and _holds(only, member):
        found.pinned.update(dict.fromkeys(outputs, only))
        return
    tied = [stored for stored in (*outputs, *inputs) if stored not in found.pinned]
    for stored in tied[1:]:
        if len(inputs) == 1 or (found.extent(stored) | found.extent(tied[0])).fits(stored[1]):
            found.join(stored, tied[0])


def _holds(fixed: Parameters, member: Member) -> bool:
    """Whether a prescribed scale represents, to half a step, what the group makes of numbers in that scale's range."""
    scale, info = fixed.scale, np.iinfo(fixed.dtype)
    lowest, highest = (info.min - fixed.zero_point) * scale, (info.max - fixed.zero_point) * scale
    made = [np.array([lowest, highest]), *member.written]
    anchor = member.group.anchor
    if anchor.op_type == "Clip":
        low, high = (constant_of(value) for value in (*anchor.inputs[1:], None, None)[:2])
        made = [np.clip(made[0], low, high)] if low is not None or high is not None else made
    return all(
        array.min(initial=lowest) >= lowest - scale / 2 and array.max(initial=highest) <= highest + scale / 2
        for array in made
    )
