"""Powers of two in integers: bit-equal to a plain statement of the quantised graph in exact numbers.

Scales that are powers of two make every number of the graph exact in float64, sums of products too, so the statement is
the graph's own arithmetic there, with one rounding: halves upwards where integers are stored again.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from numpy.lib.stride_tricks import sliding_window_view

import narrowcast
from narrowcast import quantization, targets
from narrowcast.dialect.build import constant_of
from narrowcast.errors import UsageError
from narrowcast.passes.prepare import adapt, prepare
from narrowcast.reference import Reference
from narrowcast.targets.spelling import real_of

RANDOM = np.random.default_rng(0)
ONNX = targets.find("onnxruntime")


def conv(x, w, b, node):
    attributes = node.attributes
    strides = attributes.get_ints("strides")
    dilations, groups = attributes.get_ints("dilations"), attributes.get_int("group", 1)
    top, left, bottom, right = attributes.get_ints("pads")
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    reach = [(size - 1) * step + 1 for size, step in zip(w.shape[2:], dilations, strict=True)]
    windows = sliding_window_view(x, reach, (2, 3))[
        :, :, :: strides[0], :: strides[1], :: dilations[0], :: dilations[1]
    ]
    n, c, height, width = windows.shape[:4]
    windows = windows.reshape(n, groups, c // groups, height, width, *w.shape[2:])
    kernels = w.reshape(groups, -1, *w.shape[1:])
    out = np.einsum("ngchwij,gocij->ngohw", windows, kernels, optimize=True).reshape(n, -1, height, width)
    return out if b is None else out + b.reshape(1, -1, 1, 1)


PLAIN = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "MatMul": np.matmul,
    "Relu": lambda x: np.maximum(x, 0),
    "Gemm": lambda x, w, b=None: x @ w.T + (0 if b is None else b),
}


def statement(model, feed):
    """Outputs of a quantised graph, and the names of those that ONNX Runtime has to compute."""
    known = {name: np.float64(array) if array.dtype.kind == "f" else array for name, array in feed.items()}

    def value_of(value):
        if value is None:
            return None
        if value.name in known:
            return known[value.name]
        array = constant_of(value)
        return array.astype(np.float64) if array is not None and array.dtype.kind == "f" else array

    for node in model.graph:
        inputs = [value_of(value) for value in node.inputs]
        kind, result = node.op_type, None
        if kind == "DequantizeLinear":
            real = real_of(node)
            result = inputs[0] * inputs[1] if real is None else real.astype(np.float64)
        elif kind == "QuantizeLinear":
            ratio = inputs[0] / inputs[1]
            source = node.inputs[0]
            rounded = np.rint(ratio) if source.is_graph_input() else np.floor(ratio + 0.5)
            result = np.clip(rounded, -128, 127)
        elif kind == "Conv":
            result = conv(*(*inputs, None)[:3], node)
        elif kind == "Clip":
            result = np.clip(inputs[0], *inputs[1:3])
        elif kind == "ReduceMean":
            axes = tuple(int(axis) for axis in inputs[1])
            result = inputs[0].mean(axes, keepdims=bool(node.attributes.get_int("keepdims", 1)))
        elif kind == "Concat":
            result = np.concatenate(inputs, node.attributes.get_int("axis"))
        elif kind == "Reshape":
            result = inputs[0].reshape(inputs[1])
        elif kind == "Transpose":
            result = inputs[0].transpose(node.attributes.get_ints("perm"))
        elif kind == "MaxPool":
            sides, strides = node.attributes.get_ints("kernel_shape"), node.attributes.get_ints("strides")
            assert not any(node.attributes.get_ints("pads"))
            windows = sliding_window_view(inputs[0], sides, (2, 3))[:, :, :: strides[0], :: strides[1]]
            result = windows.max((-1, -2))
        elif kind == "Softmax":
            powers = np.exp(inputs[0] - inputs[0].max(-1, keepdims=True))
            result = powers / powers.sum(-1, keepdims=True)
        else:
            result = PLAIN[kind](*inputs)
        known[node.outputs[0].name] = result
    return {value.name: known[value.name] for value in model.graph.outputs}


def quantized(model, feeds, weights="per-channel"):
    adapt(model, ONNX)
    return quantization.quantize(model, "int8_pow2", ONNX, feeds=feeds, weights=weights)


PADDED = "c = Conv <pads = [1, 1, 1, 1]> (x, w, b)"
NETWORKS = {
    "Conv": ("float[1,3,9,9]", "y = Conv <pads = [1, 0, 1, 2], strides = [2, 1]> (x, w, b)", (5, 3, 3, 3)),
    "dilated": ("float[1,3,9,9]", "y = Conv <dilations = [2, 1]> (x, w)", (5, 3, 3, 3)),
    "grouped": ("float[1,6,9,9]", "c = Conv <group = 3> (x, w) y = Relu (c)", (6, 2, 3, 3)),
    "Relu6": ("float[1,3,9,9]", "c = Conv (x, w, b) y = Clip (c, low, six)", (5, 3, 3, 3)),
    "Gemm": ("float[1,20]", "y = Gemm <transB = 1> (x, w, b)", (5, 20)),
    "MatMul": ("float[1,4,20]", "m = MatMul (x, w) y = Add (m, b)", (20, 5)),
    "residual": (
        "float[1,5,9,9]",
        f"{PADDED} s = Add (c, x) y = Relu (s)",
        (5, 5, 3, 3),
    ),
    "Mul": ("float[1,5,9,9]", f"{PADDED} y = Mul (c, x)", (5, 5, 3, 3)),
    "mean": ("float[1,3,9,9]", "c = Conv (x, w, b) y = GlobalAveragePool (c)", (5, 3, 3, 3)),
    "join": (
        "float[1,5,9,9]",
        f"{PADDED} r = Relu (c) y = Concat <axis = 1> (r, x)",
        (5, 5, 3, 3),
    ),
    "pool": (
        "float[1,3,9,9]",
        "c = Conv (x, w, b) y = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (c)",
        (5, 3, 3, 3),
    ),
    "two steps": ("float[1,3,9,9]", "c = Conv (x, w, b) r = Relu (c) y = Conv (r, v)", (5, 3, 3, 3)),
}


def network(tmp_path, name):
    shape, body, weights = NETWORKS[name]
    result = f"float[{','.join('abcd'[: shape.count(',') + 1])}] y"
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 17]> g ({shape} x) => ({result}) {{ {body} }}'
    )
    constants = {
        "w": RANDOM.normal(size=weights) * 10.0 ** RANDOM.uniform(-2, 1, (weights[0], *[1] * (len(weights) - 1))),
        "b": RANDOM.normal(size=5),
        "low": np.array(0.0),
        "six": np.array(6.0),
        "v": RANDOM.normal(size=(4, 5, 1, 1)) * 100,
    }
    for key, array in constants.items():
        if any(key in node.input for node in model.graph.node):
            model.graph.initializer.append(onnx.numpy_helper.from_array(array.astype(np.float32), key))
    onnx.save(onnx.shape_inference.infer_shapes(model), tmp_path / "m.onnx")
    loaded = narrowcast.load(tmp_path / "m.onnx")
    feeds = [{"x": RANDOM.normal(size=loaded.inputs[0].shape).astype(np.float32) * 2} for _ in range(4)]
    return loaded, feeds


@pytest.mark.parametrize("weights", ["per-channel", "per-tensor"])
@pytest.mark.parametrize("name", NETWORKS)
def test_integers_are_bit_equal_to_the_statement(name, weights, tmp_path):
    model, feeds = network(tmp_path, name)
    made = quantized(model, feeds, weights)
    prepared = prepare(made, ONNX).model
    kinds = {node.op_type for node in prepared.graph if node.outputs[0].dtype.numpy().kind == "f"}
    assert kinds <= {"DequantizeLinear"}, kinds
    reference = Reference(prepared, optimize=False)
    for feed in feeds:
        wanted = statement(made, feed)
        for key, found in reference.run(feed).items():
            np.testing.assert_array_equal(found, wanted[key])


def test_scales_are_powers_of_two(tmp_path):
    model, feeds = network(tmp_path, "residual")
    for node in quantized(model, feeds).graph:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            assert (np.frexp(constant_of(node.inputs[1]))[0] == 0.5).all()


def test_a_whole_network_is_bit_equal(zoo):
    model = narrowcast.load(zoo / "models" / "mobilenet_v2_pytorch.onnx")
    feeds = [{model.inputs[0].name: RANDOM.uniform(-1, 1, model.inputs[0].shape).astype(np.float32)} for _ in range(2)]
    made = quantized(model, feeds)
    prepared = prepare(made, ONNX).model
    assert {node.op_type for node in prepared.graph if node.op_type in ("Conv", "Gemm", "Add")} == {"Add"}
    assert sum(node.op_type == "ConvInteger" for node in prepared.graph) == 52
    wanted = statement(made, feeds[0])
    for key, found in Reference(prepared).run(feeds[0]).items():
        np.testing.assert_array_equal(found, wanted[key])


@pytest.mark.parametrize("fmt", ["tflite", "onnx"])
def test_files_are_proven_and_need_no_data_with_a_global_scale(fmt, tmp_path):
    model, feeds = network(tmp_path, "residual")
    made = narrowcast.quantize(model, "int8_pow2", fmt=fmt, global_scale=8.0)
    inner = [n for n in made.graph if n.op_type == "QuantizeLinear"]
    assert {float(constant_of(node.inputs[1])) for node in inner} == {8 / 128}
    written = narrowcast.save(made, tmp_path / f"q.{fmt}", data=feeds)
    assert written.parity.translation.sqnr_db > 30
    with pytest.raises(UsageError, match="no global scale"):
        narrowcast.quantize(model, "int8", fmt=fmt, global_scale=8.0)


@pytest.mark.parametrize("fmt", ["tflite", "onnx"])
def test_a_global_scale_is_one_that_activations_can_have(fmt, tmp_path):
    model, feeds = network(tmp_path, "residual")
    for bound in (1e-6, 1e6):
        made = narrowcast.quantize(model, "int8_pow2", fmt=fmt, global_scale=bound)
        assert narrowcast.save(made, tmp_path / f"q.{fmt}", data=feeds).verified
    for bound in (1e-300, 1e-12, 1e12, 1e300, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="no activations lie in"):
            narrowcast.quantize(model, "int8_pow2", fmt=fmt, global_scale=bound)
