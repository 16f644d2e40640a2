"""Groups of nodes that LiteRT runs as one operator: an anchor, its bias and its activation.

The quantiser asks so that no quantisation is put inside a group; the writer asks to emit one operator for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from narrowcast.dialect.build import constant_of, tensor_of
from narrowcast.model import ir
from narrowcast.targets.rules import OpRule, Sharing

__all__ = ["Activation", "Group", "activation_of", "group", "shares_scale", "weights_behind"]

Activation = str
"""One of "NONE", "RELU", "RELU6", "RELU_N1_TO_1": the names of the schema's ActivationFunctionType."""

FUSES_ACTIVATION = frozenset(
    {"Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "Sub", "Mul", "Div", "MaxPool", "AveragePool"}
)
_CLIPS: dict[tuple[float, float], Activation] = {(0.0, 6.0): "RELU6", (-1.0, 1.0): "RELU_N1_TO_1"}


@dataclass(frozen=True, slots=True)
class Group:
    """Nodes that become one operator.

    Attributes:
        anchor: the node that does the work.
        bias: the Add of a constant that follows a MatMul, or None (other anchors carry their bias as an input).
        activation: name of the fused activation.
        nodes: all nodes of the group in order, the anchor first.
        output: the value that leaves the group.
    """

    anchor: ir.Node
    bias: ir.Node | None
    activation: Activation
    nodes: tuple[ir.Node, ...]
    output: ir.Value

    @property
    def outputs(self) -> Sequence[ir.Value]:
        """All values that leave the group: several only where the anchor, which then fuses nothing, has several."""
        return (self.output,) if len(self.anchor.outputs) == 1 else self.anchor.outputs


def activation_of(node: ir.Node) -> Activation | None:
    """The fusable activation that a node is, or None."""
    if node.domain:
        return None
    if node.op_type == "Relu":
        return "RELU"
    if node.op_type != "Clip":
        return None
    bounds = [constant_of(value) for value in node.inputs[1:3]]
    if len(bounds) == 1:
        bounds.append(None)
    low, high = (None if bound is None else float(bound.reshape(())) for bound in bounds)
    if low == 0.0 and high is None:
        return "RELU"
    return None if low is None or high is None else _CLIPS.get((low, high))


def shares_scale(anchor: ir.Node, rule: OpRule) -> bool:
    """Whether inputs and outputs must have one scale; a Clip that is a fusable activation rescales."""
    return rule.sharing is Sharing.SAME and not (anchor.op_type == "Clip" and activation_of(anchor) is not None)


def weights_behind(value: ir.Value | None) -> ir.Value | None:
    """The initialiser that a value is, itself or behind a DequantizeLinear or a Cast; None for an activation."""
    if value is None:
        return None
    producer = value.producer()
    if producer is not None and producer.op_type in ("DequantizeLinear", "Cast"):
        value = producer.inputs[0]
    return value if tensor_of(value) is not None else None


def group(anchor: ir.Node) -> Group:
    """The group that starts at `anchor`; a group of one for a node that fuses nothing."""
    nodes = [anchor]
    output = anchor.outputs[0]
    bias = None
    following = _only_consumer(output)
    if anchor.op_type == "MatMul" and following is not None and _is_bias(anchor, output, following):
        bias = following
        nodes.append(following)
        output = following.outputs[0]
        following = _only_consumer(output)
    activation = "NONE"
    if following is not None and anchor.op_type in FUSES_ACTIVATION:
        found = activation_of(following)
        if found is not None:
            activation = found
            nodes.append(following)
            output = following.outputs[0]
    return Group(anchor, bias, activation, tuple(nodes), output)


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
