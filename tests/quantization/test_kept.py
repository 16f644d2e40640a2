"""What stays in float because no scale would hold it: positions, counts, phases."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import narrowcast
from narrowcast.passes.prepare import adapt
from narrowcast.quantization import islands
from narrowcast.targets.litert import LITERT

RANDOM = np.random.default_rng(0)
TEXT = '<ir_version: 9, opset_import: ["" : {opset}]> network ({inputs}) => (float[{shape}] y) {{ {body} }}'


def normal(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


GRID = ("float[1,3,12,12] image, float[1,4,5,2] grid", "1,3,4,5", 20)
IMAGE = {"image": normal(8, 3, 12, 12)}
NETWORKS = {
    "GridSample": (
        *GRID,
        "y = GridSample <align_corners = 0> (image, grid)",
        {},
        IMAGE | {"grid": RANDOM.uniform(-0.9, 0.9, (8, 4, 5, 2)).astype(np.float32)},
    ),
    "GridSample of a computed grid": (
        "float[1,3,12,12] image, float[1,20,3] points",
        "1,3,4,5",
        20,
        "m = MatMul (points, theta) t = Tanh (m) g = Reshape (t, sides) y = GridSample (image, g)",
        {"theta": normal(3, 2) * 0.5, "sides": np.array([1, 4, 5, 2])},
        IMAGE | {"points": normal(8, 20, 3)},
    ),
    "RoiAlign": (
        "float[1,3,12,12] image, float[2,4] rois",
        "2,3,2,2",
        16,
        "y = RoiAlign <output_height = 2, output_width = 2, sampling_ratio = 2> (image, rois, batch)",
        {"batch": np.array([0, 0])},
        IMAGE | {"rois": np.sort(RANDOM.uniform(0, 11, (16, 2, 2)), 1).reshape(16, 4).astype(np.float32)},
    ),
    "DeformConv": (
        "float[1,3,12,12] image",
        "1,4,10,10",
        19,
        "o = Conv (image, v) offset = Mul (o, two) y = DeformConv (image, w, offset)",
        {"v": normal(18, 3, 3, 3) * 0.2, "two": np.array(2, np.float32), "w": normal(4, 3, 3, 3)},
        IMAGE,
    ),
    "an index": (
        "float[1,6] ids",
        "1,6,4",
        17,
        "n = Add (ids, one) index = Cast <to = 7> (n) r = Gather <axis = 0> (table, index) y = Mul (r, two)",
        {"one": np.array(1, np.float32), "two": np.array(2, np.float32), "table": normal(101, 4)},
        {"ids": RANDOM.integers(0, 100, (8, 6)).astype(np.float32)},
    ),
    "a phase": (
        "float[1,1] t",
        "1,4",
        17,
        "a = Mul (t, freq) s = Sin (a) c = Cos (a) e = Concat <axis = 1> (s, c) y = MatMul (e, w)",
        {"freq": (1000.0 ** (-np.arange(8) / 8)).astype(np.float32).reshape(1, 8), "w": normal(16, 4)},
        {"t": np.linspace(0, 1000, 32, dtype=np.float32).reshape(32, 1)},
    ),
    "a remainder": (
        "float[1,16] x",
        "1,16",
        17,
        "a = Mul (x, big) r = Mod <fmod = 1> (a, one) y = Mul (r, two)",
        {"big": np.array(37, np.float32), "one": np.array(1, np.float32), "two": np.array(2, np.float32)},
        {"x": RANDOM.uniform(0, 10, (8, 16)).astype(np.float32)},
    ),
    "a count": (
        "float[1,16] x",
        "1,16",
        17,
        "n = CumSum (x, axis) m = Mul (n, half) c = Greater (m, bound) y = Where (c, one, two)",
        {
            "axis": np.array(1),
            "half": np.array(0.5, np.float32),
            "bound": np.array(500.25, np.float32),
            "one": np.array(1, np.float32),
            "two": np.array(2, np.float32),
        },
        {"x": RANDOM.integers(0, 130, (8, 16)).astype(np.float32)},
    ),
}


def model(name, tmp_path):
    inputs, shape, opset, body, constants, data = NETWORKS[name]
    made = onnx.parser.parse_model(TEXT.format(inputs=inputs, shape=shape, opset=opset, body=body))
    for key, array in constants.items():
        made.graph.initializer.append(onnx.numpy_helper.from_array(array, key))
    onnx.save(made, tmp_path / "m.onnx")
    loaded = narrowcast.load(tmp_path / "m.onnx")
    sizes = {spec.name: spec.shape[0] for spec in loaded.inputs}
    feeds = [
        {key: array[size * at : size * (at + 1)] for key, array in data.items() for size in [sizes[key]]}
        for at in range(8)
    ]
    return loaded, feeds


@pytest.mark.parametrize(("scheme", "least"), [("int8", 25), ("int16x8", 40)])
@pytest.mark.parametrize("name", NETWORKS)
def test_positions_counts_and_phases_are_exact(name, scheme, least, tmp_path):
    source, feeds = model(name, tmp_path)
    quantised = narrowcast.quantize(source, scheme, data=feeds)
    written = narrowcast.save(quantised, tmp_path / "m.tflite", data=feeds)
    assert written.parity.sqnr_db > least


@pytest.mark.parametrize(
    "body",
    [
        "a = Conv (x, w) c = Greater (a, zero) s = Mul (a, half) y = Where (c, a, s)",
        "a = Conv (x, w) b = Add (a, x) c = Round (b) y = Mul (c, half)",
        "a = Conv (x, w) b = Mul (a, half) c = Less (b, zero) d = Cast <to = 1> (c) y = Mul (b, d)",
    ],
)
def test_what_a_layer_weighed_may_be_compared_and_rounded(body, tmp_path):
    made = onnx.parser.parse_model(TEXT.format(inputs="float[1,4,6,6] x", shape="1,4,6,6", opset=17, body=body))
    for key, array in {"w": normal(4, 4, 1, 1), "zero": np.zeros((), np.float32), "half": np.float32(0.5)}.items():
        made.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), key))
    onnx.save(made, tmp_path / "m.onnx")
    source = narrowcast.load(tmp_path / "m.onnx")
    adapt(source, LITERT)
    assert not any("position" in island.why for island in islands(source, LITERT, "int8"))


@pytest.mark.parametrize(("name", "told"), [("GridSample", "'grid'"), ("an index", "'ids'"), ("DeformConv", "")])
def test_integer_inputs_that_are_positions_are_told_of(name, told, tmp_path):
    source, feeds = model(name, tmp_path)
    quantised = narrowcast.quantize(source, "full_int8", data=feeds)
    notes = narrowcast.save(quantised, tmp_path / "m.tflite", verify=False).notes
    found = [note for note in notes if "a position, a count or a phase, and is rounded" in note]
    assert len(found) == bool(told)
    assert all(told in note for note in found)
