"""Parts of very different ranges at one output or one input: each keeps its own precision, or is told of."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import narrowcast
from narrowcast import runtimes
from narrowcast.reference import Reference

TEXT = '<ir_version: 8, opset_import: ["" : 17]> network (float[{x}] x) => ({outputs}) {{ {body} }}'
RANDOM = np.random.default_rng(0)


def normal(*shape):
    return RANDOM.standard_normal(shape)


HEAD = "b{0} = Conv (x, wb) p{0} = Mul (b{0}, pixels) s{0} = Conv (x, ws) t{0} = Sigmoid (s{0})"
WEIGHTS = {
    "wb": normal(4, 3, 1, 1),
    "ws": normal(8, 3, 1, 1),
    "pixels": np.full((), 160.0),
    "rows": np.array([1, 12, 64]),
    "kernel": normal(3, 4) * 0.2,
}
IMAGE = "1,3,8,8"
JOINED = {
    "joined at the output": f"{HEAD.format(0)} y = Concat <axis = 1> (p0, t0)",
    "moved behind the joint": f"{HEAD.format(0)} c = Concat <axis = 1> (p0, t0) r = Reshape (c, rows) "
    "y = Transpose <perm = [0, 2, 1]> (r)",
    "joined twice": f"{HEAD.format(0)} {HEAD.format(1)} c = Concat <axis = 1> (p0, t0) d = Concat <axis = 1> (p1, t1) "
    "y = Concat <axis = 3> (c, d)",
}
SHAPES = dict(zip(JOINED, ("1,12,8,8", "1,64,12", "1,12,8,16"), strict=True))


def load(text, tmp_path):
    model = onnx.parser.parse_model(text)
    for key, array in WEIGHTS.items():
        model.graph.initializer.append(
            onnx.numpy_helper.from_array(array if array.dtype.kind == "i" else array.astype(np.float32), key)
        )
    onnx.save(model, tmp_path / "m.onnx")
    return narrowcast.load(tmp_path / "m.onnx")


def decibels(want, got):
    return 10 * np.log10(np.square(want).mean() / np.square(want - got).mean())


@pytest.mark.parametrize("name", JOINED)
def test_every_part_of_a_float_output_keeps_its_precision(name, tmp_path):
    model = load(TEXT.format(x=IMAGE, outputs=f"float[{SHAPES[name]}] y", body=JOINED[name]), tmp_path)
    feeds = [{"x": normal(1, 3, 8, 8).astype(np.float32)} for _ in range(8)]
    quantised = narrowcast.quantize(model, "int8", data=feeds)
    path = narrowcast.save(quantised, tmp_path / "m.tflite", verify=False, io_layout="source").path
    want, got = Reference(model).run(feeds[0])["y"], runtimes.open(path, "litert").run(feeds[0])["y"]
    axis = SHAPES[name].split(",").index("12")
    for part in (slice(0, 4), slice(4, 12)):
        assert decibels(*(np.moveaxis(array, axis, 0)[part] for array in (want, got))) > 25


def test_parts_of_equal_range_are_joined_in_integers(tmp_path):
    body = "a = Conv (x, ws) b = Conv (x, ws) c = Mul (b, two) y = Concat <axis = 1> (a, c)"
    model = load(
        TEXT.format(x=IMAGE, outputs="float[1,16,8,8] y", body=f"two = Constant <value_float = 2.0> () {body}"),
        tmp_path,
    )
    feeds = [{"x": normal(1, 3, 8, 8).astype(np.float32)} for _ in range(8)]
    written = narrowcast.save(narrowcast.quantize(model, "int8", data=feeds), tmp_path / "m.tflite", data=feeds)
    assert not any("share one scale" in note for note in written.notes)
    assert dict(narrowcast.inspect(written.path).operators.by_type)["DEQUANTIZE"] == 1


def test_an_integer_output_that_loses_a_part_is_told_of(tmp_path):
    model = load(TEXT.format(x=IMAGE, outputs="float[1,12,8,8] y", body=JOINED["joined at the output"]), tmp_path)
    feeds = [{"x": normal(1, 3, 8, 8).astype(np.float32)} for _ in range(8)]
    by_scheme = {
        scheme: narrowcast.save(
            narrowcast.quantize(model, scheme, data=feeds), tmp_path / f"{scheme}.tflite", verify=False
        ).notes
        for scheme in ("int8", "full_int8")
    }
    assert any("output 'y' has one scale" in note and "'t0'" in note for note in by_scheme["full_int8"])
    assert not any("has one scale" in note for note in by_scheme["int8"])


def test_what_is_cut_out_of_a_float_input_keeps_its_precision(tmp_path):
    """A state of a cell and of its outputs, one behind the other, fed as one tensor."""
    body = """
        halves = Constant <value_ints = [3, 3]> () r = Reshape (x, rows2) a, b = Split <axis = 1> (r, halves)
        y = MatMul (a, kernel) z = MatMul (b, kernel)
    """
    WEIGHTS["rows2"] = np.array([8, 6])
    model = load(TEXT.format(x="1,8,6", outputs="float[8,4] y, float[8,4] z", body=body), tmp_path)
    scale = np.array([1, 1, 1, 300, 300, 300])
    feeds = [{"x": (normal(1, 8, 6) * scale).astype(np.float32)} for _ in range(8)]
    written = narrowcast.save(narrowcast.quantize(model, "int8", data=feeds), tmp_path / "m.tflite", verify=False)
    want, got = Reference(model).run(feeds[0]), runtimes.open(written.path, "litert").run(feeds[0])
    for name in ("y", "z"):
        assert decibels(want[name], got[name]) > 30


WEIGHTS |= {
    "wa": normal(4, 3, 1, 1),
    "after": normal(4, 4, 1, 1),
    "beyond": normal(4, 8, 1, 1),
    "thrice": np.full((), 3.0),
    "four": np.array([4, 4]),
    "flat": np.array([1, 8, 64]),
    "square": np.array([1, 4, 8, 8]),
}
INSIDE = {
    "read by others too": "a = Conv (x, wa) b = Conv (x, wb) w = Mul (b, pixels) c = Concat <axis = 1> (a, w) "
    "y = Conv (a, after) z = Conv (c, beyond)",
    "moved, then read by others too": "a = Conv (x, wa) b = Conv (x, wb) w = Mul (b, pixels) "
    "m = MaxPool <kernel_shape = [1, 1]> (a) c = Concat <axis = 1> (a, w) y = Conv (m, after) z = Conv (c, beyond)",
    "wider at each joint": "a = Conv (x, wa) b = Mul (a, thrice) c = Concat <axis = 1> (a, b) d = Conv (c, beyond) "
    "e = Mul (d, thrice) f = Concat <axis = 1> (c, e) g = Mul (f, thrice) z = Concat <axis = 1> (f, g) "
    "y = Conv (a, after)",
    "joined and parted again": "a = Conv (x, wa) b = Conv (x, wb) w = Mul (b, pixels) c = Concat <axis = 1> (a, w) "
    "f = Reshape (c, flat) h, k = Split <axis = 1> (f, four) r = Reshape (h, square) s = Reshape (k, square) "
    "y = Conv (r, after) z = Conv (s, after)",
}


@pytest.mark.parametrize("scheme", ["int8", "full_int8"])
@pytest.mark.parametrize("name", INSIDE)
def test_a_narrow_tensor_keeps_its_precision_beside_a_wide_one(name, scheme, tmp_path):
    """Requantised on the edge to what joins it, or moved as floats where it is parted from the wide one again."""
    channels = 16 if "wider" in name else 4
    outputs = f"float[1,4,8,8] y, float[1,{channels},8,8] z"
    model = load(TEXT.format(x=IMAGE, outputs=outputs, body=INSIDE[name]), tmp_path)
    feeds = [{"x": normal(1, 3, 8, 8).astype(np.float32)} for _ in range(8)]
    quantised = narrowcast.quantize(model, scheme, data=feeds)
    written = narrowcast.save(quantised, tmp_path / "m.tflite", data=feeds, io_layout="source")
    noises = {row.name: row.sqnr_db for row in written.parity.outputs}
    assert noises["y"] > 28
    assert noises["z"] > 22
    assert "parted" not in name or any("differ too much" in note for note in written.notes)
