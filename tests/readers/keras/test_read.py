"""What the reader promises besides the numbers: names, shapes, options, refusals."""

from __future__ import annotations

import base64
import marshal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from narrowcast.errors import NarrowcastError, UnsupportedError, UnsupportedOpError, UsageError
from narrowcast.readers.formats import ReadOptions, read
from narrowcast.readers.keras import registry

from . import craft
from .running import load, run

X = np.float32([[1, 2, 3]])
Y = np.float32([[17, 21]])


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_reads_what_was_written(tmp_path: Path, suffix: str) -> None:
    model = load(craft.dense(tmp_path / f"m.{suffix}"))
    assert [(spec.name, spec.shape) for spec in (*model.inputs, *model.outputs)] == [("x", (1, 3)), ("dense", (1, 2))]
    np.testing.assert_array_equal(run(model, [X])[0], Y)
    assert model.provenance.format == "keras"
    assert model.provenance.producer == {"keras": "Keras 3.10.0", "h5": "Keras 2.15.0"}[suffix]


def test_names_of_several_inputs_and_outputs(producers) -> None:
    model = load(producers.wait(3) / "many_ends.keras")
    assert [spec.name for spec in model.inputs] == ["image", "vector"]
    assert [spec.name for spec in model.outputs] == ["stem", "logits", "pooled"]
    assert model.outputs[0].shape == (1, 6, 6, 4)


def test_repeated_outputs_get_names_of_their_own(producers) -> None:
    model = load(producers.wait(3) / "input_is_output.keras")
    assert [spec.name for spec in model.outputs] == ["y", "y_1", "x_1"]


def test_batch_and_shapes_can_be_pinned(tmp_path: Path) -> None:
    net = craft.sequential(craft.entry([None, None, 4, 2]), craft.layer("GlobalAveragePooling2D", "pool"))
    path = craft.write_keras(tmp_path / "m.keras", net)
    with pytest.raises(UsageError, match=r"open dimensions: 'x' is 1x\?x4x2.*--input x:1,640,4,2"):
        read(path)
    assert load(path, input_shapes={"x": (3, 5, 4, 2)}).inputs[0].shape == (3, 5, 4, 2)
    with pytest.raises(UsageError, match="contradicts"):
        read(path, ReadOptions(input_shapes={"x": (3, 5, 5, 2)}))
    with pytest.raises(UsageError, match="no input y"):
        read(path, ReadOptions(input_shapes={"y": (1, 5, 4, 2)}))
    dense = craft.dense(tmp_path / "d.keras")
    assert load(dense, batch=7).outputs[0].shape == (7, 2)
    dynamic = load(dense, batch="dynamic")
    assert dynamic.inputs[0].shape == (None, 3)
    assert run(dynamic, [np.repeat(X, 5, 0)])[0].shape == (5, 2)


def test_a_model_without_an_input_shape_asks_for_one(tmp_path: Path) -> None:
    net = craft.sequential(craft.layer("ReLU", "relu"))
    path = craft.write_keras(tmp_path / "m.keras", net)
    with pytest.raises(UsageError, match=r"'relu_input' is of unknown rank.*--input relu_input:1,224,224,3"):
        read(path)
    assert load(path, input_shapes={"relu_input": (1, 4)}).outputs[0].shape == (1, 4)


def test_all_unsupported_layers_are_named_at_once(tmp_path: Path) -> None:
    net = craft.sequential(
        craft.entry([None, 3]),
        craft.layer("Custom>Mystery", "first"),
        craft.layer("Dense", "dense", units=2),
        craft.layer("TextVectorization", "second"),
    )
    with pytest.raises(UnsupportedOpError) as caught:
        read(craft.write_keras(tmp_path / "m.keras", net))
    assert "first (Mystery), second (TextVectorization)" in caught.value.what
    assert "registry.layer" in caught.value.hint
    assert "format='onnx'" in caught.value.hint


def test_code_in_a_lambda_is_never_executed(tmp_path: Path) -> None:
    trap = tmp_path / "executed"
    code = compile(f"open({str(trap)!r}, 'w').close()", "lambda", "exec")
    body = base64.b64encode(marshal.dumps(code)).decode()
    function = {"class_name": "__lambda__", "config": {"code": body, "defaults": None, "closure": None}}
    net = craft.sequential(craft.entry([None, 3]), craft.layer("Lambda", "trap", function=function))
    for path in (
        craft.write_keras(tmp_path / "m.keras", net),
        craft.write_h5(tmp_path / "m.h5", net),
    ):
        with pytest.raises(UnsupportedOpError, match=r"trap \(Lambda\).*never executed"):
            read(path)
    assert not trap.exists()


def test_a_subclassed_model_is_refused(tmp_path: Path) -> None:
    path = craft.write_keras(tmp_path / "m.keras", {"class_name": "MyModel", "config": {"width": 3}})
    with pytest.raises(UnsupportedError, match=r"MyModel, which keeps its computation in Python code.*Functional"):
        read(path)


def test_a_custom_layer_can_be_registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry.find(load(craft.dense(tmp_path / "d.keras")) and _config())
    monkeypatch.setattr(registry, "_LAYERS", dict(registry._LAYERS))

    @registry.layer("Gain", weights=("gain",))
    def gain(g, layer, weights, inputs):
        return g.pointwise("Mul", inputs.x, g.constant(weights["gain"], "gain"))

    net = craft.sequential(craft.entry([None, 3]), craft.layer("Gain", "gain"))
    path = craft.write_keras(tmp_path / "m.keras", net, {"layers/gain/vars/0": np.float32([2, 3, 4])})
    np.testing.assert_array_equal(run(load(path), [X])[0], [[2, 6, 12]])
    with pytest.raises(ValueError, match="Gain is registered twice"):
        registry.layer("Gain")(gain)


def _config() -> registry.LayerConfig:
    return registry.LayerConfig("Dense", "dense", "dense", {}, 3)


def embedded(mask_zero: bool, *more: dict) -> dict:
    table = craft.layer("Embedding", "embed", input_dim=5, output_dim=2, mask_zero=mask_zero)
    return craft.sequential(craft.entry([None, 4]), table, *more)


def test_masks_that_matter_are_refused(tmp_path: Path) -> None:
    arrays = {"layers/embedding/vars/0": np.float32(np.arange(10).reshape(5, 2))}
    soft = craft.layer("Softmax", "soft")
    with pytest.raises(UnsupportedOpError, match=r"Softmax soft: depends on a mask"):
        read(craft.write_keras(tmp_path / "m.keras", embedded(True, craft.layer("Dropout", "drop"), soft), arrays))
    load(craft.write_keras(tmp_path / "m.keras", embedded(False, soft), arrays))
    load(craft.write_keras(tmp_path / "m.keras", embedded(True, craft.layer("Flatten", "flat")), arrays))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (craft.layer("LSTM", "l", units=2, stateful=True), "stateful=True"),
        (craft.layer("LSTM", "l", units=2, activation="mish"), "no activation mish"),
        (craft.layer("Activation", "l", activation="my_function"), "my_function is unknown"),
        (craft.layer("UpSampling1D", "l", size=2, interpolation="lanczos3"), "lanczos3"),
        (craft.layer("ReLU", "l", dtype={"class_name": "QuantizedDTypePolicy", "config": {}}), "quantised"),
        (craft.layer("RandomCrop", "l", height=1, width=1), "resizes at inference"),
    ],
    ids=lambda value: value["config"]["name"] if isinstance(value, dict) else value.split()[0],
)
def test_attributes_that_cannot_be_expressed(tmp_path: Path, layer: dict, message: str) -> None:
    arrays = {
        "layers/lstm/cell/vars/0": np.zeros((3, 8), np.float32),
        "layers/lstm/cell/vars/1": np.zeros((2, 8), np.float32),
        "layers/lstm/cell/vars/2": np.zeros(8, np.float32),
    }
    path = craft.write_keras(tmp_path / "m.keras", craft.sequential(craft.entry([None, 4, 3]), layer), arrays)
    with pytest.raises(UnsupportedOpError, match=message) as caught:
        read(path)
    assert caught.value.where == f"{layer['class_name']} l"
    assert caught.value.hint


def test_training_at_inference_is_refused_where_keras_would_do_it(tmp_path: Path) -> None:
    layers = [
        {**craft.entry([None, 3]), "name": "x", "inbound_nodes": []},
        {**craft.layer("Dropout", "drop", rate=0.5), "name": "drop"}
        | {"inbound_nodes": [[["x", 0, 0, {"training": True}]]]},
    ]
    config = {"name": "net", "layers": layers, "input_layers": [["x", 0, 0]], "output_layers": [["drop", 0, 0]]}
    path = craft.write_h5(tmp_path / "m.h5", {"class_name": "Functional", "config": config})
    with pytest.raises(UnsupportedOpError, match=r"Dropout drop: called with training=True"):
        read(path)


def test_a_nested_sequential_of_an_early_keras_2(tmp_path: Path) -> None:
    """It has no input layer of its own, yet its construction counts as a call."""
    inner = craft.sequential(craft.layer("Dense", "d", units=2, batch_input_shape=[None, 3]), name="inner")
    layers = [
        {**craft.entry([None, 3]), "name": "x", "inbound_nodes": []},
        {**inner, "name": "inner", "inbound_nodes": [[["x", 0, 0, {}]]]},
        {**craft.layer("ReLU", "r"), "name": "r", "inbound_nodes": [[["inner", 1, 0, {}]]]},
    ]
    config = {"name": "net", "layers": layers, "input_layers": [["x", 0, 0]], "output_layers": [["r", 0, 0]]}
    kernel, bias = np.arange(6, dtype=np.float32).reshape(3, 2), np.float32([1, -1])
    weights = {"inner": {"d/kernel:0": kernel, "d/bias:0": bias}}
    path = craft.write_h5(tmp_path / "m.h5", {"class_name": "Model", "config": config}, weights, version="2.2.4")
    np.testing.assert_array_equal(run(load(path), [X])[0], Y)


@pytest.mark.parametrize(("version", "slope"), [("2.15.0", 0.2), ("3.1.0", 1 / 6)])
def test_hard_sigmoid_follows_the_generation(tmp_path: Path, version: str, slope: float) -> None:
    net = craft.sequential(craft.entry([None, 3]), craft.layer("Activation", "a", activation="hard_sigmoid"))
    path = craft.write_keras(tmp_path / "m.keras", net, version=version)
    np.testing.assert_allclose(run(load(path), [X / 3])[0], slope * X / 3 + 0.5, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["mixed_float16", "bfloat16", "float64"])
def test_every_precision_is_read_as_float32(tmp_path: Path, dtype: str) -> None:
    kernel, bias = np.float32([[0, 1], [2, 3], [4, 5]]), np.float32([1, -1])
    path = tmp_path / "m.keras"
    net = craft.sequential(craft.entry([None, 3]), craft.layer("Dense", "dense", units=2, dtype=dtype))
    if dtype == "bfloat16":
        path = craft.write_keras(
            path, net, craft.bfloat16({"layers/dense/vars/0": kernel, "layers/dense/vars/1": bias})
        )
    else:
        kind = np.float64 if dtype == "float64" else np.float16
        arrays = {"layers/dense/vars/0": kernel.astype(kind), "layers/dense/vars/1": bias.astype(kind)}
        path = craft.write_keras(path, net, arrays)
    model = load(path)
    assert {spec.dtype for spec in (*model.inputs, *model.outputs)} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(run(model, [X])[0], Y)


def test_shared_layers_keep_one_copy_of_their_weights(producers) -> None:
    graph = load(producers.wait(3) / "shared.keras").graph
    kernels = [name for name in graph.initializers if name.startswith("shared/kernel")]
    assert kernels == ["shared/kernel"]
    assert sum(node.op_type == "MatMul" and "shared" in (node.name or "") for node in graph) == 3


def test_a_chain_of_image_layers_is_transposed_at_its_ends_only(producers) -> None:
    counts = [node.op_type for node in load(producers.wait(3) / "application_MobileNetV2.keras").graph]
    assert counts.count("Transpose") == 1
    assert counts.count("Conv") == 52


def test_no_framework_is_imported(tmp_path: Path) -> None:
    path = craft.dense(tmp_path / "m.keras")
    code = (
        "import sys; from pathlib import Path; from narrowcast.readers.formats import read; read(Path(sys.argv[1]));"
        "print({'keras', 'tf_keras', 'tensorflow', 'torch', 'sympy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_every_layer_has_a_docstring_and_stands_in_the_documentation() -> None:
    registry.find(_config())
    page = (Path(__file__).parents[3] / "docs/formats/keras.md").read_text()
    for kind, spec in registry._LAYERS.items():
        assert spec.read.__doc__, kind
        assert f"`{kind}`" in page, kind
    for kind in registry._OPERATIONS:
        assert f"`{kind}`" in page, kind


def lambda_2(function: str, *nodes: Any) -> dict[str, Any]:
    """A Keras 2 model of one TensorFlow function."""
    made = craft.layer("TFOpLambda", "f", function=function) | {"name": "f", "inbound_nodes": list(nodes)}
    entry = craft.layer("InputLayer", "x", batch_input_shape=[None, 4]) | {"name": "x", "inbound_nodes": []}
    config = {"name": "net", "layers": [entry, made], "input_layers": [["x", 0, 0]], "output_layers": [["f", 0, 0]]}
    return {"class_name": "Functional", "config": config}


@pytest.mark.parametrize(
    ("function", "node", "message"),
    [
        ("math.bessel_i0", ["x", 0, 0, {}], r"no reader for the layer: f \(tf\.math\.bessel_i0\)"),
        ("einsum", ["_CONSTANT_VALUE", -1, "ab,ac->bc", {}], "does not say what it is applied to"),
        ("image.resize", ["x", 0, 0, {"size": [2, 2], "method": "area"}], "'area' cannot be expressed"),
        ("math.equal", ["x", 0, 0, {}], "called with 1 operands"),
        ("stack", [["x", 0, 0, {}], ["_CONSTANT_VALUE", -1, 2.5, {}]], "constants among the tensors"),
        ("reshape", ["x", 0, 0, {"shape": [["x", 0, 0], -1]}], "a shape that is computed"),
    ],
)
def test_functions_of_tensorflow_are_refused_with_a_way_out(function, node, message, tmp_path: Path) -> None:
    with pytest.raises(NarrowcastError, match=message) as caught:
        read(craft.write_h5(tmp_path / "m.h5", lambda_2(function, node)))
    assert "format='onnx'" not in caught.value.hint


def test_the_way_out_is_that_of_the_files_keras(tmp_path: Path) -> None:
    net = craft.sequential(craft.entry([None, 3]), craft.layer("Mystery", "first"))
    with pytest.raises(UnsupportedOpError) as caught:
        read(craft.write_keras(tmp_path / "m.keras", net))
    assert "format='onnx'" in caught.value.hint
    with pytest.raises(UnsupportedOpError) as caught:
        read(craft.write_h5(tmp_path / "m.h5", net))
    assert "tf_keras" in caught.value.hint
    assert "tf2onnx" in caught.value.hint
