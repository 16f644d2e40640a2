"""Runs a canonical model on ONNX Runtime: calibration, verification and tests stand on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from narrowcast.errors import DataError, ModelFileError, UnsupportedError
from narrowcast.model import Array, Feed, Model, ir
from narrowcast.passes.control.opened import open_up
from narrowcast.passes.decompose.kept import opened_kept
from narrowcast.passes.recurrent.spelled import opened_beyond

__all__ = ["UNSOUND", "Reference", "open_session"]

UNSOUND = ["Pad_Fusion", "QDQPropagationTransformer", "WeightBiasQuantization"]
"""Optimisations of ONNX Runtime that change results: 1.31 merges a zero Pad into a MaxPool, whose pads are lowest; 1.32
gives the quantisation that it moves behind an operator another type than its zero point, and rounds float weights to 8
bits, by one scale, where they are multiplied with what was dequantised."""

PAIRS = ["QDQSelectorActionTransformer", "QDQFinalCleanupTransformer"]
"""Those that make integer kernels of what stands between QuantizeLinear and DequantizeLinear, or drop such a pair."""

LONGEST_MESSAGE = 400
_EITHER = "the model contradicts itself, or uses what ONNX Runtime lacks; export it again"


class Reference:
    """A model opened on ONNX Runtime.

    Args:
        model: canonical; it is not changed.
        extra_outputs: names of computed values to return beside the outputs; names of inputs are passed over.
        threads: how many; ONNX Runtime's own choice (all cores) if None.
        optimize: whether ONNX Runtime may fuse nodes.
        integers: whether it may then compute in integers what is dequantised; in floats, otherwise.

    Raises:
        ModelFileError: ONNX Runtime refuses the graph.
    """

    def __init__(
        self,
        model: Model,
        extra_outputs: Sequence[str] = (),
        *,
        threads: int | None = None,
        optimize: bool = True,
        integers: bool = True,
    ) -> None:
        self.inputs = model.inputs
        self.outputs = [spec.name for spec in model.outputs]
        graph = model.graph
        produced = {value.name: value for node in graph for value in node.outputs}
        self.extra_outputs = [name for name in extra_outputs if name in produced and name not in self.outputs]
        added = [produced[name] for name in self.extra_outputs]
        graph.outputs.extend(added)
        try:
            self._session = open_session(model.ir, threads=threads, optimize=optimize, integers=integers)
        finally:
            del graph.outputs[len(graph.outputs) - len(added) :]

    def run(self, feed: Feed) -> dict[str, Array]:
        """Runs one feed and returns all outputs by name.

        Raises:
            DataError: an input is missing, has another shape than the model's, or the graph cannot be run on it.
        """
        checked = self.checked(feed)
        try:
            found = self._session.run([*self.outputs, *self.extra_outputs], checked)
        except Exception as error:  # its errors have no base class of their own
            raise DataError(f"ONNX Runtime cannot run the graph: {_sentence(error)}", hint=_EITHER) from error
        return dict(zip([*self.outputs, *self.extra_outputs], found, strict=True))

    def checked(self, feed: Feed) -> dict[str, Array]:
        """The feed for this model's inputs, shapes and types checked."""
        return {spec.name: _checked(feed, spec) for spec in self.inputs}


def open_session(model: ir.Model, *, threads: int | None = None, optimize: bool = True, integers: bool = True) -> Any:
    """An ONNX Runtime session for a graph.

    Raises:
        ModelFileError: ONNX Runtime refuses it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if threads is not None:
        options.add_session_config_entry("session.force_spinning_stop", "1")  # what waits takes no time from others
        options.intra_op_num_threads = threads
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        proto = ir.to_proto(opened_kept(opened_beyond(model)))
        open_up(proto)
        data = proto.SerializeToString()
        return onnxruntime.InferenceSession(
            data,
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=UNSOUND if integers else UNSOUND + PAIRS,
        )
    except Exception as error:  # its errors have no base class of their own
        kind = UnsupportedError if type(error).__name__ == "NotImplemented" else ModelFileError
        raise kind(f"ONNX Runtime refuses the graph: {_sentence(error)}", hint=_EITHER) from error


def _sentence(error: Exception) -> str:
    """The message without the code in front and the call stack behind, on one line."""
    text = " ".join(str(error).split())
    return text.removeprefix("[ONNXRuntimeError] : ")[:LONGEST_MESSAGE] or type(error).__name__


def _checked(feed: Feed, spec: Any) -> Array:
    array = feed.get(spec.name)
    if array is None:
        raise DataError(f"no data for the input {spec.name!r}", hint=f"the data has {', '.join(map(repr, feed))}")
    array = np.asarray(array)
    fits = array.ndim == len(spec.shape) and all(
        want is None or want == have for want, have in zip(spec.shape, array.shape, strict=True)
    )
    if not fits:
        raise DataError(f"the input {spec.name!r} wants shape {_shape(spec.shape)}, the data has {_shape(array.shape)}")
    return array if array.dtype == spec.dtype else array.astype(spec.dtype)


def _shape(shape: Sequence[int | None]) -> str:
    return "x".join("?" if dim is None else str(dim) for dim in shape)
