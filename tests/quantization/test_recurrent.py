"""Recurrent layers in integer schemes: calibrated as one operator, with int8 weights, their gates in float."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import narrowcast
from narrowcast import quantization, runtimes
from narrowcast.errors import VerificationError
from narrowcast.passes.canonicalize import canonicalize
from narrowcast.passes.prepare import adapt
from narrowcast.quantization import SCHEMES
from narrowcast.targets.litert import LITERT
from narrowcast.writers.tflite.lowering import Lowering

STEPS, UNITS = 12, 48
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
LEAST = {"LSTM": 34.0, "GRU": 31.0, "RNN": 30.5}
"""Signal-to-noise ratios, dB, in 8 bits; unrolled in integers they had 25, 28 and 30."""
INTEGER = [scheme.name for scheme in SCHEMES.values() if scheme.calibrated]


def streaming(kind: str, steps: int = STEPS) -> onnx.ModelProto:
    """Dense, a layer whose states come from outside in one tensor and leave in one, and dense again."""
    random = np.random.default_rng(0)
    states = 2 if kind == "LSTM" else 1
    shapes = {"wi": (UNITS, UNITS), "w": (1, GATES[kind] * UNITS, UNITS), "r": (1, GATES[kind] * UNITS, UNITS)}
    arrays = {name: random.normal(0, 0.15, shape).astype(np.float32) for name, shape in shapes.items()}
    bias = np.zeros((1, 2, GATES[kind], UNITS), np.float32)
    bias[:, 0, min(2, GATES[kind] - 1)] = 4 if kind == "LSTM" else 0  # it hardly forgets: its cells grow
    arrays |= {
        "b": bias.reshape(1, -1),
        "wo": arrays["wi"].T.copy(),
        "bo": arrays["wi"][0].copy(),
        "axes": np.array([0]),
    }
    names = ["h", "c"][:states]
    nodes = [
        helper.make_node("MatMul", ["x", "wi"], ["xi"]),
        helper.make_node("Split", ["state"], names, axis=0, num_outputs=states),
        helper.make_node(kind, ["xi", "w", "r", "b", "", *names], ["y", "h2", "c2"][: 1 + states], hidden_size=UNITS),
        helper.make_node("Squeeze", ["y", "one"], ["ys"]),
        helper.make_node("MatMul", ["ys", "wo"], ["product"]),
        helper.make_node("Add", ["product", "bo"], ["out"]),
        helper.make_node("Concat", ["h2", "c2"][:states], ["next"], axis=0),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info("x", 1, [steps, 1, UNITS]),
            helper.make_tensor_value_info("state", 1, [states, 1, UNITS]),
        ],
        [helper.make_tensor_value_info("out", 1, None), helper.make_tensor_value_info("next", 1, None)],
        [*(numpy_helper.from_array(array, name) for name, array in arrays.items()),
         numpy_helper.from_array(np.array([1]), "one")],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def samples(kind: str, seed: int, count: int = 8, steps: int = STEPS) -> list[dict[str, np.ndarray]]:
    random = np.random.default_rng(seed)
    scale = np.array([1, 8] if kind == "LSTM" else [1], np.float32)[:, None, None]
    return [
        {
            "x": random.normal(size=(steps, 1, UNITS)).astype(np.float32),
            "state": (random.uniform(-1, 1, size=(len(scale), 1, UNITS)) * scale).astype(np.float32),
        }
        for _ in range(count)
    ]


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("scheme", INTEGER)
def test_states_of_mixed_ranges_survive(kind, scheme, tmp_path):
    """Neither share they a step with one another, nor is what is added up from step to step rounded to 8 bits."""
    onnx.save(streaming(kind), tmp_path / "m.onnx")
    model = narrowcast.load(tmp_path / "m.onnx")
    quantised = narrowcast.quantize(
        model, scheme, data=samples(kind, 0, 64), io_type="float32" if scheme != "int16x8" else None
    )
    found = [island for island in quantization.islands(quantised, LITERT) if island.node.op_type in ("Gemm", "MatMul")]
    assert {island.why for island in found} == {"an operand is not quantised"}, "dense layers around it are integer"
    written = narrowcast.save(quantised, tmp_path / "q.tflite", data=samples(kind, 1))
    coarser = 6.1 if scheme == "int8_pow2" else 0.0  # a step that is the next power of two is up to twice as wide
    assert min(row.sqnr_db for row in written.parity.outputs) > LEAST[kind] - coarser
    kinds, _ = runtimes.open(written.path, "litert").operators()
    assert kinds["FULLY_CONNECTED"] >= STEPS
    assert written.bytes < 2 * sum(
        4 * array.size for array in map(numpy_helper.to_array, streaming(kind).graph.initializer)
    )


@pytest.mark.parametrize("kind", GATES)
def test_calibration_sees_one_operator(kind, tmp_path):
    onnx.save(streaming(kind, steps=128), tmp_path / "m.onnx")
    model = narrowcast.load(tmp_path / "m.onnx")
    canonicalize(model)
    adapt(model, LITERT, keep_recurrent=True)
    assert [node.op_type for node in model.graph].count(kind) == 1
    assert len(model.graph) < 20
    ranges = quantization.calibrate(model, samples(kind, 0, 2, 128), LITERT)
    quantised = quantization.quantize(model, "int8", LITERT, ranges=ranges)
    assert not [node for node in quantised.graph if node.op_type == kind]
    assert f"1 {kind}" in quantised.ir.metadata_props[quantization.NOTES]


def test_layers_that_are_to_stay_in_float_keep_float_weights(tmp_path):
    onnx.save(streaming("LSTM"), tmp_path / "m.onnx")
    sizes = {}
    for stored in ("int8", "float32"):
        model = narrowcast.load(tmp_path / "m.onnx")
        name = next(node.name for node in model.graph if node.op_type == "LSTM")
        quantised = narrowcast.quantize(model, "int8", data=samples("LSTM", 0), overrides={name: stored})
        sizes[stored] = narrowcast.save(quantised, tmp_path / "q.tflite", data=samples("LSTM", 1)).bytes
    assert sizes["float32"] - sizes["int8"] > 2 * 4 * 2 * UNITS * UNITS


@pytest.mark.parametrize("steps", [STEPS, 128])
def test_a_wrong_product_within_fails(steps, tmp_path, monkeypatch):
    """What these kernels round, quantising activations as they come, excuses nothing more."""
    onnx.save(streaming("LSTM", steps), tmp_path / "m.onnx")
    quantised = narrowcast.quantize(narrowcast.load(tmp_path / "m.onnx"), "int8", data=samples("LSTM", 0, 4, steps))
    assert narrowcast.save(quantised, tmp_path / "q.tflite", data=samples("LSTM", 1, 4, steps)).parity.passed
    weights, done = Lowering.quantized_weights, set()

    def rotated(self, value, perm=None, **options):
        """The rows of the recurrent matrix one place off."""
        index = weights(self, value, perm, **options)
        tensor = self.container.tensors[index]
        if tensor.shape == (4 * UNITS, UNITS) and tensor.buffer not in done:
            done.add(tensor.buffer)
            buffers = self.container._buffers
            stored = buffers[tensor.buffer]
            buffers[tensor.buffer] = np.roll(stored if isinstance(stored, np.ndarray) else stored.array(), 1, 0)
        return index

    monkeypatch.setattr(Lowering, "quantized_weights", rotated)
    with pytest.raises(VerificationError):
        narrowcast.save(quantised, tmp_path / "q.tflite", data=samples("LSTM", 1, 4, steps))


def test_the_layer_that_loses_most_is_one_of_the_source(tmp_path):
    """What a layer became after it was calibrated has names of its own, which mean nothing before."""
    onnx.save(streaming("LSTM"), tmp_path / "m.onnx")
    model = narrowcast.load(tmp_path / "m.onnx")
    quantised = narrowcast.quantize(model, "full_int8", data=samples("LSTM", 0))
    with pytest.raises(VerificationError) as error:
        narrowcast.save(quantised, tmp_path / "q.tflite", data=samples("LSTM", 1), min_sqnr=80)
    name, _, kind = error.value.written.parity.weakest_layer.partition(" ")
    assert name in {value.name for node in model.graph for value in node.outputs}
    assert kind
