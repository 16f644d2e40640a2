"""From a file to a folder of weights and back to a file, of every format that is read and written here."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import narrowcast
from narrowcast.errors import DataError
from tests.readers.onnx.run import run_file


@pytest.mark.parametrize("suffix", ["onnx", "tflite"])
def test_unchanged_weights_give_the_same_bytes(classifier, suffix, tmp_path):
    narrowcast.extract_parameters(classifier, tmp_path / "weights")
    narrowcast.save(narrowcast.load(classifier), tmp_path / f"plain.{suffix}")
    written = narrowcast.replace_parameters(classifier, tmp_path / "weights", tmp_path / f"again.{suffix}")
    assert written.parity.passed
    assert written.path.read_bytes() == (tmp_path / f"plain.{suffix}").read_bytes()


def test_a_keras_file(digits, tmp_path):
    found = narrowcast.extract_parameters(digits / "model.keras", tmp_path / "weights")
    assert {item.name: item.axes for item in found.parameters}["conv_1/kernel"] == (
        "out",
        "in/group",
        "height",
        "width",
    )
    narrowcast.save(narrowcast.load(digits / "model.keras"), tmp_path / "plain.tflite")
    written = narrowcast.replace_parameters(digits / "model.keras", tmp_path / "weights", tmp_path / "again.tflite")
    assert written.path.read_bytes() == (tmp_path / "plain.tflite").read_bytes()


def test_other_weights_are_in_the_file(classifier, tmp_path):
    narrowcast.extract_parameters(classifier, tmp_path / "weights")
    kernel = np.load(tmp_path / "weights" / "kernel.npy")
    np.save(tmp_path / "weights" / "kernel.npy", np.zeros_like(kernel))
    written = narrowcast.replace_parameters(classifier, tmp_path / "weights", tmp_path / "out.onnx")
    assert written.parity.passed
    assert "the source was edited: set_constant" in written.notes
    images = np.random.default_rng(0).normal(size=(2, 1, 3, 8, 8)).astype(np.float32)
    first, second = (run_file(tmp_path / "out.onnx", {"image": image})[0] for image in images)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("suffix", ["onnx", "tflite"])
def test_a_quantised_file(classifier, data, suffix, tmp_path):
    small = narrowcast.quantize(narrowcast.load(classifier), "int8", data=data, fmt=suffix)
    narrowcast.save(small, tmp_path / f"int8.{suffix}")
    found = narrowcast.extract_parameters(tmp_path / f"int8.{suffix}", tmp_path / "weights")
    weights = [item for item in found.parameters if item.role == "weight"]
    assert weights
    assert all(item.dtype in ("int8", "uint8") for item in weights)
    names = {item.name for item in found.parameters}
    assert all(item.scale in names and item.zero_point in names for item in weights)
    narrowcast.save(narrowcast.load(tmp_path / f"int8.{suffix}"), tmp_path / f"plain.{suffix}")
    written = narrowcast.replace_parameters(
        tmp_path / f"int8.{suffix}", tmp_path / "weights", tmp_path / f"again.{suffix}"
    )
    assert written.path.read_bytes() == (tmp_path / f"plain.{suffix}").read_bytes()


def test_a_weight_of_another_shape_leaves_nothing(classifier, tmp_path):
    narrowcast.extract_parameters(classifier, tmp_path / "weights")
    np.save(tmp_path / "weights" / "bias.npy", np.zeros(5, np.float32))
    with pytest.raises(DataError, match=r"bias\.npy: the array is 5, 'bias' is 6"):
        narrowcast.replace_parameters(classifier, tmp_path / "weights", tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()


def test_weights_of_an_onnx_file_go_by_its_own_names(classifier, tmp_path):
    found = narrowcast.extract_parameters(classifier, tmp_path / "weights")
    own = {item.name for item in onnx.load(classifier).graph.initializer}
    assert {item.name for item in found.parameters} == own - {"flat"}
