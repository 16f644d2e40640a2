"""Brings every exporter's spelling of a network to one: docs/architecture.md, "The canonical graph"."""

from __future__ import annotations

from functools import cache

from narrowcast.model import Model
from narrowcast.passes import fuse, tidy
from narrowcast.passes.fold import fold_constants
from narrowcast.passes.infer import infer_shapes
from narrowcast.passes.rewrite import Refusal, Rewriter, RuleSet, rules_in

__all__ = ["canonicalize", "rules"]


@cache
def rules() -> RuleSet:
    """All rules of `fuse`."""
    return rules_in(fuse)


def canonicalize(model: Model) -> list[Refusal]:
    """Canonicalises in place; a second time changes nothing.

    Returns:
        What the rules had to say about nodes that they left alone, for `inspect --why`.
    """
    tidy.remove_unused(model)
    fold_constants(model)
    tidy.merge_duplicates(model)
    rewriter = Rewriter(model, rules())
    if rewriter.run():
        tidy.sort(model)
        fold_constants(model)
        if _incomplete(model):
            infer_shapes(model)
        tidy.merge_duplicates(model)
        rewriter = Rewriter(model, rules())
        rewriter.run()
        tidy.sort(model)
    tidy.remove_unused(model)
    return list(rewriter.refusals.values())


def _incomplete(model: Model) -> bool:
    return any(value.shape is None or value.dtype is None for node in model.graph for value in node.outputs)
