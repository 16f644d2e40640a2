"""What roundings account for: errors of kernels that are right, and not those of kernels that are wrong."""

import numpy as np
import pytest

import narrowcast
from narrowcast.dialect.build import Builder
from narrowcast.evaluation.comparison import Comparison
from narrowcast.evaluation.real import RealGraph
from narrowcast.evaluation.resolution import THROW, TIMES, is_hybrid, shaken
from narrowcast.model import Model
from narrowcast.passes.canonicalize import canonicalize
from narrowcast.passes.infer import infer_shapes


def model(make, shape=(1, 16), dtype=np.float32):
    build = Builder.new("m")
    x = build.input("x", shape, dtype)
    made = Model(build.finish([make(build, x)]))
    infer_shapes(made)
    canonicalize(made)
    return made


def noise(made, feed):
    """The noise of a graph's roundings at its one output, as a Noise."""
    found = Comparison(made)
    exact, moved = RealGraph(made), RealGraph(shaken(made))
    for throw in (1, 2, 3):
        found.update(exact.run(feed), moved.run({**feed, THROW: np.array(throw)}))
    (only,) = found.noises.values()
    return only


def shut(build, x, unit=1.0):
    """A sigmoid that is nearly shut."""
    y = build("Sigmoid", build("Sub", x, build.constant(np.float32(13))))
    return build("Mul", y, build.constant(np.float32(unit)))


FEED = {"x": np.random.default_rng(0).normal(size=(1, 16)).astype(np.float32)}


def test_a_sum_is_exact_to_its_last_digits():
    weights = np.random.default_rng(1).normal(size=(16, 16)).astype(np.float32)
    found = noise(model(lambda build, x: build("MatMul", x, build.constant(weights))), FEED)
    assert 120 < found.decibels < 150


@pytest.mark.parametrize("unit", [1.0, 1e-7])
def test_what_is_small_beside_what_was_computed_is_coarse_in_any_unit(unit):
    found = noise(model(lambda build, x: shut(build, x, unit)), FEED)
    assert 20 < found.decibels < 50
    assert np.sqrt(found.noise.sum() / 48) == pytest.approx(unit * 2.0**-22 / np.sqrt(2), rel=0.5)


def test_a_difference_keeps_what_its_terms_have():
    def make(build, x):
        far = build("Mul", build("Exp", x), build.constant(np.float32(1e4)))
        return build("Sub", build("Add", far, build("Sigmoid", x)), far)

    assert 40 < noise(model(make), FEED).decibels < 80


def test_numbers_that_are_counted_are_not_moved():
    table = np.random.default_rng(1).normal(size=(20, 4)).astype(np.float32)

    def make(build, x):
        return build("Gather", build.constant(table), build("Cast", x, to=7))

    made = model(make)
    found = noise(made, {"x": np.arange(16, dtype=np.float32)[None]})
    assert found.decibels == float("inf")


def test_activations_that_are_quantised_as_they_come():
    weights = np.random.default_rng(1).normal(size=(64, 64)).astype(np.float32)
    made = model(lambda build, x: build("MatMul", x, build.constant(weights)), (1, 64))
    hybrid = narrowcast.quantize(made, "dynamic_range")
    assert any(map(is_hybrid, hybrid.graph))
    feed = {"x": np.random.default_rng(0).normal(size=(1, 64)).astype(np.float32)}
    assert 30 < noise(hybrid, feed).decibels < 50
    assert noise(made, feed).decibels > 110


@pytest.mark.parametrize(("error", "passes"), [(1e-7, True), (1e-5, False)])
def test_a_right_file_is_called_right_and_a_wrong_one_wrong(error, passes):
    made = model(shut)
    exact = RealGraph(made).run(FEED)
    found = Comparison(made)
    found.update(exact, {name: array + np.float32(error) for name, array in exact.items()})
    (only,) = found.noises.values()
    assert (only.worst(noise(made, FEED), TIMES) >= 60) is passes
    assert only.worst() < 60


@pytest.mark.parametrize("seed", range(3))
def test_a_background_of_one_colour_is_rounded_alike(seed, tmp_path):
    """What kernels round it by adds up over a window whose weights are all positive: no fault of the file."""
    random = np.random.default_rng(seed)
    kernel = np.abs(random.normal(size=(16, 8, 3, 3))).astype(np.float32)
    bias = (kernel.sum((1, 2, 3)) * 0.4242).astype(np.float32)

    def make(build, x):
        return build("Conv", x, build.constant(kernel), build.constant(bias), kernel_shape=[3, 3])

    images = np.full((4, 8, 12, 12), -0.4242, np.float32)
    images[:, :, 4, 4], images[:, :, 4, 5] = random.normal(size=(4, 8)), 2.8
    made = model(make, (1, 8, 12, 12))
    file = narrowcast.save(narrowcast.quantize(made, "dynamic_range"), tmp_path / "m.tflite", data=images)
    assert file.parity.translation.sqnr_db < 60
