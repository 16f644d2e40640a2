"""Cells that a graph spells out in their gates, and layers of a few rows beside recurrent ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import narrowcast
from narrowcast import runtimes
from narrowcast.passes.canonicalize import canonicalize
from narrowcast.passes.prepare import adapt
from narrowcast.quantization import islands
from narrowcast.quantization.recurrence import cells
from narrowcast.targets.litert import LITERT
from narrowcast.targets.rules import Target

UNITS = 48
TEXT = """
    <ir_version: 9, opset_import: ["" : 18]> network (float[{rows},48] x, float[{rows},48] h{more_in})
    => (float[{rows},48] y, float[{rows},48] h2{more_out}) {{ {body} y = Gemm <transB = 1> (h2, wy) }}
"""
SUMS = "g{0} = Gemm <transB = 1> (x, w{0}, b{0}) s{0} = Gemm <transB = 1> (h, r{0}) a{0} = Add (g{0}, s{0})"
LSTM = f"{SUMS.format('i')} {SUMS.format('f')} {SUMS.format('o')} {SUMS.format('n')}"
GRU = """
    g = Gemm <transB = 1> (x, w, b) s = Gemm <transB = 1> (h, r) gz, gr, gn = Split <axis = 1, num_outputs = 3> (g)
    sz, sr, sn = Split <axis = 1, num_outputs = 3> (s) az = Add (gz, sz) z = Sigmoid (az) ar = Add (gr, sr)
    q = Sigmoid (ar) opened = Mul (q, sn) an = Add (gn, opened) n = Tanh (an)
"""
CELLS = {
    "LSTM by single gates": f"{LSTM} i = Sigmoid (ai) f = Sigmoid (af) o = Sigmoid (ao) n = Tanh (an) "
    "kept = Mul (f, c) new = Mul (i, n) c2 = Add (kept, new) t = Tanh (c2) h2 = Mul (o, t)",
    "LSTM with coupled gates": f"{LSTM} f = Sigmoid (af) i = Sub (one, f) o = HardSigmoid (ao) n = Tanh (an) "
    "kept = Mul (c, f) new = Mul (n, i) c2 = Add (new, kept) t = Tanh (c2) h2 = Mul (t, o)",
    "GRU as torch spells it": f"{GRU} d = Sub (h, n) zd = Mul (z, d) h2 = Add (n, zd)",
    "GRU as its authors wrote it": f"{GRU} u = Sub (one, z) un = Mul (u, n) zh = Mul (z, h) h2 = Add (zh, un)",
}
PRODUCTS = {"Gemm", "MatMul"}
LEAST = {1: {"y": 42, "h2": 46, "c2": 63}, 12: {"y": 33.5, "h2": 35.5, "c2": 54}}
"""dB by rows and outputs; in integers throughout y had 32 to 37, h2 32 to 40, c2 43."""


def load(name: str, rows: int, folder: Path) -> narrowcast.Model:
    state = f", float[{rows},48] {{}}" if "LSTM" in name else ""
    more = {"more_in": state.format("c"), "more_out": state.format("c2")}
    made = onnx.parser.parse_model(TEXT.format(rows=rows, body=CELLS[name], **more))
    random = np.random.default_rng(0)
    used = {value for node in made.graph.node for value in node.input}
    sizes = {"w": 3 * UNITS, "r": 3 * UNITS, "b": 3 * UNITS}
    for key in sorted(used):
        if key == "one":
            array = np.ones(())
        elif key[0] == "b":
            array = random.normal(4 if key == "bf" else 0, 0.15, sizes.get(key, UNITS))
        elif key[0] in "wr" and len(key) <= 2:
            array = random.normal(0, 0.15, (sizes.get(key, UNITS), UNITS))
        else:
            continue
        made.graph.initializer.append(onnx.numpy_helper.from_array(array.astype(np.float32), key))
    onnx.save(made, folder / "m.onnx")
    return narrowcast.load(folder / "m.onnx")


def samples(model: narrowcast.Model, seed: int, count: int) -> list[dict[str, np.ndarray]]:
    """Hidden states of ±1, cells of up to ±8."""
    random, reach = np.random.default_rng(seed), {"h": 1, "c": 8}
    return [
        {
            spec.name: (
                random.uniform(-1, 1, spec.shape) * reach[spec.name]
                if spec.name in reach
                else random.normal(size=spec.shape)
            ).astype(np.float32)
            for spec in model.inputs
        }
        for _ in range(count)
    ]


def adapted(model: narrowcast.Model, target: Target = LITERT) -> narrowcast.Model:
    canonicalize(model)
    adapt(model, target)
    return model


@pytest.mark.parametrize("rows", [1, 12])
@pytest.mark.parametrize("name", CELLS)
def test_cells_are_all_but_their_products(name, rows, tmp_path):
    model = adapted(load(name, rows, tmp_path))
    found = cells(model.graph)
    assert {node for node in model.graph if node.op_type not in PRODUCTS} == found
    assert {island.node for island in islands(model, LITERT, "int16x8")}.isdisjoint(found)


@pytest.mark.parametrize("rows", [1, 12])
@pytest.mark.parametrize("name", CELLS)
def test_states_keep_their_precision(name, rows, tmp_path):
    model = load(name, rows, tmp_path)
    quantised = narrowcast.quantize(model, "int8", data=samples(model, 0, 64))
    written = narrowcast.save(quantised, tmp_path / "m.tflite", data=samples(model, 1, 8))
    noises = {row.name: row.sqnr_db for row in written.parity.outputs}
    assert all(noises[name] > least for name, least in LEAST[rows].items() if name in noises)
    assert written.bytes < 2 * sum(value.const_value.size for value in model.graph.initializers.values())
    assert (runtimes.open(written.path, "litert").operators()[0]["QUANTIZE"] == 0) == (rows == 1)


def test_gates_of_images_are_no_cells(tmp_path):
    """A channel's weight, as of squeeze and excitation, two of them added up, and a residual sum."""
    body = """
        m = ReduceMean (x, axes) s = Gemm <transB = 1> (m, r, b) g = Sigmoid (s) u = Mul (x, g) t = Relu (s)
        k = Sigmoid (t) v = Mul (x, k) w = Add (u, v) e = Add (w, x)
    """
    text = '<ir_version: 9, opset_import: ["" : 18]> network (float[4,48] x) => (float[4,48] e) {' + body + "}"
    made = onnx.parser.parse_model(text)
    arrays = {"r": np.eye(48), "b": np.ones(48)}
    for key, array in arrays.items():
        made.graph.initializer.append(onnx.numpy_helper.from_array(array.astype(np.float32), key))
    made.graph.initializer.append(onnx.numpy_helper.from_array(np.array([0]), "axes"))
    onnx.save(made, tmp_path / "m.onnx")
    assert not cells(adapted(narrowcast.load(tmp_path / "m.onnx")).graph)


def encoder(rows: int, folder: Path) -> narrowcast.Model:
    """A layer in front of an LSTM of `rows` steps, one behind it, and a sigmoid."""
    body = """
        e = MatMul (x, we) a = Relu (e) s = LSTM <hidden_size = 48> (a, w, r) f = Reshape (s, flat) d = MatMul (f, wd)
        y = Sigmoid (d)
    """
    text = (
        f'<ir_version: 9, opset_import: ["" : 18]> network (float[{rows},1,48] x) => (float[{rows},48] y) {{ {body} }}'
    )
    made, random = onnx.parser.parse_model(text), np.random.default_rng(0)
    shapes = {"we": (48, 48), "w": (1, 192, 48), "r": (1, 192, 48), "wd": (48, 48)}
    arrays = {key: random.normal(0, 0.15, shape).astype(np.float32) for key, shape in shapes.items()}
    for key, array in (arrays | {"flat": np.array([rows, 48])}).items():
        made.graph.initializer.append(onnx.numpy_helper.from_array(array, key))
    onnx.save(made, folder / "m.onnx")
    return narrowcast.load(folder / "m.onnx")


@pytest.mark.parametrize(
    ("rows", "scheme", "quantised"),
    [(1, "int8", 0), (8, "int8", 0), (12, "int8", 2), (1, "full_int8", 1), (1, "int16x8", 2)],
)
def test_layers_of_a_few_rows_take_what_comes(rows, scheme, quantised, tmp_path):
    """Beside a recurrent layer, where inputs and outputs are floats: integer weights, and no range of its own."""
    model = encoder(rows, tmp_path)
    feeds = samples(model, 0, 16)
    made = narrowcast.quantize(model, scheme, data=feeds)
    written = narrowcast.save(made, tmp_path / "m.tflite", data=feeds)
    assert runtimes.open(written.path, "litert").operators()[0]["QUANTIZE"] == quantised
    assert written.bytes < 3 * sum(value.const_value.size for value in model.graph.initializers.values())
