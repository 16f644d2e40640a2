"""Records of graphs in ONNX text beside what the text says."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from narrowcast.evaluation.networks.of_model import describe
from narrowcast.evaluation.networks.records import Quantization
from narrowcast.readers import formats

QDQ = """<ir_version: 8, opset_import: ["" : 17]>
network (float[1,4] x) => (float[1,3] y)
<float s = {0.5}, int8 z = {3}, float[3] ws = {0.25, 0.5, 1.0}, int8[3] wz = {0,0,0},
 int8[3,4] w = {1,2,3,4,5,6,7,8,9,10,11,12}>
{
    [quantize] q = QuantizeLinear (x, s, z)
    [dequantize] d = DequantizeLinear (q, s, z)
    [weights] dw = DequantizeLinear <axis = 0> (w, ws, wz)
    [dense] y = Gemm <transB = 1, alpha = 1.0> (d, dw)
}"""
LOOP = """<ir_version: 8, opset_import: ["" : 17]>
network (float[2] x, int64 n, bool go) => (float[2] y)
{
    [repeat] y = Loop (n, go, x) <body = one (int64 i, bool c, float[2] state) => (bool more, float[2] next)
        { more = Identity (c) [inside] next = Add (state, x) }>
}"""


@pytest.fixture
def described(tmp_path):
    def of(text):
        path = tmp_path / "m.onnx"
        onnx.save(onnx.parser.parse_model(text), path)
        return describe(formats.read(path, formats.ReadOptions(leave_open=True)), path, "as read")

    return of


def named(graph):
    return {tensor.name: tensor for tensor in graph.tensors}


def test_operators_tensors_and_their_scales(described):
    network = described(QDQ).network
    (graph,) = network.graphs
    tensors = named(graph)
    assert [operator.name for operator in graph.operators] == ["quantize", "dequantize", "weights", "dense"]
    dense = graph.operators[3]
    assert (dense.type, dense.operands) == ("Gemm", ("A", "B", "C"))
    assert dense.attributes == {"transB": 1, "alpha": 1.0}
    assert [graph.tensors[index].name for index in dense.inputs] == ["d", "dw"]
    assert [graph.tensors[index].name for index in (*graph.inputs, *graph.outputs)] == ["x", "y"]
    assert (tensors["x"].role, tensors["d"].role, tensors["w"].role) == ("input", "activation", "constant")
    assert (tensors["w"].shape, tensors["w"].dtype, tensors["w"].bytes) == ((3, 4), "int8", 12)
    assert tensors["w"].values == tuple(range(1, 13))
    assert tensors["q"].quantization == Quantization((0.5,), (3,))
    assert tensors["w"].quantization == Quantization((0.25, 0.5, 1.0), (0, 0, 0), 0)
    assert tensors["x"].quantization is None


def test_a_body_is_a_graph_of_its_own_with_what_it_reads_from_outside(described):
    network = described(LOOP).network
    outer, body = network.graphs
    assert outer.operators[0].subgraphs == (("body", 1),)
    assert [operator.type for operator in body.operators] == ["Identity", "Add"]
    roles = {name: tensor.role for name, tensor in named(body).items()}
    assert roles["state"] == "input"
    assert roles["x"] == "captured"
    assert roles["next"] == "activation"
    assert [outer.tensors[index].name for index in outer.operators[0].captured] == ["x"]


def test_operands_that_are_left_out_and_dimensions_that_are_open(described):
    network = described("""<ir_version: 8, opset_import: ["" : 17]>
        network (float[1,T] x) => (float[1,T] y) <float low = {0.0}> { y = Clip (x, low, ) }""").network
    (clip,) = network.graphs[0].operators
    assert clip.inputs[2:] in ((), (None,))
    assert named(network.graphs[0])["y"].shape == (1, None)


def test_elements_are_had_on_request(described):
    found = described(QDQ)
    index = [tensor.name for tensor in found.network.graphs[0].tensors].index("w")
    assert np.array_equal(found.values(0, index), np.arange(1, 13, dtype=np.int8).reshape(3, 4))


def test_attributes_are_plain_values_and_tensors_their_elements(described):
    network = described("""<ir_version: 8, opset_import: ["" : 17]>
        network (float[1,1,4,4] x, int64[1] n) => (float[1,1,2,2] y, float[K] z)
        { y = AveragePool <kernel_shape = [2, 2], strides = [2, 2], auto_pad = "VALID"> (x)
          z = ConstantOfShape <value = float[1] {7.5}> (n) }""").network
    pool, fill = network.graphs[0].operators
    assert pool.attributes == {"kernel_shape": (2, 2), "strides": (2, 2), "auto_pad": "VALID"}
    assert fill.attributes == {"value": (7.5,)}
