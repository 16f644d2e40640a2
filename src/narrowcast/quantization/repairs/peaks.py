"""How far the channels of activations reach, streamed over calibration samples."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from narrowcast.model import Array, Model
from narrowcast.quantization.repairs import Evidence
from narrowcast.reference import Reference

__all__ = ["channel_peaks"]

SAMPLES = 64


def channel_peaks(model: Model, axes: Mapping[str, int], evidence: Evidence) -> dict[str, Array]:
    """The largest magnitude in each channel of some values of a float model. Float32, [channels] each, by name.

    Args:
        model: whose values they are; it is not changed.
        axes: of the channels, by the values' names.
        evidence: whose samples are run.

    Raises:
        DataError: a sample does not fit the model.
    """
    reference, peaks = Reference(model, list(axes)), dict[str, Array]()
    for done, feed in enumerate(evidence.samples(SAMPLES), 1):
        found = reference.run(feed)
        for name, axis in axes.items():
            array = np.abs(found[name])
            others = tuple(other for other in range(array.ndim) if other != axis % array.ndim)
            peaks[name] = np.maximum(peaks.get(name, 0.0), array.max(axis=others))
        evidence.progress(done)
    return peaks
