"""Calibration: what the graph picks and computes of its tensors is what looking at all of them tells."""

from __future__ import annotations

import numpy as np
import pytest

from narrowcast.dialect.build import Builder
from narrowcast.errors import DataError
from narrowcast.model import Model
from narrowcast.passes.infer import infer_shapes
from narrowcast.passes.prepare import adapt
from narrowcast.quantization import Watch, calibrate
from narrowcast.quantization.observers import OBSERVERS
from narrowcast.reference import Reference
from narrowcast.targets.litert import LITERT
from tests.cases import weights

SIDE = 64


def network() -> Model:
    """Images with a Relu6, a SiLU, a sum and a pool, and rows of numbers behind them."""
    build = Builder.new("network")
    x = build.input("x", (1, 3, SIDE, SIDE))
    first = build("Conv", x, build.constant(weights(16, 3, 1, 1)), shape=(1, 16, SIDE, SIDE))
    bounded = build("Clip", first, build.constant(np.float32(0)), build.constant(np.float32(6)))
    second = build("Conv", bounded, build.constant(weights(16, 16, 1, 1, seed=1)), shape=(1, 16, SIDE, SIDE))
    gated = build("Mul", second, build("Sigmoid", second))
    summed = build("Add", gated, bounded)
    pooled = build("AveragePool", summed, kernel_shape=(4, 4), strides=(4, 4))
    rows = build("Reshape", pooled, build.constant([16, 256], "shape", np.int64), shape=(16, 256))
    model = Model(build.finish([build("MatMul", rows, build.constant(weights(256, 100, seed=2)))]))
    infer_shapes(model)
    adapt(model, LITERT, keep_recurrent=True)
    return model


def feeds(count, seed=0):
    random = np.random.default_rng(seed)
    return [{"x": random.normal(size=(1, 3, SIDE, SIDE)).astype(np.float32) * (1 + i % 3)} for i in range(count)]


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.fixture(scope="module")
def whole(model):
    """All values of all tensors, by name."""
    data = feeds(12)
    names = list(Watch(model, LITERT, observers=tuple(OBSERVERS)).seen)
    reference = Reference(model, names)
    runs = [{**feed, **reference.run(feed)} for feed in data]
    return {name: np.concatenate([run[name].reshape(-1) for run in runs]) for name in names}


def test_extremes_are_those_of_all_values(model, whole):
    ranges = calibrate(model, feeds(12), LITERT).ranges
    assert ranges.keys() == whole.keys()
    for name, values in whole.items():
        assert min(ranges[name][0], 0) == pytest.approx(min(values.min(), 0), rel=1e-6)
        assert max(ranges[name][1], 0) == pytest.approx(max(values.max(), 0), rel=1e-6)


def test_what_is_picked_is_distributed_as_all_values_are(model, whole):
    watch = Watch(model, LITERT, observers=("percentile",))
    watch.look(feeds(12))
    for name, seen in watch.observed().seen.items():
        histogram, values = seen.histogram, whole[name]
        assert histogram.total == values.size
        assert histogram.counts[0].sum() <= 12 * 4 * 4096
        expected = np.histogram(values.astype(np.float64), histogram.edges)[0].cumsum() / values.size
        found = histogram.numbers.cumsum() / histogram.numbers.sum()
        assert np.abs(found - expected).max() < 0.03, name


@pytest.mark.parametrize("observer", [name for name in OBSERVERS if name != "entropy"])
def test_ranges_do_not_depend_on_order_parts_or_threads(model, observer):
    data = feeds(12)
    straight = calibrate(model, data, LITERT, observer=observer, threads=1).ranges
    watch = Watch(model, LITERT, observers=tuple(OBSERVERS), threads=2)
    watch.look(data[7:])
    before = watch.observed()
    kept = before.ranges(observer).ranges
    watch.look(reversed(data[:7]))
    found = watch.observed().ranges(observer).ranges
    assert found.keys() == straight.keys()
    for name, bounds in straight.items():
        assert found[name] == pytest.approx(bounds, rel=1e-5, abs=1e-6)
    assert before.ranges(observer).ranges == kept, "what comes later changes no earlier memory"


def test_memory_does_not_grow_with_samples(model):
    watch = Watch(model, LITERT, observers=tuple(OBSERVERS))
    sizes = []
    for _ in range(3):
        watch.look(feeds(40))
        sizes.append(sum(seen.histogram.counts.nbytes for seen in watch.observed().seen.values()))
        waiting = sum(picked.size for picked in watch._probe.picked.values())
        assert waiting == 0, "all is counted when the memory is asked for"
    assert max(sizes) <= len(watch.seen) * 3 * 4096 * 8


def test_numbers_that_become_infinite_inside_are_told_of():
    build = Builder.new("network")
    x = build.input("x", (1, 3, 8, 8))
    large = build("Conv", x, build.constant(np.full((4, 3, 1, 1), 100.0, np.float32)), shape=(1, 4, 8, 8))
    pooled = build("MaxPool", large, kernel_shape=(2, 2), strides=(2, 2))
    model = Model(build.finish([build("Clip", pooled, build.constant(np.float32(0)), build.constant(np.float32(6)))]))
    infer_shapes(model)
    adapt(model, LITERT, keep_recurrent=True)
    data = [{"x": np.full((1, 3, 8, 8), number, np.float32)} for number in (0, 1, 2, 3, 4, 3e37)]
    with pytest.raises(DataError, match=r"calibration sample 5 makes '.*' NaN or infinite"):
        calibrate(model, data, LITERT)
