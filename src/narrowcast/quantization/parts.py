"""Operators at inputs and outputs that join or part tensors of very different ranges.

A Concat demands one scale for all that it joins. Where its output is handed out in float, as boxes in pixels beside
scores in [0, 1] are, nothing is gained by that: each part keeps a scale of its own, and floats are joined. A Split of
what is fed in float likewise. Operators that only move values between them and the port go along.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from narrowcast.model import ir
from narrowcast.quantization.members import Member
from narrowcast.targets.decide import fixed_parameters

__all__ = ["Parts"]

APART = {"int16": 1024.0}
"""A part is another matter where another's range is so many times as wide: its steps are so many times too coarse."""
_APART = 4.0
LOST = 16.0
"""Beyond this a part of an integer output is told of: it has less than 16 of 256 steps."""


@dataclass(slots=True)
class Parts:
    """The candidates for integers, and what is known of their ranges.

    Attributes:
        members: in graph order, by their anchors.
        ranges: (low, high) by value name.
    """

    members: Mapping[ir.Node, Member]
    ranges: Mapping[str, tuple[float, float]]
    _makers: dict[ir.Value, Member] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Finds who makes what."""
        self._makers = {value: member for member in self.members.values() for value in member.outputs}

    def joined_apart(self) -> set[ir.Node]:
        """The anchors before float outputs that join parts of different ranges, or hand on what was so joined."""
        before_port: set[ir.Node] = set()
        for anchor, member in reversed(list(self.members.items())):
            readers = [use.node for value in member.outputs for use in value.uses()]
            if member.shares and all(node not in self.members or node in before_port for node in readers):
                before_port.add(anchor)
        found: set[ir.Node] = set()
        for anchor, member in self.members.items():
            makers = [self._makers[value].group.anchor for value in member.activations if value in self._makers]
            inside = not found.isdisjoint(makers)
            if anchor in before_port and (inside or self._ratio(member) >= _apart(member)):
                found.add(anchor)
        return found

    def parted_apart(self) -> set[ir.Node]:
        """The anchors behind float inputs that cut out parts of smaller ranges, or hand on what is so cut."""
        behind_port: set[ir.Node] = set()
        for anchor, member in self.members.items():
            source = member.activations[0]
            maker = self._makers.get(source)
            fed = source.is_graph_input() or (maker is not None and maker.group.anchor in behind_port)
            if fed and member.shares and len(member.data) == 1:
                behind_port.add(anchor)
        found: set[ir.Node] = set()
        for anchor, member in reversed(list(self.members.items())):
            outside = any(use.node in found for value in member.outputs for use in value.uses())
            narrow = min((self._span(value) for value in member.outputs), default=0.0)
            apart = narrow > 0 and self._span(member.activations[0]) >= _apart(member) * narrow
            if anchor in behind_port and (outside or apart):
                found.add(anchor)
        return found

    def lost(self) -> list[str]:
        """Notes on integer outputs whose one scale leaves a part of them few steps."""
        notes = []
        for member in self.members.values():
            output, ratio = member.group.output, self._ratio(member)
            if output.is_graph_output() and ratio >= LOST and member.storage.activations != "int16":
                least = min(member.activations, key=lambda value: self._span(value) or np.inf)
                left = f"{np.ceil(256 / ratio):.0f} of whose 256 steps are left for its part {least.name!r}"
                hint = "give the network separate outputs, or take int8, whose outputs are floats"
                notes.append(f"output {output.name!r} has one scale, {left}: {hint}")
        return notes

    def _ratio(self, member: Member) -> float:
        """How many times as wide as the narrowest the widest of the joined parts is; 1 where nothing is joined."""
        spans = [span for value in member.activations if (span := self._span(value)) > 0]
        return max(spans) / min(spans) if spans and member.group.anchor.op_type == "Concat" else 1.0

    def _span(self, value: ir.Value) -> float:
        """The width of a range with zero in it, observed or prescribed; 0 where it is not known."""
        while (value.name or "") not in self.ranges:
            member = self._makers.get(value)
            if member is None:
                return 0.0
            if member.rule.fixed is not None:
                found = fixed_parameters(member.rule.fixed, member.storage.activations)
                return float(np.iinfo(found.dtype).max - np.iinfo(found.dtype).min) * found.scale
            value = member.activations[0]
        low, high = self.ranges[value.name or ""]
        return max(high, 0.0) - min(low, 0.0)


def _apart(member: Member) -> float:
    return APART.get(member.storage.activations, _APART)
