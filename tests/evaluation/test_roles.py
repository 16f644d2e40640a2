"""Samples that operators can be run on: within what they ask, and run on ONNX Runtime, which refuses others."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from narrowcast import api
from narrowcast.evaluation.samples import random_feeds

X = "float[2,5,4,3] x"
CASES = {
    "an index": (f"{X}, int64[6] i) => (float[2,6,4,3] y) {{ y = Gather <axis = 1> (x, i)", {"i": (0, 4)}),
    "a float behind a cast and a sum": (
        f"{X}, float[9] i) => (float[9,5,4,3] y) <float one = {{1}}> "
        "{ j = Add (i, one)  k = Cast <to = 7> (j)  y = Gather (x, k)",
        {"i": (-1, 0)},
    ),
    "an index of elements": (
        f"{X}, int64[2,7,4,3] i) => (float[2,7,4,3] y) {{ y = GatherElements <axis = 1> (x, i)",
        {"i": (0, 4)},
    ),
    "indices of rows": (f"{X}, int32[8,3] i) => (float[8,3] y) {{ j = Cast <to = 7> (i)  y = GatherND (x, j)", {}),
    "a divisor": ("int32[40] a, int32[40] b) => (int32[40] y) { y = Div (a, b)", {"a": (0, 99), "b": (-9, 9)}),
    "a remainder": ("uint8[40] a, uint8[40] b) => (uint8[40] y) { y = Mod (a, b)", {"b": (1, 9)}),
    "a power": ("int64[40] a, int64[40] b) => (int64[40] y) { y = Pow (a, b)", {"a": (1, 5), "b": (0, 3)}),
    "a shift": (
        'uint8[40] a, uint8[40] b) => (uint8[40] y) { y = BitShift <direction = "RIGHT"> (a, b)',
        {"b": (0, 7)},
    ),
    "an axis": (f"{X}, int32 a) => (float[2,5,4,3] y) {{ y = CumSum (x, a)", {"a": (0, 3)}),
    "lengths": (
        "float[6,2,3] x, float[1,8,3] w, float[1,8,2] r, int32[2] n) => (float[6,1,2,2] y) "
        '{ y = LSTM <hidden_size = 2> (x, w, r, "", n)',
        {"n": (1, 6)},
    ),
    "scales": (f"{X}, float[4] s) => (float[2,5,6,2] y) {{ y = Resize (x, , s)", {"s": (2 / 3, 1.5)}),
    "a region": (
        f"{X}, float[8] r) => (float[2,5,6,2] y) <int64[4] s = {{2,5,6,2}}> "
        '{ y = Resize <coordinate_transformation_mode = "tf_crop_and_resize"> (x, r, , s)',
        {"r": (-0.1, 1.1)},
    ),
    "regions of images": (
        "float[2,1,6,5] x, float[7,4] r, int64[7] i) => (float[7,1,2,2] y) "
        "{ j = Identity (i)  y = RoiAlign <output_height = 2, output_width = 2, sampling_ratio = 2> (x, r, j)",
        {"r": (0, 6), "i": (0, 1)},
    ),
    "a depth": (
        "int64[6] x, int64 d) => (float[6,7] y) <float[2] v = {0,1}> { y = OneHot (x, d, v)",
        {"d": (7, 7)},
    ),
    "a shape": ("int64[3] s) => (float[4,1,2] y) { y = ConstantOfShape (s)", {"s": (1, 4)}),
    "a window": ("int32 n) => (float[12] y) { y = HannWindow (n)", {"n": (12, 12)}),
    "a range": ("int32 a, int32 b, int32 c) => (int32[?] y) { y = Range (a, b, c)", {"c": (1, 3)}),
    "an axis of frequencies": (
        "float[1,8,6,1] x, int64 a) => (float[1,8,4,2] y) { y = DFT <onesided = 1> (x, , a)",
        {"a": (2, 2)},
    ),
    "a step of frames": (
        "float[1,40,1] x, int64 h, float[8] w) => (float[1,5,5,2] y) { y = STFT (x, h, w)",
        {"h": (8, 8)},
    ),
    "mel bands": (
        "int32 b, int32 n, int32 r, float low, float high) => (float[17,6] y) "
        "{ y = MelWeightMatrix (b, n, r, low, high)",
        {"b": (6, 6), "n": (32, 32), "high": (2000, 4000)},
    ),
    "overlaps": (
        "float[1,9,4] b, float[1,2,9] s, float[1] o) => (int64[?,3] y) <int64[1] m = {3}> "
        "{ y = NonMaxSuppression (b, s, m, o)",
        {"o": (0.2, 0.8), "b": (0, 1)},
    ),
    "a mask": (
        "float[1,2,4,8] q, float[1,2,6,8] k, bool[4,6] m) => (float[1,2,4,8] y) { y = Attention (q, k, k, m)",
        {"m": (0, 1)},
    ),
    "what nothing reads": (f"{X}, float r) => (float[2,5,4,3] y) {{ d = Dropout (x, r)  y = Neg (d)", {"r": (0, 0)}),
}
ONCE = {
    "elements": (
        f"{X}, int64[2,3,4,3] i, float[2,3,4,3] u) => (float[2,5,4,3] y) {{ y = ScatterElements <axis = 1> (x, i, u)",
        lambda i: all(len(set(column)) == 3 for column in np.moveaxis(i, 1, -1).reshape(-1, 3).tolist()),
    ),
    "rows": (
        f"{X}, int64[7,2] i, float[7,4,3] u) => (float[2,5,4,3] y) {{ y = ScatterND (x, i, u)",
        lambda i: len({tuple(row) for row in i.tolist()}) == 7,
    ),
    "places": (
        "float[1,1,3,3] x, int64[1,1,3,3] i) => (float[1,1,6,6] y) "
        "{ y = MaxUnpool <kernel_shape = [2,2], strides = [2,2]> (x, i)",
        lambda i: len(set(i.ravel().tolist())) == 9,
    ),
}


def drawn(text, tmp_path):
    """Five samples, all of which ONNX Runtime takes."""
    opset = 16 if "RoiAlign" in text else 23  # ONNX Runtime has no newer one
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}]> g ({text} }}')
    onnx.save(proto, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    samples = list(random_feeds(api.load(tmp_path / "m.onnx"), 5))
    assert all(found.shape for feed in samples for found in session.run(None, feed))
    return samples


@pytest.mark.parametrize("name", CASES)
def test_inputs_are_what_operators_ask(name, tmp_path):
    text, bounds = CASES[name]
    for feed in drawn(text, tmp_path):
        for port, (low, high) in bounds.items():
            assert low <= feed[port].astype(np.float64).min() + 1e-6
            assert feed[port].max() <= high + 1e-6
    divisors = [feed["b"] for feed in drawn(text, tmp_path)] if name in ("a divisor", "a remainder") else []
    assert all(array.all() for array in divisors)


@pytest.mark.parametrize("name", ONCE)
def test_no_place_is_written_twice(name, tmp_path):
    text, once = ONCE[name]
    assert all(once(feed["i"]) for feed in drawn(text, tmp_path))
