"""SmoothQuant: the same function, with channels of like size behind a normalisation."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import narrowcast
from narrowcast import quantization, targets
from narrowcast.evaluation.judge import Judge
from narrowcast.passes.prepare import adapt
from narrowcast.quantization.repairs import Evidence, repaired

RANDOM = np.random.default_rng(0)
WIDTH = 32
NORM = "n = LayerNormalization (x, gain, offset)"
BODIES = {
    "norm": f"{NORM} m = MatMul (n, w) y = Add (m, b)",
    "two readers": f"{NORM} m = MatMul (n, w) o = MatMul (n, v) y = Add (m, o)",
    "reshaped": f"{NORM} r = Reshape (n, rows) m = Gemm (r, w, b) s = Reshape (m, back) y = Identity (s)",
    "gain alone": "q = Mul (x, x) g = Mul (q, gain) m = MatMul (g, w) o = MatMul (g, v) y = Add (m, o)",
}
RESIDUAL = {
    "residual": f"{NORM} m = MatMul (n, w) y = Add (m, n)",
    "handed out": "y = LayerNormalization (x, gain, offset)",
    "computed weights": f"{NORM} t = Transpose <perm = [0, 2, 1]> (x) y = MatMul (n, t)",
}


def network(tmp_path, body, target):
    shape = f"float[1,6,{WIDTH}]"
    text = f'<ir_version: 8, opset_import: ["" : 17]> g ({shape} x) => (float[1,6,n] y) {{ {body} }}'
    model = onnx.parser.parse_model(text)
    gain = np.ones(WIDTH)
    gain[[3, 7]] = 60  # two channels that leave the others few steps
    constants = {
        "gain": gain,
        "offset": RANDOM.normal(size=WIDTH) * 0.1,
        "w": RANDOM.normal(size=(WIDTH, WIDTH)) / gain[:, None],
        "v": RANDOM.normal(size=(WIDTH, WIDTH)) / gain[:, None],
        "b": RANDOM.normal(size=WIDTH),
        "rows": np.array([6, WIDTH]),
        "back": np.array([1, 6, WIDTH]),
    }
    for name, array in constants.items():
        if any(name in node.input for node in model.graph.node):
            kind = np.int64 if name in ("rows", "back") else np.float32
            model.graph.initializer.append(onnx.numpy_helper.from_array(array.astype(kind), name))
    onnx.save(model, tmp_path / "m.onnx")
    floats = narrowcast.load(tmp_path / "m.onnx")
    adapt(floats, targets.find(target))
    return floats, [{"x": RANDOM.normal(size=(1, 6, WIDTH)).astype(np.float32)} for _ in range(24)]


@pytest.mark.parametrize("target", ["litert", "onnxruntime"])
@pytest.mark.parametrize("name", BODIES)
def test_large_channels_leave_the_others_their_steps(name, target, tmp_path):
    floats, feeds = network(tmp_path, BODIES[name], target)
    row, judge = targets.find(target), Judge(floats, feeds[16:])
    better = repaired(floats, "smooth", Evidence(floats, row, lambda count: feeds[:count]))
    assert judge.of(better).mean == 80  # dB at most: the same function
    plain, smooth = (
        judge.of(quantization.quantize(model, "int8", row, feeds=feeds[:16])).mean for model in (floats, better)
    )
    alone = name == "norm" and target == "litert"  # there gain and offset become part of the one product
    assert smooth == plain if alone else smooth > plain + 6


@pytest.mark.parametrize("name", RESIDUAL)
def test_what_others_read_too_stays(name, tmp_path):
    floats, feeds = network(tmp_path, RESIDUAL[name], "litert")
    row = targets.find("litert")
    same = repaired(floats, "smooth", Evidence(floats, row, lambda count: feeds[:count]))
    before, after = (
        {name: value.const_value.numpy().tobytes() for name, value in model.graph.initializers.items()}
        for model in (floats, same)
    )
    assert before == after
