"""Makes a canonical model ready for a writer: in the operators of a target, stored in its order.

Quantisation comes between the two steps, so that ranges are calibrated on the very tensors that the file will hold.
Nothing else calls `decompose` and `lay_out`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from narrowcast.dialect.control import all_graphs
from narrowcast.model import Layout, Model, ir
from narrowcast.passes.decompose import decompose
from narrowcast.passes.layout import lay_out
from narrowcast.passes.shifts import spell_in_shifts
from narrowcast.targets.rules import Target, lacks

__all__ = ["Prepared", "adapt", "lacking", "prepare"]

Permutations = tuple[tuple[int, ...] | None, ...]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A model as a writer takes it.

    Attributes:
        model: in the operators of the target, axes in the source's order.
        stored: the same in the order in which the target stores tensors; `model` itself where that is the source's.
        target: what it is made for.
        inputs, outputs: for each port `p` with `stored = source.transpose(p)`, or None where nothing moves.
        places: by the values of `model` those of `stored` that hold them, and their `p`, where whole axes move.
        variants: the same at other sizes, by their names.
    """

    model: Model
    stored: Model
    target: Target
    inputs: Permutations
    outputs: Permutations
    places: Mapping[ir.Value, tuple[ir.Value, tuple[int, ...] | None]] = field(default_factory=dict)
    variants: Mapping[str, Prepared] = field(default_factory=dict)


def adapt(model: Model, target: Target, *, keep_recurrent: bool = False) -> None:
    """Replaces what a target lacks, in place; a second time changes nothing.

    Args:
        model: canonical; its scheme is the one that it is meant for.
        target: what it is made for.
        keep_recurrent: whether recurrent layers stay one operator each until the next time, to be calibrated.

    Raises:
        UnsupportedOpError: the batch is open, and a node needs to know it.
    """
    decompose(model, target, keep_recurrent=keep_recurrent)


def lacking(model: Model, target: Target) -> dict[tuple[str, str], str]:
    """What a target lacks of a model as it stands, graphs within included: reasons by node and operator."""
    nodes = (node for graph in all_graphs(model.graph) for node in graph)
    return {(node.name or "", node.op_type): why for node in nodes if (why := lacks(node, target))}


def prepare(model: Model, target: Target, io_layout: str = "target") -> Prepared:
    """A copy of a model that a writer can take, with the tensors in the order that moves the fewest bytes.

    Args:
        model: canonical, perhaps adapted and quantised; it is not changed.
        target: what it is made for.
        io_layout: "target" for the target's own order of image inputs and outputs, "source" to keep the source's.

    Raises:
        UnsupportedOpError: the batch is open, and a node needs to know it; or the dialect does not know an operator.
    """
    adapted = model.clone()
    adapt(adapted, target)
    if target.stored(adapted.scheme).shifts:
        spell_in_shifts(adapted, target)
    variants = {name: prepare(variant, target, io_layout) for name, variant in model.variants.items()}
    if target.layout is not Layout.CHANNELS_LAST:
        still = (None,) * len(adapted.inputs), (None,) * len(adapted.outputs)
        return Prepared(adapted, adapted, target, *still, variants=variants)
    laid = lay_out(adapted, target, io_layout)
    return Prepared(adapted, laid.model, target, laid.inputs, laid.outputs, laid.places, variants)
