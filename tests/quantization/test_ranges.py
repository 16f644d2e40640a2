"""Ranges that no scale should follow: of tensors that are always zero, and of padding by the lowest number."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import narrowcast
from narrowcast.quantization.observers import OBSERVERS

TEXT = """
<ir_version: 8, opset_import: ["" : 17]>
ranges (float[1,3,8,8] x) => (float[1,4,{sides}] y)
{{
    a = Conv <pads = [1, 1, 1, 1]> (x, w, b)
    {rest}
}}
"""
DEAD = "r = Relu (a) c = Conv <pads = [1, 1, 1, 1]> (x, w) s = Add (r, c) y = Mul (s, s)"
POOLS = {
    "5,6": "y = MaxPool <kernel_shape = [3, 3], dilations = [2, 1], pads = [0, 0, 1, 0]> (a)",
    "1,6": "y = MaxPool <kernel_shape = [3, 3], dilations = [2, 1], strides = [8, 1], pads = [2, 0, 0, 0]> (a)",
}
"""By the sides of what they give; the second looks at rows that are all padding."""


def quantized(tmp_path, rest, sides, bias, scheme, observer="minmax"):
    model = onnx.parser.parse_model(TEXT.format(rest=rest, sides=sides))
    random = np.random.default_rng(0)
    for name, array in (("w", random.normal(size=(4, 3, 3, 3)) * 0.3), ("b", np.full(4, bias))):
        model.graph.initializer.append(onnx.numpy_helper.from_array(array.astype(np.float32), name))
    onnx.save(model, tmp_path / "m.onnx")
    data = [{"x": random.normal(size=(1, 3, 8, 8)).astype(np.float32)} for _ in range(8)]
    made = narrowcast.quantize(narrowcast.load(tmp_path / "m.onnx"), scheme, data=data, observer=observer)
    return narrowcast.save(made, tmp_path / "m.tflite", data=data)


@pytest.mark.parametrize("scheme", ["int8", "full_int8", "int16x8"])
def test_a_layer_that_is_always_zero_leaves_a_file_that_runs(scheme, tmp_path):
    assert quantized(tmp_path, DEAD, "8,8", -100.0, scheme).parity.sqnr_db > 25


@pytest.mark.parametrize("scheme", ["int8", "full_int8", "int16x8"])
@pytest.mark.parametrize("observer", OBSERVERS)
@pytest.mark.parametrize("sides", POOLS)
def test_padding_by_the_lowest_number_widens_no_range(sides, scheme, observer, tmp_path):
    assert quantized(tmp_path, POOLS[sides], sides, 0.0, scheme, observer).parity.sqnr_db > 25
