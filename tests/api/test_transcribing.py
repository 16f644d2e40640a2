"""JSON through the command line: what is transcribed, what is converted, and what is refused."""

from __future__ import annotations

import json
import re

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

import narrowcast
from narrowcast import runtimes
from narrowcast.cli.app import cli
from narrowcast.errors import UsageError
from narrowcast.readers import formats

TEXT = """
<ir_version: 8, opset_import: ["" : 17]>
network (float[1,3,8,8] image) => (float[1,4,8,8] y)
{
    conv = Conv <pads = [1, 1, 1, 1]> (image, w)
    y = LeakyRelu <alpha = 0.1> (conv)
}
"""


@pytest.fixture
def source(tmp_path):
    model = onnx.parser.parse_model(TEXT)
    weights = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    onnx.save(model, tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def narrow(*words):
    """Runs a command line; its exit code, its JSON, and what it says in the case of an error."""
    done = CliRunner().invoke(cli, [str(word) for word in words], prog_name="narrowcast")
    assert "Traceback" not in done.output
    return done.exit_code, done.stdout, done.stderr


def convert(source, target, *words):
    code, out, error = narrow("convert", source, "-o", target, "--json", *words)
    assert code == 0, error
    return json.loads(out)


def test_onnx_to_json_and_back(source, tmp_path):
    made = convert(source, tmp_path / "m.json")
    assert (made["format"], made["verified"]) == ("onnx-json", None)
    convert(tmp_path / "m.json", tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == source.read_bytes()


def test_json_goes_the_ordinary_way_with_proof(source, tmp_path):
    convert(source, tmp_path / "m.json", "--inline-limit", 100)
    assert {path.name for path in tmp_path.iterdir()} == {"m.onnx", "m.json", "m.json.data"}
    for target, words in (("m.tflite", ()), ("half.onnx", ("--scheme", "float16"))):
        made = convert(tmp_path / "m.json", tmp_path / target, *words)
        assert made["verified"] is True, target
    code, out, error = narrow("inspect", tmp_path / "m.json", "--json")
    assert code == 0, error
    assert json.loads(out)["format"] == "onnx-json"
    code, out, error = narrow("bench", tmp_path / "m.json", "--threads", 1, "--json")
    assert code == 0, error
    assert json.loads(out)["rows"][0]["operators"]["total"] == 2


@pytest.mark.parametrize("words", [("--scheme", "float16"), ("--io-layout", "source"), ("--min-sqnr", 40)])
def test_what_changes_or_proves_a_network_is_converted_and_then_written_as_json(words, source, tmp_path):
    made = convert(source, tmp_path / "new.json", "--inline-limit", 64, *words)
    assert made["verified"] is True
    assert narrowcast.load(tmp_path / "new.json").provenance.format == "onnx-json"
    assert (tmp_path / "new.json.data").exists()


def test_json_under_any_name_and_of_other_json(source, tmp_path):
    convert(source, tmp_path / "m.json")
    convert(tmp_path / "m.json", tmp_path / "small.json", "--inline-limit", 0)
    (tmp_path / "small.json").rename(tmp_path / "small")
    convert(tmp_path / "small", tmp_path / "back.onnx")
    assert (tmp_path / "back.onnx").read_bytes() == source.read_bytes()


def test_a_quantised_model_as_json(source, tmp_path):
    data = np.random.default_rng(1).normal(size=(8, 3, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=data)
    words = ("--scheme", "int8", "--data", tmp_path / "data.npz")
    code, _, error = narrow("quantize", source, "-o", tmp_path / "q.json", *words)
    assert code == 0, error
    assert narrowcast.load(tmp_path / "q.json").scheme == "int8"


REFUSED = {
    "no such format": ("m.onnx", "m.json", ("--to", "onnx-jsn"), 2, "did you mean onnx-json"),
    "itself": ("m.onnx", "m.onnx", ("--to", "onnx-json"), 2, "is the source"),
    "a limit of a binary": ("m.onnx", "x.onnx", ("--inline-limit", 1), 2, "have no inline-limit"),
    "no file": ("no.onnx", "m.json", (), 5, "no such file"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_requests_that_make_no_sense(name, source):
    origin, target, words, code, reason = REFUSED[name]
    ended, _, error = narrow("convert", source.with_name(origin), "-o", source.with_name(target), *words)
    assert (ended, reason in error) == (code, True), error


EDITS = {
    "a misspelt key": (lambda graph: graph["node"][0].update(inputs=[]), r"graph.node[0].inputs"),
    "a wrong word": (lambda graph: graph["node"][1]["attribute"][0].update(type="FLOAT32"), "did you mean FLOAT"),
    "elements that do not fit": (
        lambda graph: graph["initializer"][0].update(dims=["4", "3", "3", "4"]),
        "graph.initializer[0], tensor 'w': ",
    ),
    "an input that is nowhere": (
        lambda graph: graph["node"][1].update(input=["cnv"]),
        "graph.node[1], y (LeakyRelu): ",
    ),
}


@pytest.mark.parametrize("target", ["back.onnx", "m.tflite"])
@pytest.mark.parametrize("name", EDITS)
def test_edits_that_break_a_model(name, target, source, tmp_path):
    convert(source, tmp_path / "m.json")
    document = json.loads((tmp_path / "m.json").read_text())
    EDITS[name][0](document["graph"])
    (tmp_path / "m.json").write_text(json.dumps(document))
    code, _, error = narrow("convert", tmp_path / "m.json", "-o", tmp_path / target)
    assert code in (4, 5)
    assert EDITS[name][1] in error
    assert ("m.json" in error) == (name in ("a misspelt key", "a wrong word"))
    assert not (tmp_path / target).exists()


def test_what_cannot_be_checked_is_noted(source, tmp_path):
    convert(source, tmp_path / "m.json")
    (tmp_path / "m.json").write_text((tmp_path / "m.json").read_text().replace("LeakyRelu", "LeakyRelo"))
    made = convert(tmp_path / "m.json", tmp_path / "back.onnx")
    assert "could be checked" in made["notes"][0]
    assert "LeakyRelo" in made["notes"][0]
    code, _, error = narrow("convert", tmp_path / "m.json", "-o", tmp_path / "m.tflite")
    assert (code, "LeakyRelo" in error) == (4, True)


def test_an_edit_changes_what_is_computed(source, tmp_path):
    convert(source, tmp_path / "m.json")
    document = json.loads((tmp_path / "m.json").read_text())
    document["graph"]["node"][1]["attribute"][0]["f"] = 0.5
    (tmp_path / "m.json").write_text(json.dumps(document, separators=(",", ":"), sort_keys=True))
    convert(tmp_path / "m.json", tmp_path / "edited.onnx")
    assert onnx.load(tmp_path / "edited.onnx").graph.node[1].attribute[0].f == 0.5


def test_the_verb_refuses_what_is_no_transcription(source, tmp_path):
    with pytest.raises(UsageError, match="tflite is no transcript of onnx"):
        narrowcast.transcribe(source, tmp_path / "m.tflite")
    with pytest.raises(UsageError, match="unknown option"):
        narrowcast.transcribe(source, tmp_path / "m.json", inline=3)


@pytest.fixture
def tflite(source, tmp_path):
    path = tmp_path / "t.tflite"
    convert(source, path)
    return path


def test_tflite_to_json_and_back(tflite, tmp_path):
    made = convert(tflite, tmp_path / "t.json", "--inline-limit", 200)
    assert (made["format"], made["verified"]) == ("tflite-json", None)
    convert(tmp_path / "t.json", tmp_path / "again.tflite")
    convert(tmp_path / "again.tflite", tmp_path / "second.json")
    convert(tflite, tmp_path / "first.json")
    assert (tmp_path / "second.json").read_bytes() == (tmp_path / "first.json").read_bytes()
    for words in (("inspect", tmp_path / "t.json"), ("bench", tmp_path / "t.json", "--threads", 1)):
        code, out, error = narrow(*words, "--json")
        assert code == 0, error
    code, out, error = narrow("inspect", tmp_path / "t.json", "--json")
    assert (json.loads(out)["format"], json.loads(out)["operators"]["total"]) == ("tflite-json", 2)


def test_an_edited_scale_of_tflite(tflite, tmp_path):
    convert(tflite, tmp_path / "t.json")
    document = json.loads((tmp_path / "t.json").read_text())
    code = next(index for index, row in enumerate(document["operator_codes"]) if row["builtin_code"] == "LEAKY_RELU")
    operator = next(one for one in document["subgraphs"][0]["operators"] if one.get("opcode_index", 0) == code)
    operator["builtin_options"]["alpha"] = 0.5
    (tmp_path / "t.json").write_text(json.dumps(document, sort_keys=True))
    convert(tmp_path / "t.json", tmp_path / "edited.tflite")
    x = np.full((1, 8, 8, 3), -1, np.float32)
    before, after = (runtimes.open(path, "litert") for path in (tflite, tmp_path / "edited.tflite"))
    before, after = (next(iter(one.run({one.inputs[0].name: x}).values())) for one in (before, after))
    assert np.abs(before - after).max() > 0.1
    operator["builtin_options"] = {"alfa": 1}
    (tmp_path / "t.json").write_text(json.dumps(document))
    code, _, error = narrow("convert", tmp_path / "t.json", "-o", tmp_path / "edited.tflite")
    assert code == 5
    assert "builtin_options.alfa: LeakyReluOptions has no such field. Hint: did you mean alpha?" in error


def test_a_shape_that_its_content_does_not_have(tflite, tmp_path):
    convert(tflite, tmp_path / "t.json")
    (tmp_path / "t.json").write_text((tmp_path / "t.json").read_text().replace("[4,3,3,3]", "[4,3,3,5]"))
    code, _, error = narrow("convert", tmp_path / "t.json", "-o", tmp_path / "x.tflite")
    assert (code, "its shape [4, 3, 3, 5] of FLOAT32 takes 720 bytes, and it has 432" in error) == (5, True), error
    assert re.match(r"error: subgraphs\[0\]\.tensors\[\d\], tensor \d 'w': its shape", error)
    assert not (tmp_path / "x.tflite").exists()


def test_an_operator_that_reads_what_is_not_there_yet(tflite, tmp_path):
    convert(tflite, tmp_path / "t.json")
    document = json.loads((tmp_path / "t.json").read_text())
    document["subgraphs"][0]["operators"].reverse()
    (tmp_path / "t.json").write_text(json.dumps(document))
    for target in ("x.tflite", "x.onnx"):
        code, _, error = narrow("convert", tmp_path / "t.json", "-o", tmp_path / target)
        assert (code, error.startswith("error: subgraphs[0].operators[0], LEAKY_RELU 0: it reads")) == (5, True), error


def test_other_sources_say_which_json(digits, tmp_path):
    code, _, error = narrow("convert", digits / "model.keras", "-o", tmp_path / "m.json")
    assert (code, "say --to onnx-json or --to tflite-json" in error) == (2, True)
    for fmt in ("onnx-json", "tflite-json"):
        made = convert(digits / "model.keras", tmp_path / f"{fmt}.json", "--to", fmt)
        assert (made["format"], made["verified"]) == (fmt, True)
    assert convert(tmp_path / "tflite-json.json", tmp_path / "o.onnx")["verified"] is True
    assert convert(tmp_path / "tflite-json.json", tmp_path / "h.tflite", "--scheme", "float16")["verified"] is True


def test_scales_rounded_by_flatc_are_told_wherever_they_are_read(digits, tmp_path):
    data = digits / "calibration.npz"
    words = ("--scheme", "int8", "--data", data, "--to", "tflite-json")
    code, _, error = narrow("quantize", digits / "model.keras", "-o", tmp_path / "q.json", *words)
    assert code == 0, error
    document = json.loads((tmp_path / "q.json").read_text())
    for tensor in document["subgraphs"][0]["tensors"]:
        if "scale" in tensor.get("quantization", {}):
            tensor["quantization"]["scale"] = [round(scale, 6) for scale in tensor["quantization"]["scale"]]
    (tmp_path / "q.json").write_text(json.dumps(document))
    for target in ("q.tflite", "q.onnx"):
        made = convert(tmp_path / "q.json", tmp_path / target)
        assert any("six decimals" in note for note in made["notes"]), target


@pytest.mark.parametrize("text", ['{"a": {"graph": 1}}', '  {"modelTopology": {}}', "{}", "[1, 2]"])
def test_other_json_is_not_taken_for_a_model(text, tmp_path):
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(UsageError, match="shows no format"):
        formats.find(tmp_path / "m.json")


def test_a_long_description_before_the_keys_that_tell(tmp_path):
    (tmp_path / "m.json").write_text(json.dumps({"docString": "x" * 100_000, "irVersion": "8", "graph": {}}))
    assert formats.find(tmp_path / "m.json").name == "onnx-json"
