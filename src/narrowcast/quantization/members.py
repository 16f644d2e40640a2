"""`Member`: a group of nodes that computes in integers, as the quantiser sees it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from narrowcast.dialect.build import constant_of
from narrowcast.model import Array, ir
from narrowcast.targets.groups import Group
from narrowcast.targets.rules import OpRule, Sharing, Storage
from narrowcast.targets.spelling import is_weight

__all__ = ["HUGE", "Member", "Stored"]

HUGE = 1e30
"""Numbers beyond this are padding before a maximum, the lowest of all, and need not be held."""

Stored = tuple[ir.Value, str]
"""A quantised activation: the float value and the type that it is stored by."""


@dataclass(frozen=True, slots=True)
class Member:
    """An integer group, its rule, its storage and the inputs of its anchor that are quantised as activations."""

    group: Group
    rule: OpRule
    data: tuple[int, ...]
    storage: Storage

    @property
    def outputs(self) -> tuple[ir.Value, ...]:
        """The float values that leave the group."""
        return tuple(value for value in self.group.outputs if value.dtype is ir.DataType.FLOAT)

    @property
    def activations(self) -> tuple[ir.Value, ...]:
        """The quantised inputs that are computed or fed."""
        inputs = (self.group.anchor.inputs[index] for index in self.data)
        return tuple(value for value in inputs if value is not None and not is_weight(value))

    @property
    def constants(self) -> tuple[ir.Value, ...]:
        """The quantised inputs that are initialisers."""
        inputs = (self.group.anchor.inputs[index] for index in self.data)
        return tuple(value for value in inputs if value is not None and is_weight(value))

    @property
    def written(self) -> tuple[Array, ...]:
        """The numbers that the group's anchor puts beside its inputs: constant operands, and what a Pad writes."""
        anchor = self.group.anchor
        arrays = [constant_of(value) for value in self.constants]
        if anchor.op_type == "Pad" and len(anchor.inputs) > 2:
            arrays.append(constant_of(anchor.inputs[2]))
        return tuple(
            array
            for array in arrays
            if array is not None and array.dtype.kind == "f" and np.abs(array).max(initial=0.0) < HUGE
        )

    @property
    def weights(self) -> Array | None:
        """The constant weights that the group's products have, before they are stored."""
        place = self.rule.weights
        return None if place is None or place[0] in self.data else constant_of(self.group.anchor.inputs[place[0]])

    @property
    def shares(self) -> bool:
        """Whether inputs and outputs must have one scale."""
        return self.rule.sharing is Sharing.SAME

    @property
    def moves(self) -> bool:
        """Whether what comes out is only what goes in."""
        return self.shares and (len(self.data) == 1 or self.group.anchor.op_type == "Concat")

    def stored(self, value: ir.Value) -> Stored:
        """A value as this group reads or writes it."""
        return value, self.storage.activations
