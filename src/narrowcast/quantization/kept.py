"""What stays in float although the target has integers for it, because no scale would hold it.

1. Scores that are masked by adding numbers without bound, as before a Softmax: no step could tell the others apart.
2. A normalisation by the root of a mean square, from its input to its quotient: a variance spans more than the steps of
   8 bits, and one that is rounded to 0 divides by 0.
"""

from __future__ import annotations

from narrowcast.dialect.build import constant_of
from narrowcast.model import Array, ir
from narrowcast.targets.groups import Group, groups_of, rule_of
from narrowcast.targets.rules import Sharing, Target

__all__ = ["kept_in_float"]

UNBOUNDED = 1e6
"""An operand beyond this stands for infinity: in 8 bits its step would be 8000."""
_ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Div", "Where"})


def kept_in_float(graph: ir.Graph, target: Target) -> dict[ir.Node, str]:
    """The nodes of a float graph that stay in float, each with the reason in words that follow "as"."""
    kept: dict[ir.Node, str] = {}
    unbounded: set[ir.Value] = set()
    for found in groups_of(graph, target):
        if _unbounded(found, target, unbounded):
            kept[found.anchor] = "it computes with numbers without bound, such as a mask's"
    for root in [node for node in graph if node.op_type == "Sqrt"]:
        kept.update(dict.fromkeys(_normalisation(root), "a variance needs more than 8 bits"))
    return kept


def _unbounded(found: Group, target: Target, unbounded: set[ir.Value]) -> bool:
    """Case 1: whether a group reads or adds numbers without bound; what carries them on is noted."""
    inputs = [value for node in found.nodes for value in node.inputs if value is not None]
    reads = not unbounded.isdisjoint(inputs)
    operator = found.anchor.op_type if not found.anchor.domain else ""
    if not reads and operator in _ARITHMETIC:
        arrays = [constant_of(value) for value in inputs]
        reads = any(array is not None and array.dtype.kind == "f" and _beyond(array) for array in arrays)
    rule = rule_of(found.anchor, target)
    if reads and (operator in _ARITHMETIC or (rule is not None and rule.sharing is Sharing.SAME)):
        unbounded.add(found.output)
        unbounded.update(found.anchor.outputs)
    return reads


def _beyond(array: Array) -> bool:
    return bool(max(array.max(initial=0.0), -array.min(initial=0.0)) > UNBOUNDED)


def _normalisation(root: ir.Node) -> list[ir.Node]:
    """Case 2: from x or its mean to the quotient, around the root of a mean square; nothing around other roots.

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
