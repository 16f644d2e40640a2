"""The shapes that inputs get: the file's, the user's, open ones; and what in the file goes along."""

from __future__ import annotations

import numpy as np
import pytest

import narrowcast
from narrowcast.dialect.build import Builder
from narrowcast.errors import ModelFileError, UnsupportedError, UsageError
from narrowcast.evaluation.real import RealGraph
from narrowcast.model import Model
from narrowcast.passes.canonicalize import canonicalize
from tests.readers.tflite.craft import Craft


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A convolution and a dense layer over images of 4x4, with a batch of 1 that the file does not call open."""
    random = np.random.default_rng(0)
    build = Builder.new("net")
    x = build.input("image", (1, 2, 4, 4))
    kernel = build.constant(random.normal(size=(3, 2, 3, 3)).astype(np.float32))
    window = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [1, 1], "dilations": [1, 1]}
    y = build("Conv", x, kernel, shape=(1, 3, 4, 4), **window)
    flat = build("Reshape", y, build.constant([1, 48], "flat", np.int64), shape=(1, 48))
    weights = build.constant(random.normal(size=(5, 48)).astype(np.float32))
    model = Model(build.finish([build("Gemm", flat, weights, transB=1, name="scores", shape=(1, 5))]))
    canonicalize(model)
    return narrowcast.save(model, tmp_path_factory.mktemp("net") / "net.tflite", verify=False).path


def run(path, images, **options):
    model = narrowcast.load(path, **options)
    return model, RealGraph(model).run({"image": images})["scores"]


def test_a_network_that_gives_nothing(tmp_path):
    craft = Craft()
    craft.last.inputs, made = [craft.tensor((1, 4))], [craft.tensor((1, 4))]
    craft.operator("ABS", craft.last.inputs, made)
    path = tmp_path / "m.tflite"
    path.write_bytes(craft.content)
    with pytest.raises(ModelFileError, match="it has no outputs"):
        narrowcast.load(path)


@pytest.mark.parametrize("options", [{"batch": 3}, {"input_shapes": {"image": (3, 4, 4, 2)}}, {"batch": "dynamic"}])
def test_another_batch(options, network):
    images = np.random.default_rng(1).normal(size=(3, 4, 4, 2)).astype(np.float32)
    model, found = run(network, images, **options)
    assert model.inputs[0].shape == (None if options.get("batch") == "dynamic" else 3, 4, 4, 2)
    one_by_one = np.concatenate([run(network, image[None])[1] for image in images])
    np.testing.assert_allclose(found, one_by_one, atol=1e-5)


@pytest.mark.parametrize(
    ("shapes", "told"),
    [
        ({"picture": (1, 4, 4, 2)}, r"no input 'picture' \(the inputs are image\)"),
        ({"image": (1, 4, 4)}, "input 'image' has 4 dimensions .*, not 3"),
        ({"image": (0, 4, 4, 2)}, "input 'image' cannot have the shape"),
        ({"image": (1, 40000, 40000, 2)}, "would hold 3,200,000,000 numbers"),
    ],
)
def test_shapes_that_cannot_be(shapes, told, network):
    with pytest.raises(UsageError, match=told):
        narrowcast.load(network, input_shapes=shapes)


def test_a_size_that_constants_in_the_file_rule_out_names_the_operator(network):
    with pytest.raises(narrowcast.NarrowcastError, match=r"RESHAPE|FULLY_CONNECTED"):
        narrowcast.load(network, input_shapes={"image": (1, 6, 6, 2)})


def test_another_number_of_channels_makes_no_convolution_of_groups(network):
    with pytest.raises(UnsupportedError, match="it convolves 2 channels, not 4"):
        narrowcast.load(network, input_shapes={"image": (1, 4, 4, 4)})


def test_sizes_that_the_file_leaves_open_are_asked_for(tmp_path):
    build = Builder.new("net")
    x = build.input("image", ("batch", 3, "open:h", "open:w"))
    model = Model(build.finish([build("Relu", x, shape=x.shape, name="y")]))
    path = narrowcast.save(model, tmp_path / "open.tflite", verify=False).path
    with pytest.raises(UsageError, match="these inputs have open dimensions: 'image'"):
        narrowcast.load(path)
    assert narrowcast.load(path, shapes=[(5, 7)]).inputs[0].shape == (1, 3, 5, 7)
    assert narrowcast.load(path, input_shapes={"image": (1, 3, 6, None)}).inputs[0].shape == (1, 3, 6, None)


@pytest.mark.parametrize("name", ["SUM", "MEAN", "REDUCE_MAX"])
def test_a_reduction_over_no_axes_leaves_all_as_it_is(name, tmp_path):
    craft = Craft()
    craft.last.inputs, axes = [craft.tensor((2, 3), name="x")], craft.tensor((0,), "INT32", elements=[])
    craft.last.outputs = [craft.tensor((2, 3), name="y")]
    craft.operator(name, [*craft.last.inputs, axes], craft.last.outputs)
    path = tmp_path / "m.tflite"
    path.write_bytes(craft.content)
    x = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    np.testing.assert_array_equal(RealGraph(narrowcast.load(path)).run({"x": x})["y"], x)
