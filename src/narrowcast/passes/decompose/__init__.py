"""Replaces what a target has no kernel for by exact equivalents, before ranges are calibrated.

One subject a module, its rules in `RULES`. Rules say how; whether, the target does (`targets.rules.lacks`): a rule is
tried on what that lacks, so a second time changes nothing.
"""

from __future__ import annotations

import sys
from functools import cache

from narrowcast import targets
from narrowcast.dialect.control import bodies_of, is_closed
from narrowcast.model import Model, ir
from narrowcast.passes import canonicalize, tidy
from narrowcast.passes.both_branches import take_both_branches
from narrowcast.passes.control.bodies import KEEP_LOOPS, KEEP_RECURRENT, LOOPS
from narrowcast.passes.fold import fold_constants
from narrowcast.passes.infer import infer_shapes
from narrowcast.passes.last_axis import put_axes_last
from narrowcast.passes.open_batch import has_open_batch, prepare_open
from narrowcast.passes.rewrite import Rewriter, RuleSet, rules_in
from narrowcast.targets.rules import Target
from narrowcast.targets.spelling import holds_roundings

__all__ = ["decompose"]

ROUNDS = 4


@cache
def _rules() -> RuleSet:
    return rules_in(sys.modules[__name__])


def decompose(model: Model, target: Target | str, *, keep_loops: bool = True, keep_recurrent: bool = False) -> None:
    """Prepares a canonical model for `target`, in place.

    Args:
        model: canonical; its scheme is the one that it is meant for.
        target: or its name.
        keep_loops: whether loops stay, and long recurrent layers may become some.
        keep_recurrent: whether LSTM, GRU and RNN of the main graph stay what they are, for the next time: one operator
            in floats is calibrated in no time.

    Raises:
        UsageError: there is no such target.
        UnsupportedOpError: the batch is open, and a node needs to know it.
    """
    target = targets.find(target) if isinstance(target, str) else target
    if canonicalize.DECOMPOSED not in model.graph.meta and has_open_batch(model):

        def prepare(pinned: Model) -> None:
            canonicalize.canonicalize(pinned)
            decompose(pinned, target, keep_loops=False)

        prepare_open(model, prepare)
        return
    if canonicalize.DECOMPOSED not in model.graph.meta and any(is_closed(node, "Loop") for node in model.graph):
        model.graph.meta[LOOPS] = target.loops
        canonicalize.canonicalize(model)
    model.graph.meta[canonicalize.DECOMPOSED] = target.name
    model.graph.meta[KEEP_LOOPS] = keep_loops
    model.graph.meta[KEEP_RECURRENT] = keep_recurrent
    if take_both_branches(model):
        infer_shapes(model)
        canonicalize.canonicalize(model)
    for _ in range(ROUNDS):
        rewritten = Rewriter(model, _rules(), target).run()
        if not _decompose_bodies(model, target, keep_loops=keep_loops) and not rewritten:
            break
        tidy.sort(model)
        fold_constants(model)
        Rewriter(model, canonicalize.rules(idioms=False, exact=holds_roundings(model.graph))).run()
        tidy.sort(model)
        tidy.merge_duplicates(model)
    if put_axes_last(model, target):
        tidy.sort(model)
    tidy.remove_unused(model)


def _decompose_bodies(model: Model, target: Target, *, keep_loops: bool) -> bool:
    """Prepares the graphs inside of loops and branches, once; True if there were any."""
    bodies = [body for node in model.graph for body in bodies_of(node).values()]
    bodies = [body for body in bodies if canonicalize.DECOMPOSED not in body.meta]
    for body in bodies:
        decompose(Model(ir.Model(body, ir_version=10), scheme=model.scheme), target, keep_loops=keep_loops)
    return bool(bodies)
