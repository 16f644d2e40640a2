"""LSTM, GRU and RNN with all that they may be given, against ONNX Runtime."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest

import narrowcast
from narrowcast import runtimes
from narrowcast.targets import litert
from narrowcast.targets.rules import Recurrent
from tests.passes.decompose.against import converted, model

STEPS, BATCH, FEATURES, HIDDEN = 5, 3, 2, 4
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
RANDOM = np.random.default_rng(0)


SPELLINGS = {
    "unrolled": Recurrent(many=10**9),
    "a loop": Recurrent(many=1),
    "loops of two steps": Recurrent(many=1, block=2),
    "one operator": Recurrent(lstm=1, rnn=1, many=10**9),
}


@pytest.fixture(params=SPELLINGS, autouse=True)
def spelling(request, monkeypatch) -> str:
    policy, page = SPELLINGS[request.param], litert.LITERT
    monkeypatch.setattr(Recurrent, "in_sequence", lambda self, kind, *_: self.lstm == 1 and kind in ("LSTM", "RNN"))
    every = {name: row for name, row in page.storage.items() if policy.lstm > 1 or name.startswith("float")}
    storage = {**page.storage, **{name: replace(row, recurrent=policy) for name, row in every.items()}}
    monkeypatch.setattr(litert, "LITERT", replace(page, storage=storage))
    return str(request.param)


def array(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype(np.float32)


def check(kind: str, folder, *, fed=(), given=(), lengths=(5, 2, 4), **attributes) -> None:
    """Of the inputs that are `given`, those of `fed` at run time."""
    ways = 2 if attributes.get("direction") == "bidirectional" else 1
    gates = GATES[kind]
    first = attributes.get("layout", 0) != 0
    state = (BATCH, ways, HIDDEN) if first else (ways, BATCH, HIDDEN)
    every = {
        "x": array(*((BATCH, STEPS) if first else (STEPS, BATCH)), FEATURES),
        "w": array(ways, gates * HIDDEN, FEATURES),
        "r": array(ways, gates * HIDDEN, HIDDEN),
        "b": array(ways, 2 * gates * HIDDEN),
        "lengths": np.array(lengths, np.int32),
        "h": array(*state),
        "c": array(*state),
        "p": array(ways, 3 * HIDDEN),
    }
    every = {name: value for name, value in every.items() if name in {"x", "w", "r", *given}}
    feeds = {name: value for name, value in every.items() if name in {"x", *fed}}
    constants = {name: value for name, value in every.items() if name not in feeds}
    proto = model(kind, feeds, constants, outputs=3 if kind == "LSTM" else 2, hidden_size=HIDDEN, **attributes)
    order = ("x", "w", "r", "b", "lengths", "h", *(("c", "p") if kind == "LSTM" else ()))
    proto.graph.node[0].input[:] = [name if name in every else "" for name in order]
    expected = onnxruntime.InferenceSession(proto.SerializeToString()).run(None, feeds)
    for found, wanted in zip(converted(proto, feeds, folder), expected, strict=True):
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("fed", [(), ("lengths",)])
@pytest.mark.parametrize("states", [(), ("h",)])
def test_lengths(kind, direction, fed, states, tmp_path):
    """Sequences end after their own number of steps: zeros follow, and the state stays."""
    check(kind, tmp_path, given=("b", "lengths", *states), fed=fed, direction=direction)


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [
        ("LSTM", {"activations": ["HardSigmoid", "Tanh", "LeakyRelu"], "activation_alpha": [0.3, 0.25]}),
        ("LSTM", {"activations": ["Sigmoid", "Elu", "ThresholdedRelu"], "activation_alpha": [0.5, 0.1]}),
        (
            "GRU",
            {
                "activations": ["HardSigmoid", "Tanh", "Sigmoid", "Elu"],
                "activation_alpha": [0.3, 0.7],
                "activation_beta": [0.4],
                "direction": "bidirectional",
            },
        ),
        ("RNN", {"activations": ["LeakyRelu"], "activation_alpha": [0.2], "clip": 0.5}),
        ("LSTM", {"clip": 0.3, "input_forget": 1}),
    ],
)
def test_activations(kind, attributes, tmp_path):
    """Alphas and betas belong to the functions that take one, in their order."""
    check(kind, tmp_path, given=("b",), **attributes)


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_clip(kind, direction, tmp_path):
    """What enters the gates is clipped, but not the state of LSTM's cell, which goes beyond."""
    given = ("b", "h", "c", "p") if kind == "LSTM" else ("b", "h")
    check(kind, tmp_path, given=given, clip=0.5, direction=direction)


@pytest.mark.parametrize("fed", [(), ("w", "r", "b", "h", "c", "p")])
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_peepholes(direction, fed, tmp_path):
    check("LSTM", tmp_path, given=("b", "h", "c", "p"), fed=fed, direction=direction)


@pytest.mark.parametrize("reset_after", [0, 1])
@pytest.mark.parametrize("fed", [("w", "r"), ("b",)])
def test_computed_weights(reset_after, fed, tmp_path):
    check("GRU", tmp_path, given=("b",), fed=fed, linear_before_reset=reset_after, direction="bidirectional")


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("direction", ["reverse", "bidirectional"])
@pytest.mark.parametrize("reset_after", [0, 1])
@pytest.mark.parametrize("given", [(), ("b",), ("b", "h"), ("h",)])
def test_constant_weights(kind, direction, reset_after, given, tmp_path):
    attributes = {"linear_before_reset": reset_after} if kind == "GRU" else {}
    check(kind, tmp_path, given=given, fed=("h",), direction=direction, **attributes)


@pytest.mark.parametrize("output", range(3))
def test_only_what_is_read_is_computed(output, spelling, tmp_path):
    feeds = {"x": array(STEPS, 1, FEATURES)}
    constants = {"w": array(2, 4 * HIDDEN, FEATURES), "r": array(2, 4 * HIDDEN, HIDDEN)}
    proto = model("LSTM", feeds, constants, outputs=3, hidden_size=HIDDEN, direction="bidirectional")
    kept = proto.graph.output[output]
    del proto.graph.output[:]
    proto.graph.output.append(kept)
    (expected,) = onnxruntime.InferenceSession(proto.SerializeToString()).run(None, feeds)
    (found,) = converted(proto, feeds, tmp_path)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    if "loop" in spelling:
        kinds, _ = runtimes.open(tmp_path / "m.tflite", "litert").operators()
        assert ("BROADCAST_TO" in kinds) == (output == 0), "rows are only kept where they are read"


def test_the_file_has_no_memory(tmp_path):
    """What was computed before does not change what comes now."""
    feeds = {"x": array(STEPS, 1, FEATURES)}
    constants = {"w": array(1, 4 * HIDDEN, FEATURES), "r": array(1, 4 * HIDDEN, HIDDEN)}
    converted(model("LSTM", feeds, constants, outputs=3, hidden_size=HIDDEN), feeds, tmp_path)
    runner = runtimes.open(tmp_path / "m.tflite", "litert")
    first = runner.run(feeds)
    runner.run({"x": np.full_like(feeds["x"], np.nan)})
    for name, value in runner.run(feeds).items():
        np.testing.assert_array_equal(value, first[name])


@pytest.mark.parametrize("scheme", ["float16", "dynamic_range", "int8"])
def test_a_layer_stored_smaller(scheme, spelling, tmp_path):
    """In integer schemes it is an island of floats, calibrated as one operator, with int8 weights."""
    feeds = {"x": array(STEPS, 1, FEATURES)}
    constants = {"w": array(1, 4 * 64, FEATURES), "r": array(1, 4 * 64, 64)}
    proto = model("LSTM", feeds, constants, hidden_size=64)
    onnx.save(proto, tmp_path / "m.onnx")
    quantised = narrowcast.quantize(narrowcast.load(tmp_path / "m.onnx"), scheme, data=[feeds])
    written = narrowcast.save(quantised, tmp_path / "q.tflite", data=[feeds])
    kinds, _ = runtimes.open(written.path, "litert").operators()
    assert ("WHILE" in kinds) == ("loop" in spelling)
    assert written.bytes < 4 * constants["r"].size
