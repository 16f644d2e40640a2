"""ONNX Runtime: runs .onnx files as they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from narrowcast.errors import DataError, ModelFileError
from narrowcast.model import Array, Feed, TensorSpec
from narrowcast.reference import UNSOUND

__all__ = ["OnnxRuntime", "open"]

_TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(int16)": np.int16,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}


class OnnxRuntime:
    """An .onnx file in ONNX Runtime; see `Runner`."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=UNSOUND
            )
        except (RuntimeError, ValueError) as error:
            lines = str(error).strip().splitlines()
            raise ModelFileError(
                f"ONNX Runtime refuses the file: {lines[-1] if lines else ''}", where=str(path)
            ) from error
        self.name = f"ONNX Runtime {onnxruntime.__version__}"
        self.inputs = tuple(_spec(node) for node in self._session.get_inputs())
        self.outputs = tuple(_spec(node) for node in self._session.get_outputs())

    def run(self, feed: Feed) -> dict[str, Array]:
        """See `Runner`.

        Raises:
            DataError: the feed does not fit the inputs.
        """
        names = [spec.name for spec in self.outputs]
        try:
            found = self._session.run(names, self._checked(feed))
        except (RuntimeError, ValueError) as error:
            raise DataError(f"ONNX Runtime refuses the data: {str(error).strip().splitlines()[-1]}") from error
        return dict(zip(names, found, strict=True))

    def _checked(self, feed: Feed) -> dict[str, Array]:
        missing = [spec.name for spec in self.inputs if spec.name not in feed]
        if missing:
            raise DataError(f"no data for the input {missing[0]!r}", hint=f"the data has {', '.join(map(repr, feed))}")
        return {spec.name: np.asarray(feed[spec.name], spec.dtype) for spec in self.inputs}

    def stopwatch(self, feed: Feed) -> Callable[[], None]:
        """See `Runner`."""
        checked = self._checked(feed)
        names = [spec.name for spec in self.outputs]
        return lambda: self._session.run(names, checked) and None

    def close(self) -> None:
        """See `Runner`."""
        self._session = None


def _spec(node: Any) -> TensorSpec:
    shape = tuple(dim if isinstance(dim, int) and dim > 0 else None for dim in node.shape or ())
    return TensorSpec(node.name, shape, np.dtype(_TYPES.get(node.type, np.float32)))


def open(path: Path, threads: int = 1) -> OnnxRuntime:
    """Opens an .onnx file."""
    return OnnxRuntime(path, threads)
