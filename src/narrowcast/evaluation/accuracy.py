"""Accuracy of a source and of written files over a data set, sample by sample."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from narrowcast.evaluation.data import Sample
from narrowcast.evaluation.metrics import TopK
from narrowcast.evaluation.results import Accuracy
from narrowcast.model import Array, Feed

__all__ = ["evaluate"]

Predict = Callable[[Feed], Array]


def evaluate(
    samples: Iterable[Sample], models: Sequence[Predict], progress: Callable[[int], None] | None = None
) -> list[Accuracy]:
    """Runs every sample through all models; the first is the source, whose predictions the others are compared with.

    Each sample is read once, and nothing is kept of it.

    Args:
        samples: feeds in the source's layout, with labels where they are known.
        models: from a feed to the scores of the first output, in real values.
        progress: is told the number of samples done.

    Raises:
        DataError: a label is no class of the model.
    """
    counters = [TopK() for _ in models]
    for count, sample in enumerate(samples, 1):
        prediction: int | None = None
        for predict, counter in zip(models, counters, strict=True):
            best = counter.update(predict(sample.feed), sample.label, prediction)
            prediction = best if prediction is None else prediction
        if progress is not None:
            progress(count)
    return [counter.result() for counter in counters]
