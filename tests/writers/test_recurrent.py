"""Recurrent layers as TFLite's sequence operators: right again and again, with and without XNNPACK."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from onnx import helper, numpy_helper

import narrowcast
from narrowcast import runtimes
from narrowcast.quantization import weights

STEPS, FEATURES, HIDDEN = 9, 3, 8
DIRECTIONS = ("forward", "reverse", "bidirectional")
ENGINES = {"XNNPACK": OpResolverType.AUTO, "plain": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES}


def layer(direction: str, given=("b",), outputs=(0, 1, 2), steps=STEPS, **attributes) -> onnx.ModelProto:
    """An LSTM between two elementwise operators, which XNNPACK takes, with initial states that such operators make."""
    random = np.random.default_rng(1)
    ways = 2 if direction == "bidirectional" else 1
    shapes = {
        "w": (ways, 4 * HIDDEN, FEATURES),
        "r": (ways, 4 * HIDDEN, HIDDEN),
        "b": (ways, 8 * HIDDEN),
        "p": (ways, 3 * HIDDEN),
    }
    arrays = {name: random.normal(0, 0.7, shape).astype(np.float32) for name, shape in shapes.items()}
    names = [name if name in ("x", "w", "r", *given) else "" for name in ("x", "w", "r", "b", "", "h", "c", "p")]
    states = [name for name in ("h", "c") if name in given]
    results = [f"y{index}" for index in range(3)]
    nodes = [
        *(helper.make_node("Tanh", [f"{name}_in"], [name]) for name in ("x", *states)),
        helper.make_node("LSTM", names, results, hidden_size=HIDDEN, direction=direction, **attributes),
        *(helper.make_node("Exp", [results[index]], [f"z{index}"]) for index in outputs),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info("x_in", 1, [steps, 1, FEATURES]),
            *(helper.make_tensor_value_info(f"{name}_in", 1, [ways, 1, HIDDEN]) for name in states),
        ],
        [helper.make_tensor_value_info(f"z{index}", 1, None) for index in outputs],
        [numpy_helper.from_array(array, name) for name, array in arrays.items() if name in names],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def feeds(proto: onnx.ModelProto, seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        value.name: random.normal(size=[dim.dim_value for dim in value.type.tensor_type.shape.dim]).astype(np.float32)
        for value in proto.graph.input
    }


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("given", [(), ("b",), ("b", "p"), ("b", "h"), ("b", "h", "c")])
@pytest.mark.parametrize("outputs", [(0,), (1,), (2,), (0, 1, 2)])
def test_each_inference_begins_anew(engine, direction, given, outputs, tmp_path):
    """Three inferences of other inputs, the second of which leaves NaN in the states."""
    proto = layer(direction, given, outputs)
    onnx.save(proto, tmp_path / "m.onnx")
    narrowcast.save(narrowcast.load(tmp_path / "m.onnx"), tmp_path / "m.tflite")
    kinds, _ = runtimes.open(tmp_path / "m.tflite", "litert").operators()
    assert sum(count for name, count in kinds.items() if "SEQUENCE_LSTM" in name) == 1
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    interpreter = Interpreter(str(tmp_path / "m.tflite"), experimental_op_resolver_type=ENGINES[engine])
    run = interpreter.get_signature_runner()
    for seed in range(3):
        feed = feeds(proto, seed)
        if seed == 1:
            run(**{name: np.full_like(array, np.nan) for name, array in feed.items()})
        found, expected = run(**feed), session.run(None, feed)
        for name, wanted in zip([value.name for value in proto.graph.output], expected, strict=True):
            np.testing.assert_allclose(found[name], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_relu(direction, tmp_path):
    """The other function that the kernel has for its cells."""
    ways = 2 if direction == "bidirectional" else 1
    proto = layer(direction, activations=["Sigmoid", "Relu", "Relu"] * ways)
    onnx.save(proto, tmp_path / "m.onnx")
    written = narrowcast.save(narrowcast.load(tmp_path / "m.onnx"), tmp_path / "m.tflite")
    assert written.parity.sqnr_db > 90
    kinds, _ = runtimes.open(written.path, "litert").operators()
    assert any("SEQUENCE_LSTM" in name for name in kinds)


@pytest.mark.parametrize(
    ("attributes", "given", "steps"),
    [
        ({"clip": 0.5}, ("b",), STEPS),
        ({"input_forget": 1}, ("b",), STEPS),
        ({"activations": ["Sigmoid", "Tanh", "Relu"]}, ("b",), STEPS),
        ({"activations": ["HardSigmoid", "Tanh", "Tanh"]}, ("b",), STEPS),
        ({}, ("b",), 2),
    ],
)
def test_what_the_kernel_lacks_is_unrolled(attributes, given, steps, tmp_path):
    onnx.save(layer("forward", given, steps=steps, **attributes), tmp_path / "m.onnx")
    written = narrowcast.save(narrowcast.load(tmp_path / "m.onnx"), tmp_path / "m.tflite")
    assert written.parity.sqnr_db > 90
    kinds, _ = runtimes.open(written.path, "litert").operators()
    assert not any("SEQUENCE_LSTM" in name for name in kinds)


@pytest.mark.parametrize(("scheme", "sequences"), [("float16", 1), ("dynamic_range", 0)])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("given", [("b",), ("b", "p", "h", "c")])
def test_smaller_weights(scheme, sequences, direction, given, tmp_path, monkeypatch):
    """float16 becomes float32 at the start; int8 weights are faster in dense layers."""
    monkeypatch.setattr(weights, "SMALLEST", 16 if scheme == "float16" else 1024)
    onnx.save(layer(direction, given), tmp_path / "m.onnx")
    model = narrowcast.quantize(narrowcast.load(tmp_path / "m.onnx"), scheme)
    written = narrowcast.save(model, tmp_path / "m.tflite")
    assert written.parity.sqnr_db > 60
    kinds, _ = runtimes.open(written.path, "litert").operators()
    assert sum(count for name, count in kinds.items() if "SEQUENCE_LSTM" in name) == sequences


@pytest.mark.parametrize("kind", ["then", "else"])
def test_within_a_branch(kind, tmp_path):
    """Variable tensors of a graph within another are written as well."""
    inner = layer("bidirectional")
    x = helper.make_tensor_value_info("x_in", 1, [STEPS, 1, FEATURES])
    branch = helper.make_graph(
        list(inner.graph.node), "branch", [], [helper.make_tensor_value_info("z0", 1, [STEPS, 2, 1, HIDDEN])],
        list(inner.graph.initializer),
    )  # fmt: skip
    other = helper.make_graph(
        [helper.make_node("Expand", ["one", "size"], ["e"])],
        "other",
        [],
        [helper.make_tensor_value_info("e", 1, [STEPS, 2, 1, HIDDEN])],
        [
            numpy_helper.from_array(np.float32([1]), "one"),
            numpy_helper.from_array(np.array([STEPS, 2, 1, HIDDEN]), "size"),
        ],
    )
    branches = (
        {"then_branch": branch, "else_branch": other}
        if kind == "then"
        else {"then_branch": other, "else_branch": branch}
    )
    proto = helper.make_model(
        helper.make_graph(
            [helper.make_node("If", ["go"], ["y"], **branches)],
            "g",
            [x, helper.make_tensor_value_info("go", 9, [])],
            [helper.make_tensor_value_info("y", 1, [STEPS, 2, 1, HIDDEN])],
        ),
        opset_imports=[helper.make_opsetid("", 21)],
        ir_version=10,
    )
    onnx.save(proto, tmp_path / "m.onnx")
    narrowcast.save(narrowcast.load(tmp_path / "m.onnx"), tmp_path / "m.tflite")
    kinds = dict(narrowcast.inspect(tmp_path / "m.tflite").operators.by_type)
    assert kinds["BIDIRECTIONAL_SEQUENCE_LSTM"] == kinds["IF"] == 1
    runner, session = (
        runtimes.open(tmp_path / "m.tflite", "litert"),
        onnxruntime.InferenceSession(proto.SerializeToString()),
    )
    for seed in range(3):
        feed = {"x_in": feeds(inner, seed)["x_in"], "go": np.array(kind == "then")}
        np.testing.assert_allclose(runner.run(feed)["y"], session.run(None, feed)[0], rtol=1e-4, atol=1e-5)
