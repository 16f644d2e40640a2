"""Outputs that are inputs, constants, the same as others, or read by others: every name stays, with its values."""

from __future__ import annotations

import onnx
import pytest

import narrowcast

TEXT = """
<ir_version: 8, opset_import: ["" : 17]>
outputs (float[1,3,4,4] x) => ({outputs})
<float two = {{2.0}}, int64[4] once = {{1, 1, 1, 1}}>
{{
    {nodes}
}}
"""


@pytest.mark.parametrize(
    ("outputs", "nodes"),
    [
        ("float[1,3,4,4] y, float[1,3,4,4] z", "a = Pow (x, two) y = Tile (x, once) z = Tanh (a)"),
        ("float[1,3,4,4] y, float[1,3,4,4] z", "y = Pow (x, two) z = Tile (x, once)"),
        ("float[1,3,1,1] y, float[1,3,1,1] z", "y = GlobalMaxPool (x) z = Dropout (y)"),
        ("float[1,3,4,4] y, float[1,3,4,4] z", "y = Relu (x) z = Identity (y)"),
        ("float[1,3,4,4] y, float[1,3,4,4] x", "y = Relu (x)"),
        ("float[1,3,4,4] y, float k", "y = Relu (x) k = Neg (two)"),
        ("float[1,3,4,4] y, float two", "y = Relu (x)"),
        ("float[1,3,4,4] y, float[1,3,4,4] z", "y = Sin (x) z = Neg (y)"),
    ],
)
@pytest.mark.parametrize("io_layout", ["source", "target"])
def test_every_output_is_there(outputs, nodes, io_layout, tmp_path):
    onnx.save(onnx.parser.parse_model(TEXT.format(outputs=outputs, nodes=nodes)), tmp_path / "m.onnx")
    model = narrowcast.load(tmp_path / "m.onnx")
    written = narrowcast.save(model, tmp_path / "m.tflite", io_layout=io_layout)
    assert written.parity.sqnr_db > 100
    names = [port.name for port in narrowcast.inspect(tmp_path / "m.tflite").outputs]
    assert len(set(names)) == len(outputs.split(", "))
