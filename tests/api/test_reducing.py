"""Commands that fail on a network, run by the shell on its parts."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import time

import numpy as np
import onnx
import pytest

import narrowcast
from narrowcast.errors import NarrowcastError, UsageError
from tests.readers.onnx.run import write_text

CHAIN = """<ir_version: 8, opset_import: ["" : 17]>
chain (float[1, 8] x) => (float[1, 8] z) <float[8] k = {1, 2, 3, 4, 5, 6, 7, 8}> {
    a = Relu (x)
    b = Mul (a, k)
    c = Tanh (b)
    d = Add (c, k)
    e = Sigmoid (d)
    f = Neg (e)
    z = Exp (f)
}"""


@pytest.fixture
def source(tmp_path):
    return write_text(tmp_path / "chain.onnx", CHAIN)


def has(*names):
    """Whether a network has operators of all these types, for the shell."""
    return " && ".join(f"grep -qa {name} {{}}" for name in names)


FAILS = f"{has('Mul')} && exit 1; true"


def operators(path):
    return [node.op_type for node in onnx.load(path).graph.node]


@pytest.mark.parametrize(
    "command", [f"{has('Tanh')} && exit 7; true", "check() { grep -qa Tanh $1 && exit 7; true; }; check"]
)
def test_the_smallest_part_is_written(source, command, tmp_path):
    found = narrowcast.reduce_model(source, command, tmp_path / "part.onnx")
    assert operators(found.path) == ["Tanh"]
    assert (found.nodes, found.source_nodes, found.outcome, found.is_minimal) == (1, 7, "exit code 7", True)
    assert found.inputs == (("b", (1, 8)),)
    assert found.runs < 20
    assert "1 of 7 nodes" in onnx.load(found.path).doc_string
    onnx.checker.check_model(str(found.path))


def test_another_failure_is_not_followed(source, tmp_path):
    both = f"{has('Tanh', 'Neg')} && exit 3; exit 4"
    found = narrowcast.reduce_model(source, both, tmp_path / "part.onnx")
    assert operators(found.path) == ["Tanh", "Neg"]


def test_random_weights(source, tmp_path):
    found = narrowcast.reduce_model(source, FAILS, tmp_path / "part.onnx", random_weights=True)
    stored = onnx.load(found.path)
    [weights] = map(onnx.numpy_helper.to_array, stored.graph.initializer)
    assert not np.isin(weights, np.arange(1, 9)).any()
    assert weights.min() > 1
    assert weights.max() < 8
    assert b"chain" not in stored.SerializeToString()
    assert found.random_weights


def test_a_failure_that_needs_its_own_weights(source, tmp_path):
    names = f"{has('chain')} && exit 1; true"
    assert narrowcast.reduce_model(source, names, tmp_path / "part.onnx").nodes == 1
    with pytest.raises(UsageError, match="with random weights"):
        narrowcast.reduce_model(source, names, tmp_path / "other.onnx", random_weights=True)


def test_a_time_limit_is_a_failure_of_its_own_kind(source, tmp_path):
    slow = f"{has('Neg')} && sleep 60; exit 1"
    found = narrowcast.reduce_model(source, slow, tmp_path / "part.onnx", seconds=1, most_runs=3)
    assert (found.outcome, "Neg" in operators(found.path)) == ("time limit", True)


def test_what_a_command_has_started_is_stopped_too(source, tmp_path):
    mark = tmp_path / "late"
    with pytest.raises(UsageError, match="does not fail"):
        narrowcast.reduce_model(source, f"(sleep 2; touch {shlex.quote(str(mark))}) & true", tmp_path / "part.onnx")
    time.sleep(2.5)
    assert not mark.exists()


def test_a_crash(source, tmp_path):
    crash = f"{has('Exp')} && kill -SEGV $$; true"
    found = narrowcast.reduce_model(source, crash, tmp_path / "part.onnx")
    assert (operators(found.path), found.outcome) == (["Exp"], "signal 11")


def test_a_command_may_do_with_its_folder_what_it_likes(source, tmp_path):
    fails = f"d=$(dirname {{}}); touch $d/left; mkdir -p $d/sub; {has('Mul')} && {{ rm -rf $d; exit 1; }}; true"
    found = narrowcast.reduce_model(source, fails, tmp_path / "part.onnx")
    assert operators(found.path) == ["Mul"]


def test_runs_that_are_used_up(source, tmp_path):
    found = narrowcast.reduce_model(source, FAILS, tmp_path / "part.onnx", most_runs=1)
    assert not found.is_minimal
    assert 1 < found.nodes < 7


def test_an_older_opset(source, tmp_path):
    found = narrowcast.reduce_model(source, FAILS, tmp_path / "part.onnx", opset=17)
    assert onnx.load(found.path).opset_import[0].version == 17


def test_a_keras_file_with_edits(digits, tmp_path):
    fails = f"{has('MaxPool')} && exit 1; true"
    found = narrowcast.reduce_model(digits / "model.keras", fails, tmp_path / "part.onnx", cut_outputs=["conv_2/relu"])
    assert operators(found.path) == ["MaxPool"]


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"fails": "true"}, "does not fail on the whole network"),
        ({"fails": " "}, "there is no command"),
        ({"fails": "no-such-command-here"}, "the shell cannot run 'no-such-command-here'"),
        ({"out": "part.tflite"}, "written as ONNX"),
        ({"most_runs": 0}, "has to be run"),
        ({"opset": 3}, "opset"),
        ({"out": "chain.onnx"}, "the destination is the source"),
        ({"seconds": -1.0}, "has to be run"),
        ({"second": 1}, "did you mean seconds"),
    ],
)
def test_what_cannot_be_done_leaves_nothing(options, what, source, tmp_path):
    before = sorted(path.name for path in tmp_path.iterdir())
    given = {"fails": "false", "out": "part.onnx", **options}
    with pytest.raises(NarrowcastError) as caught:
        narrowcast.reduce_model(source, given.pop("fails"), tmp_path / given.pop("out"), **given)
    assert what in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_an_interrupt_stops_the_command(source, tmp_path):
    started, mark = tmp_path / "started", tmp_path / "late"
    line = f"touch {shlex.quote(str(started))}; sleep 3; touch {shlex.quote(str(mark))}"
    process = subprocess.Popen(
        [sys.executable, "-m", "narrowcast", "reduce", str(source), "--fails", line, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # which jobs in the background ignore
    )
    while not started.exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    told, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    assert json.loads(told)["what"].startswith("interrupted")
    time.sleep(3.2)
    assert not mark.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chain.onnx", "started"]
