"""The command, as a process: a file that was trained, and a training that was interrupted."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from narrowcast.model import ir
from narrowcast.training import checkpoints
from tests.training.graphs import convolutional, images

COMMAND = (sys.executable, "-m", "narrowcast", "finetune")


@pytest.fixture
def words(tmp_path):
    ir.save(convolutional().ir, tmp_path / "m.onnx")
    np.save(tmp_path / "data.npy", np.concatenate([feed["x"] for feed in images(32)]))
    return [tmp_path / "m.onnx", "--scheme", "int8", "--data", tmp_path / "data.npy", "--weights", "per-tensor"]


def run(*arguments):
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=250)


def test_a_file_is_written_and_proven(words, tmp_path):
    done = run(*words, "-o", tmp_path / "m.tflite", "--epochs", "4", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["parity"]["passed"] is True
    assert (tmp_path / "m.tflite").stat().st_size > 1000


def test_what_an_interrupt_left_is_taken_up(words, tmp_path):
    long = [
        *words,
        "--epochs",
        "400",
        "--piece-epochs",
        "0",
        "-o",
        tmp_path / "m.tflite",
        "--checkpoint",
        tmp_path / "s",
    ]
    slow = (
        "import sys; from narrowcast.training import checkpoints; checkpoints.EVERY = 0.2; sys.argv[0] = 'narrowcast';"
        "from narrowcast.__main__ import main; main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", slow, "finetune", *map(str, long)],
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # which jobs in the background ignore
    )
    kept = tmp_path / "s" / checkpoints.NAME
    for _ in range(600):
        if kept.exists() or process.poll() is not None:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert kept.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.npy", "m.onnx", "s"]
    other = run(*long, "--batch-size", "3")
    assert other.returncode == 5
    assert "another network, data or recipe" in other.stderr
    assert run(*long).returncode == 0
