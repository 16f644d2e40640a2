"""ONNX as JSON: what protocol buffers' own mapping gives, in both directions, and what an edit can break."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf import json_format

from narrowcast.errors import ModelFileError
from narrowcast.schemas import jsontext, onnx_file, onnx_json

TEXT = """
<ir_version: 8, opset_import: ["" : 17]>
network (float[1,3] x) => (float[1,2] y) <float[3,2] w = {1.5, -0.0, 3.25, nan, inf, 1e-38}>
{
    t = MatMul (x, w)
    z = Constant <value = int64[2] {1, 2}> ()
    s = Reshape (t, z)
    y = LeakyRelu <alpha = 0.1> (s)
}
"""


def network(path: Path) -> Path:
    """A file with elements in lists, in bytes, and in an attribute."""
    model = onnx.parser.parse_model(TEXT.replace("nan", "0.5").replace("inf", "0.25"))
    weights = np.array([[1.5, -0.0], [3.25, np.nan], [np.inf, 1e-38]], np.float32)
    model.graph.initializer[0].ClearField("float_data")
    model.graph.initializer[0].raw_data = weights.tobytes()
    model.graph.initializer.append(
        onnx.helper.make_tensor("loose", onnx.TensorProto.FLOAT, [3], [0.1, np.nan, -np.inf])
    )
    onnx.save(model, path)
    return path


def arrays(path: Path) -> dict[str, bytes]:
    """The bytes of every tensor of a file, by name or place."""
    loaded = onnx.load(path)
    found = enumerate(onnx_file.tensors(loaded))
    return {tensor.name or str(index): onnx.numpy_helper.to_array(tensor).tobytes() for index, tensor in found}


def test_it_is_what_protocol_buffers_write_and_read(tmp_path):
    path, text = network(tmp_path / "m.onnx"), tmp_path / "m.json"
    assert onnx_json.from_binary(path, text) == ()
    assert text.read_text() == json_format.MessageToJson(onnx.load(path)) + "\n"
    assert json_format.Parse(text.read_text(), onnx.ModelProto()) == onnx_json.load(text)
    assert onnx_json.to_binary(text, tmp_path / "again.onnx") == ()
    assert (tmp_path / "again.onnx").read_bytes() == onnx.load(path).SerializeToString(deterministic=True)


@pytest.mark.parametrize(("limit", "outside"), [(0, {"w", "loose", ""}), (20, {"w"}), (24, set())])
def test_weights_beside_the_file(limit, outside, tmp_path):
    path, text = network(tmp_path / "m.onnx"), tmp_path / "m.json"
    onnx_json.from_binary(path, text, limit)
    beside = tmp_path / "m.json.data"
    found = {tensor.name: tensor.data_location for tensor in onnx_file.tensors(onnx_json.load(text))}
    assert {name for name, location in found.items() if location == onnx.TensorProto.EXTERNAL} == outside
    assert beside.exists() == bool(outside)
    onnx_json.to_binary(text, tmp_path / "again.onnx")
    assert arrays(tmp_path / "again.onnx") == arrays(path)
    second = tmp_path / "second" / "m.json"
    second.parent.mkdir()
    onnx_json.from_binary(tmp_path / "again.onnx", second, limit)
    assert second.read_bytes() == text.read_bytes()
    assert not beside.exists() or second.with_name("m.json.data").read_bytes() == beside.read_bytes()


def test_external_data_are_taken_in(tmp_path):
    path = network(tmp_path / "m.onnx")
    large = tmp_path / "large.onnx"
    onnx.save(onnx.load(path), large, save_as_external_data=True, location="weights.bin", size_threshold=0)
    out = tmp_path / "out"
    out.mkdir()
    onnx_json.from_binary(large, out / "m.json")
    onnx_json.to_binary(out / "m.json", out / "m.onnx")
    assert [entry.name for entry in sorted(out.iterdir())] == ["m.json", "m.onnx"]
    assert arrays(out / "m.onnx") == arrays(path)


def test_what_protocol_buffers_cannot_hold_lies_beside_them(tmp_path, monkeypatch):
    weights = onnx.numpy_helper.from_array(np.arange(2000, dtype=np.float32), "w")
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[1] x) => (float[2000] y) {y = Mul (x, w)}'
    )
    model.graph.initializer.append(weights)
    onnx.save(model, tmp_path / "m.onnx")
    onnx_json.from_binary(tmp_path / "m.onnx", tmp_path / "m.json")
    monkeypatch.setattr(onnx_file, "LARGEST_INLINE", 4000)
    onnx_json.to_binary(tmp_path / "m.json", tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx.data").stat().st_size == 8000
    assert arrays(tmp_path / "again.onnx") == arrays(tmp_path / "m.onnx")


def test_both_spellings_of_names_and_numbers_are_read(tmp_path):
    path, text = network(tmp_path / "m.onnx"), tmp_path / "m.json"
    text.write_text(json_format.MessageToJson(onnx.load(path), preserving_proto_field_name=True, sort_keys=True))
    assert onnx_json.load(text).SerializeToString(True) == onnx.load(path).SerializeToString(True)


def at(document, *place):
    for step in place:
        document = document[step]
    return document


NODE, WEIGHT, LIST = ("graph", "node", 3), ("graph", "initializer", 0), ("graph", "initializer", 1)
ATTRIBUTE = (*NODE, "attribute", 0)
BROKEN = {
    "a key of no field": (NODE, "opTipe", "Relu", r"graph\.node\[3\]\.opTipe: NodeProto has no", "did you mean opType"),
    "a type": (
        ATTRIBUTE,
        "type",
        "FLOT",
        r"graph\.node\[3\]\.attribute\[0\]\.type: .FLOT. is no Attr",
        "you mean FLOAT",
    ),
    "an unknown word": (ATTRIBUTE, "type", "ZZ", r'type: "ZZ" is no AttributeType', "one of UNDEFINED"),
    "a text for a number": (ATTRIBUTE, "f", "x", r'\.f: expected a number, found "x"', ""),
    "a number for a text": (NODE, "opType", 4, r"opType: expected a text, found 4", ""),
    "no list": (("graph",), "node", {}, r"graph\.node: expected a list, found an object", ""),
    "no object": (("graph", "node"), 2, 7, r"graph\.node\[2\]: expected an object, found 7", ""),
    "null in a list": (
        ("graph", "node", 0, "input"),
        1,
        None,
        r"node\[0\]\.input\[1\]: expected a text, found null",
        "",
    ),
    "a fraction": (WEIGHT, "dims", [3, 1.5], r"initializer\[0\]\.dims\[1\]: expected a 64-bit integer, found 1\.5", ""),
    "too large": (WEIGHT, "dataType", 2**31, r"dataType: expected a 32-bit integer", ""),
    "no base64": (WEIGHT, "rawData", "a", r"rawData: expected base64, found .a.", ""),
    "a float beyond its type": (LIST, "floatData", [1, 1e39], r"floatData\[1\]: expected a number, found 1e\+39", ""),
    "a bare NaN": (LIST, "floatData", [1, float("nan")], r"floatData\[1\]: expected a number, found NaN", ""),
    "no graph": ((), "graph", None, "holds no ONNX graph", ""),
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_edit_that_breaks_something_is_told_by_its_place(name, tmp_path):
    place, key, value, reason, hint = BROKEN[name]
    text = tmp_path / "m.json"
    onnx_json.from_binary(network(tmp_path / "m.onnx"), text)
    document = json.loads(text.read_text())
    at(document, *place)[key] = value
    text.write_text(json.dumps(document))
    with pytest.raises(ModelFileError, match=reason) as caught:
        onnx_json.load(text)
    assert hint in caught.value.hint


def test_one_field_in_two_spellings(tmp_path):
    onnx_json.from_binary(network(tmp_path / "m.onnx"), tmp_path / "m.json")
    text = (tmp_path / "m.json").read_text().replace('"opType": "MatMul"', '"opType": "MatMul", "op_type": "Gemm"')
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(ModelFileError, match=r"^graph\.node\[0\]\.op_type: stands twice in one object"):
        onnx_json.load(tmp_path / "m.json")


def test_no_two_fields_are_spelled_alike():
    kinds = [onnx.ModelProto.DESCRIPTOR]
    for kind in kinds:
        assert len({field.json_name.lower() for field in kind.fields}) == len(kind.fields)
        assert all(field.name.replace("_", "").lower() == field.json_name.lower() for field in kind.fields)
        kinds += {field.message_type for field in kind.fields if field.message_type is not None}.difference(kinds)
    assert len(kinds) > 12


@pytest.mark.parametrize("text", ["[]", "3", '"graph"', "null"])
def test_documents_that_are_no_object(text, tmp_path):
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(ModelFileError, match="the file: expected an object"):
        onnx_json.load(tmp_path / "m.json")


def test_graphs_within_graphs_without_end(tmp_path):
    text = '{"graph": ' + '{"node": [{"attribute": [{"g": ' * 60 + "{}" + "}]}]}" * 60 + "}"
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(ModelFileError, match=r"no ONNX model: .*deep"):
        onnx_json.load(tmp_path / "m.json")


REFERENCES = {
    "location": ("../m.onnx", "outside its folder"),
    "offset": ("-1", "no number of bytes"),
    "length": ("7", "needs 24 bytes of external data, 7 are declared"),
}


@pytest.mark.parametrize("key", REFERENCES)
def test_references_to_the_file_beside_are_checked(key, tmp_path):
    value, reason = REFERENCES[key]
    folder = tmp_path / "inner"
    folder.mkdir()
    onnx_json.from_binary(network(tmp_path / "m.onnx"), folder / "m.json", 20)
    document = json.loads((folder / "m.json").read_text())
    entries = document["graph"]["initializer"][0]["externalData"]
    next(entry for entry in entries if entry["key"] == key)["value"] = value
    (folder / "m.json").write_text(json.dumps(document))
    with pytest.raises(ModelFileError, match=reason):
        onnx_json.to_binary(folder / "m.json", folder / "again.onnx")


def test_references_to_one_place_without_end(tmp_path):
    onnx_json.from_binary(network(tmp_path / "m.onnx"), tmp_path / "m.json", 20)
    document = json.loads((tmp_path / "m.json").read_text())
    weight = document["graph"]["initializer"][0]
    (tmp_path / "m.json.data").write_bytes(bytes(100_000))
    weight["dims"] = ["25000"]
    next(entry for entry in weight["externalData"] if entry["key"] == "length")["value"] = "100000"
    document["graph"]["initializer"] += [{**weight, "name": f"w{index}"} for index in range(10)]
    (tmp_path / "m.json").write_text(json.dumps(document))
    proto = onnx_json.load(tmp_path / "m.json")
    with pytest.raises(ModelFileError, match="more than 8 times what its files hold"):
        onnx_file.place(proto, tmp_path, tmp_path / "large.onnx", 1024)


def test_a_file_beside_that_is_gone_or_cut(tmp_path):
    text, beside = tmp_path / "m.json", tmp_path / "m.json.data"
    onnx_json.from_binary(network(tmp_path / "m.onnx"), text, 0)
    beside.write_bytes(beside.read_bytes()[:-1])
    with pytest.raises(ModelFileError, match="past the end"):
        onnx_json.to_binary(text, tmp_path / "again.onnx")
    beside.unlink()
    with pytest.raises(ModelFileError, match="is missing"):
        onnx_json.to_binary(text, tmp_path / "again.onnx")


def test_a_model_too_large_for_json_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(jsontext, "LARGEST", 100)
    with pytest.raises(ModelFileError, match="GiB of JSON") as caught:
        onnx_json.from_binary(network(tmp_path / "m.onnx"), tmp_path / "m.json")
    assert "--inline-limit" in caught.value.hint


def test_a_name_that_is_no_text(tmp_path):
    path = network(tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes().replace(b"LeakyRelu", b"Leaky\xffelu"))
    with pytest.raises(ModelFileError, match="no UTF-8 text"):
        onnx_json.from_binary(path, tmp_path / "m.json")


def test_fields_that_are_not_known_are_told(tmp_path):
    path = network(tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes() + b"\xf2\x3f\x02hi")  # field 1022, two bytes
    assert "left out" in onnx_json.from_binary(path, tmp_path / "m.json")[0]


SMALL = 1_300_000
"""Bytes of a file of the zoo that is taken there and back; the others differ in nothing that matters here."""


@pytest.mark.parametrize("limit", [None, 1024])
def test_networks_of_the_zoo(limit, zoo, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    paths = [path for path in sorted((zoo / "models").rglob("*.onnx")) if path.stat().st_size < SMALL]
    assert len(paths) > 5
    for path in paths:
        onnx_json.from_binary(path, tmp_path / "a/m.json", limit)
        onnx_json.to_binary(tmp_path / "a/m.json", tmp_path / "a/m.onnx")
        assert arrays(tmp_path / "a/m.onnx") == arrays(path), path
        onnx_json.from_binary(tmp_path / "a/m.onnx", tmp_path / "b/m.json", limit)
        assert (tmp_path / "a/m.json").read_bytes() == (tmp_path / "b/m.json").read_bytes(), path
