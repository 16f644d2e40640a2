"""Decides who computes in integers, and which tensors share a scale.

1. A group of nodes that the target fuses is integer if the target has a kernel for it and its weights are constant.
2. Operators that only move values are integer where a neighbour is: alone they would cost two conversions.
3. Tensors of operators that demand equal scales form one slot, whose range is the union of theirs.
4. A tensor whose scale is prescribed is pinned to it; operators that only move it pass the scale on, if that holds the
   numbers that they write themselves; where it meets others in an operator that demands equal scales, it is
   requantised on that edge.
5. What is masked by adding numbers without bound, as scores are before a Softmax, stays in float: no step could tell
   the others apart.
6. A normalisation by the root of a mean square stays in float from its input to its quotient: a variance spans more
   than the steps of 8 bits, and one that is rounded to 0 divides by 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from narrowcast.dialect.build import constant_of
from narrowcast.model import Array, Model, ir
from narrowcast.quantization.parameters import fixed_parameters
from narrowcast.targets.groups import Group, group, rule_of
from narrowcast.targets.rules import FixedScale, OpRule, Sharing, Storage, Target
from narrowcast.targets.spelling import Parameters, weights_behind

__all__ = ["Assignment", "Member", "assign"]

HUGE = 1e30
"""Numbers beyond this are padding before a maximum, the lowest of all, and need not be held."""
UNBOUNDED = 1e6
"""An operand beyond this stands for infinity: in 8 bits its step would be 8000."""
_ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Div", "Where"})


@dataclass(frozen=True, slots=True)
class Member:
    """An integer group, its rule and the inputs of its anchor that are quantised as activations."""

    group: Group
    rule: OpRule
    data: tuple[int, ...]

    @property
    def outputs(self) -> tuple[ir.Value, ...]:
        """The float values that leave the group."""
        return tuple(value for value in self.group.outputs if value.dtype is ir.DataType.FLOAT)

    @property
    def activations(self) -> tuple[ir.Value, ...]:
        """The quantised inputs that are computed or fed."""
        inputs = (self.group.anchor.inputs[index] for index in self.data)
        return tuple(value for value in inputs if value is not None and constant_of(value) is None)

    @property
    def constants(self) -> tuple[ir.Value, ...]:
        """The quantised inputs that are initialisers."""
        inputs = (self.group.anchor.inputs[index] for index in self.data)
        return tuple(value for value in inputs if value is not None and constant_of(value) is not None)

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
    def shares(self) -> bool:
        """Whether inputs and outputs must have one scale."""
        return self.rule.sharing is Sharing.SAME


@dataclass(slots=True)
class Assignment:
    """Who is integer, and by which scale.

    Attributes:
        members: the integer groups in graph order.
        islands: nodes that stay in float, with the operator's name.
        pinned: values whose scale is prescribed.
    """

    members: list[Member] = field(default_factory=list)
    islands: list[tuple[str, str]] = field(default_factory=list)
    pinned: dict[ir.Value, FixedScale] = field(default_factory=dict)
    _parent: dict[ir.Value, ir.Value] = field(default_factory=dict)

    def slot(self, value: ir.Value) -> ir.Value:
        """The representative of all values that share the value's scale."""
        root = value
        while (parent := self._parent.get(root, root)) is not root:
            root = parent
        while value is not root:
            self._parent[value], value = root, self._parent.get(value, root)
        return root

    def join(self, first: ir.Value, second: ir.Value) -> None:
        """Lets two values share a scale."""
        self._parent[self.slot(first)] = self.slot(second)

    @property
    def values(self) -> list[ir.Value]:
        """All quantised activations, in graph order, without the pinned ones."""
        found: dict[ir.Value, None] = {}
        for member in self.members:
            found.update(dict.fromkeys((*member.activations, *member.outputs)))
        return [value for value in found if value not in self.pinned]


def assign(model: Model, target: Target, storage: Storage, *, integer_ports: bool = False) -> Assignment:
    """Assigns a canonical float model.

    Args:
        model: canonical and decomposed for the target.
        target: its rules.
        storage: of the scheme, with integer activations.
        integer_ports: whether inputs and outputs are integers too.
    """
    found = Assignment()
    candidates: dict[ir.Node, Member] = {}
    unbounded: set[ir.Value] = set()
    for grouped in _groups(model.graph, target):
        member = None if _unbounded(grouped, target, unbounded) else _member(grouped, target, storage)
        if member is not None:
            candidates[grouped.anchor] = member
        elif any(value.dtype is ir.DataType.FLOAT for value in grouped.anchor.outputs):
            found.islands.append((grouped.anchor.name or "", grouped.anchor.op_type))
    for root in [node for node in model.graph if node.op_type == "Sqrt"]:
        for node in _normalisation(root):
            if candidates.pop(node, None) is not None:
                found.islands.append((node.name or "", node.op_type))
    _demote_movers(candidates, target, integer_ports=integer_ports)
    found.members = list(candidates.values())
    for member in found.members:
        _tie(member, found, storage)
    return found


def _groups(graph: ir.Graph, target: Target) -> Iterator[Group]:
    taken: set[ir.Node] = set()
    for node in graph:
        if node in taken:
            continue
        grouped = group(node, target)
        taken.update(grouped.nodes)
        yield grouped


def _member(grouped: Group, target: Target, storage: Storage) -> Member | None:
    anchor = grouped.anchor
    rule = rule_of(anchor, target)
    if rule is None or not (rule.int16 if storage.activations == "int16" else rule.int8):
        return None
    data = rule.data if rule.data is not None else tuple(range(len(anchor.inputs)))
    if rule.weights is not None and weights_behind(anchor.inputs[rule.weights[0]]) is not None:
        data = tuple(index for index in data if index != rule.weights[0])
        if anchor.op_type == "MatMul" and len(_shape(anchor.inputs[1])) != 2:
            data = (0, 1)
    elif rule.weights is not None and anchor.op_type != "MatMul":
        return None
    bias = anchor.inputs[rule.bias] if rule.bias is not None and len(anchor.inputs) > rule.bias else None
    if bias is not None and constant_of(bias) is None:
        return None
    if anchor.op_type in ("Conv", "ConvTranspose") and len(_shape(anchor.inputs[0])) > 4:
        return None
    member = Member(grouped, rule, data)
    floats = [anchor.inputs[index] for index in data]
    if not member.activations or any(value is None or value.dtype is not ir.DataType.FLOAT for value in floats):
        return None
    return member


def _unbounded(grouped: Group, target: Target, found: set[ir.Value]) -> bool:
    """Case 5: whether a group reads or adds numbers without bound; what carries them on is noted."""
    inputs = [value for node in grouped.nodes for value in node.inputs if value is not None]
    reads = not found.isdisjoint(inputs)
    operator = grouped.anchor.op_type if not grouped.anchor.domain else ""
    if not reads and operator in _ARITHMETIC:
        arrays = [constant_of(value) for value in inputs]
        reads = any(array is not None and array.dtype.kind == "f" and _beyond(array) for array in arrays)
    rule = rule_of(grouped.anchor, target)
    if reads and (operator in _ARITHMETIC or (rule is not None and rule.sharing is Sharing.SAME)):
        found.add(grouped.output)
        found.update(grouped.anchor.outputs)
    return reads


def _beyond(array: Array) -> bool:
    return bool(max(array.max(initial=0.0), -array.min(initial=0.0)) > UNBOUNDED)


def _normalisation(root: ir.Node) -> list[ir.Node]:
    """Case 6: from x or its mean to the quotient, around the root of a mean square; nothing around other roots.

    (x - mean(x)) / sqrt(mean((x - mean(x))^2) + epsilon), with or without the means.
    """
    found, value = [root], root.inputs[0]
    while (node := value.producer() if value is not None else None) is not None and node.op_type in ("Add", "Reshape"):
        found.append(node)
        value = next((item for item in node.inputs if item is not None and constant_of(item) is None), None)
    if node is None or node.op_type not in ("ReduceMean", "ReduceSum"):
        return []
    square = node.inputs[0].producer() if node.inputs[0] is not None else None
    if square is None or square.op_type != "Mul" or square.inputs[0] is not square.inputs[1]:
        return []
    found += [node, square]
    difference = square.inputs[0].producer() if square.inputs[0] is not None else None
    if difference is not None and difference.op_type == "Sub":
        mean = difference.inputs[1].producer() if difference.inputs[1] is not None else None
        found += [difference, *([mean] if mean is not None and mean.op_type == "ReduceMean" else [])]
    readers = [use.node for output in found[0].outputs for use in output.uses()]
    return found + [reader for reader in readers if reader.op_type in ("Div", "Reciprocal")]


def _shape(value: ir.Value | None) -> tuple[object, ...]:
    return tuple(value.shape) if value is not None and value.shape is not None else ()


def _demote_movers(candidates: dict[ir.Node, Member], target: Target, *, integer_ports: bool) -> None:
    """Case 2: drops movers whose neighbours are all float, until none is left."""
    queue = [anchor for anchor, member in candidates.items() if _moves(member)]
    while queue:
        dropped: list[ir.Node] = []
        for anchor in queue:
            member = candidates.get(anchor)
            if member is None or _has_integer_neighbour(member, candidates, target):
                continue
            if integer_ports and (
                any(value.is_graph_input() for value in member.activations)
                or any(value.is_graph_output() for value in member.outputs)
            ):
                continue
            del candidates[anchor]
            for value in (*member.activations, *member.outputs):
                around = [value.producer(), *(use.node for use in value.uses())]
                dropped.extend(node for node in around if node is not None and node in candidates)
        queue = [node for node in dropped if node in candidates and _moves(candidates[node])]


def _moves(member: Member) -> bool:
    return member.shares and len(member.data) == 1


def _has_integer_neighbour(member: Member, candidates: dict[ir.Node, Member], target: Target) -> bool:
    """Whether a neighbour is integer."""
    if any(use.node in candidates for value in member.outputs for use in value.uses()):
        return True
    return any(_anchor_of(value, target) in candidates for value in member.activations)


def _anchor_of(value: ir.Value, target: Target) -> ir.Node | None:
    """The anchor of the group that a value leaves: an activation or a bias may stand between."""
    node = value.producer()
    for _ in range(2):
        source = (
            next((item for item in node.inputs if item is not None and constant_of(item) is None), None)
            if node
            else None
        )
        before = source.producer() if source is not None else None
        if node is not None and before is not None and node in group(before, target).nodes:
            node = before
    return node


def _tie(member: Member, found: Assignment, storage: Storage) -> None:
    """Cases 3 and 4."""
    if member.rule.fixed is not None:
        for value in member.outputs:
            found.pinned[value] = member.rule.fixed
        return
    if not member.shares:
        return
    scales = {found.pinned.get(value) for value in member.activations}
    only = scales.pop() if len(scales) == 1 else None
    if only is not None and _holds(fixed_parameters(only, storage.activations), member):
        for value in member.outputs:
            found.pinned[value] = only
        return
    tied = [value for value in (*member.outputs, *member.activations) if value not in found.pinned]
    for value in tied[1:]:
        found.join(value, tied[0])


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
