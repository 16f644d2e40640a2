"""Small networks as ONNX text, edited and run on ONNX Runtime beside what numpy says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from narrowcast import editing
from narrowcast.model import Model
from narrowcast.readers.formats import read
from tests.readers.onnx.run import run_model, write_text

HEAD = '<ir_version: 8, opset_import: ["" : 17]>\n'

SMALL = (
    HEAD
    + """small (float[1, 3, 4, 4] x) => (float[1, 2, 4, 4] y, float[1, 2] scores)
<float[2, 3, 1, 1] kernel = {1, 2, 3, 4, 5, 6}, float[1] factor = {2}, float[1] offset = {1}> {
    c = Conv <kernel_shape = [1, 1]> (x, kernel)
    m = Mul (c, factor)
    a = Add (m, offset)
    y = Relu (a)
    scores = ReduceMean <axes = [2, 3], keepdims = 0> (y)
}"""
)
"""Values of nodes: c, m, a, y, scores; nodes are named by the reader: c/Conv, m/Mul, ..."""


def network(folder: Path, text: str = SMALL) -> Model:
    return read(write_text(folder / "network.onnx", text))


def edited(model: Model, *edits: dict[str, Any]) -> Model:
    return editing.apply(model, editing.edits_of({"version": 1, "edits": list(edits)}))


def outputs(model: Model, **feed: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip([spec.name for spec in model.outputs], run_model(model, feed), strict=True))


def operators(model: Model) -> list[str]:
    return [node.op_type for node in model.graph]


IMAGE = np.random.default_rng(0).normal(size=(1, 3, 4, 4)).astype(np.float32)
KERNEL = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
CONV = np.einsum("oc,nchw->nohw", KERNEL, IMAGE)
