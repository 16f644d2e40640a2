"""Accuracy of a source and of written files over a data set, and a metric's figures, sample by sample."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from narrowcast.errors import ModelFileError
from narrowcast.evaluation.data import Sample
from narrowcast.evaluation.metrics import TopK
from narrowcast.evaluation.results import Accuracy, Score
from narrowcast.evaluation.task_metrics import Metric, Outputs, Tally

__all__ = ["Answer", "aligned", "evaluate"]


@dataclass(frozen=True, slots=True)
class Answer:
    """A sample, and the real outputs by name of some models for it, the source's first."""

    sample: Sample
    outputs: Sequence[Outputs]


def evaluate(
    answers: Iterable[Answer],
    models: int,
    classes: str | None,
    metric: Metric | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[tuple[Accuracy | None, Score | None]]:
    """What the answers of so many models are worth; the first is the source, with which the others are compared.

    Nothing is kept of a sample.

    Args:
        answers: of the models.
        models: how many there are.
        classes: the output that scores classes; None where none does, and there is no accuracy.
        metric: what else to count; None for nothing.
        progress: is told the number of samples done.

    Raises:
        DataError: a label is no class of the model, or the metric does not apply.
        ModelFileError: an output is missing, or its size is not the source's.
    """
    counters = [TopK() for _ in range(models)]
    tallies = [] if metric is None else [Tally(metric) for _ in range(models)]
    for count, answer in enumerate(answers, 1):
        source, label, first = answer.outputs[0], answer.sample.label, None
        for counter, outputs in zip(counters if classes else (), answer.outputs, strict=False):
            best = counter.update(outputs[classes or ""], label, first)
            first = best if first is None else first
        for tally, outputs in zip(tallies, answer.outputs, strict=False):
            tally.update(source, aligned(source, outputs), label, answer.sample.feed)
        if progress is not None:
            progress(count)
    accuracies = [counter.result() if classes else None for counter in counters]
    scores = [tally.result(tallies[0] if number else None) for number, tally in enumerate(tallies)]
    return list(zip_longest(accuracies, scores))


def aligned(source: Outputs, outputs: Outputs) -> Outputs:
    """Outputs in the order and the shapes of the source's, from which they may differ by axes of size 1.

    Raises:
        ModelFileError: one is missing, or its size is another.
    """
    for name, want in source.items():
        if name not in outputs or outputs[name].size != want.size:
            found = "missing" if name not in outputs else f"of the shape {outputs[name].shape}, not {want.shape}"
            raise ModelFileError(f"the output {name!r} is {found}")
    return {name: outputs[name].reshape(want.shape) for name, want in source.items()}
