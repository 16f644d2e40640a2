"""Names of the user's file and names that are given here never clash, whatever either are."""

from __future__ import annotations

import re
from itertools import product

import numpy as np
import onnx
import pytest

import narrowcast
from narrowcast import reference
from narrowcast.dialect.build import Builder
from tests.readers.keras import craft

TEXT = """
<ir_version: 8, opset_import: ["" : 17]>
names (float[1,4,6,6] image) => (float[1,4] elu, float[1,4,6,6] y)
<float low = {0.0}, float high = {60.0}, float six = {6.0}, float[1] none = {0.0}>
{
    conv = Conv <pads = [1, 1, 1, 1]> (image, w)
    clipped = Clip (conv, low, high)
    pooled = GlobalAveragePool (clipped)
    flat = Flatten (pooled)
    elu = Elu <alpha = 0.5> (flat)
    total = ReduceSum <keepdims = 0> (elu)
    many = Greater (total, none)
    chosen = If (many) <
        then_branch = yes () => (float[1,4,6,6] a) { at = Conv <pads = [1, 1, 1, 1]> (clipped, w) a = Sigmoid (at) },
        else_branch = no () => (float[1,4,6,6] b) { bt = Conv <pads = [1, 1, 1, 1]> (image, w) b = Tanh (bt) }
    >
    y = Clip (chosen, low, six)
}
"""


def network(renamed=()):
    model = onnx.parser.parse_model(TEXT)
    random = np.random.default_rng(0)
    weights = (random.normal(size=(4, 4, 3, 3)) * 0.3).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    new = dict(renamed)

    def rename(graph):
        for item in (*graph.input, *graph.output, *graph.initializer):
            item.name = new.get(item.name, item.name)
        for node in graph.node:
            node.input[:] = [new.get(name, name) for name in node.input]
            node.output[:] = [new.get(name, name) for name in node.output]
            for attribute in node.attribute:
                rename(attribute.g)

    rename(model.graph)
    return model


def convert(model, folder):
    """Through every step that gives names; the file is verified on the way."""
    onnx.save(model, folder / "m.onnx")
    source = model.graph.input[0].name
    random = np.random.default_rng(1)
    data = [{source: random.normal(size=(1, 4, 6, 6)).astype(np.float32)} for _ in range(6)]
    loaded = narrowcast.load(folder / "m.onnx")
    assert [spec.name for spec in loaded.outputs] == [value.name for value in model.graph.output]
    for fmt, scheme in product(("tflite", "onnx"), ("float32", "int8")):
        made = narrowcast.quantize(loaded, scheme, fmt=fmt, data=data)
        assert narrowcast.save(made, folder / f"made.{fmt}", data=data).parity.passed


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """All names that are given on the way of the network into files, and are not its own: they come back from these."""
    names: dict[str, None] = {}
    unique, open_up = Builder.unique, reference.open_up

    def note_unique(self, hint):
        name = unique(self, hint)
        names[name] = None
        return name

    def note_bodies(proto):
        open_up(proto)
        for node in proto.graph.node:
            for attribute in node.attribute:
                names.update((name, None) for item in attribute.g.node for name in item.output)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Builder, "unique", note_unique)
        patch.setattr(reference, "open_up", note_bodies)
        convert(network(), tmp_path_factory.mktemp("names"))
    own = set(re.findall(r"\w+", TEXT))
    return tuple(name for name in names if name not in own)


USERS = ("conv", "clipped", "elu", "chosen", "y", "low", "high", "w", "image", "a", "bt")


def test_the_network_has_names_of_many_kinds(given):
    assert len(given) > 4 * len(USERS)
    assert any(name.endswith("/high") for name in given)
    assert any(name[0].isdigit() for name in given)


@pytest.mark.parametrize("first", range(8))
def test_a_file_that_has_the_names_already(first, given, tmp_path):
    for start in range(first * len(USERS), len(given), 8 * len(USERS)):
        taken = (given * 2)[start : start + len(USERS)]
        convert(network(zip(USERS, dict.fromkeys(taken), strict=False)), tmp_path)


OUTPUT_LAYERS = {"elu": ("ELU", {"alpha": 0.5}), "re_lu": ("ReLU", {"max_value": 6.0}), "add": ("LeakyReLU", {})}


@pytest.mark.parametrize("name", OUTPUT_LAYERS)
def test_a_keras_layer_called_as_an_operator_is_the_output(name, tmp_path):
    kind, config = OUTPUT_LAYERS[name]
    net = craft.sequential(craft.entry([None, 4, 4, 3]), craft.layer(kind, name, **config))
    model = narrowcast.load(craft.write_keras(tmp_path / "m.keras", net))
    data = [{"x": np.random.default_rng(1).normal(size=(1, 4, 4, 3)).astype(np.float32)}] * 6
    written = narrowcast.save(narrowcast.quantize(model, "int8", data=data), tmp_path / "m.tflite", data=data)
    assert written.parity.passed
    assert [spec.name for spec in model.outputs] == [name]


def test_a_clone_gives_names_as_if_it_were_alone():
    build = Builder.new("net")
    x = build.input("x", (1, 4))
    build.graph.outputs.append(build("Relu", x, shape=(1, 4)))
    clones = [build.graph.clone() for _ in range(2)]
    assert [Builder(clone).unique("relu") for clone in clones] == ["relu_1", "relu_1"]
    assert Builder(build.graph).unique("relu") == "relu_1"
    assert Builder(build.graph).unique("relu") == "relu_2"


def test_quantising_again_gives_the_same_bytes(tmp_path):
    onnx.save(network(), tmp_path / "m.onnx")
    data = [{"image": np.random.default_rng(1).normal(size=(1, 4, 6, 6)).astype(np.float32)}]
    model = narrowcast.load(tmp_path / "m.onnx")
    for name in ("a", "b"):
        narrowcast.save(narrowcast.quantize(model, "int8", data=data), tmp_path / f"{name}.tflite", verify=False)
    assert (tmp_path / "a.tflite").read_bytes() == (tmp_path / "b.tflite").read_bytes()
