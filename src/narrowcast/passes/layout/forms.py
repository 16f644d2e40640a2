"""How a tensor is stored: the algebra under the layout pass.

A tensor's *logical* shape is what the canonical graph says. Each logical axis is made of *atoms*, factors with a role:
batch, channel or spatial. An axis usually is one atom; `Reshape` splits and merges them, so the axis that a Flatten
makes of [N, C, H, W] has the atoms C, H, W. A tensor whose atoms are known is *tagged*, and has two storage forms:

- channels first: batch axes, channel axes, spatial axes;
- channels last: batch axes, spatial axes, channel axes; within a merged axis, spatial atoms before channel atoms.

A `Form` spells a storage as a permutation of the axes after an optional reordering of the atoms inside each axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from narrowcast.model import Array

__all__ = ["Atom", "Axis", "Form", "Inner", "Role", "Tag", "forms_of", "identity", "match_atoms", "signature"]


class Role(Enum):
    """What an atom of an axis counts."""

    BATCH = "N"
    CHANNEL = "C"
    SPATIAL = "S"


Atom: TypeAlias = tuple[int, Role]
Axis: TypeAlias = tuple[Atom, ...]
Tag: TypeAlias = tuple[Axis, ...]
Inner: TypeAlias = tuple[tuple[int, ...], tuple[int, ...]]
"""Sizes of an axis' atoms in logical order, and the order in which they are stored."""


@dataclass(frozen=True, slots=True)
class Form:
    """A storage order.

    Attributes:
        perm: stored axis i is logical axis `perm[i]`.
        inner: for each *logical* axis the reordering of its atoms, or None.
    """

    perm: tuple[int, ...]
    inner: tuple[Inner | None, ...]

    @property
    def is_identity(self) -> bool:
        """Whether the tensor is stored as the canonical graph has it."""
        return self.perm == tuple(range(len(self.perm))) and not any(self.inner)

    @property
    def is_plain(self) -> bool:
        """Whether only whole axes move."""
        return not any(self.inner)

    def stored_axis(self, axis: int) -> int:
        """Where logical `axis` is stored."""
        return self.perm.index(axis)

    def shape(self, logical: Sequence[int]) -> tuple[int, ...]:
        """The stored shape of a tensor of shape `logical`."""
        return tuple(logical[axis] for axis in self.perm)

    def apply(self, array: Array) -> Array:
        """Stores `array`, whose axes are the logical ones or 1 where it is broadcast."""
        for axis, inner in enumerate(self.inner):
            if inner is None or array.shape[axis] == 1:
                continue
            sizes, order = inner
            before, after = array.shape[:axis], array.shape[axis + 1 :]
            atoms = array.reshape(*before, *sizes, *after)
            moved = [*range(axis), *(axis + i for i in order), *range(axis + len(sizes), atoms.ndim)]
            array = atoms.transpose(moved).reshape(array.shape)
        return array.transpose(self.perm)

    def broadcast(self, shape: Sequence[int]) -> Form:
        """The form for an operand of the same rank in which some axes have size 1."""
        if not any(self.inner):
            return self
        return Form(self.perm, tuple(None if shape[axis] == 1 else inner for axis, inner in enumerate(self.inner)))


def identity(rank: int) -> Form:
    """The form of a tensor stored as the canonical graph has it."""
    return Form(tuple(range(rank)), (None,) * rank)


def _role(axis: Axis) -> Role | None:
    roles = {role for _, role in axis}
    return roles.pop() if len(roles) == 1 else None


def forms_of(tag: Tag) -> tuple[Form, Form] | None:
    """The channels-first and the channels-last form of a tagged tensor.

    None where the tag says nothing useful: neither form is the identity, or a batch atom is merged with others.
    """
    roles = [_role(axis) for axis in tag]
    merged = [
        _inner(axis) if role is None and all(atom[1] is not Role.BATCH for atom in axis) else None
        for axis, role in zip(tag, roles, strict=True)
    ]
    if any(role is None and inner is None for role, inner in zip(roles, merged, strict=True)):
        return None
    if any(merged) and any(role in (Role.CHANNEL, Role.SPATIAL) for role in roles):
        return None
    rank = range(len(tag))
    batch = [i for i in rank if roles[i] is Role.BATCH]
    channel = [i for i in rank if roles[i] is Role.CHANNEL]
    rest = [i for i in rank if roles[i] not in (Role.BATCH, Role.CHANNEL)]
    none: tuple[Inner | None, ...] = (None,) * len(tag)
    first = Form((*batch, *channel, *rest), none)
    last = Form((*batch, *rest, *channel), tuple(merged))
    return (first, last) if first.is_identity or last.is_identity else None


def _inner(axis: Axis) -> Inner | None:
    sizes = tuple(size for size, _ in axis)
    order = sorted(range(len(axis)), key=lambda i: axis[i][1] is Role.CHANNEL)
    return (sizes, tuple(order))


def match_atoms(atoms: Sequence[Atom], shape: Sequence[int]) -> Tag | None:
    """Distributes atoms, in order, over the axes of `shape`, splitting an atom where an axis ends within it.

    None where an axis boundary cannot be put between factors. Axes of size 1 that no atom accounts for take the role
    of their left neighbour if that is a batch or spatial one, spatial otherwise.
    """
    pending = [atom for atom in atoms if atom[0] != 1]
    tag: list[Axis] = []
    position = 0
    rest: Atom | None = None
    for dim in shape:
        axis: list[Atom] = []
        need = dim
        while need > 1:
            if rest is None:
                if position == len(pending):
                    return None
                rest = pending[position]
                position += 1
            size, role = rest
            if need % size == 0:
                axis.append(rest)
                need //= size
                rest = None
            elif size % need == 0:
                axis.append((need, role))
                rest = (size // need, role)
                need = 1
            else:
                return None
        tag.append(tuple(axis))
    if position != len(pending) or rest is not None:
        return None
    return _fill_units(tag, atoms)


def _fill_units(tag: list[Axis], atoms: Sequence[Atom]) -> Tag:
    """Gives axes of size 1 a role: those of the source's leading batch atoms first, a channel if it has none left."""
    units = [role for size, role in atoms if size == 1]
    filled: list[Axis] = []
    for index, axis in enumerate(tag):
        if axis:
            filled.append(axis)
            continue
        role = units.pop(0) if units else Role.SPATIAL
        if role is Role.BATCH and index > 0 and filled[-1][0][1] is not Role.BATCH:
            role = Role.SPATIAL
        filled.append(((1, role),))
    return tuple(filled)


def signature(shape: Sequence[int], strides: Sequence[int], form: Form) -> tuple[tuple[int, int], ...]:
    """Identifies the order of elements in memory, whatever shape is laid over it.

    Args:
        shape: logical shape.
        strides: for each logical axis the step of its index in some common linear index.
        form: how the tensor is stored.

    Returns:
        (size, stride) of the stored axes, outermost first, without sizes of 1, contiguous neighbours merged. Two
        tensors with equal signatures hold the same bytes.
    """
    factors: list[tuple[int, int]] = []
    for axis in form.perm:
        inner = form.inner[axis]
        if inner is None:
            factors.append((shape[axis], strides[axis]))
            continue
        sizes, order = inner
        steps = [strides[axis] * math.prod(sizes[i + 1 :]) for i in range(len(sizes))]
        factors.extend((sizes[i], steps[i]) for i in order)
    merged: list[tuple[int, int]] = []
    for size, stride in factors:
        if size == 1:
            continue
        if merged and merged[-1][1] == stride * size:
            merged[-1] = (merged[-1][0] * size, stride)
        else:
            merged.append((size, stride))
    return tuple(merged)
