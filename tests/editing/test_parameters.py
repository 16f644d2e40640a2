"""Weights in a folder: what the index says of each, and that they come back bit for bit."""

import json
import random

import ml_dtypes
import numpy as np
import pytest

from narrowcast.dialect.build import Builder
from narrowcast.editing.parameters import INDEX, changed, extract, parameters
from narrowcast.errors import NarrowcastError
from narrowcast.model import Model
from tests.editing import HEAD, network

RANDOM = np.random.default_rng(0)


def built(*layers):
    """A model of layers, each a function of a builder and a value."""
    build = Builder.new("net")
    y = build.input("x", (1, 4, 8, 8))
    for layer in layers:
        y = layer(build, y)
    return Model(build.finish([y]))


def array(*shape, dtype=np.float32):
    return RANDOM.normal(size=shape).astype(dtype)


def conv(build, x):
    return build("Conv", x, build.constant(array(6, 2, 3, 3), "w"), build.constant(array(6), "b"), name="conv", group=2)


def stored(build, x):
    """A convolution by int8 weights with a scale for each output, and a bias of its own scale."""
    weight = build.constant(RANDOM.integers(-9, 9, (6, 4, 1, 1)).astype(np.int8), "w")
    scale, zero = build.constant(array(6), "w_scale"), build.constant(np.zeros(6, np.int8), "w_zero")
    bias = build.constant(np.arange(6, dtype=np.int32), "b")
    real = build("DequantizeLinear", weight, scale, zero, name="dequantised", axis=0)
    offset = build("DequantizeLinear", bias, build.constant(np.float32(0.5), "b_scale"))
    return build("Conv", x, real, offset, name="conv")


def gemm(build, x):
    flat = build("Reshape", x, build.constant([1, 256], "shape", np.int64), shape=(1, 256))
    return build("Gemm", flat, build.constant(array(7, 256), "w"), build.constant(array(7), "b"), transB=1)


def norm(build, x):
    named = [build.constant(array(4), name) for name in ("gamma", "beta", "mean", "variance")]
    return build("BatchNormalization", x, *named)


def product(build, x):
    return build("MatMul", x, build.constant(array(4, 8, 5), "w"))


def biased(build, x):
    return build("Add", build.constant(array(5), "b"), product(build, x))


def lstm(build, x):
    steps = build("Reshape", x, build.constant([8, 4, 8], "shape", np.int64))
    weights = [build.constant(array(1, 12, size), name) for name, size in (("w", 8), ("r", 3))]
    return build("LSTM", steps, *weights, build.constant(array(1, 24), "b"), outputs=2, hidden_size=3)[0]


def transposed(build, x):
    return build("ConvTranspose", x, build.constant(array(4, 6, 2, 2), "w"))


def scaled(build, x):
    return build("Mul", x, build.constant(np.float32(2), "factor"))


WHAT_THEY_ARE = {
    conv: {"w": ("weight", "out in/group height width"), "b": ("bias", "out")},
    stored: {
        "w": ("weight", "out in/group height width"),
        "w_scale": ("scale", ""),
        "w_zero": ("zero point", ""),
        "b": ("bias", "out"),
        "b_scale": ("scale", ""),
    },
    gemm: {"w": ("weight", "out in"), "b": ("bias", "out")},
    norm: {
        "gamma": ("scale", "channel"),
        "beta": ("bias", "channel"),
        "mean": ("mean", "channel"),
        "variance": ("variance", "channel"),
    },
    product: {"w": ("weight", "batch in out")},
    lstm: {
        "w": ("weight", "direction gate*hidden in"),
        "r": ("recurrent weight", "direction gate*hidden hidden"),
        "b": ("bias", "direction gate*hidden(W,R)"),
    },
    transposed: {"w": ("weight", "in out/group height width")},
    scaled: {"factor": ("factor", "")},
    biased: {"w": ("weight", "batch in out"), "b": ("bias", "out")},
}


@pytest.mark.parametrize("layer", WHAT_THEY_ARE, ids=lambda layer: layer.__name__)
def test_what_each_is(layer):
    found = {item.name: (item.role, " ".join(item.axes)) for item in parameters(built(layer))}
    assert found == WHAT_THEY_ARE[layer]


def test_integers_name_their_scales():
    found = {item.name: item for item in parameters(built(stored))}
    assert (found["w"].node, found["w"].operator) == ("conv/Conv", "Conv")
    assert (found["w"].scale, found["w"].zero_point, found["w"].axis) == ("w_scale", "w_zero", 0)
    assert (found["b"].scale, found["b"].zero_point, found["b"].axis) == ("b_scale", "", None)
    assert found["w"].dtype == "int8"


@pytest.mark.parametrize("layer", WHAT_THEY_ARE, ids=lambda layer: layer.__name__)
def test_what_is_extracted_changes_nothing(layer, tmp_path):
    model = built(layer)
    found = extract(model, tmp_path / "w")
    assert changed(model, tmp_path / "w") == {}
    for item in found.parameters:
        constant = model.graph.initializers[item.name].const_value.numpy()
        np.testing.assert_array_equal(np.load(tmp_path / "w" / item.file), constant)
    assert {path.name for path in (tmp_path / "w").iterdir()} == {INDEX, *(item.file for item in found.parameters)}


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_every_type_comes_back(dtype, tmp_path):
    build = Builder.new("net")
    x = build.input("x", (1, 4), dtype)
    model = Model(build.finish([build("Mul", x, build.constant(array(4).astype(dtype), "k"))]))
    extract(model, tmp_path / "w")
    assert changed(model, tmp_path / "w") == {}
    np.save(tmp_path / "w" / "k.npy", np.ones(4, dtype))
    assert changed(model, tmp_path / "w")["k"].astype(float).tolist() == [1, 1, 1, 1]


def test_what_differs_is_found(tmp_path):
    model = built(conv, scaled)
    extract(model, tmp_path / "w")
    np.save(tmp_path / "w" / "factor.npy", np.float32(3))
    assert changed(model, tmp_path / "w") == {"factor": np.float32(3)}


def test_zeros_of_both_signs_differ(tmp_path):
    model = network(tmp_path, f"{HEAD}n (float[2] x) => (float[2] y) <float[2] k = {{0, 1}}> {{ y = Mul (x, k) }}")
    extract(model, tmp_path / "w")
    np.save(tmp_path / "w" / "k.npy", np.array([-0.0, 1], np.float32))
    assert set(changed(model, tmp_path / "w")) == {"k"}


def test_names_become_files_of_their_own(tmp_path):
    build = Builder.new("net")
    y = build.input("x", (2,))
    names = ["a/b", "a b", "A.B", "../up", "ü", "", "x" * 300, ".hidden", "a_b"]
    for name in names:
        y = build("Mul", y, build.constant(array(2), name or "unnamed"))
    model = Model(build.finish([y]))
    files = [item.file for item in extract(model, tmp_path / "w").parameters]
    assert len({file.lower() for file in files}) == len(names)
    assert changed(model, tmp_path / "w") == {}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w"]


def rewritten(change):
    def damage(folder):
        index = json.loads((folder / INDEX).read_text())
        change(index)
        (folder / INDEX).write_text(json.dumps(index))

    return damage


DAMAGE = {
    "an array of another shape": (
        lambda folder: np.save(folder / "w.npy", array(6, 2, 3)),
        "w.npy: the array is 6x2x3, 'w' is 6x2x3x3",
    ),
    "an array of another type": (
        lambda folder: np.save(folder / "w.npy", array(6, 2, 3, 3, dtype=np.float64)),
        "w.npy: the array is float64, 'w' is float32 (save it as float32)",
    ),
    "a truncated file": (
        lambda folder: (folder / "w.npy").write_bytes((folder / "w.npy").read_bytes()[:-9]),
        "w.npy: not a readable .npy file",
    ),
    "objects": (
        lambda folder: np.save(folder / "w.npy", np.array([{}]), allow_pickle=True),
        "w.npy: it holds Python objects",
    ),
    "no numbers": (lambda folder: np.save(folder / "w.npy", np.load(folder / "w.npy") * np.nan), "w.npy: it holds NaN"),
    "a file that is gone": (lambda folder: (folder / "w.npy").unlink(), "w.npy: no such file"),
    "an index that is gone": (lambda folder: (folder / INDEX).unlink(), "index.json: no such file"),
    "an index that is none": (lambda folder: (folder / INDEX).write_text("["), "index.json: not a JSON document"),
    "another index": (lambda folder: (folder / INDEX).write_text("{}"), "index.json: no index of the schema"),
    "a row that is none": (
        rewritten(lambda index: index["parameters"].append(7)),
        "index.json: parameters[2]: a parameter has a name and a file",
    ),
    "a name that the model lacks": (
        rewritten(lambda index: index["parameters"][0].update(name="weight")),
        "index.json: no constant fits 'weight'",
    ),
    "a file elsewhere": (
        rewritten(lambda index: index["parameters"][0].update(file="../w.npy")),
        "refers to a file outside its folder",
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_told_with_its_file(case, tmp_path):
    damage, what = DAMAGE[case]
    model, folder = built(conv), tmp_path / "w"
    extract(model, folder)
    damage(folder)
    with pytest.raises(NarrowcastError) as caught:
        changed(model, folder)
    assert what in str(caught.value)
    assert str(folder) in str(caught.value)


def test_mutated_indices_end_in_errors_of_ours(tmp_path):
    model, folder, draw = built(conv), tmp_path / "w", random.Random(0)
    extract(model, folder)
    whole = (folder / INDEX).read_bytes()
    for _ in range(200):
        data, at = bytearray(whole), draw.randrange(len(whole))
        if draw.random() < 0.5:
            data[at] = draw.randrange(256)
        else:
            del data[at : at + draw.randrange(1, 30)]
        (folder / INDEX).write_bytes(bytes(data))
        try:
            changed(model, folder)
        except NarrowcastError as error:
            told = error
        else:
            told = None
        assert told is None or str(folder) in told.where


def test_a_folder_of_something_else_is_not_replaced(tmp_path):
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "precious.txt").write_text("x")
    with pytest.raises(NarrowcastError, match=r"without index\.json"):
        extract(built(conv), tmp_path / "w")
    assert [path.name for path in (tmp_path / "w").iterdir()] == ["precious.txt"]
