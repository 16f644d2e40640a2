"""BATCH_MATMUL takes its second factor transposed: a Transpose of the last two axes before it goes.

LiteRT's kernel wants that factor transposed anyhow, and turns it itself where it is not.
"""

from __future__ import annotations

from narrowcast.dialect.build import Builder, attributes_of
from narrowcast.model import ir
from narrowcast.targets.spelling import dequantizer, is_weight

__all__ = ["TURNED", "absorb_transposes"]

TURNED = "transB"
"""The attribute of a MatMul in a graph about to be written that says that its second factor is transposed."""


def absorb_transposes(graph: ir.Graph) -> None:
    """Lets each MatMul of a laid-out graph read what is before such a Transpose, of floats or of integers."""
    for node in list(graph):
        if node.op_type != "MatMul" or node.domain or is_weight(node.inputs[0]):
            continue
        factor = node.inputs[1]
        step = dequantizer(factor)
        turned = factor if step is None else step.inputs[0]
        turn = turned.producer() if turned is not None else None
        source = turn.inputs[0] if turn is not None else None
        if turn is None or source is None or is_weight(source) or not _swaps_last(turn):
            continue
        if step is not None and factor is not None:
            source = _dequantized(graph, step, source)
        node.replace_input_with(1, source)
        node.attributes[TURNED] = ir.AttrInt64(TURNED, 1)
        for unread in (step, turn):
            if unread is not None and not unread.outputs[0].uses() and not unread.outputs[0].is_graph_output():
                graph.remove(unread, safe=True)


def _swaps_last(turn: ir.Node) -> bool:
    perm = list(turn.attributes.get_ints("perm", ()))
    rank = len(perm)
    return turn.op_type == "Transpose" and not turn.domain and perm == [*range(rank - 2), rank - 1, rank - 2]


def _dequantized(graph: ir.Graph, step: ir.Node, source: ir.Value) -> ir.Value:
    """Other integers, dequantised as `step` does."""
    build = Builder(graph, anchor=step)
    name = f"{step.outputs[0].name}/turned"
    made: ir.Value = build("DequantizeLinear", source, *step.inputs[1:], name=name, **attributes_of(step))
    made.type, made.shape = step.outputs[0].type, source.shape
    return made
