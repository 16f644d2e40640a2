"""Destinations, options and moments that nobody means, each of which has been tried on a user's behalf."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import narrowcast
from narrowcast._files import atomic_path, readable_file
from narrowcast.cli import options
from narrowcast.dialect.build import Builder
from narrowcast.errors import DataError, ModelFileError, OutputError, UsageError
from narrowcast.evaluation import latency
from narrowcast.evaluation.data import open_data
from narrowcast.evaluation.pixels import load_image
from narrowcast.evaluation.preprocessing import make_preprocessing
from narrowcast.model import Preprocessing, TensorSpec, ir

IMAGE = (1, 8, 8, 3)
LONG = "x" * 300


def network(path):
    build = Builder.new("network")
    x = build.input("x", (1, 4))
    ir.save(build.finish([build("Relu", x, name="y", shape=(1, 4))]), path)
    return path


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names on this system")
def test_what_is_no_file_is_not_replaced(tmp_path):
    pipe = tmp_path / "pipe.tflite"
    os.mkfifo(pipe)
    link = tmp_path / "link.tflite"
    link.symlink_to(pipe)
    for place in (pipe, link):
        with pytest.raises(OutputError, match="device or a pipe"), atomic_path(place):
            pytest.fail("a temporary file was made for it")
    assert pipe.is_fifo()
    assert link.is_symlink()


def test_names_that_are_too_long(tmp_path):
    with pytest.raises(OutputError, match="too long"), atomic_path(tmp_path / LONG):
        pytest.fail("a temporary file was made for it")
    with pytest.raises(ModelFileError, match="too long"):
        readable_file(tmp_path / LONG)


def test_the_source_is_not_written_over(tmp_path):
    path = network(tmp_path / "network.onnx")
    content = path.read_bytes()
    link = tmp_path / "link.tflite"
    link.symlink_to(path)
    model = narrowcast.load(path)
    for place in (path, link):
        with pytest.raises(UsageError, match="the destination is the source"):
            narrowcast.save(model, place, fmt="tflite")
    assert path.read_bytes() == content


def test_an_image_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"photo.png: no such file$"):
        load_image(tmp_path / "photo.png", Preprocessing(), IMAGE)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names on this system")
def test_a_pipe_is_no_image(tmp_path):
    os.mkfifo(tmp_path / "photo.png")
    with pytest.raises(DataError, match="not a regular file"):
        load_image(tmp_path / "photo.png", Preprocessing(), IMAGE)


@pytest.mark.parametrize(
    ("given", "reason"),
    [({"seed": -1, "samples": 1}, "the seed -1"), ({"label_offset": 10**20}, "beyond every class")],
)
def test_numbers_that_no_data_set_takes(given, reason):
    arrays = {"x": np.zeros((3, 4), np.float32), "y": np.arange(3)}
    with pytest.raises(UsageError, match=reason):
        open_data(arrays, [TensorSpec("x", (1, 4), np.dtype(np.float32))], **given)


@pytest.mark.parametrize("given", [{"scale": 1e-45}, {"normalize": "x * 1e-300"}, {"mean": (1e39,)}, {"std": (1e39,)}])
def test_a_preprocessing_beyond_float32(given):
    with pytest.raises(UsageError, match="beyond float32"):
        make_preprocessing(**given)


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (options.parse_named_shape, "x:1,99999999999999999999"),
        (options.parse_batch, "99999999999999999999"),
        (options.parse_named_number, "sr=1,2"),
        (options.parse_named_number, "sr="),
    ],
)
def test_values_that_no_option_takes(parse, text):
    with pytest.raises(ValueError, match=r"beyond|expected name=number"):
        parse(text)


def test_modules_beside_the_user_are_not_imported(tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    assert latency.peak_memory(latency.File(network(tmp_path / "network.onnx"), "onnxruntime"))


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no SIGHUP on this system")
def test_a_terminal_that_closes_leaves_nothing(digits, tmp_path):
    arguments = ["compare", digits / "model.keras", "-o", tmp_path / "out", "--data", digits / "test.npz", "-q"]
    process = subprocess.Popen(
        [sys.executable, "-m", "narrowcast", *map(str, arguments)],
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # nohup hands on that it is ignored
    )
    try:
        deadline = time.monotonic() + 60
        while not any(tmp_path.glob(".narrowcast-*/*.tflite")) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert process.poll() is None, "it ended before it was to be interrupted"
        process.send_signal(signal.SIGHUP)
        assert process.wait(60) == 128 + signal.SIGHUP
    finally:
        process.kill()
        process.wait()
    assert list(tmp_path.iterdir()) == []
