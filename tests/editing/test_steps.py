"""Pre- and post-processing in the graph beside the same in numpy."""

import numpy as np
import pytest

from narrowcast.errors import UsageError
from narrowcast.model import Preprocessing
from tests.editing import HEAD, IMAGE, edited, network, outputs

PIXELS = np.random.default_rng(1).integers(0, 256, (1, 3, 4, 4)).astype(np.uint8)


def _plain(folder, image):
    return outputs(network(folder), x=image)["y"]


def test_an_input_is_normalised(tmp_path):
    mean, std = [10.0, 20.0, 30.0], [2.0, 4.0, 5.0]
    model = edited(network(tmp_path), {"do": "normalize_input", "input": "x", "mean": mean, "std": std})
    given = (IMAGE - np.array(mean)[:, None, None]) / np.array(std)[:, None, None]
    found = outputs(model, x=IMAGE)["y"]
    np.testing.assert_allclose(found, _plain(tmp_path, given.astype(np.float32)), rtol=1e-4, atol=1e-4)


def test_pixels_are_cast(tmp_path):
    step = {"do": "normalize_input", "input": "x", "mean": 127.5, "std": 127.5, "dtype": "uint8"}
    model = edited(network(tmp_path), step)
    assert model.inputs[0].dtype == np.uint8
    given = (PIXELS.astype(np.float32) - 127.5) / 127.5
    np.testing.assert_allclose(outputs(model, x=PIXELS)["y"], _plain(tmp_path, given), rtol=1e-5, atol=1e-5)


def test_what_is_known_of_the_preprocessing_is_in_the_graph_then(tmp_path):
    model = network(tmp_path)
    model.preprocessing = Preprocessing((127.5,), (127.5,), "bgr", crop=0.875)
    done = edited(model, {"do": "normalize_input", "input": "x", "mean": 127.5, "std": 127.5})
    assert done.preprocessing == Preprocessing((0.0,), (1.0,), "bgr", crop=0.875)
    assert edited(done, {"do": "cut", "inputs": ["c"]}).preprocessing is None


def test_an_axis_that_two_could_be_is_asked_for(tmp_path):
    text = f"{HEAD}square (float[1, 3, 3, 3] x) => (float[1, 3, 3, 3] y) {{ y = Relu (x) }}"
    step = {"do": "normalize_input", "input": "x", "mean": [1, 2, 3]}
    with pytest.raises(UsageError, match="do not say their axis"):
        edited(network(tmp_path, text), step)
    x = np.random.default_rng(0).normal(size=(1, 3, 3, 3)).astype(np.float32)
    found = outputs(edited(network(tmp_path, text), {**step, "axis": -1}), x=x)["y"]
    np.testing.assert_allclose(found, np.maximum(x - np.array([1, 2, 3], np.float32), 0), rtol=1e-6)


def test_an_input_comes_in_another_order(tmp_path):
    model = edited(network(tmp_path), {"do": "transpose_input", "input": "x", "perm": [0, 3, 1, 2]})
    assert model.inputs[0].shape == (1, 4, 4, 3)
    found = outputs(model, x=IMAGE.transpose(0, 2, 3, 1))["y"]
    np.testing.assert_allclose(found, _plain(tmp_path, IMAGE), rtol=1e-6)


def test_softmax_takes_the_place_of_its_output(tmp_path):
    before = outputs(network(tmp_path), x=IMAGE)
    model = edited(network(tmp_path), {"do": "softmax", "output": "scores"})
    found = outputs(model, x=IMAGE)
    powers = np.exp(before["scores"] - before["scores"].max())
    np.testing.assert_allclose(found["scores"], powers / powers.sum(), rtol=1e-5)
    assert list(found) == ["y", "scores"]


def test_argmax_beside_its_output(tmp_path):
    model = edited(network(tmp_path), {"do": "argmax", "output": "scores", "name": "class"})
    found = outputs(model, x=IMAGE)
    assert list(found) == ["y", "scores", "class"]
    assert found["class"] == found["scores"].argmax()
    assert found["class"].dtype == np.int64


def test_sigmoid(tmp_path):
    before = outputs(network(tmp_path), x=IMAGE)["scores"]
    found = outputs(edited(network(tmp_path), {"do": "sigmoid", "output": "scores"}), x=IMAGE)["scores"]
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-before)), rtol=1e-5)


def test_boxes_that_overlap_are_suppressed(tmp_path):
    text = f"""{HEAD}detector (float[1, 4, 4] b, float[1, 1, 4] s) => (float[1, 4, 4] boxes, float[1, 1, 4] scores) {{
        boxes = Relu (b)
        scores = Relu (s)
    }}"""
    step = {"do": "nms", "boxes": "boxes", "scores": "scores", "max_boxes": 3, "score_threshold": 0.2}
    model = edited(network(tmp_path, text), step)
    boxes = np.array([[[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30], [50, 50, 60, 60]]], np.float32)
    found = outputs(model, b=boxes, s=np.array([[[0.8, 0.9, 0.7, 0.1]]], np.float32))
    assert found["selected"].tolist() == [[0, 0, 1], [0, 0, 2]]
    assert [spec.shape for spec in model.outputs][-1] == (None, 3)


@pytest.mark.parametrize(
    ("edit", "what"),
    [
        ({"do": "softmax", "output": "score"}, "edits[0].output: no output fits 'score'"),
        ({"do": "argmax", "output": "scores", "axis": 2}, "scores/argmax/ArgMax"),
        ({"do": "argmax", "output": "scores", "name": "m"}, "there is a tensor 'm' already"),
        ({"do": "normalize_input", "input": "x", "std": [1, 0, 1]}, "edits[0].std: a standard deviation is zero"),
        ({"do": "normalize_input", "input": "x", "mean": [1, 2]}, "2 numbers do not say their axis"),
        ({"do": "transpose_input", "input": "x", "perm": [0, 1, 2]}, "no order of the axes of 'x'"),
        ({"do": "nms", "boxes": "y", "scores": "scores", "max_boxes": 1}, "edits[0].boxes: 'y' is not of three axes"),
    ],
)
def test_what_does_not_fit(edit, what, tmp_path):
    with pytest.raises(UsageError) as caught:
        edited(network(tmp_path), edit)
    assert what in str(caught.value)
