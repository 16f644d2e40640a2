import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest

from narrowcast.dialect.build import Builder
from narrowcast.errors import ModelFileError, UsageError
from narrowcast.evaluation import parity
from narrowcast.evaluation.parity import LIMITS, open_source, random_feeds, verify
from narrowcast.model import Model, Preprocessing, Provenance, ir
from narrowcast.quantization import SCHEMES
from narrowcast.runtimes import keras as keras_runtime
from narrowcast.writers.formats import Port, Written


def network(*, gain=1.0, shape=(1, 3, 8, 8), weight=None):
    """A 1x1 convolution and a pooled score of five classes; `gain` scales the weights."""
    random = np.random.default_rng(0)
    build = Builder.new("network")
    x = build.input("image", shape)
    weight = random.normal(size=(5, 3, 1, 1)).astype(np.float32) if weight is None else weight
    w = build.constant(weight * np.float32(gain), "w")
    y = build("Conv", x, w, kernel_shape=[1, 1], pads=[0, 0, 0, 0], strides=[1, 1], dilations=[1, 1],
              shape=(1, 5, 8, 8))  # fmt: skip
    scores = build("ReduceMean", y, build.constant(np.array([2, 3])), keepdims=0, name="scores", shape=(1, 5))
    return Model(build.finish([scores]))


class Fake:
    """A runtime that runs a model's reference on NHWC inputs."""

    name = "fake 1.0"

    def __init__(self, model):
        self.source = open_source(model)

    def run(self, feed):
        return self.source.run({"image": feed["image"].transpose(0, 3, 1, 2)})

    def close(self):
        self.source = None


PORTS = Written((Port("image", (0, 2, 3, 1)),), (Port("scores"),), runtime="onnxruntime")


@pytest.fixture
def written(monkeypatch, tmp_path):
    """Sets the network that stands in the written file."""

    def put(model):
        monkeypatch.setattr(parity.runtimes, "open", lambda path, runtime, threads: Fake(model))
        return tmp_path / "model.tflite"

    return put


def test_every_scheme_has_limits():
    assert set(LIMITS) == set(SCHEMES)
    assert [LIMITS[name].required for name in ("float32", "float16")] == [60, 40]


def test_a_faithful_file_passes(written):
    found = verify(network(), written(network()), PORTS, scheme="float32")
    assert found.passed
    assert found.sqnr_db == float("inf")
    assert (found.samples, found.random_samples) == (parity.SAMPLES, True)
    assert (found.reference.partition(" 1.")[0], found.runtime) == ("ONNX Runtime", "fake 1.0")
    assert found.outputs[0].top1_agreement == 1.0


@pytest.mark.parametrize(
    ("gain", "decibels", "scheme", "passed", "doubtful"),
    [
        (1.0001, 80, "float32", True, False),
        (1.002, 54, "float32", False, False),
        (1.002, 54, "float16", True, False),
        (1.02, 34, "float16", False, False),
        (1.02, 34, "int8", True, False),
        (1.2, 14, "int8", True, True),
        (1.2, 14, "dynamic_range", True, True),
    ],
)
def test_thresholds(written, gain, decibels, scheme, passed, doubtful):
    found = verify(network(), written(network(gain=gain)), PORTS, scheme=scheme)
    assert found.sqnr_db == pytest.approx(decibels, abs=0.3)
    assert (found.passed, found.doubtful) == (passed, doubtful)


def test_the_largest_error_is_that_of_all_samples(written):
    model, feeds = network(), [{"image": np.full((1, 3, 8, 8), value, np.float32)} for value in (1, 3, 2)]
    found = verify(model, written(network(gain=1.5)), PORTS, scheme="int8", feeds=feeds)
    largest = np.abs(open_source(model).run(feeds[1])["scores"]).max() / 2
    assert found.outputs[0].max_abs_error == pytest.approx(largest, rel=1e-5)
    assert (found.samples, found.random_samples) == (3, False)


def test_no_more_feeds_are_taken_than_asked_for(written):
    feeds = ({"image": np.ones((1, 3, 8, 8), np.float32)} for _ in range(10))
    assert verify(network(), written(network()), PORTS, scheme="int8", feeds=feeds, samples=2).samples == 2
    assert len(list(feeds)) == 8


def test_a_silent_network_gives_no_alarm(written):
    silent = network(gain=0)
    nearly = network(gain=1e-9)
    assert verify(silent, written(nearly), PORTS, scheme="float32").passed
    assert not verify(silent, written(network()), PORTS, scheme="float32").passed


def test_a_file_that_gives_nan_fails(written):
    broken = network(weight=np.full((5, 3, 1, 1), np.nan, np.float32))
    found = verify(network(), written(broken), PORTS, scheme="float32")
    assert not found.passed
    assert found.outputs[0].max_abs_error == float("inf")


def test_an_output_of_another_shape(written):
    ports = replace(PORTS, outputs=(Port("scores", (1, 0)),))
    found = verify(network(), written(network()), ports, scheme="float32")
    assert found.passed, "an axis of size 1 may move"
    model = network()
    model.graph.outputs[0].shape = ir.Shape((1, 5))
    with pytest.raises(
        ModelFileError, match=r"the output 'scores' has the shape \(1, 4\) where the source's is \(1, 5\)"
    ):
        verify(model, written(network(weight=np.ones((4, 3, 1, 1), np.float32))), PORTS, scheme="float32")


def test_an_output_that_the_source_lacks(written):
    ports = replace(PORTS, outputs=(Port("other"),))
    with pytest.raises(ModelFileError, match="has no output 'other'"):
        verify(network(), written(network()), ports, scheme="float32")


@pytest.fixture
def saved(tmp_path):
    """A model that came from an ONNX file."""
    model = network()
    path = tmp_path / "model.onnx"
    onnx.save(ir.to_proto(model.ir), path)
    return replace(model, provenance=Provenance(path, "onnx"))


@pytest.mark.parametrize(
    ("original", "name"), [("auto", "original file"), ("always", "original file"), ("never", "canonical graph")]
)
def test_an_onnx_file_runs_itself(saved, original, name):
    source = open_source(saved, original=original)
    assert source.name.endswith(name)
    feed = next(random_feeds(saved, 1))
    np.testing.assert_allclose(source.run(feed)["scores"], open_source(network()).run(feed)["scores"], rtol=1e-5)


def test_outputs_go_by_the_models_names(saved):
    renamed = replace(saved, ir=network().ir)
    renamed.graph.outputs[0].name = "renamed"
    assert list(open_source(renamed).run(next(random_feeds(saved, 1)))) == ["renamed"]


def test_an_original_with_other_outputs_is_refused(saved):
    other = replace(saved, ir=network().ir)
    other.graph.outputs.append(next(iter(other.graph)).outputs[0])
    with pytest.raises(ModelFileError, match="sees 1 outputs, the model has 2"):
        open_source(other)


def test_an_original_that_is_gone_leaves_the_graph(saved):
    saved.provenance.path.unlink()
    assert open_source(saved, original="always").name.endswith("canonical graph")


@pytest.mark.parametrize(
    ("original", "loaded", "installed", "own"),
    [
        ("auto", False, True, False),
        ("auto", True, True, True),
        ("always", False, True, True),
        ("always", False, False, False),
        ("never", True, True, False),
    ],
)
def test_keras_is_waited_for_only_if_asked(monkeypatch, tmp_path, original, loaded, installed, own):
    (tmp_path / "model.keras").write_bytes(b"x")
    monkeypatch.setattr(keras_runtime, "installed", lambda path: installed)
    monkeypatch.setattr(keras_runtime, "package", lambda path: "some_keras")
    monkeypatch.setattr(
        parity.runtimes, "open", lambda path, runtime, threads: type("R", (), {"name": "Keras", "outputs": (1,)})
    )
    monkeypatch.setitem(sys.modules, "some_keras", sys) if loaded else None
    model = replace(network(), provenance=Provenance(tmp_path / "model.keras", "keras"))
    assert open_source(model, original=original).name.endswith("original file" if own else "canonical graph")


def ports(**kinds):
    build = Builder.new("inputs")
    values = [build.input(name, shape, dtype) for name, (shape, dtype) in kinds.items()]
    return Model(build.finish([build("Identity", value, shape=value.shape) for value in values]))


def test_random_samples_are_the_same_for_a_seed():
    model = ports(a=((1, 3, 4, 4), np.float32), b=((1, 5), np.int64))
    first, again, other = (list(random_feeds(model, 3, seed)) for seed in (1, 1, 2))
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one["a"], two["a"])
    assert not np.array_equal(first[0]["a"], other[0]["a"])
    assert not np.array_equal(first[0]["a"], first[1]["a"])


def test_random_samples_are_plausible():
    model = ports(
        image=((1, 3, 16, 16), np.float32),
        vector=((1, 500), np.float16),
        flag=((1, 9), np.bool_),
        pixels=((1, 16, 16, 3), np.uint8),
        count=((2,), np.int64),
    )
    feed = next(random_feeds(model, 1))
    assert {name: array.dtype.name for name, array in feed.items()} == {
        "image": "float32", "vector": "float16", "flag": "bool", "pixels": "uint8", "count": "int64"
    }  # fmt: skip
    assert -1 <= feed["image"].min() < -0.9
    assert 0.9 < feed["image"].max() <= 1
    assert feed["vector"].max() > 1.5
    assert feed["pixels"].max() > 200
    assert set(feed["count"]) <= {0, 1}


def test_random_samples_fit_into_memory():
    with pytest.raises(UsageError, match="does not fit"):
        next(random_feeds(ports(vast=((1, 2**29), np.float32)), 1))
    assert next(random_feeds(ports(empty=((2, 0), np.float32)), 1))["empty"].shape == (2, 0)


@pytest.mark.parametrize("shape", [(1, 3, 16, 16), (1, 16, 16, 3)])
def test_random_images_are_preprocessed(shape):
    model = replace(ports(image=(shape, np.float32)), preprocessing=Preprocessing((0.0, 100, 200), (1.0, 10, 100)))
    image = next(random_feeds(model, 1))["image"]
    channels = image[0] if shape[1] == 3 else image[0].transpose(2, 0, 1)
    for channel, low, high in zip(channels, (0, -10, -2), (255, 15.5, 0.55), strict=True):
        assert low <= channel.min() < channel.max() <= high


def test_indices_stay_within_their_table():
    build = Builder.new("embedding")
    ids = build.input("ids", (1, 200), np.int32)
    wide = build("Cast", ids, to=ir.DataType.INT64.value, shape=(1, 200), dtype=np.int64)
    table = build.constant(np.zeros((7, 4), np.float32))
    model = Model(build.finish([build("Gather", table, wide, axis=0, shape=(1, 200, 4), dtype=np.float32)]))
    feed = next(random_feeds(model, 1))
    assert set(feed["ids"].ravel()) == set(range(7))
