"""How much quantised graphs keep of their source: the outputs on samples that made none of them, side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from narrowcast.errors import ModelFileError
from narrowcast.evaluation.metrics import Noise
from narrowcast.evaluation.ports import feed_for, graph_ports, outputs_as_source
from narrowcast.evaluation.real import THREADS, RealGraph
from narrowcast.model import Array, Feed, Feeds, Model
from narrowcast.reference import Reference

__all__ = ["Judge", "Judgement", "Run", "runner"]

MOST_BYTES = 2**28
"""Of samples and their outputs that a judge keeps; it takes no more."""
SPAN = (-20.0, 80.0)
"""dB outside of which an output is no worse and no better: one that is lost, or exact, hides none of the others."""
LEAST = 0.1
"""dB below which a gain is none, however regular."""
STUDENT = (0.0, 0.0, 6.31, 2.92, 2.35, 2.13, 2.02, 1.94, 1.89, 1.86, 1.83, 1.81, 1.80, 1.78, 1.77, 1.76, 1.75)
"""The 95th percentile of Student's t by the number of samples, from 2 on."""


Run: TypeAlias = Callable[[Feed], Mapping[str, Array]]
"""From a feed in the source's layout to real outputs by name."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a quantised graph keeps.

    Attributes:
        decibels: SQNR of each output in dB, by name.
        mean: of these, each within `SPAN`: what graphs are ranked by.
        each: the same of each sample by itself.
    """

    decibels: Mapping[str, float]
    mean: float
    each: tuple[float, ...] = ()

    def surpasses(self, other: Judgement) -> bool:
        """Whether this graph keeps more than another on the same samples, by more than chance among them.

        Samples count alike, however large their outputs: a paired t test, one-sided, at 5 per cent.
        """
        gains = np.subtract(self.each, other.each)
        if gains.size < 2:
            return self.mean > other.mean
        error = float(gains.std(ddof=1)) / math.sqrt(gains.size)
        return float(gains.mean()) > max(error * STUDENT[min(gains.size, len(STUDENT) - 1)], LEAST)


class Judge:
    """Keeps a float graph's outputs on a few samples, and compares those of quantised graphs with them.

    Args:
        floats: canonical, perhaps adapted to a target; it is not changed.
        feeds: samples, taken until they and their outputs fill `MOST_BYTES`.
    """

    def __init__(self, floats: Model, feeds: Feeds) -> None:
        self.names = [spec.name for spec in floats.outputs if spec.dtype.kind == "f"] or [
            spec.name for spec in floats.outputs
        ]
        self.seen: list[tuple[Feed, Mapping[str, Array]]] = []
        graph, room = RealGraph(floats), MOST_BYTES
        for feed in feeds:
            found = graph.run(feed)
            room -= sum(array.nbytes for array in (*feed.values(), *found.values()))
            if self.seen and room < 0:
                break
            self.seen.append((feed, found))

    def of(self, quantized: Model, *, exact: bool = True) -> Judgement:
        """How much a quantised graph of the same inputs and outputs keeps.

        Args:
            quantized: canonical, in its one spelling; it is not changed.
            exact: whether it is computed as it is spelled; otherwise ONNX Runtime takes its integer kernels, which are
                two to four times as fast and round a little otherwise.
        """
        return self.of_run(runner(quantized, exact=exact))

    def of_run(
        self,
        run: Run,
        look: Callable[[int, Mapping[str, Array], Mapping[str, Array]], None] | None = None,
    ) -> Judgement:
        """How much of the outputs is kept by what gives others for the same feeds, a written file for one.

        Args:
            run: gives them.
            look: is shown the number of each sample, the float outputs and the others, in the shapes of the former.
        """
        noises, each = {name: Noise() for name in self.names}, []
        for number, (feed, wanted) in enumerate(self.seen):
            found = run(feed)
            found = {name: found[name].reshape(array.shape) for name, array in wanted.items()}
            single = {name: Noise() for name in self.names}
            for name, noise in noises.items():
                noise.update(wanted[name], found[name])
                single[name].update(wanted[name], found[name])
            each.append(_mean(single))
            if look is not None:
                look(number, wanted, found)
        return Judgement({name: noise.decibels for name, noise in noises.items()}, _mean(noises), tuple(each))


def runner(quantized: Model, *, exact: bool = True) -> Run:
    """What runs a quantised graph on ONNX Runtime; see `Judge.of`.

    Some graphs it refuses with its integer kernels alone, as its AveragePool knows no dilations: these are computed as
    they are spelled.
    """
    ports = graph_ports(quantized)
    try:
        reference = Reference(quantized, threads=THREADS, optimize=not exact)
    except ModelFileError:
        if exact:
            raise
        reference = Reference(quantized, threads=THREADS, optimize=False)
    return lambda feed: outputs_as_source(ports.outputs, reference.run(feed_for(ports, feed)))


def _mean(noises: Mapping[str, Noise]) -> float:
    return sum(min(max(noise.decibels, SPAN[0]), SPAN[1]) for noise in noises.values()) / len(noises)
