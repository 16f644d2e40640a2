"""`--observer auto`: what the outputs of samples held back choose, in networks where the best is known."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnx_ir
import pytest

import narrowcast
from narrowcast.api import choosing
from narrowcast.quantization import NOTES
from narrowcast.reference import Reference

TEXT = """
<ir_version: 8, opset_import: ["" : 17]>
planted (float[1,8,16,16] x) => (float[1,4,16,16] y)
{
    a = Conv <pads = [1, 1, 1, 1]> (x, w)
    b = Relu (a)
    y = Conv <pads = [1, 1, 1, 1]> (b, v)
}
"""


@pytest.fixture
def network(tmp_path, request):
    """Two convolutions, the first of which lets through what it is fed, and so does the second if they do not mix."""
    model, random = onnx.parser.parse_model(TEXT), np.random.default_rng(0)
    mixes = getattr(request, "param", True)
    first = random.normal(size=(8, 8, 3, 3)) * 0.1 * mixes
    second = random.normal(size=(4, 8, 3, 3)) * 0.3 * mixes
    for array in (first, second):
        array[range(len(array)), range(len(array)), 1, 1] = 1.0
    for name, array in (("w", first), ("v", second)):
        model.graph.initializer.append(onnx.numpy_helper.from_array(array.astype(np.float32), name))
    onnx.save(model, tmp_path / "m.onnx")
    return narrowcast.load(tmp_path / "m.onnx")


def feeds(count, peaks):
    """Small numbers, and in some samples one number that is a thousand times as large."""
    random = np.random.default_rng(1)
    made = [random.normal(size=(1, 8, 16, 16)).astype(np.float32) for _ in range(count)]
    for index in range(0, count, 32) if peaks else ():
        made[index][0, 3, 0, 0] = 1000.0
    return [{"x": array} for array in made]


def chosen(monkeypatch, model, data, **options):
    """The observer of the ranges that a graph was made by, and the graph."""
    found = []
    choose = choosing.choose
    monkeypatch.setattr("narrowcast.api.workbench.choose", lambda *args: found.append(choose(*args)) or found[-1])
    made = narrowcast.quantize(model, options.pop("scheme", "int8"), data=data, **options)
    return (found[0] if found else None), made


def test_rare_peaks_are_cut_off_where_the_outputs_gain(network, monkeypatch):
    observer, made = chosen(monkeypatch, network, feeds(64, peaks=True))
    assert observer in ("percentile", "mse")
    assert any(f"by the observer {observer}" in note for note in json.loads(made.ir.metadata_props[NOTES]))


@pytest.mark.parametrize("network", [False], indirect=True)
def test_numbers_without_peaks_keep_their_extremes(network, monkeypatch):
    random = np.random.default_rng(2)
    data = [{"x": random.uniform(-1, 1, (1, 8, 16, 16)).astype(np.float32)} for _ in range(64)]
    observer, made = chosen(monkeypatch, network, data)
    assert observer == "minmax"
    assert not any("observer" in note for note in json.loads(made.ir.metadata_props[NOTES]))


def test_a_few_samples_and_wide_integers_keep_their_extremes(network, monkeypatch):
    assert chosen(monkeypatch, network, feeds(12, peaks=True))[0] == "minmax"
    assert chosen(monkeypatch, network, feeds(64, peaks=True), scheme="int16x8")[0] is None


def test_the_choice_is_the_same_again(network, monkeypatch):
    graphs = [chosen(monkeypatch, network, feeds(32, peaks=True), seed=3)[1] for _ in range(2)]
    first, second = ({name: value.const_value.numpy() for name, value in g.graph.initializers.items()} for g in graphs)
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])


def test_candidates_that_cannot_differ_are_run_once(network, monkeypatch):
    judged = []
    monkeypatch.setattr("narrowcast.api.workbench.mended", lambda found, quantized, evidence: quantized)
    of = choosing.Judge.of
    monkeypatch.setattr(choosing.Judge, "of", lambda *args, **kwargs: judged.append(1) or of(*args, **kwargs))
    data = [{"x": np.zeros((1, 8, 16, 16), np.float32)} for _ in range(32)]
    assert chosen(monkeypatch, network, data)[0] == "minmax"
    assert len(judged) == 1


def decibels(floats, made, data):
    """SQNR of the outputs."""
    before, after = Reference(floats), Reference(made, optimize=False)
    want, got = (np.concatenate([graph.run(feed)["y"] for feed in data]) for graph in (before, after))
    return 10 * np.log10(np.square(want).sum() / np.square(want - got).sum())


def test_biases_are_corrected_where_the_outputs_gain(network):
    """Inputs of one sign, and weights that one large one leaves few steps: their roundings add up."""
    random = np.random.default_rng(3)
    weights = next(value for name, value in network.graph.initializers.items() if value.shape == (4, 8, 3, 3))
    array = weights.const_value.numpy().copy()
    array[:, 0, 0, 0] = 20.0
    weights.const_value = onnx_ir.tensor(array, name=weights.name)
    data = [{"x": random.uniform(1, 2, (1, 8, 16, 16)).astype(np.float32)} for _ in range(72)]
    mended = narrowcast.quantize(network, "int8", data=data[:64])
    plain = narrowcast.quantize(network, "int8", data=data[:64], observer="minmax")
    assert any("biases are corrected" in note for note in json.loads(mended.ir.metadata_props[NOTES]))
    assert decibels(network, mended, data[64:]) > decibels(network, plain, data[64:]) + 1


def test_biases_stay_where_nothing_is_gained(network, monkeypatch):
    def spoilt(model, name, evidence):
        copy = model.clone()
        stored = next(v for v in copy.graph.initializers.values() if v.dtype is onnx_ir.DataType.INT8 and len(v.shape))
        stored.const_value = onnx_ir.tensor(np.zeros_like(stored.const_value.numpy()), name=stored.name)
        return copy

    monkeypatch.setattr(choosing, "repaired", spoilt)
    data = feeds(64, peaks=False)
    made = narrowcast.quantize(network, "int8", data=data)
    assert not any("biases" in note for note in json.loads(made.ir.metadata_props[NOTES]))
    assert decibels(network, made, data[:8]) > 20


def test_the_judge_s_samples_mend_nothing(network, monkeypatch):
    shown, held = [], []

    def looked(model, name, evidence):
        shown.extend(feed["x"] for feed in evidence.samples(32))
        return model

    made = choosing.Judge.__init__
    monkeypatch.setattr(choosing, "repaired", looked)
    monkeypatch.setattr(
        choosing.Judge, "__init__", lambda self, floats, data: held.extend(data) or made(self, floats, held)
    )
    narrowcast.quantize(network, "int8", data=feeds(64, peaks=False))
    assert len(held) == choosing.HELD
    assert shown
    assert not any(np.array_equal(array, feed["x"]) for array in shown for feed in held)
