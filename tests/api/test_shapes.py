"""Several sizes of one network: read by their sizes, written as signatures of one file that share the weights."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest

import narrowcast
from narrowcast import runtimes
from narrowcast.reference import Reference

TEXT = """<ir_version: 8, opset_import: ["" : 17]>
network (float[n,3,height,width] image) => (float[n,8,h,w] y, float[n,8] z)
{ a = Conv <pads=[1,1,1,1]> (image, w1)
  b = Relu (a)
  y = Conv <pads=[1,1,1,1], strides=[2,2]> (b, w2)
  c = GlobalAveragePool (y)
  d = Flatten (c)
  e = MatMul (d, w3)
  z = MatMul (e, w4) }"""
WEIGHTS = {"w1": (8, 3, 3, 3), "w2": (8, 8, 3, 3), "w3": (8, 512), "w4": (512, 8)}


@pytest.fixture
def network(tmp_path):
    model = onnx.parser.parse_model(TEXT)
    random = np.random.default_rng(0)
    for name, shape in WEIGHTS.items():
        array = random.normal(size=shape).astype(np.float32) / 8
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    onnx.save(model, tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def buffers(path, least) -> list[int]:
    """The bytes of a file's buffers that hold as much as the large weights."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(path.read_bytes(), 0)
    return sorted(size for i in range(model.BuffersLength()) if (size := model.Buffers(i).DataLength()) >= least)


def test_sizes_fill_what_is_open(network):
    model = narrowcast.load(network, shapes=[(16,), (32, 24)])
    assert model.inputs[0].shape == (1, 3, 16, 16)
    assert {key: made.inputs[0].shape for key, made in model.variants.items()} == {"32x24": (1, 3, 32, 24)}


@pytest.mark.parametrize(
    ("shapes", "given"),
    [([(16, 16, 16)], None), ([(16,)], {"image": (1, 3, 8, 8)})],
    ids=["three for two", "no open one"],
)
def test_sizes_that_fit_nothing(network, shapes, given):
    with pytest.raises(narrowcast.UsageError, match="cannot be the sizes of"):
        narrowcast.load(network, shapes=shapes, input_shapes=given)


@pytest.mark.parametrize("scheme", ["float32", "dynamic_range", "int8"])
def test_each_size_is_a_signature_with_the_same_weights(network, scheme, tmp_path):
    def written(shapes, name):
        model = narrowcast.load(network, shapes=shapes)
        if scheme != "float32":
            model = narrowcast.quantize(model, scheme, data=folder)
        return model, narrowcast.save(model, tmp_path / name, data=folder)

    folder = tmp_path / "images"
    folder.mkdir()
    random = np.random.default_rng(1)
    from PIL import Image

    for index in range(4):
        Image.fromarray(random.integers(0, 255, (40, 40, 3), np.uint8)).save(folder / f"{index}.png")
    _, alone = written([(16,)], "alone.tflite")
    model, file = written([(16,), (32,), (24, 20)], "all.tflite")
    assert file.verified
    large = {"float32": 16_000, "dynamic_range": 4_000, "int8": 4_000}[scheme]
    assert buffers(file.path, large) == buffers(alone.path, large) != []
    assert sum("signature" in note for note in file.notes) == 2
    for key, shape in {"": (1, 16, 16, 3), "32": (1, 32, 32, 3), "24x20": (1, 24, 20, 3)}.items():
        runner = runtimes.open(file.path, "litert", signature=key)
        assert runner.inputs[0].shape == shape
        image = random.uniform(0, 255, shape).astype(np.float32)
        found = runner.run({"image": image})
        made = model.variants[key] if key else model
        wanted = Reference(made).run({"image": image.transpose(0, 3, 1, 2)})
        assert found["z"].shape == (1, 8)
        error = np.abs(found["z"] - wanted["z"]).max() / np.abs(wanted["z"]).max()
        assert error < {"float32": 1e-5, "dynamic_range": 0.05, "int8": 0.3}[scheme]


def test_other_formats_hold_one_graph(network, tmp_path):
    model = narrowcast.load(network, shapes=[(16,), (32,)])
    with pytest.raises(narrowcast.UsageError, match="onnx files hold one graph each"):
        narrowcast.save(model, tmp_path / "m.onnx.onnx", fmt="onnx")
