"""Loops that their own counters end, against ONNX Runtime."""

from __future__ import annotations

import onnx
import pytest

import narrowcast
from narrowcast.passes.fold.trips import MOST_TRIPS
from tests.passes.fold.test_control import HEADER, X, compare

COUNTED = """g (float[4, 3] x) => (float[3] y, int64 counted, float[k, 3] rows)
<int64 zero = {0}, int64 one = {1}, int64 end = {3}, int64 many = {2147483647}, bool always = {1},
 float[3] start = {0.5, 1.0, -1.0}, int64 wrap = {4}>
{ y, counted, rows = Loop (TRIPS, GOING, start, zero) <body = body (int64 step, bool going, float[3] state, int64 i)
    => (bool on, float[3] next, int64 after, float[3] row) {
    after = Add (i, one)
    CONDITION
    place = Mod (i, wrap)
    line = Gather <axis = 0> (x, place)
    next = Tanh (line)
    row = Add (next, state)
}> }"""
CONDITIONS = {
    "less": "on = Less (after, end)",
    "the step itself": "on = Less (step, end)",
    "both": "a = Less (after, end) b = Less (step, end) on = And (a, b)",
    "not equal": "e = Equal (after, end) on = Not (e)",
    "going as well": "a = LessOrEqual (after, end) on = And (a, going)",
    "a float": "f = Cast <to = 1> (after) h = Sqrt (f) l = Cast <to = 1> (end) on = Less (h, l)",
    "at once": "on = Less (end, after)",
}


def text(condition, trips="many", going="always"):
    return COUNTED.replace("CONDITION", condition).replace("TRIPS", trips).replace("GOING", going)


@pytest.mark.parametrize("trips", ["many", "", "one"])
@pytest.mark.parametrize("name", CONDITIONS)
def test_a_counter_ends_the_loop(name, trips, tmp_path):
    compare(text(CONDITIONS[name], trips), {"x": X}, tmp_path)


def test_a_file_of_such_a_loop_is_written_and_verified(tmp_path):
    (tmp_path / "m.onnx").write_bytes(onnx.parser.parse_model(HEADER + text(CONDITIONS["less"])).SerializeToString())
    written = narrowcast.save(narrowcast.load(tmp_path / "m.onnx"), tmp_path / "m.tflite")
    assert written.parity.passed
    assert narrowcast.load(tmp_path / "m.onnx").outputs[2].shape == (3, 3)


@pytest.mark.parametrize(
    "condition",
    [
        "total = ReduceSum <keepdims = 0> (state) limit = Cast <to = 1> (end) on = Less (total, limit)",
        "below = Sub (zero, after) on = Less (below, end)",
    ],
    ids=["the data decide", "it never ends"],
)
def test_other_loops_stay_as_they_are(condition, tmp_path):
    (tmp_path / "m.onnx").write_bytes(onnx.parser.parse_model(HEADER + text(condition)).SerializeToString())
    model = narrowcast.load(tmp_path / "m.onnx")
    loops = [node for node in model.graph if node.op_type == "Loop"]
    assert len(loops) == 1
    assert model.outputs[2].shape in ((None, 3), ())
    assert loops[0].inputs[0].const_value.numpy().item() > MOST_TRIPS
