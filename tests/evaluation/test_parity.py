from dataclasses import replace

import numpy as np
import pytest

from narrowcast import targets
from narrowcast.errors import ModelFileError
from narrowcast.evaluation import parity
from narrowcast.evaluation.parity import LIMITS, Bars, verify
from narrowcast.evaluation.source import open_source
from narrowcast.model import ir
from narrowcast.passes.prepare import prepare
from narrowcast.quantization import SCHEMES
from narrowcast.writers.formats import Port, Written
from tests.evaluation.networks import network


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
        monkeypatch.setattr(parity.runtimes, "open", lambda path, runtime, threads, signature: Fake(model))
        return tmp_path / "model.tflite"

    return put


def of(scheme="float32", source=None, ports=PORTS, **options):
    """What a writer says of the file that it makes of a network with such options."""
    model = replace(network(**options), scheme=scheme, source=source)
    return replace(ports, prepared=prepare(model, targets.find("onnxruntime")))


def test_every_scheme_has_limits():
    assert set(LIMITS) == {*SCHEMES, "uint8"}, "which files keep, and none is made in"
    assert [LIMITS[name].source for name in ("float32", "float16", "int8")] == [60, 40, None]
    assert min(limits.translation for limits in LIMITS.values()) >= 30


def test_a_faithful_file_passes(written):
    found = verify(network(), written(network()), of())
    assert found.passed
    assert found.translation.sqnr_db > 120
    assert (found.samples, found.random_samples) == (parity.SAMPLES, True)
    assert (found.reference.partition(" 1.")[0], found.runtime) == ("ONNX Runtime", "fake 1.0")
    assert found.outputs[0].top1_agreement == 1.0


@pytest.mark.parametrize(
    ("gain", "decibels", "scheme", "passed"),
    [
        (1.0001, 80, "float32", True),
        (1.002, 54, "float32", False),
        (1.002, 54, "float16", False),
        (1.002, 54, "dynamic_range", False),
        (1.002, 54, "int16x8", False),
        (1.02, 34, "int8", True),
        (1.06, 24, "int8", False),
        (-1, -6, "int8", False),
    ],
)
def test_a_file_is_held_against_its_own_graph(written, gain, decibels, scheme, passed):
    found = verify(network(), written(network(gain=gain)), of(scheme))
    assert found.translation.sqnr_db == pytest.approx(decibels, abs=0.6)
    assert (found.translated, found.passed) == (passed, passed)
    assert found.kept


@pytest.mark.parametrize(
    ("gain", "decibels", "scheme", "kept", "doubtful"),
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
def test_a_graph_is_held_against_its_source(written, gain, decibels, scheme, kept, doubtful):
    found = verify(network(), written(network(gain=gain)), of(scheme, gain=gain))
    assert found.sqnr_db == pytest.approx(decibels, abs=0.3)
    assert (found.kept, found.passed, found.doubtful) == (kept, kept, doubtful)
    assert found.translated, "the file is its graph's"


@pytest.mark.parametrize(("least", "kept"), [(30, True), (40, False)])
def test_the_users_own_bar(written, least, kept):
    path = written(network(gain=1.02))
    found = verify(network(), path, of("int8", gain=1.02), bars=Bars(min_sqnr=least))
    assert (found.kept, found.passed, found.translated) == (kept, kept, True)


@pytest.mark.parametrize(("most", "kept"), [(1.0, True), (0.01, False)])
def test_a_drop_takes_as_many_samples_as_tell(written, most, kept):
    other = np.roll(np.random.default_rng(0).normal(size=(5, 3, 1, 1)).astype(np.float32), 1, 0)
    path = written(network(weight=other))
    found = verify(network(), path, of("int8", weight=other), bars=Bars(max_drop=most))
    assert found.quantization.agreement < 0.9
    assert (found.kept, found.translated) == (kept, True)
    assert found.samples == (100 if most == 0.01 else parity.SAMPLES)


def test_what_was_read_wrongly_is_no_loss_of_quantisation(written):
    path = written(network(gain=1.2))
    found = verify(network(), path, of("int8", network(gain=1.2), gain=1.2))
    assert (found.translated, found.read, found.passed) == (True, False, False)
    found = verify(network(), path, of("int8", network(), gain=1.2))
    assert (found.read, found.passed, found.doubtful) == (True, True, True)
    assert found.weakest_layer == "conv (Conv)"


def test_the_largest_error_is_that_of_all_samples(written):
    model, feeds = network(), [{"image": np.full((1, 3, 8, 8), value, np.float32)} for value in (1, 3, 2)]
    found = verify(model, written(network(gain=1.5)), of("int8"), feeds=feeds)
    largest = np.abs(open_source(model).run(feeds[1])["scores"]).max() / 2
    assert found.translation.outputs[0].max_abs_error == pytest.approx(largest, rel=1e-5)
    assert (found.samples, found.random_samples) == (3, False)


def test_no_more_feeds_are_taken_than_asked_for(written):
    feeds = ({"image": np.ones((1, 3, 8, 8), np.float32)} for _ in range(10))
    assert verify(network(), written(network()), of(), feeds=feeds).samples == parity.SAMPLES
    assert len(list(feeds)) == 10 - parity.SAMPLES


@pytest.mark.parametrize("size", [1e-9, 1.0, 1e9])
def test_what_counts_is_the_error_beside_the_outputs_own_size(written, size):
    assert verify(network(gain=size), written(network(gain=size * 1.0001)), of(gain=size)).passed
    assert not verify(network(gain=size), written(network(gain=size * 1.01)), of(gain=size)).passed


def test_a_silent_network_has_no_errors_to_give(written):
    assert verify(network(gain=0), written(network(gain=0)), of(gain=0)).passed
    assert not verify(network(gain=0), written(network(gain=1e-9)), of(gain=0)).passed


def test_a_file_that_gives_nan_fails(written):
    broken = network(weight=np.full((5, 3, 1, 1), np.nan, np.float32))
    found = verify(network(), written(broken), of())
    assert not found.passed
    assert found.translation.outputs[0].max_abs_error == float("inf")


def test_an_output_of_another_shape(written):
    ports = replace(PORTS, outputs=(Port("scores", (1, 0)),))
    found = verify(network(), written(network()), of(ports=ports))
    assert found.passed, "an axis of size 1 may move"
    model = network()
    model.graph.outputs[0].shape = ir.Shape((1, 5))
    with pytest.raises(
        ModelFileError, match=r"the output 'scores' has the shape \(1, 4\) where the source's is \(1, 5\)"
    ):
        verify(model, written(network(weight=np.ones((4, 3, 1, 1), np.float32))), of())


def test_an_output_that_the_file_lacks(written):
    ports = replace(PORTS, outputs=(Port("other"),))
    with pytest.raises(ModelFileError, match="has no output 'other'"):
        verify(network(), written(network()), of(ports=ports))
    with pytest.raises(ModelFileError, match="the output 'scores' is none of the file's"):
        verify(network(), written(network()), of(ports=replace(PORTS, outputs=())))
