"""Heights, widths and lengths that stay open: one file for every size, against the source on ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

import narrowcast
from narrowcast import runtimes

HEADER = '<ir_version: 10, opset_import: ["" : 21]> '
RANDOM = np.random.default_rng(0)
SIZES = ((40, 40), (39, 52), (64, 33), (41, 41))


def weights(*shape: int) -> np.ndarray:
    return RANDOM.normal(0, 0.4, size=shape).astype(np.float32)


NETWORKS = {
    "a sum of residuals, strided, and a mean": (
        """g (float[1, 3, H, W] x) => (float[1, 5] y) {
        a = Conv <pads = [1, 1, 1, 1]> (x, w)
        b = Relu (a)
        c = Conv <pads = [1, 1, 1, 1], group = 8> (b, v)
        d = Add (b, c)
        e = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (d, u)
        p = MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (e)
        q = AveragePool <kernel_shape = [3, 3], strides = [1, 1], pads = [1, 1, 1, 1]> (p)
        m = GlobalAveragePool (q)
        f = Flatten (m)
        y = Gemm <transB = 1> (f, t) }""",
        {"w": weights(8, 3, 3, 3), "v": weights(8, 1, 3, 3), "u": weights(8, 8, 3, 3), "t": weights(5, 8)},
        (1, 3, None, None),
    ),
    "pixels from channels": (
        """g (float[1, 1, H, W] x) => (float[1, 1, H2, W2] y) {
        a = Conv <pads = [2, 2, 2, 2]> (x, w)
        b = Tanh (a)
        c = Conv <pads = [1, 1, 1, 1]> (b, v)
        y = DepthToSpace <blocksize = 2, mode = "CRD"> (c) }""",
        {"w": weights(8, 1, 5, 5), "v": weights(4, 8, 3, 3)},
        (1, 1, None, None),
    ),
    "only the height": (
        """g (float[1, 3, H, 24] x) => (float[1, 24, 6] y) {
        a = Conv <kernel_shape = [3, 3], auto_pad = "SAME_UPPER"> (x, w)
        b = ReduceMax <keepdims = 0> (a, axes)
        c = Transpose <perm = [0, 2, 1]> (b)
        y = Softmax <axis = -1> (c) }""",
        {"w": weights(6, 3, 3, 3), "axes": np.array([2])},
        (1, 3, None, 24),
    ),
    "a signal without its first step": (
        """g (float[1, 4, T] x) => (float[1, U, 8] y) {
        s = Slice (x, one, most, axis)
        a = Conv <strides = [2], pads = [1, 1]> (s, w)
        b = Relu (a)
        c = Transpose <perm = [0, 2, 1]> (b)
        y = MatMul (c, v) }""",
        {"w": weights(6, 4, 3), "v": weights(6, 8), "one": np.array([1]), "most": np.array([2**40]), "axis": [2]},
        (1, 4, None),
    ),
}
REFUSED = {
    "resized": (
        'g (float[1, 3, H, W] x) => (float[1, 3, V, U] y) { y = Resize <mode = "linear"> (x, , two) }',
        {"two": np.array([1, 1, 2, 2], np.float32)},
    ),
    "padded by what depends on the size": (
        "g (float[1, 3, H, W] x) => (float[1, 8, V, U] y) "
        '{ y = Conv <auto_pad = "SAME_UPPER", strides = [2, 2]> (x, w) }',
        {"w": weights(8, 3, 3, 3)},
    ),
    "averaged without padding": (
        "g (float[1, 3, H, W] x) => (float[1, 3, V, U] y) "
        "{ y = AveragePool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (x) }",
        {},
    ),
    "rounded up": (
        "g (float[1, 3, H, W] x) => (float[1, 3, V, U] y) "
        "{ y = MaxPool <kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1> (x) }",
        {},
    ),
    "flattened into a layer": (
        "g (float[1, 1, H, 2] x) => (float[1, 4] y) { f = Flatten (x) y = MatMul (f, w) }",
        {"w": weights(80, 4)},
    ),
}


WHY = {
    "resized": "must know the size",
    "padded by what depends on the size": "attribute 'pads' depends",
    "averaged without padding": "depends on a dimension",
    "rounded up": "rounds numbers of windows up along known sizes only",
    "flattened into a layer": "does not work with H = ",
}


def saved(text, constants, folder):
    model = onnx.parser.parse_model(HEADER + text)
    for name, array in constants.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), name))
    onnx.save(model, folder / "m.onnx")
    return folder / "m.onnx"


@pytest.mark.parametrize("scheme", ["float32", "dynamic_range"])
@pytest.mark.parametrize("name", NETWORKS)
def test_one_file_for_every_size(name, scheme, tmp_path):
    text, constants, shape = NETWORKS[name]
    path = saved(text, constants, tmp_path)
    model = narrowcast.load(path, input_shapes={"x": shape})
    assert model.inputs[0].shape == shape
    model = model if scheme == "float32" else narrowcast.quantize(model, scheme)
    file = narrowcast.save(model, tmp_path / "m.tflite", io_layout="source")
    assert file.verified
    runner, session = runtimes.open(file.path, "litert"), onnxruntime.InferenceSession(path)
    for sizes in SIZES:
        free = iter(sizes)
        x = RANDOM.normal(size=[next(free) if dim is None else dim for dim in shape]).astype(np.float32)
        (wanted,), found = session.run(None, {"x": x}), runner.run({"x": x})["y"]
        assert found.shape == wanted.shape
        error = np.abs(found - wanted).max() / np.abs(wanted).max()
        assert error < (1e-5 if scheme == "float32" else 0.05), sizes


@pytest.mark.parametrize("name", REFUSED)
def test_what_needs_to_know_a_size_is_named(name, tmp_path):
    text, constants = REFUSED[name]
    path = saved(text, constants, tmp_path)
    model = narrowcast.load(path, input_shapes={"x": (1, 1, None, 2) if "flattened" in name else (1, 3, None, None)})
    with pytest.raises(narrowcast.UnsupportedError, match=WHY[name]):
        narrowcast.save(model, tmp_path / "m.tflite")


def test_both_the_batch_and_the_sides(tmp_path):
    text = """g (float[N, 3, H, W] x) => (float[N, 4, H, W] y) {
        a = Conv <pads = [1, 1, 1, 1]> (x, w) y = Relu (a) }"""
    path = saved(text, {"w": weights(4, 3, 3, 3)}, tmp_path)
    model = narrowcast.load(path, batch="dynamic", input_shapes={"x": (None, 3, None, None)})
    file = narrowcast.save(model, tmp_path / "m.tflite")
    runner, session = runtimes.open(file.path, "litert"), onnxruntime.InferenceSession(path)
    for shape in ((1, 3, 8, 8), (3, 3, 9, 5)):
        x = RANDOM.normal(size=shape).astype(np.float32)
        found = runner.run({"x": x.transpose(0, 2, 3, 1)})["y"].transpose(0, 3, 1, 2)
        np.testing.assert_allclose(found, session.run(None, {"x": x})[0], rtol=1e-4, atol=1e-5)
