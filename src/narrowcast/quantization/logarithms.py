"""What feeds a logarithm, or the root of a power, and so must not be rounded to equal steps.

A logarithm tells numbers apart by their ratio, and so do spectra that people hear or see: a step that suits the loudest
one makes zeros of all others. That concerns the numbers themselves, the sums, floors and moves between, and what they
are sums of, back to the linear transform that made them, whose weights' roundings would be heard as well. A transform
of powers by weights that are not negative, as into mel bands, gives powers: before it stands another one. Where the
transform is the first thing that happens to an input, what is linear before it counts as its part.

An Exp that a Log undoes (softplus, the logarithm of a softmax) ends the search: before it, steps are equal again.
"""

from __future__ import annotations

from narrowcast.dialect.build import constant_of, scalar_of
from narrowcast.model import ir
from narrowcast.targets.spelling import is_weight

__all__ = ["QUIET", "before_logarithms"]

QUIET = "small numbers before a logarithm or a root would become 0"
"""Why, in words that follow "as"."""

_MOVES = frozenset({"Concat", "Expand", "Gather", "Pad", "Reshape", "Slice", "Split", "Tile", "Transpose"})
_SUMS = frozenset({"Add", "AveragePool", "Div", "Mul", "Neg", "ReduceMean", "ReduceSum", "Sub"})
_PRODUCTS = frozenset({"Conv", "ConvTranspose", "DFT", "Gemm", "MatMul", "STFT"})
_BOUNDS = frozenset({"Abs", "Clip", "Max", "MaxPool", "Min", "Pow", "ReduceMax", "ReduceMin", "Relu", "Sqrt", "Where"})
_PASSES_ON = _MOVES | _SUMS | _BOUNDS
"""Numbers of all sizes come out of these where such numbers go in."""
_SQUARES = frozenset({"Abs", "ReduceL1", "ReduceL2", "ReduceSumSquare"})
_LOGARITHMS = frozenset({"Log", "ReduceLogSum"})


def before_logarithms(graph: ir.Graph) -> set[ir.Node]:
    """The nodes of a sorted float graph from such a transform to the logarithm or root, in time linear in the nodes."""
    linear: set[ir.Value] = {value for value in graph.inputs if value.dtype is ir.DataType.FLOAT}
    powers: set[ir.Value] = set()
    for node in graph:
        computed = _computed(node)
        if node.domain or not computed:
            continue
        if _is_linear(node, len(computed)) and linear.issuperset(computed):
            linear.update(node.outputs)
        if _is_square(node) or (powers.issuperset(computed) and _keeps_powers(node)):
            powers.update(node.outputs)

    found: set[ir.Node] = set()
    delicate: set[ir.Value] = set()
    for node in reversed(graph):
        computed = _computed(node)
        if (node.op_type in _LOGARITHMS and not node.domain) or _is_root(node, powers):
            found.add(node)
            delicate.update(computed)
        elif not delicate.isdisjoint(node.outputs):
            found.add(node)
            product = node.op_type in _PRODUCTS
            # a sum of different activations, such as a residual one, is followed only where they are powers
            on = node.op_type in _MOVES or (node.op_type in _PASSES_ON and len(set(computed)) == 1)
            spread = product or node.op_type in _PASSES_ON
            delicate.update(
                value for value in computed if on or (spread and value in powers) or (product and value in linear)
            )
    return found


def _computed(node: ir.Node) -> list[ir.Value]:
    """The inputs of a node that are fed or computed floats."""
    values = [value for value in node.inputs if value is not None and value.dtype is ir.DataType.FLOAT]
    return [value for value in values if not is_weight(value)]


def _is_linear(node: ir.Node, computed: int) -> bool:
    several = node.op_type in _MOVES or node.op_type in ("Add", "Sub")
    return node.op_type in _MOVES | _SUMS | _PRODUCTS and (computed == 1 or several)


def _is_square(node: ir.Node) -> bool:
    exponent = scalar_of(node.inputs[1]) if node.op_type == "Pow" else None
    same = node.op_type == "Mul" and node.inputs[0] is node.inputs[1]
    return same or node.op_type in _SQUARES or (exponent is not None and exponent % 2 == 0)


def _keeps_powers(node: ir.Node) -> bool:
    """Whether a node makes powers of powers: all that passes numbers on, and sums by weights that are not negative."""
    if node.op_type not in _PRODUCTS:
        return node.op_type in _PASSES_ON and node.op_type not in ("Neg", "Sub")
    weights = [constant_of(value) for value in node.inputs if value is not None]
    return all(array is None or float(array.min(initial=0.0)) >= 0.0 for array in weights)


def _is_root(node: ir.Node, powers: set[ir.Value]) -> bool:
    """Whether a node is the root of a power, other than one that only divides, as in a normalisation."""
    exponent = scalar_of(node.inputs[1]) if node.op_type == "Pow" else None
    root = node.op_type == "Sqrt" or (exponent is not None and 0.0 < exponent < 1.0)
    return root and not node.domain and node.inputs[0] in powers and not _divides(node.outputs[0])


def _divides(value: ir.Value) -> bool:
    """Whether all that reads a value, at once or behind floors and moves, divides by it."""
    while not value.is_graph_output() and (uses := [*value.uses()]):
        if all(use.node.op_type == "Reciprocal" or (use.node.op_type == "Div" and use.idx == 1) for use in uses):
            return True
        first = uses[0].node
        if len(uses) != 1 or first.op_type not in {"Add", "Clip", "Max", "Expand", "Reshape"}:
            return False
        value = first.outputs[0]
    return False
