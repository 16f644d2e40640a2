"""What TensorRT's parser demands of a quantised graph, on networks with a residual sum, a dense layer and a Concat."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from narrowcast import runtimes
from narrowcast.dialect.build import Builder
from narrowcast.errors import UnsupportedOpError
from narrowcast.model import Model
from narrowcast.passes.canonicalize import canonicalize
from narrowcast.passes.decompose import decompose
from narrowcast.passes.infer import infer_shapes
from narrowcast.quantization import quantize
from narrowcast.reference import Reference
from narrowcast.targets.rules import lacks
from narrowcast.targets.tensorrt import TENSORRT
from narrowcast.writers.formats import write


def residual() -> Model:
    """Conv, Relu, Conv + the first's output, Concat, mean, dense layer."""
    random = np.random.default_rng(0)
    build = Builder.new("residual")

    def conv(x, channels):
        weights = random.normal(size=(channels, x.shape[1], 3, 3)).astype(np.float32) * 0.2
        bias = random.normal(size=channels).astype(np.float32)
        window = {"pads": [1] * 4, "kernel_shape": [3, 3]}
        return build("Conv", x, build.constant(weights), build.constant(bias), shape=[1, channels, 8, 8], **window)

    x = build.input("x", (1, 3, 8, 8))
    first = build("Relu", conv(x, 6), shape=[1, 6, 8, 8])
    added = build("Relu", build("Add", conv(first, 6), first, shape=[1, 6, 8, 8]), shape=[1, 6, 8, 8])
    joined = build("Concat", added, first, axis=1)
    mean = build("ReduceMean", joined, build.constant(np.array([2, 3])), keepdims=0)
    weights = build.constant(random.normal(size=(5, 12)).astype(np.float32))
    model = Model(build.finish([build("Gemm", mean, weights, build.constant(np.ones(5, np.float32)), transB=1)]))
    infer_shapes(model)
    return model


@pytest.fixture
def quantized():
    model = residual()
    canonicalize(model)
    decompose(model, TENSORRT)
    random = np.random.default_rng(1)
    feeds = [{"x": random.normal(size=(1, 3, 8, 8)).astype(np.float32)} for _ in range(8)]
    return model, quantize(model, "int8", TENSORRT, feeds=feeds), feeds


@pytest.fixture
def graph(quantized, tmp_path):
    write(quantized[1], tmp_path / "x.onnx", fmt="tensorrt")
    return onnx.load(tmp_path / "x.onnx").graph


def constants(graph) -> dict[str, np.ndarray]:
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}


def test_every_zero_point_is_0_and_every_type_int8(graph):
    arrays = constants(graph)
    nodes = [node for node in graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert len(nodes) > 8
    for node in nodes:
        zero = arrays[node.input[2]]
        assert zero.dtype == np.int8
        assert not zero.any()


def test_biases_stay_in_float(graph):
    arrays = constants(graph)
    biases = [node.input[2] for node in graph.node if node.op_type in ("Conv", "Gemm")]
    assert len(biases) == 3
    assert all(arrays[name].dtype == np.float32 for name in biases)


def test_weights_have_a_scale_for_each_output_channel(graph):
    arrays = constants(graph)
    producers = {node.output[0]: node for node in graph.node}
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm"):
            weights = producers[node.input[1]]
            assert weights.op_type == "DequantizeLinear"
            assert arrays[weights.input[0]].dtype == np.int8
            assert arrays[weights.input[1]].shape == arrays[weights.input[0]].shape[:1]
            assert next(item.i for item in weights.attribute if item.name == "axis") == 0


def test_both_branches_of_a_residual_sum_are_quantised(graph):
    producers = {node.output[0]: node.op_type for node in graph.node}
    (total,) = [node for node in graph.node if node.op_type == "Add"]
    assert [producers[name] for name in total.input] == ["DequantizeLinear", "DequantizeLinear"]


def test_what_meets_in_a_concat_has_one_scale(graph):
    producers = {node.output[0]: node for node in graph.node}
    arrays = constants(graph)
    (joined,) = [node for node in graph.node if node.op_type == "Concat"]
    assert len({arrays[producers[name].input[1]].item() for name in joined.input}) == 1


def test_onnx_runtime_runs_it_as_the_graph_is_meant(quantized, tmp_path):
    model, made, feeds = quantized
    write(made, tmp_path / "x.onnx", fmt="tensorrt")
    wanted = Reference(made, optimize=False).run(feeds[0])
    found = runtimes.open(tmp_path / "x.onnx", "onnxruntime-plain").run(feeds[0])
    exact = Reference(model).run(feeds[0])
    for name, want in wanted.items():
        np.testing.assert_allclose(found[name], want, atol=np.abs(want).max() / 64)
        np.testing.assert_allclose(want, exact[name], atol=np.abs(want).max() / 16)


@pytest.mark.parametrize(
    ("stored", "zero", "why"),
    [
        (np.ones(4, np.int8), np.int8(0), ""),
        (np.ones(4, np.int8), np.int8(3), "takes no zero points but 0"),
        (np.ones(4, np.uint8), np.uint8(0), "quantises to int8 and int4, not to uint8"),
        (np.ones(4, np.int16), np.int16(0), "quantises to int8 and int4, not to int16"),
        (np.ones(4, np.int32), np.int32(0), "takes biases in floats only"),
    ],
)
def test_what_was_quantised_elsewhere_is_refused_where_its_parser_refuses_it(stored, zero, why):
    build = Builder.new("stored")
    scale, zero = build.constant(np.float32(0.5)), build.constant(np.asarray(zero))
    made = build("DequantizeLinear", build.constant(stored), scale, zero, shape=[4], dtype=np.float32)
    assert lacks(made.producer(), TENSORRT) == why


def test_the_writer_says_what_to_do_with_a_file_that_was_quantised_elsewhere(tmp_path):
    build = Builder.new("asymmetric")
    step = build.constant(np.float32(0.5)), build.constant(np.int8(3))
    integers = build("QuantizeLinear", build.input("x", (1, 4)), *step, shape=[1, 4], dtype=np.int8)
    model = Model(build.finish([build("DequantizeLinear", integers, *step, shape=[1, 4], dtype=np.float32)]))
    with pytest.raises(UnsupportedOpError, match=r"takes no zero points but 0 \(.* quantize it again --to tensorrt"):
        write(model, tmp_path / "x.onnx", fmt="tensorrt")
    assert not list(tmp_path.iterdir())
