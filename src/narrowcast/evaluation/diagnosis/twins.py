"""Two networks of the same ports, by a metric."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from narrowcast.evaluation.accuracy import Answer, evaluate
from narrowcast.evaluation.data import Sample
from narrowcast.evaluation.diagnosis.pairing import turned
from narrowcast.evaluation.real import RealGraph
from narrowcast.evaluation.results import Score
from narrowcast.evaluation.task_metrics import Metric, Outputs
from narrowcast.model import Array, Model

__all__ = ["scores_of"]


def scores_of(floats: Model, quantized: Model, metric: Metric, samples: Iterable[Sample]) -> tuple[Score, ...]:
    """The figures of a network and of its quantised twin, whose ports stand for one another in their order.

    Args:
        floats: as the samples are.
        quantized: whose images may have their channels elsewhere.
        metric: what is counted.
        samples: taken once.

    Raises:
        DataError: the metric does not apply, or wants labels that are not there.
    """
    found = evaluate(_answers(floats, quantized, samples), 2, None, metric)
    return tuple(score for _, score in found if score is not None)


def _answers(floats: Model, quantized: Model, samples: Iterable[Sample]) -> Iterator[Answer]:
    one, other = RealGraph(floats), RealGraph(quantized)
    inputs = {spec.name: spec for spec in quantized.inputs}
    ports = [(spec, inputs.get(spec.name, twin)) for spec, twin in zip(floats.inputs, quantized.inputs, strict=True)]
    for sample in samples:
        fed = {twin.name: _laid(sample.feed[spec.name], twin.shape) for spec, twin in ports}
        wanted, found = one.run(sample.feed), other.run(fed)
        pairs = zip(wanted.items(), found.values(), strict=True)
        outputs: Outputs = {name: _laid(array, want.shape) for (name, want), array in pairs}
        yield Answer(sample, (wanted, outputs))


def _laid(array: Array, shape: tuple[int | None, ...]) -> Array:
    """An array with its channels where a shape has them, where they are elsewhere."""
    known = tuple(have if want is None else want for have, want in zip(array.shape, shape, strict=False))
    order = turned(array.shape, known) if len(known) == array.ndim == len(shape) else ()
    return (
        array.transpose(order) if order else array.reshape(known) if array.size and len(known) == len(shape) else array
    )
