"""Notes for the user on nodes that are not stored or computed as the scheme has it, one for each reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from narrowcast.model import ir

__all__ = ["notes_on"]


def notes_on(reasons: Mapping[str, Sequence[ir.Node]]) -> list[str]:
    """A note for each reason: how many nodes of which operators it is about, and the first of them.

    Args:
        reasons: nodes by what is so and why: "computed in float, as ...".
    """
    notes = []
    for why, nodes in reasons.items():
        counts = Counter(node.op_type for node in nodes).most_common()
        named = ", ".join(f"{count} {op_type}" for op_type, count in counts)
        first = ", ".join(node.name or "" for node in nodes[:3])
        notes.append(f"{why}: {named} (first: {first})")
    return notes
