"""Constant folding: what can be computed from constants and static shapes is computed once.

1. `Constant` nodes become initialisers.
2. An `If` whose condition is known becomes its branch (`branches`).
3. A `Loop` whose condition is known at every step runs a known number of times (`trips`).
4. A `Loop` or `Scan` that does so is unrolled where no target, or not this one, keeps it
   (`loops`).
5. Arithmetic on shapes is done here (`shapes`), also where a dynamic batch leaves a part of a shape unknown.
6. What has no elements is a constant (`empty`).
7. Everything else runs in ONNX Runtime, all of it in one session (`run`).
"""

from __future__ import annotations

from narrowcast.model import Model
from narrowcast.passes.fold.branches import take_branches
from narrowcast.passes.fold.empty import fold_empty
from narrowcast.passes.fold.loops import unroll_loops
from narrowcast.passes.fold.run import run_constants
from narrowcast.passes.fold.shapes import fold_shapes, lift_constants
from narrowcast.passes.fold.trips import count_trips
from narrowcast.passes.infer import infer_shapes, shapes_missing

__all__ = ["fold_constants"]

ROUNDS = 64
"""Each round folds what the shapes found in the one before made known."""


def fold_constants(model: Model) -> bool:
    """Replaces everything computable by initialisers, in place; True if anything was.

    Kept as they are: random operators, quantised or float16 weights behind a DequantizeLinear or a Cast (that is how
    the dialect spells them), and tensors that folding would blow up.
    """
    graph = model.graph
    changed = lift_constants(graph)
    for _ in range(ROUNDS):
        folded = take_branches(graph)
        folded |= count_trips(graph)
        folded |= unroll_loops(graph)
        folded |= fold_shapes(graph)
        folded |= fold_empty(graph)
        folded |= run_constants(graph)
        if not folded:
            break
        changed = True
        if shapes_missing(model):
            infer_shapes(model)
    return changed
