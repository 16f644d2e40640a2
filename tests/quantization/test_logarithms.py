"""What feeds a logarithm, or the root of a power, is computed in float, back to the linear transform before it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import narrowcast
from narrowcast.passes.canonicalize import canonicalize
from narrowcast.passes.prepare import adapt
from narrowcast.quantization import islands
from narrowcast.targets.litert import LITERT
from narrowcast.targets.onnxruntime import ONNXRUNTIME

FRAME, BINS, FRAMES = 64, 17, 8
LENGTH = FRAME * FRAMES
TEXT = '<ir_version: 9, opset_import: ["" : 18]> network (float[1,1,1,{length}] x) => (float[a,b,c,d] y) {{ {body} }}'
RANDOM = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape)


def waves() -> np.ndarray:
    """A Fourier transform as the weights of a convolution: cosines, then sines."""
    angles = 2 * np.pi * np.outer(np.arange(BINS), np.arange(FRAME)) / FRAME
    return np.concatenate([np.cos(angles), np.sin(angles)]).reshape(2 * BINS, 1, 1, FRAME)


def loud_and_quiet(seed: int) -> dict[str, np.ndarray]:
    """A tone in each bin, of amplitudes from 1 to 1/3000."""
    random, times = np.random.default_rng(seed), np.arange(LENGTH)
    tones = [
        10 ** -random.uniform(0, 3.5) * np.sin(2 * np.pi * place * times / FRAME + random.uniform(0, 6))
        for place in range(BINS)
    ]
    return {"x": np.sum(tones, 0, dtype=np.float32).reshape(1, 1, 1, LENGTH)}


CONSTANTS = {
    "waves": waves(),
    "halves": np.array([BINS, BINS]),
    "pairs": np.array([1, 2, BINS, FRAMES]),
    "image": np.array([1, 1, FRAMES, FRAME]),
    "channel": np.array([1]),
    "plane": np.array([2, 3]),
    "mel": np.abs(normal(6, BINS, 1, 1)),
    "signed": normal(6, BINS, 1, 1),
    "both": normal(6, 2 * BINS, 1, 1) * 0.01,
    "one": normal(6, 1, 1, 1),
    "small": normal(6, 1, 3, 3),
    "next": normal(6, 6, 1, 1),
    "window": np.hanning(LENGTH),
    "tiny": np.array(1e-6),
    "half": np.array(0.5),
    "two": np.array(2.0),
}
FOURIER = "s = Conv <strides = [1, 64]> (x, waves)"
PARTS = f"{FOURIER} re, im = Split <axis = 1> (s, halves) re2 = Mul (re, re) im2 = Pow (im, two) p = Add (re2, im2)"
LAYERS = "i = Reshape (x, image) a = Conv (i, small) r = Relu (a) b = Conv (r, next)"
TO_POWER = {"s", "re", "re2", "im2", "p"}
GRAPHS = {
    "a logarithm of powers": (f"{PARTS} f = Add (p, tiny) l = Log (f) y = Conv (l, signed)", TO_POWER | {"f", "l"}),
    "a logarithm of magnitudes": (
        f"{PARTS} m = Sqrt (p) f = Max (m, tiny) l = Log (f) y = Conv (l, signed)",
        TO_POWER | {"m", "f", "l"},
    ),
    "a root of powers": (f"{PARTS} m = Sqrt (p) y = Conv (m, signed)", TO_POWER | {"m"}),
    "a small power of powers": (f"{PARTS} m = Pow (p, half) y = Conv (m, signed)", TO_POWER | {"m"}),
    "powers by sums over pairs": (
        f"{FOURIER} r = Reshape (s, pairs) q = Mul (r, r) p = ReduceSum (q, channel) m = Sqrt (p) y = Conv (m, one)",
        {"s", "r", "q", "p", "m"},
    ),
    "bands of powers": (
        f"{PARTS} b = Conv (p, mel) f = Clip (b, tiny) l = Log (f) y = Conv (l, next)",
        TO_POWER | {"b", "f", "l"},
    ),
    "windows before the transform": (
        f"w = Mul (x, window) {PARTS.replace('(x,', '(w,')} l = Log (p) y = Conv (l, signed)",
        TO_POWER | {"w", "l"},
    ),
    "activations": (
        f"{LAYERS} e = Relu (b) f = Add (e, tiny) l = Log (f) y = Conv (l, next)",
        {"b", "f", "l"},
    ),
    "a residual sum": (f"{LAYERS} c = Add (r, b) e = Abs (c) l = Log (e) y = Conv (l, next)", {"c", "e", "l"}),
    "a softplus": (
        f"{FOURIER} b = Conv (s, both) e = Exp (b) f = Add (e, half) l = Log (f) y = Conv (l, next)",
        {"e", "f", "l"},
    ),
    "a logarithm of probabilities": (
        f"{FOURIER} b = Conv (s, both) e = Sigmoid (b) f = Mul (e, half) l = Log (f) y = Conv (l, next)",
        {"e", "f", "l"},
    ),
    "a norm that divides": (
        f"{LAYERS} q = Mul (b, b) p = ReduceSum (q, plane) m = Sqrt (p) f = Add (m, tiny) d = Div (b, f) "
        "y = Conv (d, next)",
        {"q", "p", "m", "d"},
    ),
}
"""By what they show: nodes, and the values that are computed in float (of several before a fusion, the last)."""


def load(name: str, folder: Path) -> narrowcast.Model:
    made = onnx.parser.parse_model(TEXT.format(length=LENGTH, body=GRAPHS[name][0]))
    for key, array in CONSTANTS.items():
        stored = array if array.dtype == np.int64 else array.astype(np.float32)
        made.graph.initializer.append(onnx.numpy_helper.from_array(stored, key))
    onnx.save(made, folder / "m.onnx")
    return narrowcast.load(folder / "m.onnx")


@pytest.mark.parametrize("target", [LITERT, ONNXRUNTIME], ids=lambda target: target.name)
@pytest.mark.parametrize("name", GRAPHS)
def test_the_search_ends_at_the_linear_transform(name, target, tmp_path):
    model = load(name, tmp_path)
    canonicalize(model)
    adapt(model, target)
    values = {output.name or "" for node in model.graph for output in node.outputs}
    missing = GRAPHS[name][1] - {value.removesuffix("_1") for value in values}
    assert not missing
    for scheme in target.storage:
        if target.storage[scheme].activations == "float32":
            continue
        found = {(island.node.outputs[0].name or "").removesuffix("_1") for island in islands(model, target, scheme)}
        assert found == GRAPHS[name][1]


@pytest.mark.parametrize(("scheme", "least"), [("int8", 22), ("full_int8", 12), ("int16x8", 26), ("dynamic_range", 26)])
@pytest.mark.parametrize("name", ["a logarithm of powers", "a logarithm of magnitudes", "bands of powers"])
def test_quiet_tones_are_heard_beside_loud_ones(name, scheme, least, tmp_path):
    model, feeds = load(name, tmp_path), [loud_and_quiet(seed) for seed in range(16)]
    quantised = narrowcast.quantize(model, scheme, data=feeds[:12])
    written = narrowcast.save(quantised, tmp_path / "m.tflite", data=feeds[12:])
    assert written.parity.sqnr_db > least
