"""Observers: order does not matter, memory does not grow, ranges lie within what was seen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from narrowcast.errors import UsageError
from narrowcast.quantization.observers import BINS, OBSERVERS, Histogram, observer_named

samples = st.lists(
    st.lists(st.floats(-1000, 1000, width=32), min_size=1, max_size=20).map(
        lambda values: np.array(values, np.float32)
    ),
    min_size=1,
    max_size=8,
)


def ranged(name, arrays):
    observer = observer_named(name)()
    for array in arrays:
        observer.update(array)
    return observer, observer.range()


@pytest.mark.parametrize("name", OBSERVERS)
@given(arrays=samples, seed=st.integers(0, 9))
def test_the_order_of_samples_does_not_matter(name, arrays, seed):
    order = np.random.default_rng(seed).permutation(len(arrays))
    _, straight = ranged(name, arrays)
    _, shuffled = ranged(name, [arrays[i] for i in order])
    assert shuffled == pytest.approx(straight, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", OBSERVERS)
@given(arrays=samples)
def test_ranges_lie_within_what_was_seen(name, arrays):
    _, (low, high) = ranged(name, arrays)
    values = np.concatenate(arrays)
    assert float(values.min()) <= low <= max(high, 0.0) or low <= high
    assert high <= max(float(values.max()), 0.0)
    assert low >= min(float(values.min()), 0.0)


@given(arrays=samples)
def test_a_histogram_counts_everything_once(arrays):
    observer, _ = ranged("percentile", arrays)
    assert isinstance(observer, Histogram)
    assert observer.counts.sum() == sum(array.size for array in arrays)
    assert observer.counts.size <= BINS + 1


def test_outliers_are_left_out_by_all_but_minmax():
    random = np.random.default_rng(0)
    arrays = [random.normal(size=20_000).astype(np.float32) for _ in range(4)]
    arrays[2][7] = 1000.0
    widths = {name: ranged(name, arrays)[1][1] for name in OBSERVERS}
    assert widths["minmax"] == 1000.0
    assert widths["percentile"] < 10
    assert widths["mse"] < 950, "(1000 - c)^2 + 80,000 (c / 255)^2 / 12 is least at c = 910"
    assert widths["entropy"] < 500


def test_mse_keeps_a_uniform_distribution_whole():
    arrays = [np.random.default_rng(0).uniform(-1, 1, 50_000).astype(np.float32)]
    low, high = ranged("mse", arrays)[1]
    assert (low, high) == pytest.approx((-1, 1), abs=0.05)


def test_an_unknown_observer_is_refused():
    with pytest.raises(UsageError, match="unknown observer 'median'"):
        observer_named("median")
