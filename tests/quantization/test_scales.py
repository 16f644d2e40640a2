"""Scales far from 1: of tiny inputs and weights, of ranges far below a bound, of outputs far below their products."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

import narrowcast

TEXT = '<ir_version: 8, opset_import: ["" : 17]> network (float[{x}] x) => (float[{y}] y) {{ {body} }}'
CONV = "c = Conv <pads = [1,1,1,1]> (x, w)"
RANDOM = np.random.default_rng(0)


def normal(*shape):
    return RANDOM.standard_normal(shape)


LOW, HIGH = {"low": np.zeros(()), "high": np.full((), 6.0)}, {"low": np.full((), -1.0), "high": np.ones(())}
TINY = {"w": normal(4, 4, 3, 3) * 2e-6, "v": normal(4, 4, 1, 1) * 1e5}
NETWORKS = {
    "inputs of 1e-9": (
        "1,16",
        "1,4",
        "a = Mul (x, k) y = MatMul (a, w)",
        {"k": np.full((), 1e9), "w": normal(16, 4)},
        1e-9,
    ),
    "weights of 1e-8": (
        "1,40",
        "1,40",
        "a = MatMul (x, w) y = MatMul (a, v)",
        {"w": normal(40, 40) * 1e-8, "v": normal(40, 40) * 1e7},
        1.0,
    ),
    "a ReLU6 of 1e-12": ("1,4,8,8", "1,4,8,8", f"{CONV} d = Clip (c, low, high) y = Conv (d, v)", TINY | LOW, 1e-6),
    "a clip of 1e-12": ("1,4,8,8", "1,4,8,8", f"{CONV} d = Clip (c, low, high) y = Conv (d, v)", TINY | HIGH, 1e-6),
    "a lone clip of 1e-12": (
        "1,4,8,8",
        "1,4,8,8",
        f"{CONV} m = MaxPool <kernel_shape = [1,1]> (c) d = Clip (m, low, high) e = Mul (d, m) y = Conv (d, v)",
        TINY | LOW,
        1e-6,
    ),
    "a HardSwish of what is far below zero": (
        "1,4,8,8",
        "1,4,8,8",
        "c = Conv (x, w, b) d = HardSwish (c) e = Conv (d, v) f = Conv (x, u) y = Add (e, f)",
        {"w": normal(4, 4, 1, 1) * 60, "b": np.full(4, -400.0), "v": normal(4, 4, 1, 1), "u": normal(4, 4, 1, 1)},
        1.0,
    ),
    "a layer that is nearly always zero": (
        "1,4,8,8",
        "1,4,8,8",
        "c = Conv <pads = [1,1,1,1]> (x, w, b) d = Relu (c) e = Conv (d, v) f = Conv (x, u) y = Add (e, f)",
        {"w": normal(4, 4, 3, 3) * 0.3, "b": np.full(4, -9.0), "v": normal(4, 4, 1, 1), "u": normal(4, 4, 1, 1)},
        1.0,
    ),
}


def made(name, tmp_path):
    x, y, body, constants, scale = NETWORKS[name]
    model = onnx.parser.parse_model(TEXT.format(x=x, y=y, body=body))
    for key, array in constants.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array, np.float32), key))
    onnx.save(model, tmp_path / "m.onnx")
    shape = tuple(map(int, x.split(",")))
    feeds = [
        {"x": (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)} for seed in range(8)
    ]
    return narrowcast.load(tmp_path / "m.onnx"), feeds


@pytest.mark.parametrize(("scheme", "least"), [("int8", 25), ("full_int8", 25), ("int16x8", 35), ("dynamic_range", 35)])
@pytest.mark.parametrize("name", NETWORKS)
def test_no_scale_has_an_absolute_floor_or_ceiling(name, scheme, least, tmp_path):
    """With XNNPACK, and on LiteRT's own kernels, which check more."""
    source, feeds = made(name, tmp_path)
    written = narrowcast.save(narrowcast.quantize(source, scheme, data=feeds), tmp_path / "m.tflite", data=feeds)
    assert written.parity.sqnr_db > least
    alone = Interpreter(
        str(written.path), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    alone.allocate_tensors()


def test_an_output_below_the_steps_of_its_products_leaves_a_file_that_runs(tmp_path):
    """XNNPACK refuses a file whose products would be enlarged 256 times."""
    kernel = np.zeros((4, 4, 1, 1))
    kernel[:, 0, 0, 0], kernel[:, 1, 0, 0] = 1, -1 + 1e-7
    text = TEXT.format(x="1,4,8,8", y="1,4,8,8", body="c = Conv (x, w) y = Relu (c)")
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(onnx.numpy_helper.from_array(kernel.astype(np.float32), "w"))
    onnx.save(model, tmp_path / "m.onnx")
    feeds = [{"x": np.repeat(normal(1, 1, 8, 8), 4, 1).astype(np.float32)} for _ in range(4)]
    quantised = narrowcast.quantize(narrowcast.load(tmp_path / "m.onnx"), "int8", data=feeds)
    path = narrowcast.save(quantised, tmp_path / "m.tflite", verify=False).path
    Interpreter(str(path)).allocate_tensors()


@pytest.mark.parametrize(("scale", "stored"), [(1.0, True), (1e-3, True), (1e-4, True), (1e-8, False), (1e6, False)])
def test_float16_keeps_what_it_cannot_hold(scale, stored, tmp_path):
    text = TEXT.format(x="1,40", y="1,40", body="y = MatMul (x, w)")
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(onnx.numpy_helper.from_array((normal(40, 40) * scale).astype(np.float32), "w"))
    onnx.save(model, tmp_path / "m.onnx")
    written = narrowcast.save(
        narrowcast.quantize(narrowcast.load(tmp_path / "m.onnx"), "float16"), tmp_path / "m.tflite"
    )
    assert written.parity.sqnr_db > 55
    assert stored != any("stays float32" in note for note in written.notes)
