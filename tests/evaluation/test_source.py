import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest

from narrowcast import api
from narrowcast.errors import DataError, ModelFileError, UnsupportedError
from narrowcast.evaluation import source
from narrowcast.evaluation.samples import random_feeds
from narrowcast.evaluation.source import open_source, run_or_replace
from narrowcast.model import Provenance, ir
from narrowcast.runtimes import keras as keras_runtime
from tests.evaluation.networks import network


@pytest.fixture
def saved(tmp_path):
    """A model that came from an ONNX file."""
    model = network()
    path = tmp_path / "model.onnx"
    onnx.save(ir.to_proto(model.ir), path)
    return replace(model, provenance=Provenance(path, "onnx"))


@pytest.mark.parametrize(
    ("original", "name"), [("auto", "original file"), ("always", "original file"), ("never", "canonical graph")]
)
def test_an_onnx_file_runs_itself(saved, original, name):
    opened = open_source(saved, original=original)
    assert opened.name.endswith(name)
    feed = next(random_feeds(saved, 1))
    np.testing.assert_allclose(opened.run(feed)["scores"], open_source(network()).run(feed)["scores"], rtol=1e-5)


def test_outputs_go_by_the_models_names(saved):
    renamed = replace(saved, ir=network().ir)
    renamed.graph.outputs[0].name = "renamed"
    assert list(open_source(renamed).run(next(random_feeds(saved, 1)))) == ["renamed"]


def test_an_original_with_other_outputs_is_refused(saved):
    other = replace(saved, ir=network().ir)
    other.graph.outputs.append(next(iter(other.graph)).outputs[0])
    with pytest.raises(ModelFileError, match="sees 1 outputs, the model has 2"):
        open_source(other)


def test_an_original_that_is_gone_leaves_the_graph(saved):
    saved.provenance.path.unlink()
    assert open_source(saved, original="always").name.endswith("canonical graph")


@pytest.mark.parametrize(
    ("original", "loaded", "installed", "own"),
    [
        ("auto", False, True, False),
        ("auto", True, True, True),
        ("always", False, True, True),
        ("always", False, False, False),
        ("never", True, True, False),
    ],
)
def test_keras_is_waited_for_only_if_asked(monkeypatch, tmp_path, original, loaded, installed, own):
    (tmp_path / "model.keras").write_bytes(b"x")
    monkeypatch.setattr(keras_runtime, "installed", lambda path: installed)
    monkeypatch.setattr(keras_runtime, "package", lambda path: "some_keras")
    monkeypatch.setattr(source.runtimes, "open", lambda *_: type("R", (), {"name": "Keras", "outputs": (1,)}))
    monkeypatch.setitem(sys.modules, "some_keras", sys) if loaded else None
    model = replace(network(), provenance=Provenance(tmp_path / "model.keras", "keras"))
    assert open_source(model, original=original).name.endswith("original file" if own else "canonical graph")


def test_the_graph_takes_the_place_of_an_original_that_cannot_run(saved, monkeypatch):
    opened = open_source(saved)

    def refuse(*_arguments):
        raise DataError("there is no kernel")

    monkeypatch.setattr(opened.runner, "run", refuse)
    feed = next(random_feeds(saved, 1))
    replaced, found = run_or_replace(opened, saved, feed)
    assert replaced.name.endswith("canonical graph, as the original cannot be run here: there is no kernel")
    np.testing.assert_array_equal(found["scores"], replaced.run(feed)["scores"])


def test_data_that_neither_can_run_on_are_an_error(saved):
    with pytest.raises(DataError):
        run_or_replace(open_source(saved), saved, {})


@pytest.mark.parametrize(
    "text",
    [
        'opset_import: ["": 28]> g (int8[9] x, int8[9] z) => (int8[9] y) { y = BitShift <direction = "RIGHT"> (x, z) }',
        'opset_import: ["": 28]> g (double[9] x) => (double[9] y) <double[1] z = {0.7}> { y = Mod (x, z) }',
    ],
)
def test_a_graph_that_onnx_runtime_cannot_run_is_left_out(text, tmp_path):
    """Newer opsets allow what the canonical one does not: the file is held against the source alone."""
    onnx.save(onnx.parser.parse_model(f"<ir_version: 10, {text}"), tmp_path / "m.onnx")
    file = api.save(api.load(tmp_path / "m.onnx"), tmp_path / "m.tflite")
    assert file.parity.passed
    assert file.parity.plain is None


@pytest.mark.parametrize(
    "text",
    [
        'opset_import: ["": 13]> g (int16[9] x, int16[9] z) => (int16[9] y) { y = Max (x, z) }',
        'opset_import: ["": 22]> g (float[1,2,6,5] x, float[3,4] r, int64[3] i) => (float[3,2,2,2] y) '
        "{ y = RoiAlign <output_height = 2, output_width = 2, sampling_ratio = 2> (x, r, i) }",
        'opset_import: ["": 15]> g (float[9] x, uint64[9] z) => (float[9] y) { y = Pow (x, z) }',
    ],
)
def test_what_onnx_runtime_has_no_kernel_for_goes_by_its_definition(text, tmp_path):
    onnx.save(onnx.parser.parse_model(f"<ir_version: 8, {text}"), tmp_path / "m.onnx")
    file = api.save(api.load(tmp_path / "m.onnx"), tmp_path / "m.tflite")
    assert file.parity.passed
    assert file.parity.reference.endswith("reference, original file")
    assert any("cannot be run here" in note for note in file.notes)


def test_what_is_large_does_not_go_by_its_definition(tmp_path):
    """In Python it would take too long."""
    text = 'opset_import: ["": 13]> g (int16[600000] x, int16[600000] z) => (int16[600000] y) { y = Max (x, z) }'
    onnx.save(onnx.parser.parse_model(f"<ir_version: 8, {text}"), tmp_path / "m.onnx")
    with pytest.raises(UnsupportedError, match="Max"):
        api.save(api.load(tmp_path / "m.onnx"), tmp_path / "m.tflite")


def test_a_transpose_may_leave_its_order_out(tmp_path):
    text = '<ir_version: 10, opset_import: ["": 20]> g (float[64,3,2] x) => (float[2,3,64] y) { y = Transpose (x) }'
    onnx.save(onnx.parser.parse_model(text), tmp_path / "m.onnx")
    assert api.save(api.load(tmp_path / "m.onnx"), tmp_path / "m.tflite").parity.passed
