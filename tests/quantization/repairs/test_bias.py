"""Bias correction: the mean error of a layer's output is taken back, in every scheme, with and without a bias."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import narrowcast
from narrowcast import quantization, targets
from narrowcast.errors import UsageError
from narrowcast.evaluation import trials
from narrowcast.evaluation.judge import Judge
from narrowcast.model import ir
from narrowcast.passes.prepare import adapt
from narrowcast.quantization.repairs import REPAIRS, Evidence, repaired
from narrowcast.quantization.repairs.layers import layers_of

RANDOM = np.random.default_rng(0)

LAYERS = {
    "Conv": ("float[1,16,8,8]", "y = Conv <pads = [1, 1, 1, 1]> (x, w, b)", (12, 16, 3, 3), 12),
    "depthwise": ("float[1,128,8,8]", "y = Conv <group = 128> (x, w, b)", (128, 1, 3, 3), 128),
    "no bias": ("float[1,16,8,8]", "y = Conv (x, w)", (12, 16, 3, 3), 0),
    "ConvTranspose": ("float[1,16,8,8]", "y = ConvTranspose <strides = [2, 2]> (x, w, b)", (16, 12, 3, 3), 12),
    "Gemm": ("float[1,160]", "y = Gemm <transB = 1> (x, w, b)", (12, 160), 12),
    "MatMul": ("float[1,5,160]", "m = MatMul (x, w) y = Add (m, b)", (160, 12), 12),
}


def network(tmp_path, layer):
    shape, body, weights, channels = LAYERS[layer]
    given = {"w": np.abs(RANDOM.normal(size=weights)), "b": RANDOM.normal(size=channels)}
    rank = shape.count(",")
    result = f"float[{','.join('abcd'[: rank + 1])}] y"
    text = f'<ir_version: 8, opset_import: ["" : 17]> g ({shape} x) => ({result}) {{ {body} }}'
    model = onnx.parser.parse_model(text)
    for name in ("w", "b") if channels else ("w",):
        model.graph.initializer.append(onnx.numpy_helper.from_array(given[name].astype(np.float32), name))
    onnx.save(onnx.shape_inference.infer_shapes(model), tmp_path / "m.onnx")
    loaded = narrowcast.load(tmp_path / "m.onnx")
    size = loaded.inputs[0].shape
    feeds = [{"x": np.abs(RANDOM.normal(size=size)).astype(np.float32)} for _ in range(24)]
    return loaded, feeds


@pytest.mark.parametrize("scheme", ["int8", "dynamic_range"])
@pytest.mark.parametrize("layer", LAYERS)
def test_the_mean_error_of_a_layer_is_gone(layer, scheme, tmp_path):
    floats, feeds = network(tmp_path, layer)
    target = targets.find("litert")
    adapt(floats, target)
    made = quantization.quantize(floats, scheme, target, feeds=feeds[:16])
    layers = layers_of(made, floats, target)
    assert layers or (layer == "ConvTranspose" and scheme == "dynamic_range")  # which has no such kernel
    for found in layers:  # two steps down throughout: weights with a mean error
        stored = found.weights.inputs[0]
        stored.const_value = ir.Tensor(np.clip(stored.const_value.numpy().astype(int) - 2, -127, 127).astype(np.int8))
    judge = Judge(floats, feeds[16:])
    better = repaired(made, "bias", Evidence(floats, target, lambda count: feeds[:count]))
    gained = judge.of(better).mean - judge.of(made).mean
    assert gained > 3 if layers else gained >= 0


def test_repaired_files_pass_their_proof(tmp_path):
    floats, feeds = network(tmp_path, "Conv")
    plain = narrowcast.quantize(floats, "int8", data=feeds)
    made = narrowcast.quantize(floats, "int8", data=feeds, repairs=["bias"])
    assert narrowcast.save(made, tmp_path / "m.tflite", data=feeds).parity.sqnr_db > 30
    assert made.provenance.options["repairs"] == ["bias"]
    assert "repairs" not in plain.provenance.options


def test_the_table_of_names_is_the_table_of_repairs():
    assert tuple(REPAIRS) == trials.REPAIRS


def test_an_unknown_repair_is_named(tmp_path):
    floats, feeds = network(tmp_path, "Gemm")
    with pytest.raises(UsageError, match="unknown repair 'bais'") as caught:
        narrowcast.quantize(floats, "int8", data=feeds, repairs=["bais"])
    assert "bias" in caught.value.hint
