"""Keras: runs .keras and .h5 files in Keras 3, or in tf-keras where Keras 2 wrote them. Neither unpickles anything."""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from narrowcast._extras import require
from narrowcast.errors import DataError, ModelFileError
from narrowcast.model import Array, Feed, TensorSpec

__all__ = ["KerasRunner", "generation", "installed", "open"]

_BACKENDS = ("tensorflow", "torch", "jax")


def generation(path: Path) -> int:
    """Which Keras wrote a file: 2 or 3."""
    if path.suffix.lower() == ".keras":
        return 3
    import h5py

    with h5py.File(path, "r") as file:
        version = file.attrs.get("keras_version", b"2")
    text = version.decode() if isinstance(version, bytes) else str(version)
    return 3 if text.startswith("3") else 2


def installed(path: Path) -> bool:
    """Whether the Keras that a file needs is there, with a backend."""
    if generation(path) == 2:
        return importlib.util.find_spec("tf_keras") is not None
    return importlib.util.find_spec("keras") is not None and any(importlib.util.find_spec(name) for name in _BACKENDS)


def _choose_backend() -> None:
    """Keras 3 takes TensorFlow unless it is told otherwise, even where that is not installed."""
    if "KERAS_BACKEND" not in os.environ:
        found = [name for name in ("torch", "jax", "tensorflow") if importlib.util.find_spec(name)]
        if found:
            os.environ["KERAS_BACKEND"] = found[0]


class KerasRunner:
    """A Keras file in Keras; see `Runner`."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        old = generation(path) == 2
        if not old:
            _choose_backend()
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        keras: Any = require("tf_keras" if old else "keras", extra="keras", purpose="Running a Keras file")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                safe = {} if old else {"safe_mode": True}
                self._model: Any = keras.models.load_model(path, compile=False, **safe)
        except (ValueError, TypeError, OSError, KeyError, AttributeError) as error:
            raise ModelFileError(
                f"Keras refuses the file: {str(error).strip().splitlines()[0]}", where=str(path)
            ) from error
        self.name = f"{'tf-keras' if old else 'Keras'} {keras.__version__}"
        self.inputs = tuple(_spec(tensor) for tensor in self._model.inputs)
        names = list(getattr(self._model, "output_names", ())) or [tensor.name for tensor in self._model.outputs]
        self.outputs = tuple(_spec(tensor, name) for tensor, name in zip(self._model.outputs, names, strict=True))

    def run(self, feed: Feed) -> dict[str, Array]:
        """See `Runner`; inputs are taken by name, or by position where the names are others.

        Raises:
            DataError: the feed does not fit the inputs.
        """
        names = [spec.name for spec in self.inputs]
        arrays = list(feed.values()) if any(name not in feed for name in names) else [feed[name] for name in names]
        if len(arrays) != len(names):
            raise DataError(f"the model has {len(names)} inputs, the data {len(arrays)}")
        found = self._model(arrays if len(arrays) > 1 else arrays[0], training=False)
        outputs = (
            found if isinstance(found, (list, tuple)) else list(found.values()) if isinstance(found, dict) else [found]
        )
        return {spec.name: _array(value) for spec, value in zip(self.outputs, outputs, strict=True)}

    def stopwatch(self, feed: Feed) -> Callable[[], None]:
        """See `Runner`."""

        def again() -> None:
            self.run(feed)

        return again

    def close(self) -> None:
        """See `Runner`."""
        self._model = None


def _array(value: Any) -> Array:
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    return np.asarray(value)


def _spec(tensor: Any, name: str | None = None) -> TensorSpec:
    dtype = getattr(tensor.dtype, "name", None) or str(tensor.dtype)
    shape = tuple(int(dim) if dim is not None else None for dim in tensor.shape)
    return TensorSpec(name or tensor.name.partition(":")[0], shape, np.dtype(dtype))


def open(path: Path, threads: int = 1) -> KerasRunner:
    """Opens a Keras file."""
    return KerasRunner(path, threads)
