"""Where a common scale would be lost on tensors of very different ranges.

What only joins, parts or moves numbers has one scale for all that it reads and writes, as wide as the widest of them.
Nothing is gained by that where a narrower tensor goes in and a narrower one is wanted at the end: a box in pixels
beside scores in [0, 1] at a float output, the state of a cell beside that of its outputs, joined here and parted there.
Such operators move floats, and each part has a scale of its own.

Where a narrow tensor is read by others too, it keeps its scale for them, and is stored anew, by the wide one, for the
operator that joins it with others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from narrowcast.model import ir
from narrowcast.quantization.members import Member
from narrowcast.targets.decide import fixed_parameters

__all__ = ["Extent", "Parts"]

APART = {"int16": 1024.0}
"""A part is another matter where another's range is so many times as wide: its steps are so many times too coarse."""
_APART = 4.0
LOST = 16.0
"""Beyond this a part of an integer output is told of: it has less than 16 of 256 steps."""


@dataclass(frozen=True, slots=True)
class Extent:
    """What shares a scale: the width of its range, and that of its narrowest tensor that others look at."""

    width: float = 0.0
    narrowest: float = np.inf

    def __or__(self, other: Extent) -> Extent:
        """That of both together."""
        return Extent(max(self.width, other.width), min(self.narrowest, other.narrowest))

    def fits(self, dtype: str) -> bool:
        """Whether one scale serves all."""
        return self.width < _apart(dtype) * self.narrowest


@dataclass(slots=True)
class Parts:
    """The candidates for integers, and what is known of their ranges.

    Attributes:
        members: in graph order, by their anchors.
        ranges: (low, high) by value name.
        integer_ports: whether inputs and outputs are integers too.
    """

    members: Mapping[ir.Node, Member]
    ranges: Mapping[str, tuple[float, float]]
    integer_ports: bool
    _makers: dict[ir.Value, Member] = field(default_factory=dict)
    _widths: dict[ir.Value, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Finds who makes what, and how wide it is."""
        self._makers = {value: member for member in self.members.values() for value in member.outputs}
        for member in self.members.values():
            for value in member.activations:
                self._widths.setdefault(value, self._observed(value, 0.0))
            made = _prescribed(member) or self._width(member.activations[0])
            self._widths.update((value, self._observed(value, made)) for value in member.outputs)

    def moved_in_float(self) -> dict[ir.Node, str]:
        """The anchors of what had better move floats than integers, with the reason in words that follow "as".

        Between floats, and by steps that are too coarse on both sides. What is not known of ranges is no reason.
        """
        rounded: dict[ir.Value, float] = {}  # the width of the range by whose steps a value was rounded, 0 for floats
        for member in self.members.values():
            fed = [rounded.setdefault(value, self._fed(value)) for value in member.activations]
            rounded.update((value, min(fed) if member.moves else self._at(value)) for value in member.outputs)
        wanted: dict[ir.Node, float] = {}  # likewise, by whose steps an operator's outputs are looked at
        found: dict[ir.Node, str] = {}
        for anchor, member in reversed([*self.members.items()]):
            if not member.moves:
                continue
            wanted[anchor] = min(self._looked_at(value, wanted) for value in member.outputs)
            narrow = max(wanted[anchor], min(rounded[value] for value in member.activations))
            wide = max(map(self._width, (*member.activations, *member.outputs)))
            if narrow == 0.0:
                found[anchor] = "it moves values from float to float"
            elif narrow * _apart(member.storage.activations) <= wide:
                found[anchor] = "its parts differ too much in range to share one scale"
        return found

    def extents(self) -> dict[ir.Value, Extent]:
        """By each value that a member reads or writes: that of all that operators of one operand make of the same."""
        roots: dict[ir.Value, ir.Value] = {}
        for member in self.members.values():
            for value in member.activations:
                roots.setdefault(value, value)
            single = member.shares and len(member.data) == 1
            roots.update((value, roots[member.activations[0]] if single else value) for value in member.outputs)
        widths: dict[ir.Value, float] = {}
        read: set[ir.Value] = set()
        for value, root in roots.items():
            widths[root] = max(widths.get(root, 0.0), self._width(value))
            readers = [self.members.get(use.node) for use in value.uses()]
            if value.is_graph_output() or any(member is None or not member.shares for member in readers):
                read.add(root)
        return {
            value: Extent(widths[root], (widths[root] if root in read else 0.0) or np.inf)
            for value, root in roots.items()
        }

    def lost(self) -> list[str]:
        """Notes on integer outputs whose one scale leaves a part of them few steps."""
        notes = []
        for member in self.members.values():
            output, widths = member.group.output, [self._at(value) for value in member.activations]
            least = min(member.activations, key=self._at)
            ratio = self._width(output) / min(widths) if member.group.anchor.op_type == "Concat" else 1.0
            if output.is_graph_output() and ratio >= LOST and member.storage.activations != "int16":
                left = f"{np.ceil(256 / ratio):.0f} of whose 256 steps are left for its part {least.name!r}"
                hint = "give the network separate outputs, or take int8, whose outputs are floats"
                notes.append(f"output {output.name!r} has one scale, {left}: {hint}")
        return notes

    def _fed(self, value: ir.Value) -> float:
        """By what an operand was rounded that no member is known to have made."""
        port = self.integer_ports and value.is_graph_input()
        return self._at(value) if port or value in self._makers else 0.0

    def _looked_at(self, value: ir.Value, wanted: Mapping[ir.Node, float]) -> float:
        readers = [use.node for use in value.uses()]
        if (value.is_graph_output() and not self.integer_ports) or any(node not in self.members for node in readers):
            return 0.0
        return min((wanted[node] if node in wanted else self._at(value) for node in readers), default=self._at(value))

    def _at(self, value: ir.Value) -> float:
        """The width of a range, infinite where it is not known or nothing."""
        return self._width(value) or np.inf

    def _width(self, value: ir.Value) -> float:
        """The width of a range with zero in it, observed or prescribed, or that of what it is made of; 0 if unknown."""
        return self._widths.get(value, 0.0)

    def _observed(self, value: ir.Value, otherwise: float) -> float:
        low, high = self.ranges.get(value.name or "", (0.0, otherwise))
        return max(high, 0.0) - min(low, 0.0)


def _prescribed(member: Member) -> float:
    """The width of what a member's kernel gives by a scale of its own; 0 where it has none."""
    if member.rule.fixed is None:
        return 0.0
    found = fixed_parameters(member.rule.fixed, member.storage.activations)
    return float(np.iinfo(found.dtype).max - np.iinfo(found.dtype).min) * found.scale


def _apart(dtype: str) -> float:
    return APART.get(dtype, _APART)
