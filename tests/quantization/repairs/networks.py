"""Networks of one layer, for repairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

import narrowcast
from narrowcast.model import Feed, Model

LAYERS = {
    "Conv": ("float[1,16,8,8]", "y = Conv <pads = [1, 1, 1, 1]> (x, w, b)", (12, 16, 3, 3), 12),
    "depthwise": ("float[1,128,8,8]", "y = Conv <group = 128> (x, w, b)", (128, 1, 3, 3), 128),
    "no bias": ("float[1,16,8,8]", "y = Conv (x, w)", (12, 16, 3, 3), 0),
    "ConvTranspose": ("float[1,16,8,8]", "y = ConvTranspose <strides = [2, 2]> (x, w, b)", (16, 12, 3, 3), 12),
    "Gemm": ("float[1,160]", "y = Gemm <transB = 1> (x, w, b)", (12, 160), 12),
    "MatMul": ("float[1,5,160]", "m = MatMul (x, w) y = Add (m, b)", (160, 12), 12),
}
"""Shape of the input, body, shape of the weights, number of biases."""


def network(folder: Path, layer: str, random: np.random.Generator) -> tuple[Model, list[Feed]]:
    """A loaded network of one layer, and 24 samples."""
    shape, body, weights, channels = LAYERS[layer]
    given = {"w": np.abs(random.normal(size=weights)), "b": random.normal(size=channels)}
    rank = shape.count(",")
    result = f"float[{','.join('abcd'[: rank + 1])}] y"
    text = f'<ir_version: 8, opset_import: ["" : 17]> g ({shape} x) => ({result}) {{ {body} }}'
    model = onnx.parser.parse_model(text)
    for name in ("w", "b") if channels else ("w",):
        model.graph.initializer.append(onnx.numpy_helper.from_array(given[name].astype(np.float32), name))
    onnx.save(onnx.shape_inference.infer_shapes(model), folder / "m.onnx")
    loaded = narrowcast.load(folder / "m.onnx")
    size = loaded.inputs[0].shape
    return loaded, [{"x": np.abs(random.normal(size=size)).astype(np.float32)} for _ in range(24)]
