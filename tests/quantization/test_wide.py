"""int16x8: an operator without a kernel for int16 is computed in floats between its integer neighbours."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import narrowcast

TEXT = """
<ir_version: 8, opset_import: ["" : 17]>
wide (float[1,3,8,8] x) => ({output} y)
<float[8,3,3,3] w, float low = {{-1.0}}, float high = {{1.0}}>
{{
    a = Conv <pads = [1, 1, 1, 1]> (x, w)
    b = {operator}
    {rest}
}}
"""
SAME = ("float[1,8,8,8]", "y = Mul (b, b)")


@pytest.mark.parametrize(
    ("operator", "output", "rest"),
    [
        ("HardSwish (a)", *SAME),
        ("Elu (a)", *SAME),
        ("LogSoftmax <axis = 1> (a)", *SAME),
        ("Softmax <axis = 1> (a)", *SAME),
        ("PRelu (a, low)", *SAME),
        ("DepthToSpace <blocksize = 2> (a)", "float[1,2,16,16]", "y = Mul (b, b)"),
        ("SpaceToDepth <blocksize = 2> (a)", "float[1,32,4,4]", "y = Mul (b, b)"),
        ("Tile (a, c)", "float[1,16,8,8]", "y = Mul (b, b)"),
        ("ArgMax <axis = 1> (a)", "int64[1,1,8,8]", "y = Identity (b)"),
        ("Mul (a, a)", "float[1,8,8,8]", "d = Relu (b) e = Add (d, b) y = Clip (e, low, high)"),
        ("Relu (a)", "float[1,8,8,8]", "d = Clip (b, low, high) e = Clip (a, low, high) y = Add (d, e)"),
    ],
    ids=lambda text: text.split()[0],
)
def test_every_file_runs(operator, output, rest, tmp_path):
    model = onnx.parser.parse_model(TEXT.format(operator=operator, output=output, rest=rest))
    random = np.random.default_rng(0)
    weights = random.normal(size=(8, 3, 3, 3)).astype(np.float32) * 0.3
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1, 2, 1, 1]), "c"))
    onnx.save(model, tmp_path / "wide.onnx")
    data = [{"x": random.normal(size=(1, 3, 8, 8)).astype(np.float32)} for _ in range(8)]
    quantized = narrowcast.quantize(narrowcast.load(tmp_path / "wide.onnx"), "int16x8", data=data)
    written = narrowcast.save(quantized, tmp_path / "wide.tflite", data=data)
    assert written.parity.sqnr_db > (10 if "ArgMax" in operator else 35)
