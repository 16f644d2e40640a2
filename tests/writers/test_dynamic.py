"""Outputs as long as the data make them, in LiteRT, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

import narrowcast
from narrowcast import runtimes
from tests.readers.onnx.run import run_file

BOXES = 60


def boxes(images, seed, *, centres=False):
    random = np.random.default_rng(seed)
    at, size = random.uniform(0, 1, (images, BOXES, 2)), random.uniform(0.05, 0.4, (images, BOXES, 2))
    made = np.concatenate([at, size] if centres else [at, at + size], 2)
    made[:, 10:20] = made[:, :10]  # equal boxes
    return np.round(made * 64).astype(np.float32) / 64  # many overlaps are equal numbers


def compare(nodes, feed, outputs, folder, constants=()):
    ports = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in feed.items()
    ]
    made = [helper.make_tensor_value_info(name, kind, dims) for name, kind, dims in outputs]
    graph = helper.make_graph(nodes, "g", ports, made, [numpy_helper.from_array(np.array(a), n) for n, a in constants])
    path = folder / "m.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    written = narrowcast.save(narrowcast.load(path), folder / "m.tflite", verify=False)
    found = runtimes.open(written.path, "litert").run(feed)
    expected = run_file(path, feed)
    for (name, _, _), wanted in zip(outputs, expected, strict=True):
        np.testing.assert_array_equal(found[name], wanted)
    return expected


@pytest.mark.parametrize("centres", [False, True])
@pytest.mark.parametrize(("overlap", "score"), [(0.5, 0.3), (0.25, None), (0.0, 0.9), (0.984375, 0.5), (0.7, 2.0)])
@pytest.mark.parametrize("most", [0, 3, 100])
def test_suppression(most, overlap, score, centres, tmp_path):
    """Two images and three classes, with equal boxes, equal scores and overlaps on the threshold."""
    random = np.random.default_rng(1)
    feed = {
        "boxes": boxes(2, 0, centres=centres),
        "scores": (random.integers(0, 12, (2, 3, BOXES)) / 12).astype(np.float32),
    }
    constants = [("most", np.int64(most)), ("overlap", np.float32(overlap)), ("score", np.float32(score or 0))]
    names = ["boxes", "scores", "most", "overlap"] + (["score"] if score is not None else [])
    node = helper.make_node("NonMaxSuppression", names, ["y"], center_point_box=int(centres))
    (found,) = compare([node], feed, [("y", TensorProto.INT64, ["n", 3])], tmp_path, constants)
    assert (len(found) == 0) == (most == 0 or score == 2.0)


def test_suppressing_nothing_is_refused(tmp_path):
    feed = {"boxes": boxes(1, 0), "scores": np.zeros((1, 1, BOXES), np.float32)}
    constants = [("most", np.int64(3)), ("overlap", np.float32(1))]
    node = helper.make_node("NonMaxSuppression", ["boxes", "scores", "most", "overlap"], ["y"])
    with pytest.raises(narrowcast.UnsupportedOpError, match="at an overlap above 1"):
        compare([node], feed, [("y", TensorProto.INT64, ["n", 3])], tmp_path, constants)


def test_what_detectors_do_with_it(tmp_path):
    """The chosen boxes, their scores and their classes."""
    feed = {"boxes": boxes(1, 2), "scores": np.random.default_rng(3).uniform(0, 1, (1, 2, BOXES)).astype(np.float32)}
    constants = [
        ("most", np.int64(20)),
        ("overlap", np.float32(0.5)),
        ("score", np.float32(0.4)),
        ("one", np.array([1])),
        ("two", np.array([2])),
        ("three", np.array([3])),
        ("flat", np.array([-1])),
    ]
    nodes = [
        helper.make_node("NonMaxSuppression", ["boxes", "scores", "most", "overlap", "score"], ["found"]),
        helper.make_node("Slice", ["found", "two", "three", "one"], ["column"]),
        helper.make_node("Reshape", ["column", "flat"], ["places"]),
        helper.make_node("Slice", ["found", "one", "two", "one"], ["classes"]),
        helper.make_node("Gather", ["boxes", "places"], ["picked"], axis=1),
        helper.make_node("GatherND", ["scores", "found"], ["values"]),
    ]
    outputs = [
        ("picked", TensorProto.FLOAT, [1, "n", 4]),
        ("values", TensorProto.FLOAT, ["n"]),
        ("classes", TensorProto.INT64, ["n", 1]),
    ]
    compare(nodes, feed, outputs, tmp_path, constants)


@pytest.mark.parametrize("dtype", ["float32", "int32", "bool"])
def test_places_of_what_is_not_zero(dtype, tmp_path):
    feed = {"x": np.random.default_rng(0).integers(0, 2, (3, 4, 2)).astype(dtype)}
    compare([helper.make_node("NonZero", ["x"], ["y"])], feed, [("y", TensorProto.INT64, [3, "n"])], tmp_path)
