import re
import time

import numpy as np
import onnx
import pytest

from narrowcast.dialect.build import Builder
from narrowcast.errors import ModelFileError
from narrowcast.evaluation import latency
from narrowcast.evaluation.latency import (
    FEWEST,
    LEAST,
    MOST,
    WARMUP,
    File,
    alternate,
    measure,
    peak_memory,
    random_feed,
)
from narrowcast.evaluation.machine import machine
from narrowcast.model import TensorSpec, ir


@pytest.fixture
def network(tmp_path):
    """Makes an ONNX file that multiplies by a constant of some bytes."""

    def make(name, nbytes):
        build = Builder.new(name)
        x = build.input("x", (1, 1))
        y = build("Add", x, build.constant(np.ones((1, nbytes // 4), np.float32)), shape=(1, nbytes // 4))
        onnx.save(ir.to_proto(build.finish([y])), tmp_path / name)
        return File(tmp_path / name, "onnxruntime")

    return make


def test_files_take_turns_and_none_always_follows_the_same():
    turns = []
    alternate([lambda index=index: turns.append(index) for index in range(3)], 1e-9)
    measured = turns[3 * 1 :]
    rounds = [measured[start : start + 3] for start in range(0, len(measured), 3)]
    assert all(sorted(one) == [0, 1, 2] for one in rounds)
    assert {one[0] for one in rounds} == {0, 1, 2}
    assert len(rounds) == LEAST


def test_runs_before_and_in_the_measurement():
    turns = []
    alternate([lambda: turns.append(1)], 1.0)
    assert len(turns) == WARMUP + MOST


def test_a_very_slow_file_is_bounded_in_time():
    turns = []
    (times,) = alternate([lambda: turns.append(time.sleep(0.02))], 0.01)
    assert len(times) == LEAST
    assert len(turns) == LEAST + 1


def test_a_slow_file_stands_aside():
    slow, fast = alternate([lambda: time.sleep(0.02), lambda: time.sleep(0.0005)], 0.1)
    assert len(slow) == FEWEST
    assert FEWEST < len(fast) <= MOST


def test_times_are_those_of_the_runs():
    times = alternate([lambda: time.sleep(0.01)], 0.0)[0]
    assert all(0.01 <= value < 0.1 for value in times)


def test_quartiles(network):
    file = network("a.onnx", 4096)
    told = []
    found = measure([file, file], [1, 2], seconds=0.01, progress=told.append)
    assert told == [1, 2]
    assert [[row.threads for row in rows] for rows in found] == [[1, 2], [1, 2]]
    for row in found[0]:
        assert 0 < row.q1_s <= row.median_s <= row.q3_s
        assert LEAST <= row.runs <= MOST


def test_frameworks_are_measured_in_processes_of_their_own(network, monkeypatch):
    asked = []
    monkeypatch.setattr(latency, "_probed", lambda *arguments: asked.append(arguments) or [0.5, 0.5])
    onnx_file = network("a.onnx", 64)
    keras_file = File(onnx_file.path.with_suffix(".keras"), "keras")
    first, second = measure([keras_file, onnx_file], [2], seconds=0.01)
    assert asked == [(keras_file, "latency", "2", "0.01")]
    assert first[0].median_s == 0.5
    assert second[0].median_s < 0.5


def test_a_process_of_its_own_measures(network):
    times = latency._probed(network("a.onnx", 64), "latency", "1", "0.01")
    assert len(times) >= LEAST
    assert all(0 < value < 1 for value in times)


def test_memory_is_that_of_the_file_alone(network):
    """However much memory this process has had."""
    ballast = np.ones(40 << 20, np.uint8)
    small, large = (peak_memory(network(f"{size}.onnx", size)) for size in (1 << 10, 48 << 20))
    assert ballast.any()
    assert small > 1 << 20, "the runtime's own code counts"
    assert large - small > 48 << 20
    assert large - small < 4 * (48 << 20)


def test_a_file_that_does_not_run(tmp_path):
    file = File(tmp_path / "a.onnx", "onnxruntime")
    file.path.write_bytes(b"nonsense")
    assert peak_memory(file) is None
    with pytest.raises(ModelFileError, match=r"it cannot be measured: [^\n]*ONNX Runtime refuses") as caught:
        latency._probed(file, "latency", "1", "1")
    assert "narrowcast.errors" not in str(caught.value)


def test_a_file_that_runs_for_ever(network, monkeypatch):
    monkeypatch.setattr(latency, "DEADLINE", 0.01)
    with pytest.raises(ModelFileError, match=r"ran for more than 0\.01 s"):
        latency._probed(network("a.onnx", 64), "memory")


def test_anything_can_be_fed():
    specs = [
        TensorSpec(kind, (None, 3), np.dtype(kind)) for kind in ("float32", "float16", "int8", "uint8", "int64", "bool")
    ]
    feed = random_feed(specs)
    assert {name: (array.shape, array.dtype.name) for name, array in feed.items()} == {
        spec.name: ((1, 3), spec.name) for spec in specs
    }


def test_the_machine_in_one_line():
    text = machine()
    assert re.search(
        r", \d+ cores?, \w+, Python 3\.\d+\.\d+, narrowcast \S+, ai-edge-litert \S+, onnxruntime \S+$", text
    )
    assert "\n" not in text
