"""Reads a file, checks the graph against ONNX's own rules, and runs it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from narrowcast.model import Model, ir
from narrowcast.readers.formats import ReadOptions, read


def load(path: Path, **options: Any) -> Model:
    """A model whose every value has a type and a shape that ONNX's own inference agrees with."""
    model = read(path, ReadOptions(**options))
    for node in model.graph:
        for value in node.outputs:
            assert value.dtype is not None, value
            assert value.shape is not None, value
    proto = ir.to_proto(model.ir)
    onnx.checker.check_model(proto)
    onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=True)
    return model


def run(model: Model, feeds: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Runs the graph as it stands, without ONNX Runtime's own rewriting."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(ir.to_proto(model.ir).SerializeToString(), options)
    feed = {spec.name: array.astype(spec.dtype) for spec, array in zip(model.inputs, feeds, strict=True)}
    return session.run(None, feed)
