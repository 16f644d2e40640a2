"""Loops unrolled and branches chosen, against ONNX Runtime."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest

from narrowcast.passes.canonicalize import canonicalize
from narrowcast.passes.prepare import adapt
from narrowcast.readers.formats import ReadOptions, read
from narrowcast.targets.litert import LITERT
from narrowcast.targets.rules import Loops
from tests.passes.decompose.against import converted

HEADER = '<ir_version: 10, opset_import: ["" : 21]>'
X = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)

LOOP = """g (float[4, 3] x) => (float[3] y, float[k, 3] rows)
<int64 trips = {TRIPS}, bool always = {1}, float[3] start = {0.5, 1.0, -1.0}, int64 two = {2}>
{ y, rows = Loop (trips, always, start) <body = body (int64 step, bool going, float[3] state)
    => (bool on, float[3] next, float[3] row) {
    on = Identity (going)
    line = Gather <axis = 0> (x, step)
    late = Equal (step, two)
    changed = If (late) <
        then_branch = then () => (float[3] a) { a = Mul (state, line) },
        else_branch = other () => (float[3] b) { b = Add (state, line) }>
    next = Tanh (changed)
    row = Add (next, line)
}> }"""
SCAN = """g (float[4, 3] x) => (float[4] last, float[4, 3] rows, float[4, 3] sums)
<float[4] start = {0.5, 1.0, -1.0, 0.25}>
{ last, rows, sums = Scan (start, x) <num_scan_inputs = 1, scan_input_axes = [-1], scan_input_directions = [1],
    scan_output_axes = [1, -1], scan_output_directions = [1, 0], body = body (float[4] state, float[4] column)
    => (float[4] next, float[4] row, float[4] sum) {
    sum = Add (state, column)
    next = Sin (sum)
    row = Identity (state)
}> }"""
BOTH = """g (float[4, 3] x, float limit) => (float[4, 3] y, float[4, 3] z)
{ mean = ReduceMean <keepdims = 0> (x)
  high = Greater (mean, limit)
  y, z = If (high) <
    then_branch = then () => (float[4, 3] a, float[4, 3] b) {
        a = Exp (x)
        low = Less (mean, limit)
        b = If (low) <then_branch = t () => (float[4, 3] c) { c = Neg (a) },
                      else_branch = e () => (float[4, 3] d) { d = Abs (x) }> },
    else_branch = other () => (float[4, 3] e, float[4, 3] f) { e = Identity (x)  f = Log (x) }> }"""


def compare(text: str, feeds: dict[str, np.ndarray], folder) -> None:
    proto = onnx.parser.parse_model(HEADER + text)
    expected = onnxruntime.InferenceSession(proto.SerializeToString()).run(None, feeds)
    for found, wanted in zip(converted(proto, feeds, folder), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("trips", [1, 4])
def test_loop(trips, tmp_path):
    compare(LOOP.replace("TRIPS", str(trips)), {"x": X}, tmp_path)


def test_scan(tmp_path):
    compare(SCAN, {"x": X}, tmp_path)


@pytest.mark.parametrize("limit", [-9.0, 9.0])
def test_computed_condition(limit, tmp_path):
    compare(BOTH, {"x": X, "limit": np.array(limit, np.float32)}, tmp_path)


def test_long_loops_stay(tmp_path):
    onnx.save(onnx.parser.parse_model(HEADER + LOOP.replace("TRIPS", "1000000000000")), tmp_path / "m.onnx")
    model = read(tmp_path / "m.onnx", ReadOptions())
    canonicalize(model)
    assert [node.op_type for node in model.graph] == ["Loop"]


@pytest.mark.parametrize(("most", "operators"), [(4_000, 0), (0, 1)])
def test_a_target_says_whether_a_loop_stays_one(most, operators, tmp_path):
    onnx.save(onnx.parser.parse_model(HEADER + LOOP.replace("TRIPS", "3")), tmp_path / "m.onnx")
    model = read(tmp_path / "m.onnx", ReadOptions())
    canonicalize(model)
    assert [node.op_type for node in model.graph] == ["Loop"]
    adapt(model, replace(LITERT, loops=Loops(most)))
    assert sum(node.op_type == "Loop" for node in model.graph) == operators
