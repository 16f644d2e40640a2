"""Files of several graphs: which is meant, and what its ports are called."""

from __future__ import annotations

import pytest

import narrowcast
from narrowcast.errors import UsageError
from narrowcast.readers.tflite.file import parse
from narrowcast.readers.tflite.signatures import ports_of
from tests.readers.tflite.craft import Craft

SIZES = {"first": 4, "second": 6, "serving_default": 5}


def several(*keys, named=True):
    craft = Craft()
    for place, key in enumerate(keys):
        if place:
            craft.graph(key)
        x, y = (craft.tensor((1, SIZES[key]), name=name) for name in ("x", "y"))
        craft.operator(("ABS", "NEG", "SQUARE")[place], (x,), (y,))
        craft.last.inputs, craft.last.outputs = [x], [y]
        if named:
            craft.signature(key, {"data": x}, {"result": y}, place)
    return craft


@pytest.mark.parametrize(
    ("keys", "asked", "graph", "key"),
    [
        (("first", "second"), "", 0, ""),
        (("first", "second"), "first", 0, "first"),
        (("first", "second"), "second", 1, "second"),
        (("first", "serving_default"), "", 1, "serving_default"),
        (("serving_default", "first"), "", 0, ""),
    ],
)
def test_which_graph_is_meant(keys, asked, graph, key):
    found = ports_of(parse(several(*keys).content), asked)
    assert (found.graph.index, found.key, dict(found.inputs), dict(found.outputs)) == (
        graph,
        key,
        {"data": 0},
        {"result": 1},
    )


def test_without_signatures_tensors_name_the_ports():
    craft = several("first", named=False)
    extra = craft.tensor((1,), name="x")
    craft.last.inputs.append(extra)
    nameless = craft.tensor((1,), name="")
    craft.last.inputs.append(nameless)
    found = ports_of(parse(craft.content))
    assert dict(found.inputs) == {"x_0": 0, "x_1": 2, "tensor_2": 3}
    assert dict(found.outputs) == {"y": 1}


def test_a_signature_that_leaves_an_input_out_names_none():
    craft = several("first")
    craft.last.inputs.append(craft.tensor((1,), name="more"))
    assert list(ports_of(parse(craft.content)).inputs) == ["x", "more"]


def test_a_key_that_is_none(tmp_path):
    file = parse(several("first", "second").content)
    with pytest.raises(UsageError, match=r"no signature 'secnd' \(did you mean second\? there are 'first', 'second'\)"):
        ports_of(file, "secnd")
    with pytest.raises(UsageError, match="there are none"):
        ports_of(parse(several("first", named=False).content), "first")


@pytest.fixture
def two(tmp_path):
    path = tmp_path / "two.tflite"
    path.write_bytes(several("first", "second").content)
    return path


@pytest.mark.parametrize(("key", "size", "name"), [("", 4, "Abs"), ("second", 6, "Neg")])
def test_every_verb_takes_the_graph_that_is_meant(two, key, size, name, tmp_path):
    model = narrowcast.load(two, signature=key)
    assert [node.op_type for node in model.graph] == [name]
    assert [(port.name, port.shape) for port in model.inputs] == [("data", (1, size))]
    assert model.provenance.options == ({"signature": key} if key else {})
    written = narrowcast.save(model, tmp_path / "m.onnx")
    assert "LiteRT" in written.parity.reference
    assert narrowcast.inspect(two, signature=key).inputs[0].shape == (1, size)
    assert narrowcast.inspect(two, signature=key, canonical=True, operators=True).inputs[0].shape == (1, size)
    (row,) = narrowcast.bench([two], threads=(1,), signature=key).rows
    assert row.peak_memory_bytes


def test_other_formats_have_none(two, tmp_path):
    path = narrowcast.save(narrowcast.load(two), tmp_path / "m.onnx").path
    with pytest.raises(UsageError, match="onnx files have no signatures"):
        narrowcast.load(path, signature="first")
    narrowcast.load(path)
