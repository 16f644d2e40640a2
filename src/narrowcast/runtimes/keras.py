"""Keras: runs .keras and .h5 files in Keras 3, or in tf-keras where Keras 2 wrote them.

No code out of a file is ever run. Keras 3 has a safe mode for that; tf-keras has none for HDF5 files, and old versions
of Keras 3 ignore it there. So the model's definition is read here first, and Lambda layers and references to code
outside Keras are refused before Keras sees the file.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from narrowcast._extras import require
from narrowcast._files import readable_file
from narrowcast.errors import DataError, ModelFileError, UnsupportedError
from narrowcast.model import Array, Feed, TensorSpec

__all__ = ["KerasRunner", "generation", "installed", "open", "package"]

_BACKENDS = ("torch", "jax", "tensorflow")
"""In the order of choice where nothing else is set: by the time that they take to be imported."""

_CODE = frozenset({"Lambda", "__lambda__"})
_TRUSTED = frozenset({"keras", "tf_keras", "keras_hub", "keras_cv", "keras_nlp"})
_CONFIG_LIMIT = 256 << 20
"""Bytes of the largest definition that is read."""


def generation(path: Path) -> int:
    """Which Keras wrote a file: 2 or 3.

    Raises:
        ModelFileError: the file is missing, damaged, or no Keras model.
    """
    return 3 if _definition(path)[1].startswith("3") else 2


def package(path: Path) -> str:
    """The package that runs a file: "keras", or "tf_keras" for what Keras 2 wrote."""
    return "keras" if generation(path) == 3 else "tf_keras"


def installed(path: Path) -> bool:
    """Whether the Keras that a file needs is there, with a backend."""
    name = package(path)
    backends = _BACKENDS if name == "keras" else ("tensorflow",)
    return _found(name) and any(map(_found, backends))


def _found(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _definition(path: Path) -> tuple[Any, str]:
    """The model's configuration, and the version of the Keras that wrote it ("2" where the file does not say)."""
    readable_file(path)
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if archive.getinfo("config.json").file_size > _CONFIG_LIMIT:
                    raise ModelFileError("the model's definition is too large", where=str(path))
                version = json.loads(archive.read("metadata.json")).get("keras_version", "3")
                return json.loads(archive.read("config.json")), str(version)
        import h5py

        with h5py.File(path, "r") as file:
            if "model_config" not in file.attrs:
                raise ModelFileError(
                    "it holds weights but no model", where=str(path), hint="save the whole model, with model.save"
                )
            return json.loads(_text(file.attrs["model_config"])), _text(file.attrs.get("keras_version", "2"))
    except (OSError, ValueError, KeyError, AttributeError, RecursionError, zipfile.BadZipFile) as error:
        raise ModelFileError("not a readable Keras file", where=str(path)) from error


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _refuse_code(config: Any, path: Path) -> None:
    """Raises where a definition holds code, or names code that is not Keras's own."""
    pending = [config]
    while pending:
        item = pending.pop()
        if isinstance(item, list):
            pending.extend(item)
        elif isinstance(item, dict):
            module = item.get("module")
            if item.get("class_name") in _CODE:
                raise UnsupportedError(
                    "a Lambda layer holds Python code, which is never run",
                    where=str(path),
                    hint="write it with Keras layers, or export the model to ONNX",
                )
            if "class_name" in item and isinstance(module, str) and module.partition(".")[0] not in _TRUSTED:
                raise UnsupportedError(
                    f"it needs code from outside Keras: {module}.{item['class_name']}",
                    where=str(path),
                    hint="export the model to ONNX",
                )
            pending.extend(item.values())


@contextmanager
def _under_suffix(path: Path) -> Iterator[Path]:
    """The file under a name that Keras takes for what it holds: it goes by suffixes, not by content."""
    suffix = ".keras" if zipfile.is_zipfile(path) else ".h5"
    if path.suffix == suffix:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / f"model{suffix}"
        link.symlink_to(path.resolve())
        yield link


def _choose_backend() -> None:
    """Keras 3 takes TensorFlow unless it is told otherwise, even where that is not installed."""
    if "KERAS_BACKEND" not in os.environ and "keras" not in sys.modules:
        found = [name for name in _BACKENDS if _found(name)]
        if found:
            os.environ["KERAS_BACKEND"] = found[0]


class KerasRunner:
    """A Keras file in Keras; see `Runner`.

    PyTorch's number of threads is set before each run. TensorFlow takes one number for the whole life of a process, the
    first that is asked for; JAX takes none.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        config, version = _definition(path)
        _refuse_code(config, path)
        old = not version.startswith("3")
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        if not old:
            _choose_backend()
        keras: Any = require("tf_keras" if old else "keras", extra="keras", purpose="Running a Keras file")
        self.backend = "tensorflow" if old else str(keras.backend.backend())
        self._threads = threads
        _limit_tensorflow(self.backend, threads)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with _under_suffix(path) as file:
                    self._model: Any = keras.models.load_model(file, compile=False, safe_mode=True)
        except Exception as error:  # whatever a layer's own code stumbles over
            line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ModelFileError(f"Keras refuses the file: {line}", where=str(path)) from error
        self.name = f"{'tf-keras' if old else 'Keras'} {keras.__version__} on {self.backend}"
        self.inputs = tuple(_spec(tensor, tensor.name, path) for tensor in self._model.inputs)
        names = list(getattr(self._model, "output_names", ())) or [tensor.name for tensor in self._model.outputs]
        self.outputs = tuple(
            _spec(tensor, name, path) for tensor, name in zip(self._model.outputs, _unique(names), strict=True)
        )
        self._call, self._flatten = self._compiled(keras, old)

    def _compiled(self, keras: Any, old: bool) -> tuple[Callable[[Any], Any], Callable[[Any], list[Any]]]:
        """The forward pass as the backend runs it fastest, and what flattens its outputs in the order of `outputs`."""
        model = self._model

        def forward(arrays: Any) -> Any:
            return model(arrays, training=False)

        if self.backend == "torch":
            torch = sys.modules["torch"]

            def without_gradients(arrays: Any) -> Any:
                torch.set_num_threads(self._threads)
                with torch.no_grad():
                    return forward(arrays)

            return without_gradients, keras.tree.flatten
        if self.backend == "tensorflow":
            tensorflow = sys.modules["tensorflow"]
            return tensorflow.function(forward), tensorflow.nest.flatten
        return forward, keras.tree.flatten

    def run(self, feed: Feed) -> dict[str, Array]:
        """See `Runner`; inputs are taken by name, or by position where the names are others.

        Raises:
            DataError: the feed does not fit the inputs.
        """
        arguments = self._arguments(feed)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = self._flatten(self._call(arguments))
        except Exception as error:
            line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise DataError(f"Keras cannot run the data: {line}") from error
        return {spec.name: _array(value) for spec, value in zip(self.outputs, found, strict=True)}

    def _arguments(self, feed: Feed) -> Any:
        names = [spec.name for spec in self.inputs]
        found = list(feed.values()) if any(name not in feed for name in names) else [feed[name] for name in names]
        if len(found) != len(names):
            raise DataError(f"the model has {len(names)} inputs, the data {len(found)}")
        arrays = [np.asarray(array, spec.dtype) for array, spec in zip(found, self.inputs, strict=True)]
        form = getattr(self._model, "_inputs_struct", getattr(self._model, "_nested_inputs", None))
        if isinstance(form, dict):
            positions = {id(tensor): index for index, tensor in enumerate(self._model.inputs)}
            return {key: arrays[positions[id(tensor)]] for key, tensor in form.items()}
        return arrays if len(arrays) > 1 else arrays[0]

    def stopwatch(self, feed: Feed) -> Callable[[], None]:
        """See `Runner`; the time includes handing the outputs out."""
        arguments = self._arguments(feed)

        def again() -> None:
            for value in self._flatten(self._call(arguments)):
                _array(value)

        return again

    def close(self) -> None:
        """See `Runner`."""
        self._model = self._call = None  # type: ignore[assignment]


def _limit_tensorflow(backend: str, threads: int) -> None:
    if backend == "tensorflow":
        threading = sys.modules["tensorflow"].config.threading
        try:
            threading.set_intra_op_parallelism_threads(threads)
            threading.set_inter_op_parallelism_threads(1)
        except RuntimeError:  # it runs already
            return


def _array(value: Any) -> Array:
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    return np.asarray(value)


def _unique(names: list[str]) -> list[str]:
    """Outputs may share a name, but not here."""
    return [name if names.count(name) == 1 else f"{name}_{index}" for index, name in enumerate(names)]


def _spec(tensor: Any, name: str, path: Path) -> TensorSpec:
    kind = getattr(tensor.dtype, "name", None) or str(tensor.dtype)
    try:
        dtype = np.dtype(np.float32 if kind == "bfloat16" else kind)
    except TypeError as error:
        raise UnsupportedError(f"{name!r} is of type {kind}, which is not supported here", where=str(path)) from error
    shape = tuple(int(dim) if dim is not None else None for dim in tensor.shape)
    return TensorSpec(name.partition(":")[0], shape, dtype)


def open(path: Path, threads: int = 1) -> KerasRunner:
    """Opens a Keras file."""
    return KerasRunner(path, threads)
