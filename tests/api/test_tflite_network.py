"""A .tflite file's operators beside what was written."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import narrowcast
from narrowcast.api import tflite_network


@pytest.fixture(params=["float32", "int8"])
def written(request, classifier, data, tmp_path):
    model = narrowcast.quantize(narrowcast.load(classifier), request.param, data=data)
    return request.param, narrowcast.save(model, tmp_path / "m.tflite", verify=False).path


def test_operators_as_they_are_stored(written, classifier):
    scheme, path = written
    described = tflite_network.describe(path)
    (graph,) = described.network.graphs
    counts = narrowcast.inspect(path).operators
    assert sorted(operator.type for operator in graph.operators) == sorted(
        kind for kind, count in counts.by_type for _ in range(count)
    )
    (conv,) = [operator for operator in graph.operators if operator.type == "CONV_2D"]
    assert conv.attributes["padding"] == "SAME"
    assert conv.operands == ("input", "weights", "bias")
    weights = graph.tensors[conv.inputs[1]]
    assert (weights.role, weights.shape, weights.bytes) == ("constant", (6, 3, 3, 3), 162 if scheme == "int8" else 648)
    elements = described.values(0, conv.inputs[1])
    assert elements.shape == weights.shape
    if scheme == "int8":
        assert weights.quantization.axis == 0
        assert len(weights.quantization.scales) == 6
    else:
        assert weights.quantization is None
        (kernel,) = (item for item in onnx.load(classifier).graph.initializer if item.name == "kernel")
        assert np.array_equal(elements, onnx.numpy_helper.to_array(kernel).transpose(0, 2, 3, 1))
    assert [graph.tensors[index].role for index in graph.inputs] == ["input"]


def test_signatures_name_the_ports(written):
    _, path = written
    network = tflite_network.describe(path).network
    (signature,) = network.signatures
    tensors = network.graphs[signature.graph].tensors
    assert {name: tensors[index].shape for name, index in signature.inputs.items()} == {"image": (1, 8, 8, 3)}
    assert {name: tensors[index].shape for name, index in signature.outputs.items()} == {"scores": (1, 7)}


def test_a_while_has_its_graphs(tmp_path):
    text = """<ir_version: 8, opset_import: ["" : 17]>
    network (float[2] x, int64 n) => (float[2] y) <bool go = {1}>
    { y = Loop (n, go, x) <body = one (int64 i, bool c, float[2] s) => (bool more, float[2] next)
        { more = Identity (c) next = Add (s, x) }> }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "m.onnx")
    narrowcast.save(narrowcast.load(tmp_path / "m.onnx"), tmp_path / "m.tflite", verify=False)
    network = tflite_network.describe(tmp_path / "m.tflite").network
    (loop,) = [operator for operator in network.graphs[0].operators if operator.type == "WHILE"]
    assert [role for role, _ in loop.subgraphs] == ["cond", "body"]
    assert all(0 < index < len(network.graphs) for _, index in loop.subgraphs)


@pytest.mark.parametrize("content", [b"TFL3", b"\0" * 64, b"\x1c\0\0\0TFL3" + b"\xff" * 200])
def test_what_is_no_tflite_is_refused(content, tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(content)
    with pytest.raises(narrowcast.ModelFileError):
        tflite_network.describe(path)
