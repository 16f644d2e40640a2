"""Files that Keras 3 and tf-keras save are run and compared with the very models that were saved."""

import io
import json
import os
import sys
import warnings
import zipfile

import h5py
import numpy as np
import pytest

from narrowcast import runtimes
from narrowcast.errors import DataError, MissingExtraError, ModelFileError, UnsupportedError
from narrowcast.runtimes import keras as runtime

A, B = np.random.default_rng(0).normal(size=(2, 1, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def keras3():
    os.environ.setdefault("KERAS_BACKEND", "torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import keras
    return keras


@pytest.fixture(scope="module")
def keras2():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tf_keras
    return tf_keras


@pytest.fixture(params=["keras3", "keras2"])
def keras(request):
    """Either generation."""
    return request.getfixturevalue(request.param)


def two_by_two(keras, named=False):
    """Two inputs and two outputs; by key if `named`."""
    a, b = keras.Input((4,), name="b_first"), keras.Input((4,), name="a_second")
    total = keras.layers.Dense(3, name="dense", bias_initializer="ones")(keras.layers.Subtract(name="minus")([a, b]))
    ends = [keras.layers.ReLU(name="relu")(total), keras.layers.Dropout(0.5, name="drop")(a)]
    if named:
        return keras.Model({"b_first": a, "a_second": b}, {"last": ends[0], "first": ends[1]})
    return keras.Model([a, b], ends)


def save(model, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(path)
    return path


def arrays(found):
    return [np.asarray(value.detach() if hasattr(value, "detach") else value) for value in found]


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_file_runs_as_the_model_that_was_saved(keras, tmp_path, suffix):
    model = two_by_two(keras)
    path = save(model, tmp_path / f"model{suffix}")
    runner = runtimes.open(path, "keras", 2)
    assert (
        runner.name.split(" on ")[0] == f"{'tf-keras' if keras.__name__ == 'tf_keras' else 'Keras'} {keras.__version__}"
    )
    assert runtime.package(path) == keras.__name__
    assert runtime.installed(path)
    assert [(spec.name, spec.shape, spec.dtype) for spec in runner.inputs] == [
        ("b_first", (None, 4), np.float32),
        ("a_second", (None, 4), np.float32),
    ]
    expected = arrays(model([A, B], training=False))
    found = runner.run({"a_second": B, "b_first": A})
    assert list(found) == [spec.name for spec in runner.outputs]
    for have, want in zip(found.values(), expected, strict=True):
        assert isinstance(have, np.ndarray)
        np.testing.assert_allclose(have, want, rtol=1e-5, atol=1e-6)
    runner.stopwatch({"a_second": B, "b_first": A})()
    runner.close()


def test_inputs_of_other_names_go_by_position(keras, tmp_path):
    model = two_by_two(keras)
    runner = runtimes.open(save(model, tmp_path / "model.keras"), "keras")
    for have, want in zip(runner.run({"x": A, "y": B}).values(), arrays(model([A, B])), strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-5, atol=1e-6)


def test_a_model_of_one_tensor(keras, tmp_path):
    x = keras.Input((4,))
    model = keras.Model(x, keras.layers.ReLU()(x))
    runner = runtimes.open(save(model, tmp_path / "model.keras"), "keras")
    (found,) = runner.run({"x": A}).values()
    np.testing.assert_array_equal(found, np.maximum(A, 0))


def test_models_with_keys(keras, tmp_path):
    model = two_by_two(keras, named=True)
    runner = runtimes.open(save(model, tmp_path / "model.keras"), "keras")
    expected = arrays(model({"b_first": A, "a_second": B}).values())
    assert {spec.name for spec in runner.inputs} == {"b_first", "a_second"}
    found = runner.run({"b_first": A, "a_second": B})
    assert sorted(array.shape for array in found.values()) == [(1, 3), (1, 4)]
    for spec in runner.outputs:
        want = next(array for array in expected if array.shape == found[spec.name].shape)
        assert spec.shape == (None, *want.shape[1:])
        np.testing.assert_allclose(found[spec.name], want, rtol=1e-5, atol=1e-6)


def test_a_sequential_model(keras, tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    runner = runtimes.open(save(model, tmp_path / "model.h5"), "keras")
    (found,) = runner.run({runner.inputs[0].name: np.concatenate([A, B])}).values()
    np.testing.assert_allclose(found, arrays([model(np.concatenate([A, B]))])[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("feed", [{"b_first": A}, {"b_first": A, "a_second": B[:, :3]}, {"p": A, "q": A, "r": A}])
def test_feeds_that_do_not_fit(keras, tmp_path, feed):
    runner = runtimes.open(save(two_by_two(keras), tmp_path / "model.keras"), "keras")
    with pytest.raises(DataError, match=r"inputs, the data|Keras cannot run the data"):
        runner.run(feed)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_lambda_layers_are_never_run(keras, tmp_path, suffix):
    opened = tmp_path / "opened"
    code = compile(f"lambda x: __import__('pathlib').Path({str(opened)!r}).touch() or x", "layer", "eval")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Lambda(eval(code), output_shape=(4,))])
    opened.unlink(missing_ok=True)
    path = save(model, tmp_path / f"model{suffix}")
    with pytest.raises(UnsupportedError, match=r"a Lambda layer holds Python code, which is never run"):
        runtimes.open(path, "keras")
    assert not opened.exists()


def zipped(config, metadata='{"keras_version": "3.12.0"}'):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("config.json", config)
        archive.writestr("metadata.json", metadata)
    return buffer.getvalue()


LAYER = {"class_name": "Sequential", "config": {"name": "s", "layers": []}}


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"class_name": "\u004cambda"}, "Lambda layer"),
        ({**LAYER, "extra": [[{"deep": {"class_name": "__lambda__"}}]]}, "Lambda layer"),
        ({**LAYER, "module": "os"}, r"outside Keras: os\.Sequential"),
        ({"class_name": "function", "module": "builtins", "config": "exec"}, r"outside Keras: builtins\.function"),
        ({**LAYER, "module": "keras_but_not_really.layers"}, "outside Keras"),
    ],
)
@pytest.mark.parametrize("container", ["zip", "hdf5"])
@pytest.mark.parametrize("version", ["2.15.0", "3.12.0"])
def test_code_outside_keras_is_refused_before_keras_is_loaded(
    monkeypatch, tmp_path, config, reason, container, version
):
    path = tmp_path / ("model.keras" if container == "zip" else "model.h5")
    text = json.dumps(config).replace('"Lambda"', '"\\u004cambda"')
    if container == "zip":
        path.write_bytes(zipped(text, json.dumps({"keras_version": version})))
    else:
        with h5py.File(path, "w") as file:
            file.attrs["model_config"], file.attrs["keras_version"] = text, version
    monkeypatch.setattr(runtime, "require", lambda *_, **__: pytest.fail("Keras was loaded"))
    with pytest.raises(UnsupportedError, match=reason):
        runtimes.open(path, "keras")


def weights_only():
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["kernel"] = np.zeros(3)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["model.hdf5", "model.bin", "model"])
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_file_of_another_name(keras, tmp_path, suffix, name):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    runner = runtimes.open(save(model, tmp_path / f"model{suffix}").rename(tmp_path / name), "keras")
    (found,) = runner.run({runner.inputs[0].name: A}).values()
    np.testing.assert_allclose(found, arrays([model(A)])[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"nonsense", "not a readable Keras file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "not a readable Keras file"),
        (b"PK\x03\x04" + bytes(40), "not a readable Keras file"),
        (weights_only(), "it holds weights but no model"),
        (zipped("{"), "not a readable Keras file"),
        (zipped("[" * 100_000), "not a readable Keras file"),
        (zipped("{}", "[]"), "not a readable Keras file"),
    ],
)
@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_damaged_files(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelFileError, match=reason):
        runtimes.open(tmp_path / name, "keras")


def test_a_definition_that_is_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "_CONFIG_LIMIT", 10)
    (tmp_path / "model.keras").write_bytes(zipped(json.dumps(LAYER)))
    with pytest.raises(ModelFileError, match="definition is too large"):
        runtimes.open(tmp_path / "model.keras", "keras")


@pytest.mark.usefixtures("keras3")
def test_what_keras_refuses(tmp_path):
    (tmp_path / "model.keras").write_bytes(zipped(json.dumps({"class_name": "NoSuchLayer", "config": {}})))
    with pytest.raises(ModelFileError, match=r"model\.keras: Keras refuses the file: "):
        runtimes.open(tmp_path / "model.keras", "keras")


@pytest.mark.parametrize(("version", "name"), [("3.1.0", "keras"), ("2.4.0", "tf_keras"), ("2.2.4-tf", "tf_keras")])
def test_without_keras(tmp_path, monkeypatch, version, name):
    path = tmp_path / "model.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"], file.attrs["keras_version"] = json.dumps(LAYER), version
    monkeypatch.setitem(sys.modules, name, None)
    assert not runtime.installed(path)
    with pytest.raises(MissingExtraError, match=rf"needs the package {name}, .*pip install 'narrowcast\[keras\]'"):
        runtimes.open(path, "keras")
