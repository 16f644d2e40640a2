"""Groups of nodes that a target runs as one operator: an anchor, its bias and its activation.

The quantiser asks so that no quantisation is put inside a group; a writer asks to emit one operator for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from narrowcast.dialect.build import constant_of
from narrowcast.model import CHANNELS_LAST, ir
from narrowcast.targets.rules import OpRule, Target
from narrowcast.targets.spelling import weights_behind

__all__ = ["BIAS", "Group", "activation_of", "group", "groups_of", "rule_of"]

BIAS = "Add"
"""What `Target.fuses` calls the addition of a constant vector after a product with constant weights."""


@dataclass(frozen=True, slots=True)
class Group:
    """Nodes that become one operator.

    Attributes:
        anchor: the node that does the work.
        bias: the Add of a constant that follows a MatMul, or None (other anchors carry their bias as an input).
        activation: canonical name of the fused activation, as `activation_of` has it; "" for none.
        nodes: all nodes of the group in order, the anchor first.
        output: the value that leaves the group.
    """

    anchor: ir.Node
    bias: ir.Node | None
    activation: str
    nodes: tuple[ir.Node, ...]
    output: ir.Value

    @property
    def outputs(self) -> Sequence[ir.Value]:
        """All values that leave the group: several only where the anchor, which then fuses nothing, has several."""
        return (self.output,) if len(self.anchor.outputs) == 1 else self.anchor.outputs


def activation_of(node: ir.Node) -> str:
    """The canonical name of the clipping that a node is: "Relu", "Clip(0,6)", "Clip(,1)"; "" for anything else."""
    if node.domain or node.op_type not in ("Relu", "Clip"):
        return ""
    given = [value for value in node.inputs[1:3] if value is not None]
    arrays = [constant_of(value) for value in node.inputs[1:3]]
    numbers = [None if array is None or array.size != 1 else float(array.reshape(())) for array in arrays]
    if len(given) != sum(number is not None for number in numbers):
        return ""
    low, high = (*numbers, None, None)[:2]
    if node.op_type == "Relu" or (low == 0.0 and high is None):
        return "Relu"
    return f"Clip({'' if low is None else f'{low:g}'},{'' if high is None else f'{high:g}'})"


def rule_of(node: ir.Node, target: Target) -> OpRule | None:
    """The target's rule of quantisation for a node, None where it computes that in floats.

    A clip has the rule of its canonical name ("Clip(0,6)") where there is one.
    """
    if node.domain not in ("", CHANNELS_LAST):
        return target.integers.get(f"{node.domain}::{node.op_type}")
    return target.integers.get(activation_of(node)) or target.integers.get(node.op_type)


def group(anchor: ir.Node, target: Target) -> Group:
    """The group that starts at `anchor`; a group of one for a node that fuses nothing."""
    output = anchor.outputs[0]
    fuses = target.fuses.get(anchor.op_type) if len(anchor.outputs) == 1 else None
    if not fuses or anchor.domain not in ("", CHANNELS_LAST):
        return Group(anchor, None, "", (anchor,), output)
    nodes = [anchor]
    bias = None
    following = _only_consumer(output)
    if BIAS in fuses and following is not None and _is_bias(anchor, output, following):
        bias = following
        nodes.append(following)
        output = following.outputs[0]
        following = _only_consumer(output)
    activation = activation_of(following) if following is not None else ""
    if following is None or activation not in fuses:
        return Group(anchor, bias, "", tuple(nodes), output)
    return Group(anchor, bias, activation, (*nodes, following), following.outputs[0])


def groups_of(graph: ir.Graph, target: Target) -> Iterator[Group]:
    """All groups of a graph in its order; each node is in one."""
    taken: set[ir.Node] = set()
    for node in graph:
        if node not in taken:
            found = group(node, target)
            taken.update(found.nodes)
            yield found


def _only_consumer(value: ir.Value) -> ir.Node | None:
    uses = value.uses()
    if len(uses) != 1 or value.is_graph_output():
        return None
    return next(iter(uses)).node


def _is_bias(matmul: ir.Node, product: ir.Value, add: ir.Node) -> bool:
    if add.op_type != "Add" or add.domain:
        return False
    weights = weights_behind(matmul.inputs[1])
    other = add.inputs[1] if add.inputs[0] is product else add.inputs[0]
    bias = weights_behind(other)
    if weights is None or bias is None or weights.shape is None or bias.shape is None or len(weights.shape) != 2:
        return False
    return tuple(bias.shape) == (weights.shape[1],)
