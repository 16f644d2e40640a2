"""Files that are damaged, contradict themselves, or mean harm: one clear error each, and nothing worse."""

from __future__ import annotations

import json
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from narrowcast.errors import ModelFileError, NarrowcastError
from narrowcast.readers.formats import read

from . import craft

KERNEL, BIAS = np.ones((3, 2), np.float32), np.ones(2, np.float32)
WEIGHTS = {"layers/dense/vars/0": KERNEL, "layers/dense/vars/1": BIAS}


def refused(path: Path, match: str) -> None:
    with pytest.raises(ModelFileError, match=match) as caught:
        read(path)
    text = str(caught.value)
    assert "\n\n" not in text
    assert len(text) < 1000


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("keep", [1, 60, 300, 0.5, 0.9, 0.999])
def test_truncated(tmp_path: Path, suffix: str, keep: float) -> None:
    path = craft.dense(tmp_path / f"m.{suffix}")
    content = path.read_bytes()
    path.write_bytes(content[: int(keep if keep >= 1 else keep * len(content))])
    refused(path, "damaged|not a keras file")


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("magic", [b"", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"])
def test_random_bytes(tmp_path: Path, suffix: str, magic: bytes) -> None:
    path = tmp_path / f"m.{suffix}"
    path.write_bytes(magic + np.random.default_rng(0).bytes(5000))
    refused(path, "damaged|not a keras file")


@pytest.mark.parametrize("missing", ["config.json", "metadata.json", "model.weights.h5"])
def test_a_missing_entry(tmp_path: Path, missing: str) -> None:
    whole = craft.dense(tmp_path / "m.keras")
    path = tmp_path / "less.keras"
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            if name != missing:
                target.writestr(name, source.read(name))
    refused(path, f"lacks {missing}")


def test_weights_alone_say_so(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["layers/dense/vars/0"] = KERNEL
    refused(tmp_path / "w.h5", "weights but no model configuration")


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.json", "{}")
        with archive.open("config.json", "w", force_zip64=True) as file:
            for _ in range(200):
                file.write(b" " * (1 << 20))
    refused(path, r"config.json claims 209715200 bytes")


def test_entries_with_paths_are_never_unpacked(tmp_path: Path) -> None:
    inner = tmp_path / "deep" / "folder"
    inner.mkdir(parents=True)
    path = craft.write_keras(
        inner / "m.keras",
        craft.sequential(craft.entry([None, 3]), craft.layer("Dense", "dense", units=2)),
        WEIGHTS,
        extra={"../../escaped": b"x", "/tmp/narrowcast-escaped": b"x"},
    )
    read(path)
    assert not (tmp_path / "escaped").exists()
    assert not Path("/tmp/narrowcast-escaped").exists()


def test_an_array_larger_than_its_file_is_not_allocated(tmp_path: Path) -> None:
    with h5py.File("bomb.h5", "w", driver="core", backing_store=False) as file:
        file.create_dataset("layers/dense/vars/0", (1 << 20, 1 << 20), "float32", chunks=(1024, 1024))
        file.flush()
        image = bytes(file.id.get_file_image())
    net = craft.sequential(craft.entry([None, 3]), craft.layer("Dense", "dense", units=2))
    refused(craft.write_keras(tmp_path / "m.keras", net, image), "claims 4398046511104 bytes")


@pytest.mark.parametrize("kind", ["soft", "external", "raw"])
def test_links_out_of_the_file_are_not_followed(tmp_path: Path, kind: str) -> None:
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["kernel"] = KERNEL
    (tmp_path / "secret.bin").write_bytes(KERNEL.tobytes())
    path = tmp_path / "m.h5"
    net = craft.sequential(craft.entry([None, 3]), craft.layer("Dense", "dense", units=2, use_bias=False))
    craft.write_h5(path, net, {"dense": {"dense/kernel:0": KERNEL}})
    with h5py.File(path, "a") as file:
        group = file["model_weights/dense/dense"]
        del group["kernel:0"]
        if kind == "soft":
            group["kernel:0"] = h5py.SoftLink("/model_weights")
        elif kind == "external":
            group["kernel:0"] = h5py.ExternalLink(str(secret), "kernel")
        else:
            group.create_dataset("kernel:0", (3, 2), "float32", external=[(str(tmp_path / "secret.bin"), 0, 24)])
    refused(path, "not followed")


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({}, "has no array kernel"),
        ({"layers/dense/vars/0": KERNEL}, "has no array bias"),
        (WEIGHTS | {"layers/dense/vars/0": KERNEL.T}, r"kernel of shape \(2, 3\) does not fit"),
        (WEIGHTS | {"layers/dense/vars/0": KERNEL[0]}, r"kernel of shape \(2,\) does not fit"),
        (WEIGHTS | {"layers/dense/vars/1": np.ones(3, np.float32)}, "do not fit together"),
        (WEIGHTS | {"layers/dense/vars/0": np.array([b"text"])}, "no number"),
        ({"layers/dense/vars/0/0": KERNEL}, "has no array kernel"),
    ],
)
def test_weights_that_do_not_fit(tmp_path: Path, weights: Any, message: str) -> None:
    net = craft.sequential(craft.entry([None, 3]), craft.layer("Dense", "dense", units=2))
    refused(craft.write_keras(tmp_path / "m.keras", net, weights), message)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({}, "2 weights by its configuration, the file holds 0"),
        ({"dense/kernel:0": KERNEL}, "the file holds 1"),
        ({"dense/gamma:0": KERNEL, "dense/beta:0": BIAS}, "unlike its configuration"),
        ({"dense/bias:0": BIAS, "dense/kernel:0": KERNEL}, "unlike its configuration"),
    ],
)
def test_whole_model_weights_that_do_not_fit(tmp_path: Path, weights: Any, message: str) -> None:
    net = craft.sequential(craft.entry([None, 3]), craft.layer("Dense", "dense", units=2))
    refused(craft.write_h5(tmp_path / "m.h5", net, {"dense": weights}), message)


def nested(depth: int) -> dict[str, Any]:
    net = craft.sequential(craft.entry([None, 3]), craft.layer("ReLU", "relu"))
    for _ in range(depth):
        net = craft.sequential(craft.entry([None, 3]), net)
    return net


def functional(*layers: dict[str, Any], outputs: Any) -> dict[str, Any]:
    entry = {**craft.entry([None, 3]), "name": "x", "inbound_nodes": []}
    config = {"name": "n", "trainable": True, "layers": [entry, *layers], "input_layers": [["x", 0, 0]]}
    return {"class_name": "Functional", "config": config | {"output_layers": outputs}}


def called(name: str, *history: Any) -> dict[str, Any]:
    tensor = {"class_name": "__keras_tensor__", "config": {"keras_history": list(history)}}
    return {**craft.layer("ReLU", name), "name": name, "inbound_nodes": [{"args": [tensor], "kwargs": {}}]}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("", "no JSON"),
        ("[]", "no JSON object"),
        ("{" * 5, "no JSON"),
        ("[" * 100_000, "nested too deeply"),
        ({}, "no object with a class_name"),
        ({"class_name": "Sequential", "config": 3}, "is no object"),
        ({"class_name": "Sequential", "config": {"layers": []}}, "has no layers"),
        ({"class_name": "Sequential", "config": {"layers": [3]}}, "no object with a class_name"),
        (nested(70), "more than 64 deep"),
        (craft.sequential(craft.entry([None, 3]), craft.layer("ReLU", "x")), "two layers are named"),
        (craft.sequential(craft.entry([None, -3]), craft.layer("ReLU", "r")), "no positive integers"),
        (craft.sequential(craft.entry([None, 1 << 40]), craft.layer("ReLU", "r")), "more than 268435456 elements"),
        (craft.sequential(craft.entry([None, "3"]), craft.layer("ReLU", "r")), "no positive integers"),
        (functional(called("a", "b", 0, 0), called("b", "a", 0, 0), outputs=["a", 0, 0]), "its own output"),
        (functional(called("a", "x", 1, 0), outputs=["a", 0, 0]), "never made"),
        (functional(called("a", "x", 0, 1), outputs=["a", 0, 0]), "never made"),
        (functional(called("a", "x", 0, 0), outputs=["a", 0, -1]), "never made"),
        (functional(called("a", "ghost", 0, 0), outputs=["a", 0, 0]), "'ghost', which the model does not have"),
        (functional(called("a", "x", "0", 0), outputs=["a", 0, 0]), "origin is malformed"),
        (functional(called("a", "x", 0, 0), outputs=["b", 0, 0]), "'b', which the model does not have"),
        (functional(called("a", "x", 0, 0), outputs=3), "output of the model is malformed"),
        (functional(called("a", "x", 0, 0), outputs=[]), "no outputs"),
    ],
)
def test_configurations_that_contradict_themselves(tmp_path: Path, config: Any, message: str) -> None:
    path = craft.write_keras(tmp_path / "m.keras", config)
    with pytest.raises(NarrowcastError, match=message):
        read(path)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (craft.layer("Reshape", "l", target_shape=[5, "x"]), [None, 10]),
        (craft.layer("Reshape", "l", target_shape=[-1, -1]), [None, 10]),
        (craft.layer("Reshape", "l", target_shape=[3, -1]), [None, 10]),
        (craft.layer("Reshape", "l", target_shape=[0, -1]), [None, 10]),
        (craft.layer("Permute", "l", dims=[1, 1]), [None, 3, 4]),
        (craft.layer("ZeroPadding2D", "l", padding=[-1, 2]), [None, 3, 4, 2]),
        (craft.layer("Cropping1D", "l", cropping=[2, 2]), [None, 3, 4]),
        (craft.layer("MaxPooling2D", "l", pool_size=[9, 9]), [None, 3, 4, 2]),
        (craft.layer("MaxPooling2D", "l", pool_size=2, strides=0), [None, 3, 4, 2]),
        (craft.layer("MaxPooling2D", "l", pool_size="2"), [None, 3, 4, 2]),
        (craft.layer("Activation", "l", activation=7), [None, 3]),
        (craft.layer("Softmax", "l", axis=5), [None, 3]),
        (craft.layer("LayerNormalization", "l", axis="a", center=False, scale=False), [None, 3]),
        (craft.layer("LayerNormalization", "l", axis=1, center=False, scale=False), [None, 1 << 27]),
        (craft.layer("Concatenate", "l", axis=None), [None, 3]),
        (craft.layer("Rescaling", "l", scale="a"), [None, 3]),
        (craft.layer("Rescaling", "l", scale=[1, 2]), [None, 3]),
        (craft.layer("Normalization", "l", mean=[1, 2], variance=[1, 2]), [None, 3]),
        (craft.layer("UpSampling2D", "l", size=[2, 2, 2]), [None, 3, 4, 2]),
        (craft.layer("RepeatVector", "l", n="many"), [None, 3]),
        (craft.layer("TimeDistributed", "l"), [None, 3, 4]),
        (craft.layer("Dot", "l", axes=1), [None, 3]),
        (craft.layer("ReLU", "l", max_value=[6]), [None, 3]),
        (craft.layer("ReLU", "l", max_value={"class_name": "__numpy__", "config": {"value": {}}}), [None, 3]),
    ],
    ids=lambda value: f"{value['class_name']}" if isinstance(value, dict) else "x",
)
def test_malformed_arguments_name_their_layer(tmp_path: Path, layer: dict[str, Any], shape: list[Any]) -> None:
    path = craft.write_keras(tmp_path / "m.keras", craft.sequential(craft.entry(shape), layer))
    with pytest.raises(ModelFileError) as caught:
        read(path)
    assert caught.value.where == f"{layer['class_name']} l"


SOUND = json.dumps(functional(called("a", "x", 0, 0), called("b", "a", 0, 0), outputs=[["b", 0, 0]]))
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 9) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in children for place in places(child, (*path, key)))]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), junk=JUNK)
def test_any_value_of_a_configuration_may_be_junk(tmp_path: Path, data: st.DataObject, junk: Any) -> None:
    config = json.loads(SOUND)
    place = data.draw(st.sampled_from(places(config)[1:]))
    inner = config
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = junk
    with suppress(NarrowcastError):
        read(craft.write_keras(tmp_path / "junk.keras", config))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
def test_any_byte_of_a_zip_may_be_wrong(tmp_path: Path, where: float, value: int) -> None:
    content = bytearray(craft.dense(tmp_path / "m.keras").read_bytes())
    content[int(where * len(content))] = value
    path = tmp_path / "flipped.keras"
    path.write_bytes(content)
    with suppress(NarrowcastError):
        read(path)
