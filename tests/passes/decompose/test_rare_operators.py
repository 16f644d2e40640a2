"""Operators that few networks have, in the forms that differ, against ONNX's reference."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from narrowcast import runtimes
from narrowcast.errors import UnsupportedOpError
from tests.passes.decompose.against import check, converted, model

RANDOM = np.random.default_rng(0)


def array(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype(np.float32)


def check_with_runtime(proto: onnx.ModelProto, feeds: dict[str, np.ndarray], folder) -> None:
    """Beside ONNX Runtime, where ONNX's reference lacks an attribute."""
    expected = onnxruntime.InferenceSession(proto.SerializeToString()).run(None, feeds)
    for found, wanted in zip(converted(proto, feeds, folder), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "weights", "attributes"),
    [
        ((2, 2, 3, 4, 3), (2, 3, 2, 3, 1), {}),
        ((1, 4, 3, 2, 3), (4, 1, 2, 3, 2), {"group": 2, "strides": [2, 1, 3], "pads": [1, 0, 0, 1, 2, 1]}),
        ((1, 2, 2, 3, 2), (2, 1, 2, 2, 2), {"dilations": [1, 2, 1], "strides": [2, 2, 2], "output_padding": [1, 0, 1]}),
        ((1, 1, 2, 2, 2), (1, 2, 1, 1, 1), {"pads": [1, 0, 0, 0, 0, 0], "strides": [3, 1, 1]}),
        ((1, 4, 5, 4), (4, 3, 3, 2), {"group": 2, "strides": [2, 3], "pads": [1, 0, 2, 1]}),
        ((1, 2, 5, 4), (2, 3, 3, 2), {"dilations": [2, 2]}),
    ],
)
@pytest.mark.parametrize("computed", [False, True])
def test_conv_transpose(shape, weights, attributes, computed, tmp_path):
    feeds = {"x": array(*shape)}
    rest = {"w": array(*weights), "b": array(weights[1] * attributes.get("group", 1))}
    fed = feeds | rest if computed else feeds
    proto = model("ConvTranspose", fed, {} if computed else rest, **attributes)
    check_with_runtime(proto, fed, tmp_path)


@pytest.mark.parametrize(
    ("weights", "attributes"),
    [
        ((6, 2, 2, 3, 3), {"group": 2, "strides": [2, 1, 2], "pads": [1, 0, 1, 0, 1, 2]}),
        ((4, 1, 3, 2, 2), {"group": 4, "dilations": [2, 1, 1], "pads": [2, 0, 0, 2, 1, 1]}),
    ],
)
@pytest.mark.parametrize("computed", [False, True])
def test_grouped_conv_3d(weights, attributes, computed, tmp_path):
    feeds, rest = {"x": array(2, 4, 5, 6, 5)}, {"w": array(*weights), "b": array(weights[0])}
    fed = feeds | rest if computed else feeds
    check_with_runtime(model("Conv", fed, {} if computed else rest, **attributes), fed, tmp_path)


@pytest.mark.parametrize(
    ("shape", "attributes"),
    [
        ((2, 3, 7, 6), {"kernel_shape": [2, 3], "strides": [2, 2], "pads": [1, 1, 0, 1]}),
        ((1, 2, 6, 5), {"kernel_shape": [3, 2], "dilations": [2, 2], "storage_order": 1}),
        ((1, 2, 6, 5), {"kernel_shape": [3, 2], "strides": [2, 2], "ceil_mode": 1}),
        ((2, 2, 9), {"kernel_shape": [3], "strides": [3]}),
        ((1, 2, 3, 4, 5), {"kernel_shape": [2, 2, 2], "storage_order": 1}),
    ],
)
def test_max_pool_with_indices(shape, attributes, tmp_path):
    """Rounded, so that there are equal elements, of which the first counts."""
    feeds = {"x": np.round(array(*shape))}
    check_with_runtime(model("MaxPool", feeds, outputs=2, **attributes), feeds, tmp_path)


def test_max_unpool(tmp_path):
    feeds = {"x": array(2, 1, 2, 2), "i": np.array([[[[5, 2], [8, 15]]], [[[16, 19], [24, 27]]]], np.int64)}
    attributes = {"kernel_shape": [2, 2], "strides": [2, 2]}
    check(model("MaxUnpool", feeds, **attributes), feeds, tmp_path)
    with pytest.raises(UnsupportedOpError, match="MaxUnpool"):
        converted(model("MaxUnpool", feeds, kernel_shape=[3, 3], strides=[2, 2]), feeds, tmp_path)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_determinant(size, tmp_path):
    feeds = {"x": array(3, 2, size, size)}
    check(model("Det", feeds), feeds, tmp_path)


@pytest.mark.parametrize("equation", ["ii", "ii->i", "bij,jj->bi", "iji->j", "...ii->..."])
def test_einsum_diagonals(equation, tmp_path):
    feeds = {"x": array(3, 3)}
    if "," in equation:
        feeds = {"x": array(2, 4, 3), "y": array(3, 3)}
    elif equation == "iji->j":
        feeds = {"x": array(3, 4, 3)}
    proto = model("Einsum", feeds, equation=equation)
    (found,) = converted(proto, feeds, tmp_path)
    np.testing.assert_allclose(found, np.einsum(equation, *feeds.values()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("axes", [None, [0, 2, 3], [1], [-1]])
def test_mean_variance(axes, tmp_path):
    """Beside its formula in double precision: ONNX's reference takes the difference of two large numbers."""
    feeds = {"x": array(2, 3, 4, 5)}
    attributes = {} if axes is None else {"axes": axes}
    (found,) = converted(model("MeanVarianceNormalization", feeds, opset=13, **attributes), feeds, tmp_path)
    x, over = feeds["x"].astype(np.float64), tuple(axes or (0, 2, 3))
    expected = (x - x.mean(over, keepdims=True)) / (x.std(over, keepdims=True) + 1e-9)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("onesided", "channels"), [(0, 1), (1, 1), (0, 2)])
@pytest.mark.parametrize("windowed", [False, True])
def test_short_time_fourier(onesided, channels, windowed, tmp_path):
    feeds = {"signal": array(2, 50, channels)}
    window = np.hanning(16).astype(np.float32) if windowed else np.ones(16, np.float32)
    constants = {"step": np.array(7), "window": window, "length": np.array(16)}
    proto = model("STFT", feeds, constants, opset=17, onesided=onesided)
    (found,) = converted(proto, feeds, tmp_path)
    signal = feeds["signal"] @ np.array([1, 1j])[:channels]
    frames = np.stack([signal[:, start : start + 16] * window for start in range(0, 35, 7)], axis=1)
    spectrum = np.fft.fft(frames)[..., : 9 if onesided else 16]
    np.testing.assert_allclose(found, np.stack([spectrum.real, spectrum.imag], -1), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("onesided", "axis"), [(0, 1), (0, -2), (0, 0), (1, 1)])
def test_fourier_along_a_computed_axis(onesided, axis, tmp_path):
    """Of the axes that give the output's shape, which is declared."""
    feeds = {"x": array(3, 6, 4, 1), "axis": np.array(axis)}
    proto = model("DFT", feeds, opset=20, onesided=onesided)
    proto.graph.node[0].input[:] = ["x", "", "axis"]
    expected = (np.fft.rfft if onesided else np.fft.fft)(feeds["x"][..., 0], axis=axis + (axis < 0))
    shape = (*expected.shape, 2)
    proto.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("y0", onnx.TensorProto.FLOAT, shape))
    (found,) = converted(proto, feeds, tmp_path)
    np.testing.assert_allclose(found, np.stack([expected.real, expected.imag], -1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("op_type", ["HannWindow", "HammingWindow", "BlackmanWindow"])
def test_constant_windows(op_type, tmp_path):
    """What only depends on constants is folded, whatever the operator."""
    body = f"""<ir_version: 8, opset_import: ["" : 17]> g (float[12] x) => (float[12] y)
    <int64 size = {{12}}> {{ w = {op_type} <periodic = 0> (size)  y = Mul (x, w) }}"""
    check(onnx.parser.parse_model(body), {"x": array(12)}, tmp_path)


def test_dropout_keeps_everything(tmp_path):
    feeds = {"x": array(2, 3)}
    kept, mask = converted(model("Dropout", feeds, outputs=2), feeds, tmp_path)
    assert mask.dtype == bool
    assert mask.all()
    np.testing.assert_array_equal(kept, feeds["x"])


@pytest.mark.parametrize("mask", [None, "float", "bool"])
@pytest.mark.parametrize("fed", [False, True])
def test_attention_scores_hold_minus_infinity(mask, fed, tmp_path):
    feeds = {"q": array(1, 2, 3, 4), "k": array(1, 2, 5, 4), "v": array(1, 2, 5, 4)}
    rest = {}
    if mask:
        seen = RANDOM.random((3, 5)) < 0.7
        seen[:, 0] = True
        rest["mask"] = seen if mask == "bool" else np.where(seen, 0.5, -np.inf).astype(np.float32)
    all_feeds = feeds | rest if fed else feeds
    proto = model(
        "Attention", all_feeds, {} if fed else rest, outputs=1, opset=23, is_causal=1, qk_matmul_output_mode=2
    )
    del proto.graph.output[:]
    proto.graph.node[0].output[:] = ["y0", "", "", "scores"]
    proto.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in ("y0", "scores"))
    check(proto, all_feeds, tmp_path)


@pytest.mark.parametrize(
    ("before", "after"), [("float32", "int32"), ("int64", "float64"), ("float64", "int64"), ("int32", "float32")]
)
def test_bit_cast(before, after, tmp_path):
    feeds = {"x": array(3, 4).astype(np.float32).view("int32").astype(before) if before[0] == "i" else array(3, 4)}
    feeds["x"] = feeds["x"].astype(before)
    to = int(onnx.helper.np_dtype_to_tensor_dtype(np.dtype(after)))
    (found,) = converted(model("BitCast", feeds, opset=26, to=to), feeds, tmp_path)
    np.testing.assert_array_equal(found, feeds["x"].view(after))


@pytest.mark.parametrize("upper", [0, 1])
@pytest.mark.parametrize("k", [-2, 0, 3])
def test_computed_diagonal(k, upper, tmp_path):
    feeds = {"x": array(2, 3, 5), "k": np.array(k)}
    check(model("Trilu", feeds, upper=upper), feeds, tmp_path)


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("fed", [False, True])
def test_compress(fed, axis, tmp_path):
    feeds = {"x": array(3, 4)}
    condition = {"c": np.array([False, True, True])}
    attributes = {} if axis is None else {"axis": axis}
    all_feeds = feeds | condition if fed else feeds
    check(model("Compress", all_feeds, {} if fed else condition, **attributes), all_feeds, tmp_path)


@pytest.mark.parametrize("dtype", ["float32", "int64", "int8"])
@pytest.mark.parametrize("in_order", [0, 1])
@pytest.mark.parametrize(("shape", "axis"), [((12,), None), ((3, 4), None), ((7, 2), 0), ((2, 7), -1), ((2, 6, 2), 1)])
def test_unique(shape, axis, in_order, dtype, tmp_path):
    """Few different numbers, so that slices are equal too."""
    feeds = {"x": np.random.default_rng(3).integers(0, 2 + (axis is None), shape).astype(dtype)}
    attributes = {} if axis is None else {"axis": axis}
    check_with_runtime(model("Unique", feeds, outputs=4, sorted=in_order, **attributes), feeds, tmp_path)


@pytest.mark.parametrize("dtype", ["int32", "int64", "int16", "float32"])
@pytest.mark.parametrize(("start", "limit", "delta"), [(1, 10, 3), (9, -2, -2), (0, 4, 1), (5, 2, 1), (-3, 3, 2)])
def test_computed_range(start, limit, delta, dtype, tmp_path):
    feeds = {name: np.array(number, dtype) for name, number in zip("abc", (start, limit, delta), strict=True)}
    check(model("Range", feeds), feeds, tmp_path)


@pytest.mark.parametrize("periodic", [0, 1])
@pytest.mark.parametrize("op_type", ["HannWindow", "HammingWindow", "BlackmanWindow"])
def test_computed_windows(op_type, periodic, tmp_path):
    feeds = {"size": np.array(12, np.int32)}
    check_with_runtime(model(op_type, feeds, periodic=periodic), feeds, tmp_path)


@pytest.mark.parametrize("bands", [4, 8])
def test_computed_mel_bands(bands, tmp_path):
    numbers = (np.array(bands), np.array(64), np.array(8192), np.array(20.0, np.float32), np.array(4000.0, np.float32))
    feeds = dict(zip("abcde", numbers, strict=True))
    check_with_runtime(model("MelWeightMatrix", feeds), feeds, tmp_path)


@pytest.mark.parametrize("value", [None, np.array([7], np.int64), np.array([True]), np.array([2.5], np.float16)])
def test_computed_shape_filled(value, tmp_path):
    feeds = {"shape": np.array([2, 1, 3])}
    attributes = {} if value is None else {"value": onnx.numpy_helper.from_array(value)}
    (found,) = converted(model("ConstantOfShape", feeds, **attributes), feeds, tmp_path)
    expected = np.full((2, 1, 3), 0 if value is None else value[0], np.float32 if value is None else value.dtype)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_filled_again_with_nothing(tmp_path):
    """An output that is empty in one run and was not in the one before."""
    feeds = {"shape": np.array([2, 3])}
    converted(model("ConstantOfShape", feeds), feeds, tmp_path)
    runner = runtimes.open(tmp_path / "m.tflite", "litert")
    for shape in ((2, 3), (2, 0), (1, 4)):
        assert runner.run({"shape": np.array(shape)})["y0"].shape == shape


NGRAMS = {"ngram_counts": [0, 4], "ngram_indexes": [6, 1, 2, 3, 0, 4, 5], "pool_int64s": [2, 3, 5, 4, 5, 6, 7, 8, 6, 7]}


@pytest.mark.parametrize("mode", ["TF", "IDF", "TFIDF"])
@pytest.mark.parametrize(("shortest", "skips"), [(1, 0), (1, 5), (2, 1)])
@pytest.mark.parametrize("shape", [(12,), (3, 8), (2, 1)])
def test_ngrams(shape, shortest, skips, mode, tmp_path):
    feeds = {"x": np.random.default_rng(0).integers(2, 9, shape)}
    lengths = {"min_gram_length": shortest, "max_gram_length": 2, "max_skip_count": skips}
    weights = [0.5, 2.0, 1.0, 3.0, -1.0, 1.5, 4.0]
    check_with_runtime(
        model("TfIdfVectorizer", feeds, mode=mode, weights=weights, **lengths, **NGRAMS), feeds, tmp_path
    )


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("bias", [False, True])
def test_quantized_convolution_by_computed_scales(bias, channels, tmp_path):
    """One scale for all weights, or one for each output channel; to one step, as halves may round either way."""
    random = np.random.default_rng(0)
    feeds = {
        "x": random.integers(0, 255, (1, 2, 6, 5)).astype(np.uint8),
        "xs": np.array(0.02, np.float32),
        "xz": np.array(128, np.uint8),
        "w": random.integers(-127, 127, (3, 2, 3, 2)).astype(np.int8),
        "ws": random.uniform(0.001, 0.02, channels).astype(np.float32),
        "wz": np.zeros(channels, np.int8),
        "ys": np.array(0.05, np.float32),
        "yz": np.array(100, np.uint8),
    }
    if bias:
        feeds["b"] = random.integers(-2000, 2000, 3).astype(np.int32)
    proto = model("QLinearConv", feeds, pads=[1, 0, 1, 1], strides=[2, 1])
    (expected,) = onnxruntime.InferenceSession(proto.SerializeToString()).run(None, feeds)
    (found,) = converted(proto, feeds, tmp_path)
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert (found != expected).mean() < 0.02


@pytest.mark.parametrize("fed", [False, True])
def test_scales_by_blocks(fed, tmp_path):
    x = {"x": np.random.default_rng(0).integers(-128, 127, (2, 6, 3)).astype(np.int8)}
    rest = {"s": np.abs(array(2, 3, 3)) + 0.1, "z": np.random.default_rng(1).integers(-9, 9, (2, 3, 3)).astype(np.int8)}
    feeds = x | rest if fed else x
    options = {"axis": 1, "block_size": 2, "opset": 21}
    check(model("DequantizeLinear", feeds, {} if fed else rest, **options), feeds, tmp_path)
    feeds["x"] = array(2, 6, 3) * 20
    check(model("QuantizeLinear", feeds, {} if fed else rest, **options), feeds, tmp_path)


@pytest.mark.parametrize("op_type", ["ReduceMax", "ReduceMin"])
def test_truth_of_nothing(op_type, tmp_path):
    feeds = {"x": array(3)}
    text = f"""<ir_version: 10, opset_import: ["": 20]> g (float[3] x) => (bool[2,1] y0, float[3] y1)
    <bool[2,0] n = {{}}> {{ y1 = Neg (x)  axes = Constant <value_ints = [1]> ()  y0 = {op_type} (n, axes) }}"""
    found, _ = converted(onnx.parser.parse_model(text), feeds, tmp_path)
    np.testing.assert_array_equal(found, np.full((2, 1), op_type == "ReduceMin"))


@pytest.mark.parametrize(
    ("starts", "ends", "axes", "steps"),
    [
        ([1, 0], [3, 4], None, None),
        ([-2], [100], [1], None),
        ([3, -1], [1, 5], [1, 0], [1, 1]),
        ([0, 1], [4, 6], [0, 1], [2, 3]),
    ],
)
def test_computed_slices(starts, ends, axes, steps, tmp_path):
    feeds = {"x": array(4, 6), "starts": np.array(starts), "ends": np.array(ends)}
    rest = {name: np.array(given) for name, given in (("axes", axes), ("steps", steps)) if given is not None}
    check(model("Slice", feeds, rest), feeds, tmp_path)
