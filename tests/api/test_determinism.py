"""The same source, options and seed give the same bytes; a file says what it was made of, by what, and how."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import onnx
import pytest

import narrowcast
from narrowcast import _files
from narrowcast._files import map_file
from narrowcast.readers.tflite.file import parse

SCRIPT = """
import sys
from pathlib import Path

import onnxruntime

threads, source, data, out = int(sys.argv[1]), *map(Path, sys.argv[2:])
start = onnxruntime.InferenceSession


def session(model, options=None, *rest, **more):
    options = options or onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return start(model, options, *rest, **more)


onnxruntime.InferenceSession = session

import narrowcast

model = narrowcast.load(source)
for scheme, fmt, observer in (
    ("float32", "tflite", "minmax"),
    ("float16", "onnx", "minmax"),
    ("dynamic_range", "tflite", "minmax"),
    ("int8", "tflite", "mse"),
    ("int8", "onnx", "percentile"),
    ("full_int8", "tflite", "moving_average"),
    ("int16x8", "tflite", "entropy"),
):
    made = narrowcast.quantize(model, scheme, fmt=fmt, data=data, samples=16, observer=observer, seed=3)
    narrowcast.save(made, out / f"{scheme}_{observer}.{fmt}", fmt=fmt, data=data)
"""


def made(source, data, out, threads):
    """Makes files in a process of its own, whose sets and dictionaries of text are ordered differently each time."""
    out.mkdir()
    command = [sys.executable, "-c", SCRIPT, str(threads), source, data, out]
    environment = {**os.environ, "PYTHONHASHSEED": str(threads)}
    subprocess.run(command, check=True, env=environment, capture_output=True, text=True)
    return {path.name: path.read_bytes() for path in out.iterdir()}


@pytest.mark.parametrize("network", ["classifier", "digits"])
def test_the_same_bytes_with_one_thread_and_two(network, request, data, tmp_path):
    source = request.getfixturevalue(network)
    samples = data if network == "classifier" else source / "calibration.npz"
    source = source if network == "classifier" else source / "model.keras"
    one, two = (made(source, samples, tmp_path / str(threads), threads) for threads in (1, 2))
    assert len(one) == 7
    assert one == two


def record(path):
    """What a file says of its own making."""
    if path.suffix == ".onnx":
        (text,) = [item.value for item in onnx.load(path).metadata_props if item.key == "narrowcast"]
        return json.loads(text)
    return json.loads(parse(map_file(path)).metadata["narrowcast"].tobytes())


@pytest.mark.parametrize("fmt", ["tflite", "onnx"])
def test_a_file_says_what_it_was_made_of(fmt, classifier, data, tmp_path):
    model = narrowcast.load(classifier, input_shapes={"image": (1, 3, 8, 8)})
    model = narrowcast.quantize(model, "int8", fmt=fmt, data=data, samples=9, observer="mse", seed=5)
    options = {"opset": 19} if fmt == "onnx" else {}
    path = narrowcast.save(model, tmp_path / f"m.{fmt}", io_layout="source", verify=False, **options).path
    found = record(path)
    assert found["version"] == narrowcast.__version__
    assert found["source"] == {"format": "onnx", "sha256": hashlib.sha256(classifier.read_bytes()).hexdigest()}
    assert found["scheme"] == "int8"
    chosen = {"input_shapes": {"image": [1, 3, 8, 8]}, "samples": 9, "observer": "mse", "seed": 5}
    assert found["options"] == {**chosen, "io_layout": "source", **options}
    assert str(tmp_path) not in json.dumps(found)


def test_external_data_is_part_of_the_source(tmp_path):
    weights = np.arange(64, dtype=np.float32).reshape(8, 8)
    model = onnx.parser.parse_model('<ir_version: 8, opset_import: ["": 17]> g (float[1,8] x) => (float[1,8] y) {}')
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    model.graph.node.append(onnx.helper.make_node("MatMul", ["x", "w"], ["y"]))
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    lines = [f"{hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()}  {name}\n" for name in ("m.onnx", "w.bin")]
    found = narrowcast.load(tmp_path / "m.onnx").provenance
    assert found.beside == (tmp_path / "w.bin",)
    assert found.digest.text == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_a_folder_is_all_its_files_and_a_lost_file_has_no_digest(tmp_path):
    (tmp_path / "model" / "variables").mkdir(parents=True)
    (tmp_path / "model" / "graph").write_bytes(b"a")
    (tmp_path / "model" / "variables" / "data").write_bytes(b"b")
    names = {"graph": b"a", "variables/data": b"b"}
    lines = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in names.items())
    assert _files.Digest([tmp_path / "model"]).text == hashlib.sha256(lines.encode()).hexdigest()
    assert _files.Digest([tmp_path / "nothing"]).text == ""
