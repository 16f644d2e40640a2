"""A batch that stays open: one file, its input resized from run to run, against the source on ONNX Runtime or Keras."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import narrowcast
from narrowcast import runtimes
from narrowcast.errors import UnsupportedOpError
from narrowcast.model import Feed

HEADER = '<ir_version: 10, opset_import: ["" : 21]> '
RANDOM = np.random.default_rng(0)
BATCHES = (1, 2, 5, 3, 1)
LEAST = {"float32": 100.0, "float16": 50.0, "dynamic_range": 25.0, "int8": 20.0}
"""dB to the source, whatever the batch."""


def weights(*shape: int) -> np.ndarray:
    return RANDOM.normal(0, 0.4, size=shape).astype(np.float32)


NETWORKS: dict[str, tuple[str, dict[str, np.ndarray]]] = {
    "transposed convolutions, padded and not": (
        """g (float[N, 3, 5, 4] x) => (float[N, 6, 22, 14] y) {
        t = ConvTranspose <strides = [2, 3], pads = [1, 0, 1, 0]> (x, w, b)
        r = Relu (t)
        y = ConvTranspose <strides = [2, 1], kernel_shape = [4, 3]> (r, v, b) }""",
        {"w": weights(3, 6, 4, 3), "v": weights(6, 6, 4, 3), "b": weights(6)},
    ),
    "a CNN, its flatten computed, and dense": (
        """g (float[N, 3, 8, 8] x) => (float[N, 6] y) {
        c = Conv <pads = [1, 1, 1, 1]> (x, w)
        r = Relu (c)
        p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (r)
        s = Shape (p)
        n = Gather <axis = 0> (s, zero)
        u = Unsqueeze (n, first)
        t = Concat <axis = 0> (u, rest)
        f = Reshape (p, t)
        y = Gemm <transB = 1> (f, d, b) }""",
        {"w": weights(12, 3, 3, 3), "d": weights(6, 192), "b": weights(6)}
        | {"zero": np.array(0), "first": np.array([0]), "rest": np.array([-1])},
    ),
    "attention, a class token, and a concat": (
        """g (float[N, 6, 32] x) => (float[N, 7, 64] y) {
        s = Shape <start = 0, end = 1> (x)
        e = Concat <axis = 0> (s, rest)
        class = Expand (token, e)
        z = Concat <axis = 1> (class, x)
        qkv = MatMul (z, w)
        q, k, v = Split <axis = 2, num_outputs = 3> (qkv)
        q1 = Reshape (q, heads)
        k1 = Reshape (k, heads)
        v1 = Reshape (v, heads)
        q2 = Transpose <perm = [0, 2, 1, 3]> (q1)
        k2 = Transpose <perm = [0, 2, 3, 1]> (k1)
        v2 = Transpose <perm = [0, 2, 1, 3]> (v1)
        a = MatMul (q2, k2)
        p = Softmax <axis = -1> (a)
        o = MatMul (p, v2)
        o1 = Transpose <perm = [0, 2, 1, 3]> (o)
        o2 = Reshape (o1, back)
        c = Concat <axis = -1> (o2, z)
        y = LayerNormalization <axis = -1> (c, g, g) }""",
        {"w": weights(32, 96), "token": weights(1, 1, 32), "g": weights(64), "rest": np.array([1, 32])}
        | {"heads": np.array([0, 7, 4, 8]), "back": np.array([0, 0, -1])},
    ),
    "images: resized, normalised, shuffled, grouped": (
        """g (float[N, 8, 6, 6] x) => (float[N, 2, 12, 12] y) {
        n = GroupNormalization <num_groups = 2> (x, s, b)
        r = Resize <mode = "linear"> (n, , scales)
        h = Reshape (r, groups)
        t = Transpose <perm = [0, 2, 1, 3, 4]> (h)
        k = Reshape (t, channels)
        d = DepthToSpace <blocksize = 2, mode = "CRD"> (k)
        y = Conv <strides = [2, 2], group = 2> (d, w) }""",
        {"s": weights(8), "b": weights(8), "w": weights(2, 1, 1, 1), "scales": np.float32([1, 1, 2, 2])}
        | {"groups": np.array([-1, 2, 4, 12, 12]), "channels": np.array([0, 8, 12, 12])},
    ),
    "a recurrent layer over a sequence": (
        """g (float[N, 9, 8] x) => (float[N, 9, 32] y) {
        t = Transpose <perm = [1, 0, 2]> (x)
        a, h, c = LSTM <hidden_size = 16, direction = "bidirectional"> (t, w, r)
        b = Transpose <perm = [2, 0, 1, 3]> (a)
        y = Reshape (b, s) }""",
        {"w": weights(2, 64, 8), "r": weights(2, 64, 16), "s": np.array([0, 0, -1])},
    ),
    "a choice and a loop": (
        """g (float[N, 3, 4, 4] x) => (float[N, 3, 4, 4] y) {
        m = ReduceMean <keepdims = 0> (x)
        g = Greater (m, zero)
        z = If (g) <then_branch = t () => (float[N, 3, 4, 4] a) { a = Conv (x, w) },
                    else_branch = e () => (float[N, 3, 4, 4] b) { q = Relu (x)  b = Conv (q, w) }>
        n = Cast <to = 7> (g)
        y = Loop (n, , z) <body = b (int64 i, bool c, float[N, 3, 4, 4] f) => (bool d, float[N, 3, 4, 4] s) {
            d = Identity (c)
            s = Sin (f) }> }""",
        {"w": weights(3, 3, 1, 1), "zero": np.float32(0)},
    ),
}


def source(name: str, folder: Path) -> Callable[[Feed], dict[str, np.ndarray]]:
    """Writes a network to m.onnx; returns a function that runs it."""
    text, constants = NETWORKS[name]
    proto = onnx.parser.parse_model(HEADER + text)
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(value, key) for key, value in constants.items())
    onnx.save(proto, folder / "m.onnx")
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    return lambda feed: {"y": session.run(None, feed)[0]}


def sqnr_db(wanted: np.ndarray, found: np.ndarray) -> float:
    noise = np.square(np.float64(found) - wanted).sum()
    return float(10 * np.log10(np.square(np.float64(wanted)).sum() / max(noise, 1e-30)))


def images(model: narrowcast.Model, batch: int, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    shapes = {spec.name: [dim or batch for dim in spec.shape] for spec in model.inputs}
    return {name: random.normal(0.1, 1, size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("scheme", LEAST)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_batch_is_what_is_fed(name, scheme, tmp_path):
    run = source(name, tmp_path)
    model = narrowcast.load(tmp_path / "m.onnx", batch="dynamic")
    data = [images(model, batch, seed) for seed, batch in enumerate((4, 1, 8))]
    made = model if scheme == "float32" else narrowcast.quantize(model, scheme, data=data)
    written = narrowcast.save(made, tmp_path / "m.tflite", io_layout="source", verify=False)
    opened = runtimes.open(written.path, "litert")
    assert opened.inputs[0].shape[0] is None
    for runner in (opened, runtimes.open_layers(written.path, "litert")):
        for batch in BATCHES:
            feed = images(model, batch, seed=9)
            for output, wanted in run(feed).items():
                found = runner.run(feed)[output]
                assert found.shape == wanted.shape
                assert sqnr_db(wanted, found) > LEAST[scheme], f"batch {batch} on {runner.name}"


@pytest.mark.parametrize("scheme", ["float32", "dynamic_range", "int8"])
def test_a_keras_file(scheme, zoo, tmp_path):
    path = zoo / "models/tiny_resnet8_cifar10_keras2.h5"
    model, fixed = narrowcast.load(path, batch="dynamic"), narrowcast.load(path)
    data = [images(model, 1, seed) for seed in range(8)]
    files = []
    for number, network in enumerate((model, fixed)):
        made = network if scheme == "float32" else narrowcast.quantize(network, scheme, data=data)
        files.append(narrowcast.save(made, tmp_path / f"{number}.tflite").path)
    opened, closed = (runtimes.open(file, "litert") for file in files)
    assert opened.operators()[0] == closed.operators()[0], "an open batch costs no operator"
    for batch in BATCHES:
        feed = images(model, batch, seed=9)
        (found,) = opened.run(feed).values()
        rows = [closed.run({name: array[[row]] for name, array in feed.items()}) for row in range(batch)]
        wanted = np.concatenate([next(iter(row.values())) for row in rows])
        np.testing.assert_allclose(found, wanted, atol=1e-5 if scheme == "float32" else 1e-2)


REFUSED = {
    "all of the batch side by side": (
        """g (float[N, 6, 4] x) => (float[M] y) {
        s = Shape <start = 0, end = 1> (x)
        k = Squeeze (s)
        r = Range (zero, k, one)
        f = Cast <to = 1> (r)
        t = Reshape (f, wide)
        y = ReduceSum <keepdims = 0> (t, ax) }""",
        {"zero": np.array(0), "one": np.array(1), "wide": np.array([-1, 1]), "ax": np.array([1])},
        "depends on a dimension",
    ),
    "a part of the batch": (
        """g (float[N, 6, 4] x) => (float[M, 6, 4] y) {
        s = Shape <start = 0, end = 1> (x)
        h = Div (s, two)
        y = Slice (x, zero, h, zero) }""",
        {"two": np.array([2]), "zero": np.array([0])},
        r"y.*\(Slice\).*depends on a dimension.*--batch 1",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_needs_to_know_the_batch_is_refused_by_name(name, tmp_path):
    text, constants, message = REFUSED[name]
    proto = onnx.parser.parse_model(HEADER + text)
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(value, key) for key, value in constants.items())
    onnx.save(proto, tmp_path / "m.onnx")
    model = narrowcast.load(tmp_path / "m.onnx", batch="dynamic")
    with pytest.raises(UnsupportedOpError, match=message):
        narrowcast.save(model, tmp_path / "m.tflite", verify=False)
    narrowcast.save(narrowcast.load(tmp_path / "m.onnx", batch=2), tmp_path / "m.tflite")
