"""What stays in float although the target has integers for it, because no scale would hold it.

1. Scores that are masked by adding numbers without bound, as before a Softmax: no step could tell the others apart.
2. A normalisation by the root of a mean square, from its input to its quotient and what this is multiplied with and
   added to: a variance spans more than the steps of 8 bits, and one that is rounded to 0 divides by 0.
3. Positions, counts and phases: what becomes an index, loses its whole part or goes around a circle must be exact. It
   stays in float back to the operator that makes it, that one included, and so does arithmetic that reads it. A
   comparison, like a rounding, asks for it only of what is counted, not of what a layer weighed.
4. What feeds a logarithm or the root of a power, back to the linear transform before it (`logarithms`).
"""

from __future__ import annotations

from narrowcast.dialect.build import constant_of
from narrowcast.model import Array, ir
from narrowcast.quantization.logarithms import QUIET, before_logarithms
from narrowcast.targets.groups import Group, groups_of, rule_of
from narrowcast.targets.rules import Sharing, Target
from narrowcast.targets.spelling import is_weight

__all__ = ["kept_in_float", "positions"]

UNBOUNDED = 1e6
"""An operand beyond this stands for infinity: in 8 bits its step would be 8000."""
_PLACES = {"GridSample": (1,), "RoiAlign": (1,), "DeformConv": (2,)}
"""The inputs that are positions, where an operator has others."""
_EXACT = frozenset({"Floor", "Mod", "Sin", "Cos", "Tan"})
_COUNTED = frozenset({"Round", "Ceil", "Cast", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"})
_ARITHMETIC_ON_POSITIONS = """
    Abs Add Ceil Clip Concat CumSum Div Exp Expand Floor Gather GatherElements GatherND Identity Log Max Min Mod Mul Neg
    Pad Pow ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Reciprocal Relu Reshape Round ScatterElements ScatterND
    Sigmoid Sign Slice Split Sqrt Sub Tanh Tile Transpose Where
"""
_PASSES_ON = frozenset(_ARITHMETIC_ON_POSITIONS.split())
"""Arithmetic on positions gives positions; other operators make them."""
_ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Div", "Where"})


def kept_in_float(graph: ir.Graph, target: Target, exact: set[ir.Value]) -> dict[ir.Node, str]:
    """The nodes of a float graph that stay in float, each with the reason in words that follow "as".

    Args:
        graph: sorted.
        target: its rules.
        exact: of `positions`.
    """
    kept: dict[ir.Node, str] = {}
    unbounded: set[ir.Value] = set()
    for found in groups_of(graph, target):
        if _unbounded(found, target, unbounded):
            kept[found.anchor] = "it computes with numbers without bound, such as a mask's"
    for root in [node for node in graph if node.op_type == "Sqrt"]:
        kept.update(dict.fromkeys(_normalisation(root), "a variance needs more than 8 bits"))
    kept.update(dict.fromkeys(before_logarithms(graph), QUIET))
    near = [node for node in graph if _concerns(node, exact)]
    kept.update(dict.fromkeys(near, "a position, a count or a phase must not be rounded"))
    return kept


def positions(graph: ir.Graph) -> set[ir.Value]:
    """Case 3: the values of a sorted float graph that must be exact."""
    weighed: set[ir.Value] = set()  # what is not computed from inputs and whole numbers by arithmetic alone
    for node in graph:
        floats = _floats(node)
        if node.op_type != "Cast" and (node.op_type not in _PASSES_ON or not weighed.isdisjoint(floats)):
            weighed.update(node.outputs)
    exact: set[ir.Value] = set()
    for node in reversed(graph):
        floats = _floats(node)
        if node.op_type in _EXACT or _to_integers(node) or (node.op_type in _COUNTED and weighed.isdisjoint(floats)):
            exact.update(floats)
        places = [node.inputs[index] for index in _PLACES.get(node.op_type, ())]
        exact.update(value for value in floats if value in places)
        if node.op_type in _PASSES_ON and not exact.isdisjoint(node.outputs):
            exact.update(floats)
    return exact


def _concerns(node: ir.Node, exact: set[ir.Value]) -> bool:
    """Whether a node makes such values, or is arithmetic that reads them."""
    reads = node.op_type in _PASSES_ON and not exact.isdisjoint(_floats(node))
    return reads or not exact.isdisjoint(node.outputs)


def _to_integers(node: ir.Node) -> bool:
    dtype = node.outputs[0].dtype
    return node.op_type == "Cast" and dtype is not None and dtype.is_integer()


def _floats(node: ir.Node) -> list[ir.Value]:
    """The inputs of a node that are computed or fed floats."""
    values = [value for value in node.inputs if value is not None and value.dtype is ir.DataType.FLOAT]
    return [value for value in values if not is_weight(value)]


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
    quotients = [reader for reader in readers if reader.op_type in ("Div", "Reciprocal")]
    return found + quotients + [node for quotient in quotients for node in _scaled(quotient)]


def _scaled(quotient: ir.Node) -> list[ir.Node]:
    """The multiplication by constants, and the addition of some, that follow a normalisation."""
    found, node = list[ir.Node](), quotient
    for op_type in ("Mul", "Add"):
        uses = [*node.outputs[0].uses()]
        reader = uses[0].node if len(uses) == 1 and not node.outputs[0].is_graph_output() else None
        if (
            reader is not None
            and reader.op_type == op_type
            and any(constant_of(value) is not None for value in reader.inputs)
        ):
            found.append(reader)
            node = reader
    return found
