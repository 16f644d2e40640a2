"""The data that a verb was given, opened for a model; what opens it is imported when there is some."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from narrowcast.api.options import Data, DataOptions, PreprocessingOptions
from narrowcast.model import Model, Preprocessing

if TYPE_CHECKING:
    from narrowcast.evaluation.data import DataSet

__all__ = ["open_samples", "preprocessing_of", "remark"]

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


def open_samples(data: Data, model: Model, options: DataOptions) -> DataSet:
    """Opens data in the source's layout, with the model's preprocessing.

    Images for an integer input that stands for real numbers are made real, and stored by its scale.

    Raises:
        DataError: it is missing, empty, damaged, or does not fit the model.
    """
    from narrowcast.evaluation.data import holds_images, open_data
    from narrowcast.evaluation.ports import feed_for, graph_ports

    offset, ports = options.get("label_offset", 0), graph_ports(model)
    scaled = {port.name for port in ports.inputs if port.scale}
    if not scaled or model.preprocessing is None or not holds_images(data):
        return open_data(data, model.inputs, model.preprocessing, label_offset=offset)
    real = [replace(spec, dtype=np.dtype(np.float32)) if spec.name in scaled else spec for spec in model.inputs]
    opened = open_data(data, real, model.preprocessing, label_offset=offset)
    return replace(opened, read=lambda index: feed_for(ports, opened.read(index)))


def remark(data: Data, model: Model) -> tuple[str, ...]:
    """A warning where images go in with no preprocessing asked for or known."""
    if model.preprocessing is None and isinstance(data, str | Path) and Path(data).is_dir():
        return ("images went in as pixels of 0..255: no preprocessing was given, and the file names none",)
    return ()
