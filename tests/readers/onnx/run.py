"""Runs files as they are and models as they were read, both on ONNX Runtime without its optimisations."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from narrowcast.model import Model, ir
from narrowcast.passes import tidy
from narrowcast.passes.fold import fold_constants
from narrowcast.readers.formats import ReadOptions, read


def session(model: bytes | str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run_file(path: Path, feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    return session(str(path)).run(None, dict(feed))


def run_model(model: Model, feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    opened = session(ir.to_proto(model.ir).SerializeToString())
    return opened.run(None, {port.name: feed[port.name] for port in opened.get_inputs()})


def tidied(path: Path, options: ReadOptions | None = None) -> Model:
    """Reads, folds, and drops what is not used: what canonicalisation starts from."""
    model = read(path, options)
    fold_constants(model)
    tidy.merge_duplicates(model)
    tidy.remove_unused(model)
    return model


def random_feed(model: Model, seed: int = 0) -> dict[str, np.ndarray]:
    """Normal floats, small integers."""
    generator = np.random.default_rng(seed)
    return {
        spec.name: generator.standard_normal(spec.shape).astype(spec.dtype)
        if spec.dtype.kind == "f"
        else generator.integers(0, 3, spec.shape).astype(spec.dtype)
        for spec in model.inputs
    }


def write_text(path: Path, text: str) -> Path:
    """A model from ONNX's textual form; what the parser has to say against old opsets is left to the reader."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path.write_bytes(onnx.parser.parse_model(text).SerializeToString())
    return path


def missing_shapes(model: Model) -> list[str]:
    """Names of values without a dtype or a static shape."""
    values = [value for node in model.graph for value in node.outputs if value.name]
    return [str(v.name) for v in values if v.dtype is None or v.shape is None or not v.shape.is_static()]


def close(got: Any, expected: Any, rtol: float = 1e-5, atol: float = 1e-5) -> bool:
    """Same shape and type, equal numbers; bfloat16 and its like are compared as float64."""
    got, expected = np.asarray(got), np.asarray(expected)
    if got.shape != expected.shape:
        return False
    if "V" not in (got.dtype.kind, expected.dtype.kind) and got.dtype != expected.dtype:
        return False
    if expected.dtype.kind in "OSU":
        return got.astype(str).tolist() == expected.astype(str).tolist()
    wide = np.complex128 if expected.dtype.kind == "c" else np.float64
    return np.allclose(got.astype(wide), expected.astype(wide), rtol=rtol, atol=atol, equal_nan=True)
