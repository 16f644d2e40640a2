"""Edits on the way from a file to a file: proven beside the edited graph, told of in the report and in the file."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

import narrowcast
from narrowcast.dialect.build import Builder
from narrowcast.errors import UsageError
from narrowcast.model import ir
from narrowcast.report import html
from tests.readers.onnx.run import run_file, write_text

HALF = {"version": 1, "edits": [{"do": "set_constant", "tensors": "weights", "value": {"file": "half.npy"}}]}

SWISH = """<ir_version: 8, opset_import: ["" : 17]>
swish (float[1, 3, 8, 8] x) => (float[1, 4, 8, 8] y) <float[4, 3, 1, 1] w = {1, 2, 3, 4, 5, 6, -1, -2, -3, 2, 1, 0}> {
    c = Conv <kernel_shape = [1, 1]> (x, w)
    s = Sigmoid (c)
    y = Mul (c, s)
}"""


@pytest.fixture
def document(classifier, tmp_path):
    weights = next(item for item in onnx.load(classifier).graph.initializer if item.name == "weights")
    np.save(tmp_path / "half.npy", onnx.numpy_helper.to_array(weights) / 2)
    path = tmp_path / "edits.json"
    path.write_text(json.dumps(HALF))
    return path


def test_a_document_without_edits_shows_what_edits_would_be_about(classifier, tmp_path):
    path = narrowcast.save(narrowcast.load(classifier), tmp_path / "m.tflite", verify=False).path

    def types(**options):
        graph = narrowcast.inspect(path, operators=True, **options).network.graphs[0]
        return {operator.type for operator in graph.operators}

    assert "CONV_2D" in types()
    assert "Conv" in types(edits={"version": 1, "edits": []})


def record_of(path):
    [found] = [item.value for item in onnx.load(path).metadata_props if item.key == "narrowcast"]
    return json.loads(found)


def test_a_file_is_proven_beside_the_edited_graph(classifier, document, tmp_path):
    model = narrowcast.load(classifier, edits=document)
    written = narrowcast.save(model, tmp_path / "out.onnx")
    assert written.parity.passed
    assert written.parity.reference.endswith("edited graph")
    assert "the source was edited: set_constant" in written.notes
    recorded = record_of(tmp_path / "out.onnx")["edits"]
    assert recorded[0]["value"]["file"] == "half.npy"
    image = np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32)
    original = np.log(run_file(classifier, {"image": image})[0])
    found = np.log(run_file(tmp_path / "out.onnx", {"image": image})[0])
    halves = original / 2 - found
    np.testing.assert_allclose(halves - halves.mean(), 0, atol=1e-4)  # logits, but for a constant


def test_every_scheme_is_proven_so(classifier, document, data, tmp_path):
    small = narrowcast.quantize(narrowcast.load(classifier, edits=document), "int8", data=data)
    written = narrowcast.save(small, tmp_path / "out.tflite", data=data)
    assert written.parity.passed
    assert written.parity.reference.endswith("edited graph")
    assert written.parity.reading.sqnr_db > 60


def test_without_edits_the_record_says_nothing_of_them(classifier, tmp_path):
    narrowcast.save(narrowcast.load(classifier), tmp_path / "out.onnx", verify=False)
    assert "edits" not in record_of(tmp_path / "out.onnx")


def test_cuts(classifier, tmp_path):
    model = narrowcast.load(classifier, cut_outputs=["relu"], labels=None)
    assert [spec.shape for spec in model.outputs] == [(1, 6, 8, 8)]
    assert narrowcast.save(model, tmp_path / "out.tflite").parity.passed
    behind = narrowcast.load(classifier, cut_inputs=["relu"])
    assert [spec.name for spec in behind.inputs] == ["relu"]
    assert narrowcast.save(behind, tmp_path / "behind.tflite").parity.passed


def test_what_a_substitution_costs_is_told(tmp_path):
    source = write_text(tmp_path / "swish.onnx", SWISH)
    written = narrowcast.save(narrowcast.load(source, substitute={"swish": "hard_swish"}), tmp_path / "out.tflite")
    cost = written.parity.substitution
    assert written.parity.passed
    assert 10 < cost.sqnr_db < 40
    assert written.parity.quantization.sqnr_db > 60
    told = f"{cost.sqnr_db:.1f} dB of the network that was read are left by what was changed in it"
    assert f"{told}; compare --data tells it of real samples" in written.notes
    from narrowcast.report import machine

    assert machine.to_data(written)["parity"]["substitution"]["sqnr_db"] == cost.sqnr_db


def test_an_exact_substitution_is_proven_beside_the_source(tmp_path):
    text = SWISH.replace("s = Sigmoid (c)", "").replace("y = Mul (c, s)", "y = LeakyRelu <alpha = 0.3> (c)")
    source = write_text(tmp_path / "leaky.onnx", text)
    written = narrowcast.save(narrowcast.load(source, substitute={"leaky_relu": "minmax"}), tmp_path / "out.onnx")
    assert written.parity.reference.endswith("original file")
    assert written.parity.substitution is None
    kinds = {node.op_type for node in onnx.load(tmp_path / "out.onnx").graph.node}
    assert "LeakyRelu" not in kinds
    assert {"Relu", "Min"} <= kinds


def test_the_cost_beside_the_edited_network(tmp_path):
    source = write_text(tmp_path / "swish.onnx", SWISH)
    halved = {"version": 1, "edits": [{"do": "insert", "after": "c", "op": "Mul", "inputs": ["@", 0.5]}]}
    model = narrowcast.load(source, edits=halved, substitute={"swish": "hard_swish"})
    written = narrowcast.save(model, tmp_path / "out.tflite")
    assert written.parity.passed
    assert 10 < written.parity.substitution.sqnr_db < 60
    assert "the source was edited: insert, swish=hard_swish (1)" in written.notes


def test_a_comparison_of_an_edited_network(classifier, document, data, tmp_path):
    found = narrowcast.compare(
        classifier, data, out=tmp_path / "out", threads=(1,), samples=8, schemes=["float32"], edits=document
    )
    assert {"the source was not timed: it was edited", "the source was edited: set_constant"} <= set(found.notes)
    assert found.rows[0].runtime.endswith("edited graph")
    assert found.rows[1].accuracy.agreement == 1
    trial = narrowcast.Trial.from_json(found.rows[1].trial.to_json())
    again = narrowcast.carry_out([trial], data, out=tmp_path / "again", threads=(1,))
    assert again.rows[1].path.read_bytes() == found.rows[1].path.read_bytes()


def test_what_a_substitution_costs_stands_in_a_comparison(tmp_path):
    source = write_text(tmp_path / "swish.onnx", SWISH)
    images = np.random.default_rng(0).normal(size=(12, 3, 8, 8)).astype(np.float32)
    options = {"threads": (1,), "samples": 4, "schemes": ["float16"], "substitute": {"swish": "hard_swish"}}
    found = narrowcast.compare(source, images, out=tmp_path / "out", **options)
    assert any("dB of the network that was read are left" in note for note in found.notes)
    assert html.page(found).count("dB of the network that was read are left") == 1


def test_inspect_shows_the_edited_network(classifier):
    found = narrowcast.inspect(classifier, cut_outputs=["relu"], operators=True)
    assert [tensor.shape for tensor in found.outputs] == [(1, 6, 8, 8)]
    with pytest.raises(UsageError, match="no tensor fits 'rellu'"):
        narrowcast.inspect(classifier, cut_outputs=["rellu"])


@pytest.mark.parametrize("verb", [narrowcast.load, narrowcast.inspect])
def test_an_unknown_option_is_refused(verb, classifier):
    with pytest.raises(UsageError, match="cut_outputs"):
        verb(classifier, cut_output=["relu"])


@pytest.mark.parametrize("suffix", ["tflite", "onnx"])
def test_constants_that_are_equal_are_stored_once(suffix, tmp_path):
    build = Builder.new("twice")
    x = build.input("x", (1, 64))
    weights = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    for name in ("first", "second"):
        x = build("Relu", build("MatMul", x, build.constant(weights, name), name=f"{name}/product"))
    source = tmp_path / "twice.onnx"
    ir.save(build.finish([x]), source)
    share = {"do": "connect", "nodes": "second/product/MatMul", "input": 1, "tensor": "first"}
    written = [
        narrowcast.save(narrowcast.load(source, edits={"version": 1, "edits": edits}), tmp_path / f"out.{suffix}")
        for edits in ([], [share])
    ]
    assert all(file.bytes < 1.5 * weights.nbytes for file in written)
