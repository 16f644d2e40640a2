"""The data that a verb was given, opened for a model; what opens it is imported when there is some."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from narrowcast.api.options import Data, DataOptions, PreprocessingOptions
from narrowcast.model import Model, Preprocessing

if TYPE_CHECKING:
    from narrowcast.evaluation.data import DataSet

__all__ = ["open_samples", "preprocessing_of", "stored_pixels"]

_KEYS = frozenset(PreprocessingOptions.__annotations__)


def preprocessing_of(options: PreprocessingOptions, base: Preprocessing | None) -> Preprocessing | None:
    """The preprocessing that the options ask for, over what is known already; None where nothing is said or known.

    Raises:
        DataError: an option is unknown or contradicts another.
    """
    given = {key: value for key, value in options.items() if key in _KEYS and value is not None}
    if not given:
        return base
    from narrowcast.evaluation.preprocessing import make_preprocessing

    return make_preprocessing(**given, base=base)  # type: ignore[arg-type]


def stored_pixels(model: Model) -> Preprocessing | None:
    """The preprocessing of a model; mean and std by the scale of an input of 8 bits, unless the file says others."""
    if not any(spec.dtype.itemsize == 1 for spec in model.inputs):
        return model.preprocessing
    from narrowcast.evaluation.ports import pixels_of

    stored, told = pixels_of(model), model.preprocessing
    if stored is None or told is None:
        return told or stored
    ends = [(end - mean) / std for end in (0.0, 255.0) for mean, std in zip(told.mean, told.std, strict=False)]
    steps = [end / stored.std[0] - stored.mean[0] / stored.std[0] for end in (0.0, 255.0) for _ in told.mean]
    alike = all(abs(a - b) <= 1 / stored.std[0] + 1e-6 for a, b in zip(ends, steps, strict=False))
    return replace(told, mean=stored.mean, std=stored.std) if alike else told


def open_samples(data: Data, model: Model, options: DataOptions) -> DataSet:
    """Opens data in the source's layout, with the model's preprocessing; real numbers, whatever its inputs store.

    Raises:
        DataError: it is missing, empty, damaged, or does not fit the model.
    """
    from narrowcast.evaluation.data import open_data
    from narrowcast.evaluation.ports import specs_of

    return open_data(
        data,
        specs_of(model),
        model.preprocessing,
        label_offset=options.get("label_offset", 0),
        sample_rate=options.get("sample_rate"),
    )
