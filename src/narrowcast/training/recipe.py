"""How a network learns, as a value."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from narrowcast.errors import UsageError

__all__ = ["Recipe"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a network learns.

    Attributes:
        epochs: how often the whole network sees each sample.
        piece_epochs: how often each piece does before that.
        learning_rate: of Adam, in steps of the weights; it rises from 0 and falls to 0 as half a cosine. If None, such
            that a weight can go as far as `learning.REACH` and no farther, however many updates there are.
        batch_size: samples of one update.
        seed: of the order of samples.
        device: "cpu" or "cuda".
        learned_steps: whether scales learn too, where no rule prescribes them.
    """

    epochs: int = 1
    piece_epochs: int = 4
    learning_rate: float | None = None
    batch_size: int = 8
    seed: int = 0
    device: str = "cpu"
    learned_steps: bool = False

    def check(self) -> None:
        """Raises UsageError where it cannot be followed."""
        if self.epochs < 0 or self.piece_epochs < 0 or self.epochs + self.piece_epochs < 1:
            raise UsageError("nothing is learned in no epochs", hint="one or more of the network, or of its pieces")
        if self.batch_size < 1 or not 0 < (self.learning_rate or 1.0) < math.inf:
            raise UsageError("a batch has at least one sample, and a learning rate is above 0")
        if self.seed < 0:
            raise UsageError(f"cannot draw samples by the seed {self.seed}", hint="0 or more")
        if self.device not in ("cpu", "cuda"):
            raise UsageError(f"unknown device {self.device!r}", hint="cpu or cuda")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise UsageError("torch finds no GPU here", hint="train on the cpu")
