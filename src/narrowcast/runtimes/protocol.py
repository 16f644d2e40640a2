"""What every runtime offers, whatever file it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from narrowcast.model import Array, Feed, TensorSpec

__all__ = ["Layered", "Runner"]


class Runner(Protocol):
    """A model file opened on its runtime.

    Attributes:
        name: the runtime and its version, e.g. "LiteRT 2.3.0".
        inputs: the file's inputs, as they are stored.
        outputs: its outputs, likewise.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def run(self, feed: Feed) -> dict[str, Array]:
        """One inference: arrays by input name in, arrays by output name out, in the stored types."""

    def stopwatch(self, feed: Feed) -> Callable[[], None]:
        """A function that runs the inference on `feed` again, without the costs around it, to be timed."""

    def close(self) -> None:
        """Gives the runtime's memory back."""


class Layered(Runner, Protocol):
    """A model file opened so that what it computes inside can be looked at."""

    def tensor(self, index: int) -> Array:
        """The tensor of that index in the file, as the last run left it, in the stored type."""
