"""Tensors without elements: what is made of them is a constant, and nothing of them is left in the file."""

from __future__ import annotations

import numpy as np
import pytest

import narrowcast
from narrowcast.passes.canonicalize import canonicalize
from narrowcast.readers.formats import ReadOptions, read
from narrowcast.runtimes import open as open_file
from tests.readers.onnx.run import random_feed, run_file, write_text

GRAPHS = {
    "an empty part is joined": (
        "(float[1,4] x) => (float[1,4] y) <int64[1] s = {2}, int64[1] e = {2}, int64[1] a = {1}> "
        "{ p = Slice(x, s, e, a) q = Relu(x) y = Concat<axis=1>(p, q) }"
    ),
    "a product over nothing": "(float[3,0] x) => (float[3,2] y) <float[0,2] w = {}> { y = MatMul(x, w) }",
    "a sum over nothing": "(float[3,0] x) => (float[3] y) <int64[1] a = {1}> { y = ReduceSum<keepdims=0>(x, a) }",
    "beside one that is full": "(float[0,2] x, float[3,2] z) => (float[3,2] y) { c = Concat<axis=0>(x, z) y = Exp(c) }",
    "as an output": "(float[2,0] x, float[2] z) => (float[2,0] y, float[2] w) { y = Relu(x) w = Relu(z) }",
}


@pytest.mark.parametrize("name", GRAPHS)
def test_empty(name, tmp_path):
    path = write_text(tmp_path / "m.onnx", f'<ir_version: 8, opset_import: ["": 18]> g {GRAPHS[name]}')
    model = read(path, ReadOptions())
    feed = random_feed(model)
    expected = run_file(path, feed)
    canonicalize(model)
    left = [value for node in model.graph if node.op_type != "Identity" for value in node.inputs]
    assert not any(0 in value.shape for value in left if value is not None)
    written = narrowcast.save(narrowcast.load(path), tmp_path / "m.tflite", verify=False)
    found = open_file(written.path, "litert").run(feed)
    for spec, wanted in zip(model.outputs, expected, strict=True):
        np.testing.assert_allclose(found[spec.name], wanted, rtol=1e-6)
