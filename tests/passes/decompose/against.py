"""Converts a one-operator model, runs it on LiteRT, and compares with ONNX's reference implementation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import narrowcast
from narrowcast import runtimes


def model(
    op_type: str,
    feeds: dict[str, np.ndarray],
    constants: dict[str, np.ndarray] | None = None,
    outputs: int = 1,
    opset: int = 22,
    **attributes,
) -> onnx.ModelProto:
    """A model of one operator, which takes the feeds and then the constants."""
    constants = constants or {}
    names = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op_type, [*feeds, *constants], names, **attributes)
    graph = helper.make_graph(
        [node],
        op_type,
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in feeds.items()
        ],
        [helper.make_empty_tensor_value_info(name) for name in names],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def converted(proto: onnx.ModelProto, feeds: dict[str, np.ndarray], folder: Path) -> list[np.ndarray]:
    """What the TFLite file computes."""
    onnx.save(proto, folder / "m.onnx")
    source = narrowcast.load(folder / "m.onnx")
    written = narrowcast.save(source, folder / "m.tflite", io_layout="source", verify=False)
    found = runtimes.open(written.path, "litert").run(feeds)
    return [found[output.name] for output in proto.graph.output]


def check(proto: onnx.ModelProto, feeds: dict[str, np.ndarray], folder: Path, tolerance: float = 1e-4) -> None:
    """The file computes what ONNX's reference does."""
    found = converted(proto, feeds, folder)
    expected = ReferenceEvaluator(proto).run(None, feeds)
    assert len(found) == len(expected)
    for got, wanted in zip(found, expected, strict=True):
        assert got.shape == wanted.shape
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance / 10)
