"""`compare_networks` of real files."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

import narrowcast
from narrowcast.cli.app import cli


@pytest.fixture
def changed(classifier, tmp_path):
    """The classifier with a weight moved and an operator more."""
    model = onnx.load(classifier)
    (kernel,) = (item for item in model.graph.initializer if item.name == "kernel")
    array = onnx.numpy_helper.to_array(kernel).copy()
    array[0, 0, 0, 0] += 1.0
    kernel.CopyFrom(onnx.numpy_helper.from_array(array, "kernel"))
    last = model.graph.node[-1]
    last.output[0] = "before"
    model.graph.node.append(onnx.helper.make_node("Neg", ["before"], ["scores"], "negate"))
    onnx.save(model, tmp_path / "changed.onnx")
    return tmp_path / "changed.onnx"


def test_a_file_is_like_itself(classifier):
    found = narrowcast.compare_networks(classifier, classifier)
    assert found.alike
    assert len(found.pairs) == 5


def test_what_was_changed_is_found(classifier, changed):
    found = narrowcast.compare_networks(classifier, changed)
    assert found.types == (("Neg", 0, 1),)
    assert found.only_second == (("negate", "Neg"),)
    (kernel,) = [item for item in found.operators if item.what == "W elements"]
    assert kernel.count == 1
    assert kernel.largest == pytest.approx(1.0, abs=1e-6)


def test_a_source_and_its_file_are_compared_as_canonical_graphs(classifier, tmp_path):
    file = narrowcast.save(narrowcast.load(classifier), tmp_path / "m.tflite", verify=False)
    found = narrowcast.compare_networks(classifier, file.path)
    assert any("canonical" in note for note in found.notes)
    assert (found.first.form, found.second.form) == ("canonical", "canonical")
    assert not any(item.type == "Conv" and "W" in item.what for item in found.operators)
    assert narrowcast.compare_networks(file.path, file.path).first.form == "as stored"


def test_two_schemes_of_one_network(classifier, data, tmp_path):
    paths = []
    for scheme in ("float32", "int8"):
        made = narrowcast.quantize(narrowcast.load(classifier), scheme, data=data)
        paths.append(narrowcast.save(made, tmp_path / f"{scheme}.tflite", verify=False).path)
    found = narrowcast.compare_networks(*paths)
    conv = [item for item in found.operators if item.type == "CONV_2D"]
    elements = next(item for item in conv if item.what == "weights elements")
    assert 0 < elements.largest <= elements.reach / 127
    assert {"dtype", "quantisation", "weights dtype"} <= {item.what for item in conv}


@pytest.mark.parametrize("options", [(), ("--exit-code",)])
def test_the_exit_code_tells_only_where_it_was_asked_to(classifier, changed, options):
    def run(*words):
        return CliRunner().invoke(cli, ["inspect", *map(str, words), *options])

    assert run(classifier, classifier).exit_code == 0
    done = run(classifier, changed)
    assert done.exit_code == (1 if options else 0)
    assert "negate" in done.stdout
    assert "1 element by up to 1" in done.stdout
    data = json.loads(CliRunner().invoke(cli, ["inspect", str(classifier), str(changed), "--json"]).stdout)
    assert data["schema"] == "narrowcast/differences/1"
    assert data["alike"] is False


def test_options_of_one_file_are_refused_for_two(classifier):
    done = CliRunner().invoke(cli, ["inspect", str(classifier), str(classifier), "--why"])
    assert done.exit_code == 2
    assert "--why is about one file" in done.output


@pytest.mark.parametrize("content", [b"", b"\x1c\0\0\0TFL3" + b"\xff" * 200])
def test_a_damaged_file_is_refused(classifier, content, tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(content)
    with pytest.raises(narrowcast.ModelFileError):
        narrowcast.compare_networks(path, path)


def test_shapes_can_be_given_for_both(tmp_path):
    text = """<ir_version: 8, opset_import: ["" : 17]>
    network (float[1,T] x) => (y) { y = Relu (x) }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "m.onnx")
    found = narrowcast.compare_networks(tmp_path / "m.onnx", tmp_path / "m.onnx", input_shapes={"x": (1, 5)})
    assert found.alike
    assert np.isfinite(found.first.bytes)
