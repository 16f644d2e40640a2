"""What is said of a file, sound or damaged."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import narrowcast


def test_inspect_of_a_source_and_of_its_file(classifier, tmp_path):
    source = narrowcast.inspect(classifier, why=True)
    assert (source.format, source.producer, source.quantization) == ("onnx", "hand", "float32")
    assert source.operators.by_type[0][1] == 1
    assert source.parameters >= 6 * 27 + 6 + 7 * 384
    file = narrowcast.save(narrowcast.load(classifier), tmp_path / "m.tflite")
    written = narrowcast.inspect(file.path)
    assert written.quantization == "float32"
    assert written.inputs[0].shape == (1, 8, 8, 3)
    assert dict(written.operators.by_type)["CONV_2D"] == 1


def test_inspect_says_what_stays_in_float_and_why(tmp_path):
    text = """<ir_version: 8, opset_import: ["" : 17]>
    network (float[1,4] x) => (float[1,4] y) <float[4,4] w = {1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1}>
    { a = MatMul (x, w) b = Exp (a) y = MatMul (b, w) }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "m.onnx")
    by_scheme = {
        scheme: narrowcast.inspect(tmp_path / "m.onnx", why=True, scheme=scheme).refusals
        for scheme in (None, "int8", "dynamic_range")
    }
    (exp,) = [item for item in by_scheme["int8"] if item.rule == "float"]
    assert "is no better than floats" in exp.reason
    assert not any(item.rule == "float" for item in by_scheme[None])
    kept = [item.reason for item in by_scheme["dynamic_range"] if item.rule == "float"]
    assert kept.count("it is to be kept in float") == 3
    with pytest.raises(narrowcast.UsageError, match="unknown scheme"):
        narrowcast.inspect(tmp_path / "m.onnx", why=True, scheme="int5")


def test_inspect_says_what_a_runtime_lacks(tmp_path):
    text = """<ir_version: 8, opset_import: ["" : 17]>
    network (float[1,4] x, float[5,5] m) => (float[1,4] y, float d)
    { a = Softsign (x) b = Relu (a) y = Erf (b) d = Det (m) }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "m.onnx")
    found = narrowcast.inspect(tmp_path / "m.onnx", target="litert")
    assert found.target == "LiteRT"
    told = {item.operator: (item.why, item.replaced) for item in found.lacking}
    assert told == {
        "Softsign": ("has no operator for Softsign", True),
        "Erf": ("has no operator for Erf", True),
        "Det": ("has no operator for Det", False),
    }
    assert narrowcast.inspect(tmp_path / "m.onnx", why=True).lacking == found.lacking
    assert narrowcast.inspect(tmp_path / "m.onnx").target == ""
    with pytest.raises(narrowcast.UsageError, match="unknown target"):
        narrowcast.inspect(tmp_path / "m.onnx", target="abacus")


def test_a_written_file_is_asked_what_a_runtime_lacks(classifier, data, tmp_path):
    small = narrowcast.quantize(narrowcast.load(classifier), "int8", data=data)
    file = narrowcast.save(small, tmp_path / "m.tflite", verify=False)
    found = narrowcast.inspect(file.path, target="onnxruntime", why=True)
    assert (found.target, found.format) == ("ONNX Runtime", "tflite")
    assert dict(found.operators.by_type)["CONV_2D"] == 1


def test_a_file_that_cannot_be_read_as_a_graph_is_described_with_a_note(zoo):
    found = narrowcast.inspect(zoo / "models/deeplabv3_mnv2_dm05_pascal_quant_edgetpu.tflite", target="onnxruntime")
    assert any("edgetpu" in note for note in found.notes)
    assert found.target == ""


def test_a_network_that_no_rule_gets_through_is_not_said_to_run(tmp_path):
    text = """<ir_version: 8, opset_import: ["" : 17]>
    network (float[5000,1,4] x) => (y) <float[1,32,4] w, float[1,32,8] r> { y, h = LSTM <hidden_size = 8> (x, w, r) }"""
    model = onnx.parser.parse_model(text)
    for name, shape in (("w", (1, 32, 4)), ("r", (1, 32, 8))):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(shape, np.float32), name))
    onnx.save(model, tmp_path / "m.onnx")
    assert narrowcast.inspect(tmp_path / "m.onnx", target="litert").lacking


def test_what_a_runtime_runs_is_not_lacking(tmp_path):
    text = """<ir_version: 8, opset_import: ["" : 17]>
    network (float[1,4] x) => (float[1,4] y) { a = Softsign (x) y = Erf (a) }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "m.onnx")
    found = narrowcast.inspect(tmp_path / "m.onnx", target="onnxruntime")
    assert (found.target, list(found.lacking)) == ("ONNX Runtime", [])


def test_inspect_of_an_integer_file(classifier, data, tmp_path):
    small = narrowcast.quantize(narrowcast.load(classifier), "full_int8", data=data, io_type="uint8")
    file = narrowcast.save(small, tmp_path / "m.tflite")
    found = narrowcast.inspect(file.path)
    assert found.quantization == "int8 weights, int8 activations, uint8 inputs"
    assert found.inputs[0].dtype == "uint8"
    assert found.inputs[0].scale > 0


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\0" * 64, b"\x1c\0\0\0TFL3" + b"\xff" * 200])
def test_inspect_refuses_what_is_no_tflite(content, tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(content)
    with pytest.raises(narrowcast.ModelFileError):
        narrowcast.inspect(path)


def test_inspect_survives_mutations_of_a_sound_file(classifier, tmp_path):
    content = (narrowcast.save(narrowcast.load(classifier), tmp_path / "m.tflite", verify=False)).path.read_bytes()
    random = np.random.default_rng(1)
    path = tmp_path / "bad.tflite"
    refused = 0
    for _ in range(60):
        damaged = bytearray(content[: random.integers(64, len(content))] if random.random() < 0.3 else content)
        for _ in range(8):
            damaged[random.integers(8, len(damaged))] = random.integers(256)
        path.write_bytes(damaged)
        try:
            narrowcast.inspect(path)
        except (narrowcast.ModelFileError, narrowcast.UnsupportedError):
            refused += 1
    assert refused > 0


OPEN = """<ir_version: 8, opset_import: ["" : 17]>
network (float[N,T,T] x, float[4,U] z) => (y, w) <float[4,4] c = {1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1}>
{ y = Relu (x) w = MatMul (c, z) }"""


def test_open_dimensions_stay_open_and_can_be_closed(tmp_path):
    onnx.save(onnx.parser.parse_model(OPEN), tmp_path / "m.onnx")
    found = narrowcast.inspect(tmp_path / "m.onnx", operators=True)
    assert [port.shape for port in (*found.inputs, *found.outputs)] == [
        (1, None, None),
        (4, None),
        (1, None, None),
        (4, None),
    ]
    shapes = {tensor.name: tensor.shape for tensor in found.network.graphs[0].tensors}
    assert (shapes["y"], shapes["w"]) == ((1, None, None), (4, None))
    closed = narrowcast.inspect(tmp_path / "m.onnx", batch=2, input_shapes={"x": (2, 5, 5), "z": (4, 3)})
    assert [port.shape for port in closed.outputs] == [(2, 5, 5), (4, 3)]
    with pytest.raises(narrowcast.UsageError):
        narrowcast.load(tmp_path / "m.onnx")


def test_operators_as_read_and_of_the_canonical_graph(classifier, tmp_path):
    text = """<ir_version: 8, opset_import: ["" : 17]>
    network (float[1,4] x) => (float[1,4] y) <float zero = {0.0}> { a = Identity (x) b = Add (a, zero) y = Relu (b) }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "m.onnx")

    def types(**options):
        network = narrowcast.inspect(tmp_path / "m.onnx", operators=True, **options).network
        return network.form, [operator.type for operator in network.graphs[0].operators]

    assert types() == ("as read", ["Identity", "Add", "Relu"])
    assert types(canonical=True) == ("canonical", ["Relu"])
    assert narrowcast.inspect(tmp_path / "m.onnx").network is None


def test_shapes_inside_of_loops_and_branches_are_told(tmp_path):
    text = """<ir_version: 8, opset_import: ["" : 17]>
    network (float[2,3] x, int64 n, bool go) => (float[2,3] y) <int64[1] last = {-1}> {
        y = Loop (n, go, x) <body = one (int64 i, bool c, float[2,3] state) => (bool more, float[2,3] next) {
            more = Identity (c)
            next = If (c) <then_branch = yes () => (float[2,3] a) { t = Transpose (state) a = Transpose (t) },
                           else_branch = no () => (float[2,3] b) { b = Neg (state) }>
        }>
    }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "m.onnx")
    _, body, branch, _ = narrowcast.inspect(tmp_path / "m.onnx", operators=True).network.graphs
    assert {tensor.name: tensor.shape for tensor in branch.tensors}["t"] == (3, 2)
    assert [operator.operands for operator in branch.operators] == [("data",), ("data",)]
    assert body.operators[1].captured


def test_histograms_on_request(classifier):
    for asked in (False, True):
        network = narrowcast.inspect(classifier, operators=True, histograms=asked).network
        kernel = next(tensor for tensor in network.graphs[0].tensors if tensor.shape == (6, 3, 3, 3))
        assert (kernel.weights is not None) == asked
    assert sum(kernel.weights.counts) == 162


def test_a_page_of_a_written_file(classifier, data, tmp_path):
    from click.testing import CliRunner

    from narrowcast.cli.app import cli

    small = narrowcast.quantize(narrowcast.load(classifier), "int8", data=data)
    file = narrowcast.save(small, tmp_path / "m.tflite", verify=False)
    done = CliRunner().invoke(cli, ["inspect", str(file.path), "--graph", str(tmp_path / "page.html")])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "CONV_2D" in page
    assert '"bars":"' in page
    assert "CONV_2D" in done.stdout
