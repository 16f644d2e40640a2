"""ONNX Runtime: runs .onnx files as they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from narrowcast._files import readable_file
from narrowcast.errors import DataError, ModelFileError, UnsupportedError
from narrowcast.model import Array, Feed, TensorSpec

__all__ = ["OnnxRuntime", "open"]

_NAMES = ("float16", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_TYPES: dict[str, np.dtype[Any]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(double)": np.dtype(np.float64),
    **{f"tensor({name})": np.dtype(name) for name in _NAMES},
}


class OnnxRuntime:
    """An .onnx file in ONNX Runtime, its symbolic dimensions as they are fed; see `Runner`.

    Its worker threads stop as soon as a run ends: by default they go on spinning for the next one, and take the cores
    from whatever else is being measured.
    """

    def __init__(self, path: Path, threads: int = 1, *, optimize: bool = True) -> None:
        import onnxruntime

        self._path = readable_file(path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4
        options.add_session_config_entry("session.force_spinning_stop", "1")
        if not optimize:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            self._session: Any = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors have no base class of their own
            raise ModelFileError(f"ONNX Runtime refuses the file: {_last_line(error)}", where=str(path)) from error
        self.name = f"ONNX Runtime {onnxruntime.__version__}{'' if optimize else ', nothing fused'}"
        self.inputs = tuple(_spec(node, path) for node in self._session.get_inputs())
        self.outputs = tuple(_spec(node, path) for node in self._session.get_outputs())
        self._names = [spec.name for spec in self.outputs]

    def run(self, feed: Feed) -> dict[str, Array]:
        """See `Runner`.

        Raises:
            DataError: the feed does not fit the inputs.
        """
        arrays = self._arrays(feed)
        try:
            found = self._session.run(self._names, arrays)
        except Exception as error:
            raise DataError(f"ONNX Runtime cannot run the data: {_last_line(error)}") from error
        return dict(zip(self._names, found, strict=True))

    def _arrays(self, feed: Feed) -> dict[str, Array]:
        missing = [spec.name for spec in self.inputs if spec.name not in feed]
        if missing:
            raise DataError(f"no data for the input {missing[0]!r}", hint=f"the data has {', '.join(map(repr, feed))}")
        return {spec.name: np.asarray(feed[spec.name], spec.dtype) for spec in self.inputs}

    def stopwatch(self, feed: Feed) -> Callable[[], None]:
        """See `Runner`."""
        session, names, arrays = self._session, self._names, self._arrays(feed)

        def again() -> None:
            session.run(names, arrays)

        return again

    def operators(self) -> tuple[Counter[str], int | None]:
        """The operators of the file's main graph by name; ONNX Runtime does not say what it fuses of them."""
        import onnx

        graph = onnx.load(self._path, load_external_data=False).graph
        return Counter(node.op_type for node in graph.node), None

    def close(self) -> None:
        """See `Runner`."""
        self._session = None


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def _spec(node: Any, path: Path) -> TensorSpec:
    dtype = _TYPES.get(node.type)
    if dtype is None:
        raise UnsupportedError(f"{node.name!r} is a {node.type}, which is not supported here", where=str(path))
    shape = tuple(dim if isinstance(dim, int) and dim > 0 else None for dim in node.shape or ())
    return TensorSpec(node.name, shape, dtype)


def open(path: Path, threads: int = 1) -> OnnxRuntime:
    """Opens an .onnx file."""
    return OnnxRuntime(path, threads)
