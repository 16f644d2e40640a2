"""Networks that ONNX Runtime quantised: integer throughout in LiteRT, and the same numbers but for rounding."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

import narrowcast

SHAPE = (1, 3, 16, 16)


class Samples(CalibrationDataReader):
    """A few random inputs."""

    def __init__(self):
        random = np.random.default_rng(1)
        self.rest = iter([{"x": random.normal(size=SHAPE).astype(np.float32)} for _ in range(8)])

    def get_next(self):
        return next(self.rest, None)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """Convolutions, a residual, pools, and dense layers by a Gemm of either direction and by a MatMul."""
    random = np.random.default_rng(0)

    def weights(*shape):
        return (random.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    arrays = {"k1": weights(8, 3, 3, 3), "b1": weights(8), "k2": weights(8, 1, 3, 3), "b2": weights(8)}
    arrays |= {
        "g1": weights(8 * 64, 20),
        "c1": weights(20),
        "g2": weights(12, 20),
        "c2": weights(12),
        "m": weights(12, 5),
    }
    window = {"pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}
    nodes = [
        helper.make_node("Conv", ["x", "k1", "b1"], ["c"], **window),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Conv", ["r", "k2", "b2"], ["d"], group=8, **window),
        helper.make_node("Add", ["d", "r"], ["s"]),
        helper.make_node("MaxPool", ["s"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "g1", "c1"], ["h"]),
        helper.make_node("Gemm", ["h", "g2", "c2"], ["i"], transB=1),
        helper.make_node("MatMul", ["i", "m"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 5])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    path = tmp_path_factory.mktemp("float") / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("kind", [QuantType.QInt8, QuantType.QUInt8])
def test_imported(kind, per_channel, network, tmp_path):
    quantize_static(
        network,
        tmp_path / "q.onnx",
        Samples(),
        quant_format=QuantFormat.QDQ,
        activation_type=kind,
        weight_type=QuantType.QInt8,
        per_channel=per_channel,
        reduce_range=True,
    )
    model = narrowcast.load(tmp_path / "q.onnx")
    assert model.scheme == "int8"
    file = narrowcast.save(model, tmp_path / "q.tflite")
    assert file.parity.reference.endswith("original file")
    assert file.parity.sqnr_db > 30
    found = Counter(dict(narrowcast.inspect(file.path).operators.by_type))
    assert found["FULLY_CONNECTED"] == 3
    assert found["DEQUANTIZE"] <= 1, "float at the ends alone"
    assert narrowcast.quantize(model, "float16").scheme == "float16"


def test_asymmetric_weights_are_computed_in_float(network, tmp_path):
    """LiteRT's kernels know no zero point of weights."""
    quantize_static(
        network, tmp_path / "q.onnx", Samples(), activation_type=QuantType.QUInt8, weight_type=QuantType.QUInt8
    )
    file = narrowcast.save(narrowcast.load(tmp_path / "q.onnx"), tmp_path / "q.tflite")
    assert file.parity.sqnr_db > 30


def test_convolutions_in_the_operators_own_format(tmp_path):
    """QLinearConv, beside ONNX Runtime's own kernel."""
    random = np.random.default_rng(0)
    arrays = {
        "s": np.float32(0.02),
        "z": np.uint8(120),
        "w": random.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8),
        "ws": np.float32([0.01, 0.02, 0.005, 0.01]),
        "wz": np.zeros(4, np.int8),
        "t": np.float32(0.3),
        "u": np.uint8(100),
        "b": random.integers(-3000, 3000, 4).astype(np.int32),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("QLinearConv", ["q", "s", "z", "w", "ws", "wz", "t", "u", "b"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("DequantizeLinear", ["c", "t", "u"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 16, 16])],
        [numpy_helper.from_array(np.array(array), name) for name, array in arrays.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "q.onnx")
    model = narrowcast.load(tmp_path / "q.onnx")
    assert "Conv" in {node.op_type for node in model.graph}
    file = narrowcast.save(model, tmp_path / "q.tflite")
    assert file.parity.outputs[0].max_abs_error <= 0.3 + 1e-4, "a step at most"
    assert file.parity.sqnr_db > 30
