"""Which part of the noise of the outputs arises in which block: told backwards from the outputs, block by block."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from narrowcast.evaluation.diagnosis.branches import Key

__all__ = ["shares_of"]


def shares_of(
    sums: Mapping[Key, float], outputs: Mapping[int, float], sources: Sequence[Sequence[int]], count: int
) -> list[float]:
    """The share of each block in the noise of the outputs; all together 1 at most.

    A block keeps of what it is told the part that its own error has beside what came from above; the rest goes to the
    blocks that it reads, by what each of them alone does to it. So a small error counts in full where those that
    follow make it large.

    Args:
        sums: of `branches_of`, over all samples.
        outputs: the blocks whose outputs the graph hands out, and what each of them is told; 1 together.
        sources: for each block those that it reads, all of which stand before it.
        count: how many blocks there are.
    """
    told = [outputs.get(at, 0.0) for at in range(count)]
    kept = [0.0] * count
    for at in reversed(range(count)):
        own, above = (_total(sums, at, name) for name in ("own", "above"))
        part = own / (own + above) if own + above > 0 else 0.0
        kept[at] = told[at] * part
        parts = [_total(sums, at, f"from {source}") for source in range(len(sources[at]))]
        if sum(parts) <= 0:
            parts = [1.0] * len(parts)
        for source, share in zip(sources[at], parts, strict=True):
            told[source] += told[at] * (1 - part) * share / sum(parts)
    return kept


def _total(sums: Mapping[Key, float], at: int, name: str) -> float:
    """The noise of a block, that of each of its places as a share of its signal; nothing where a number was none."""
    total, place = 0.0, 0
    while (signal := sums.get((at, "signal", place))) is not None:
        noise = sums.get((at, name, place), 0.0)
        if signal > 0 and math.isfinite(noise / signal):
            total += noise / signal
        place += 1
    return total
