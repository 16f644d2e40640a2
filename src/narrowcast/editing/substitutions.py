"""Substitutions: operators that an accelerator lacks by others that it has, in a canonical graph.

1. prelu=minmax, leaky_relu=minmax: max(x, 0) + a min(x, 0). Exact.
2. swish=hard_swish: x sigmoid(x) becomes x clip(x / 6 + 1/2, 0, 1); hard_swish=swish the other way round. They differ
   by up to 0.142, at x = -3 and 3 (https://arxiv.org/abs/1905.02244).
3. resize=nearest: the element below, by x / scale; resize=linear: in place of nearest or cubic; resize=half_pixel,
   align_corners, asymmetric: where the new elements lie, whatever the interpolation. Elements of an image move by up to
   half a pixel.

Not done: a Swish of another slope, resizes that cut out a region.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

from narrowcast.dialect.control import all_graphs
from narrowcast.errors import UsageError, did_you_mean
from narrowcast.model import Model, ir
from narrowcast.passes.formula import Formula
from narrowcast.passes.rewrite import Rewriter, Rule, RuleSet, Skip, need, operands, producer_of, require

__all__ = ["SUBSTITUTIONS", "Substitution", "substitute"]


@dataclass(frozen=True, slots=True)
class Substitution:
    """A row of the table.

    Attributes:
        operator: what goes, as users write it.
        by: what comes.
        operators: the types of the nodes at which it is found.
        rule: changes one of them.
        exact: whether the network computes the same.
    """

    operator: str
    by: str
    operators: tuple[str, ...]
    rule: Rule
    exact: bool = False


def _halves(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 1."""
    f, x = Formula(node, rewriter), need(node.inputs[0])
    slope = node.attributes.get_float("alpha", 0.01) if node.op_type == "LeakyRelu" else need(node.inputs[1])
    return f.becomes(f("Add", f("Relu", x), f("Mul", f("Min", x, 0.0), slope)))


def _harder(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 2, first half."""
    a, b = operands(node, 2)
    for x, gate in ((a, b), (b, a)):
        sigmoid = producer_of(gate, "Sigmoid")
        if sigmoid is not None and sigmoid.inputs[0] is x:
            f = Formula(node, rewriter)
            return f.becomes(f("HardSwish", x))
    return False


def _softer(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 2, second half."""
    f, x = Formula(node, rewriter), need(node.inputs[0])
    return f.becomes(f("Mul", x, f("Sigmoid", x)))


def _resampled(changed: Mapping[str, str], node: ir.Node, _rewriter: Rewriter) -> bool:
    """Case 3."""
    attributes = node.attributes
    require(attributes.get_string("coordinate_transformation_mode", "half_pixel") != "tf_crop_and_resize")
    before = dict(attributes.items())
    attributes.update({name: ir.AttrString(name, value) for name, value in changed.items()})
    if changed.get("mode"):
        for name in ("antialias", "cubic_coeff_a", "exclude_outside"):
            attributes.pop(name, None)
    return {name: found.value for name, found in before.items()} != {
        name: found.value for name, found in attributes.items()
    }


_PLACES = "coordinate_transformation_mode"
_RESIZES: dict[str, dict[str, str]] = {
    "nearest": {"mode": "nearest", _PLACES: "asymmetric", "nearest_mode": "floor"},
    "linear": {"mode": "linear"},
    "half_pixel": {_PLACES: "half_pixel"},
    "align_corners": {_PLACES: "align_corners"},
    "asymmetric": {_PLACES: "asymmetric"},
}

SUBSTITUTIONS: tuple[Substitution, ...] = (
    Substitution("prelu", "minmax", ("PRelu",), _halves, exact=True),
    Substitution("leaky_relu", "minmax", ("LeakyRelu",), _halves, exact=True),
    Substitution("swish", "hard_swish", ("Mul",), _harder),
    Substitution("hard_swish", "swish", ("HardSwish",), _softer),
    *(Substitution("resize", by, ("Resize",), partial(_resampled, changed)) for by, changed in _RESIZES.items()),
)


def substitute(model: Model, wanted: Mapping[str, str]) -> Model:
    """Substitutes operators of a canonical model, graphs within included, in place.

    Args:
        model: canonical.
        wanted: what comes by what goes, as `{"swish": "hard_swish"}`.

    Returns:
        The model, whose provenance says what was done; where it computes something else now, with what it was before.

    Raises:
        UsageError: there is no such substitution, or nothing for it to change.
    """
    rows = [_row(operator, by) for operator, by in wanted.items()]
    inexact = not all(row.exact for row in rows)
    before = model.clone() if inexact else None
    records = [
        {"do": "substitute", "operator": row.operator, "by": row.by, "nodes": _carried_out(model, row)} for row in rows
    ]
    model = replace(model, provenance=replace(model.provenance, edits=(*model.provenance.edits, *records)))
    return replace(model, unedited=before, edited=model.ir.clone()) if inexact else model


def _row(operator: str, by: str) -> Substitution:
    for row in SUBSTITUTIONS:
        if (row.operator, row.by) == (operator, by):
            return row
    known = [f"{row.operator}={row.by}" for row in SUBSTITUTIONS]
    guess = did_you_mean(f"{operator}={by}", known)
    raise UsageError(f"nothing substitutes {operator!r} by {by!r}", hint=f"{guess} known: {', '.join(known)}".strip())


def _carried_out(model: Model, row: Substitution) -> int:
    """How many nodes were changed.

    Raises:
        UsageError: none.
    """
    count = 0
    for graph in list(all_graphs(model.graph)):
        whole = model if graph is model.graph else replace(model, ir=ir.Model(graph, ir_version=model.ir.ir_version))
        rewriter = Rewriter(whole, RuleSet())
        for node in [node for node in graph if node.op_type in row.operators and not node.domain]:
            try:
                count += row.rule(node, rewriter) is True
            except Skip:
                continue
        graph.sort()
    if count == 0:
        found = ", ".join(sorted({node.op_type for graph in all_graphs(model.graph) for node in graph}))
        what = f"{row.operator}={row.by} changes nothing: there is none, or all are so already"
        raise UsageError(what, hint=f"the network has {found}")
    return count
