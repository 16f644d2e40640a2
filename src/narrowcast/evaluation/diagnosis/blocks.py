"""Blocks of a float graph: what a target runs as one operator, together with the activation that follows it.

Looked at one value at a time, a loss hides: rounding what a convolution gives costs little, rounding it before a SiLU
and the SiLU after it costs the network.
"""

from __future__ import annotations

from dataclasses import dataclass

from narrowcast.dialect.build import dims
from narrowcast.model import ir
from narrowcast.targets.groups import groups_of
from narrowcast.targets.rules import Target
from narrowcast.targets.spelling import is_weight

__all__ = ["Block", "blocks_of"]

ACTIVATIONS = frozenset(
    {"Clip", "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish", "PRelu", "Relu", "Selu", "Sigmoid"}
    | {"Softplus", "Softsign", "Swish", "Tanh"}
)
"""Operators that belong to what they alone follow."""


@dataclass(frozen=True, slots=True)
class Block:
    """Nodes whose loss is looked at together.

    Attributes:
        nodes: in order; the first does the work.
        outputs: the float values that leave the block.
        inner: the float values that are computed on the way, where a target could store them.
    """

    nodes: tuple[ir.Node, ...]
    outputs: tuple[ir.Value, ...]
    inner: tuple[ir.Value, ...] = ()

    @property
    def anchor(self) -> ir.Node:
        """The node that does the work."""
        return self.nodes[0]

    @property
    def key(self) -> tuple[object, ...]:
        """What two blocks have in common that may stand for one another."""
        return self.anchor.op_type, *map(dims, self.outputs)


def blocks_of(graph: ir.Graph, target: Target) -> list[Block]:
    """All blocks of a graph in its order that compute floats from what is computed or fed.

    Args:
        graph: canonical, without roundings of activations.
        target: whose groups are the least that a block holds.
    """
    made: list[Block] = []
    last: dict[ir.Value, int] = {}
    for group in groups_of(graph, target):
        outputs = tuple(value for value in group.outputs if value.dtype in (ir.DataType.FLOAT, None))
        if not outputs or all(map(is_weight, group.anchor.inputs)) or any(map(is_weight, outputs)):
            continue
        block = Block(group.nodes, outputs)
        before = _followed(block, last, made)
        if before is not None:
            first = made[before]
            block = Block((*first.nodes, *block.nodes), outputs, (*first.inner, *first.outputs, *block.inner))
            made[before] = block
            last.update(dict.fromkeys(outputs, before))
        else:
            last.update(dict.fromkeys(outputs, len(made)))
            made.append(block)
    return made


def _followed(block: Block, last: dict[ir.Value, int], made: list[Block]) -> int | None:
    """The block that this one is the activation of, which nothing else reads: f(x), or x * f(x) after f(x)."""
    anchor = block.anchor
    sources = [value for value in anchor.inputs if value is not None and not is_weight(value)]
    if not sources or anchor.domain not in ("", "narrowcast") or any(value not in last for value in sources):
        return None
    (place, *others) = {last[value] for value in sources}
    before = made[place]
    if others or len(before.outputs) != 1 or before.outputs[0].is_graph_output():
        return None
    output = before.outputs[0]
    if anchor.op_type in ACTIVATIONS and len(sources) == 1 and sources[0] is output:
        readers = {use.node for use in output.uses()}
        gated = [node for node in readers if node.op_type == "Mul" and anchor.outputs[0] in node.inputs]
        return place if readers - {anchor} == set(gated) and not _outside(anchor.outputs[0], gated) else None
    if anchor.op_type == "Mul" and len(sources) == 2 and before.inner and set(sources) == {output, before.inner[-1]}:
        return place
    return None


def _outside(value: ir.Value, gated: list[ir.Node]) -> bool:
    """Whether an activation that gates its own input is read by anything but the product."""
    return bool(gated) and (value.is_graph_output() or any(use.node not in gated for use in value.uses()))
