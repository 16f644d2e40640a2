"""Brings every exporter's spelling of a network to one: docs/architecture.md, "The canonical graph"."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from narrowcast.model import Model, ir
from narrowcast.passes import control, fuse, tidy
from narrowcast.passes.fold import fold_constants
from narrowcast.passes.infer import infer_shapes
from narrowcast.passes.rewrite import Rewriter, RuleSet, Skipped, rules_in
from narrowcast.targets.spelling import holds_roundings

__all__ = ["canonicalize", "rules"]

DECOMPOSED = "narrowcast.decomposed"
"""Where a graph notes the target that it was decomposed for, whose operators it keeps to from then on."""


def _settle_bodies(model: Model) -> bool:
    return control.settle(model, canonicalize)


SIMPLIFY: tuple[Callable[[Model], bool], ...] = (
    tidy.remove_unused,
    control.close,
    fold_constants,
    _settle_bodies,
    tidy.merge_duplicates,
)
"""Done before the rules are applied, and again as long as they changed something; each says whether it did."""

ROUNDS = 8


def rules(*, idioms: bool = True, exact: bool = False) -> RuleSet:
    """The rules of `fuse`: all of them, without those that gather idioms, or those that change no rounding."""
    return _rules(idioms, exact)


@cache
def _rules(idioms: bool, exact: bool) -> RuleSet:
    return rules_in(fuse, idioms=idioms, exact=exact)


def canonicalize(model: Model) -> list[Skipped]:
    """Canonicalises in place; a second time changes nothing.

    Returns:
        What the rules had to say about nodes that they left alone, for `inspect --why`.
    """
    idioms, exact = DECOMPOSED not in model.graph.meta, holds_roundings(model.graph)
    skipped: list[Skipped] = []
    _plain_constants(model.graph)
    for count in range(ROUNDS):
        simplified = [step(model) for step in SIMPLIFY]
        if count and not any(simplified[1:]):
            break
        rewriter = Rewriter(model, rules(idioms=idioms, exact=exact))
        changed = rewriter.run()
        skipped = list(rewriter.skipped.values())
        if not changed:
            break
        tidy.sort(model)
        if _incomplete(model):
            infer_shapes(model)
    return skipped


def _plain_constants(graph: ir.Graph) -> None:
    """Initialisers that are still protobuf messages are decoded once instead of at every look."""
    for value in graph.initializers.values():
        tensor = value.const_value
        if isinstance(tensor, ir.TensorProtoTensor) and tensor.dtype.is_floating_point() | tensor.dtype.is_integer():
            value.const_value = ir.Tensor(tensor.numpy(), dtype=tensor.dtype, name=tensor.name)


def _incomplete(model: Model) -> bool:
    return any(value.shape is None or value.dtype is None for node in model.graph for value in node.outputs)
