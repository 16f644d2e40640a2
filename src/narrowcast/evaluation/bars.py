"""What a user asks of a written file, and how many samples are run to tell."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

__all__ = ["SAMPLES", "Bars"]

SAMPLES = 4


@dataclass(frozen=True, slots=True)
class Bars:
    """What the user asks of the second leg.

    Attributes:
        min_sqnr: dB that every output, and every part of one, must reach; None for the scheme's own limit.
        max_drop: the fraction of samples, in 0..1, whose first class may differ from the source's; None for any.
    """

    min_sqnr: float | None = None
    max_drop: float | None = None

    @property
    def samples(self) -> int:
        """How many samples it takes to tell."""
        return SAMPLES if not self.max_drop else max(SAMPLES, min(ceil(1 / self.max_drop), 1000))
