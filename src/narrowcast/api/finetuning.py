"""`finetune`: a model is quantised, and then learns to do what it did before."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from narrowcast import training
from narrowcast.api.models import quantize_then
from narrowcast.api.options import Data, FinetuneOptions, Progress, QuantizeOptions, pick, refuse_unknown, silent
from narrowcast.api.samples import open_samples, preprocessing_of
from narrowcast.errors import DataError, UsageError
from narrowcast.model import Model
from narrowcast.quantization.repairs import Evidence

if TYPE_CHECKING:
    from typing import Unpack

    from narrowcast.evaluation.data import DataSet

__all__ = ["finetune", "from_torch", "to_torch"]


def to_torch(model: Model) -> training.Network:
    """A model as a `torch.nn.Module`, fake-quantised where it is quantised: for loops of your own.

    Its inputs and outputs are the model's, in order and layout. Gradients pass roundings (straight-through estimator),
    and what learns of integer weights are floats that are rounded to the same grid at each use.

    Args:
        model: from `load` or `quantize`; it is not changed.

    Raises:
        MissingExtraError: torch is not installed.
        UnsupportedOpError: there is no torch function for an operator.
    """
    return training.to_torch(model)


def from_torch(network: training.Network) -> Model:
    """The model of a network with what its parameters are now, in integers where it was.

    Args:
        network: of `to_torch`; it is not changed.
    """
    return training.from_torch(network)


def finetune(
    model: Model,
    scheme: str,
    data: Data,
    labels: Sequence[int] | Literal["data"] | None = None,
    epochs: int = 1,
    *,
    fmt: str = "tflite",
    checkpoint: str | Path | None = None,
    progress: Progress = silent,
    **options: Unpack[FinetuneOptions],
) -> Model:
    """A quantised copy of a model that has learned, rounded as the target rounds, to do what the model does.

    First each piece of the network learns by itself from its float twin, then the whole network from the float one, or
    from labels. One of eight samples chooses what is kept, and nothing learns from it.

    Args:
        model: from `load`; it is not changed.
        scheme: as for `quantize`; one with integers.
        data: samples to learn from; the ranges of activations are calibrated on some of them.
        labels: the class of each sample, or "data" for those that the data set has; None needs no labels.
        epochs: how often the whole network sees each sample.
        fmt: the format that it will be written in, whose target's rules it follows.
        checkpoint: a folder in which the state is kept; the same call goes on where an interrupt left it.
        progress: is told how far the work has come.
        options: see `FinetuneOptions`.

    Raises:
        MissingExtraError: torch is not installed.
        UsageError: an option is unknown or does not fit, or the data set has no labels.
        UnsupportedOpError: training has no function for an operator.
        DataError: the data is missing, damaged, or does not fit the model; or the checkpoint is another training's.
    """
    refuse_unknown(FinetuneOptions, options)
    if model.variants:
        raise UsageError("the model has several sizes, whose weights would part", hint="fine-tune it at one size")
    known = {name: value for name, value in options.items() if name in training.Recipe.__dataclass_fields__}
    recipe = training.Recipe(epochs=epochs, **known)  # type: ignore[arg-type]
    recipe.check()
    if not isinstance(data, str | Path | np.ndarray | Mapping):
        data = list(data)  # it is read twice

    def learned(quantized: Model, evidence: Evidence) -> Model:
        source = replace(model, preprocessing=preprocessing_of(options, model.preprocessing))
        samples = open_samples(data, source, options)
        size = sum(4 * math.prod(dim or 1 for dim in spec.shape) for spec in source.inputs)
        samples = samples.subset(max(training.MOST_BYTES // size, 1), recipe.seed)
        return training.finetune(
            quantized,
            evidence.floats,
            list(samples.feeds()),
            recipe,
            labels=_labels(samples, labels),
            checkpoint=None if checkpoint is None else Path(checkpoint),
            progress=progress,
        )

    return quantize_then(
        model, scheme, learned, fmt=fmt, data=data, progress=progress, **pick(QuantizeOptions, options)
    )


def _labels(samples: DataSet, given: Sequence[int] | str | None) -> Sequence[int] | None:
    """The label of each sample that takes part."""
    labels = samples.labels if isinstance(given, str) else given
    if given is None:
        return None
    if labels is None or samples.batch > 1:
        raise DataError("the data has no label for each sample", hint="learn without labels, or give others")
    if len(labels) <= max(samples.indices):
        raise DataError(f"there are {len(labels)} labels, and more samples")
    return [int(labels[index]) for index in samples.indices]
