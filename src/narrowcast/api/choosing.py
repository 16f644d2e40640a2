"""`--observer auto`: the ranges that keep most of the network's outputs, on calibration samples that made none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice

from narrowcast.api.options import Progress
from narrowcast.evaluation.data import DataSet
from narrowcast.evaluation.judge import Judge
from narrowcast.model import Model
from narrowcast.quantization import Observed, Ranges, Watch
from narrowcast.quantization.repairs import Evidence, repaired
from narrowcast.quantization.scheme import add_note

__all__ = ["CANDIDATES", "Watched", "choose", "mended", "ranges_of", "watched"]

CANDIDATES = ("minmax", "activation", "percentile", "mse")
"""The observers that are tried; where none surpasses the first, that holds. A moving average and the divergence of
distributions lost 5 to 30 dB to these on most of the networks measured (docs/guide/quantize.md)."""
HELD = 16
"""Samples that the outputs are compared on: a quarter of all at most."""
MEANS = 8
"""Samples that a bias is corrected by, at most."""
FEW = 3
"""With so few there is nothing to choose by."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What calibration remembers of a model.

    Attributes:
        all: of all samples.
        rest: of those that the judge does not have.
        samples: those.
        judge: of quantised graphs of the model; None where none was asked for, or there are too few samples.
    """

    all: Observed
    rest: Observed
    samples: DataSet
    judge: Judge | None


def watched(floats: Model, watch: Watch, samples: DataSet, seed: int, progress: Progress, *, judged: bool) -> Watched:
    """Runs all samples, some of them last, and for a judge.

    Args:
        floats: the model that is watched.
        watch: of it.
        samples: to calibrate on.
        seed: draws the samples that are held back.
        progress: is told how far the work has come.
        judged: whether there is to be a judge.

    Raises:
        DataError: there are no samples, or they do not fit.
    """
    total = len(samples)
    held = min(HELD, total // 4) if judged else 0

    def tally(done: int) -> None:
        progress("calibrating", done, total)

    if held <= FEW:
        watch.look(samples.feeds(), tally)
        return Watched(watch.observed(), watch.observed(), samples, None)
    last, most = samples.split(held * samples.batch, seed)
    watch.look(most.feeds(), tally)
    rest = watch.observed()
    feeds = list(last.feeds())
    watch.look(feeds, tally)
    return Watched(watch.observed(), rest, most, Judge(floats, feeds))


def choose(found: Watched, made: Callable[[Ranges], Model], progress: Progress) -> str:
    """The candidate by whose ranges, of 8 bits, a graph keeps most of the outputs.

    Args:
        found: what was seen for all `CANDIDATES`.
        made: the quantised graph of some ranges.
        progress: is told how far the work has come.
    """
    if found.judge is None:
        return CANDIDATES[0]
    best, name, tried = None, CANDIDATES[0], list[Ranges]()
    for index, candidate in enumerate(CANDIDATES):
        progress("choosing ranges", index, len(CANDIDATES))
        ranges = found.rest.ranges(candidate)
        if any(ranges.ranges == other.ranges for other in tried):
            continue
        tried.append(ranges)
        judgement = found.judge.of(made(ranges), exact=False)
        if best is None or judgement.surpasses(best):
            best, name = judgement, candidate
    return name


def ranges_of(found: Watched, observer: str) -> Ranges:
    """The ranges that a chosen observer gives by all samples, with a note where it is not the first candidate."""
    ranges = found.all.ranges(observer)
    if observer == CANDIDATES[0] or found.judge is None:
        return ranges
    held = len(found.judge.seen)
    note = f"ranges by the observer {observer}, which keeps more of the outputs on {held} samples held back"
    return replace(ranges, notes=(*ranges.notes, note))


def mended(found: Watched, quantized: Model, evidence: Evidence) -> Model:
    """A quantised graph, or one with corrected biases where that keeps more of the outputs, with a note.

    Args:
        found: what was seen of the float graph.
        quantized: it is not changed.
        evidence: for the repair, which is not shown the samples of the judge.
    """
    if found.judge is None:
        return quantized
    others = replace(evidence, samples=lambda most: islice(found.samples.feeds(), min(most, MEANS)))
    candidate = repaired(quantized, "bias", others)
    if not found.judge.of(candidate, exact=False).surpasses(found.judge.of(quantized, exact=False)):
        return quantized
    held = len(found.judge.seen)
    add_note(candidate, f"biases are corrected, which keeps more of the outputs on {held} samples held back")
    return candidate
