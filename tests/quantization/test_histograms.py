"""Histograms: counts whose grid grows, tails that the extremes tell, and intervals of least error."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from narrowcast.quantization.histograms import BINS, Histogram, least_squares, percentile

arrays = st.lists(
    st.lists(st.floats(-1000, 1000, width=32), min_size=1, max_size=20).map(
        lambda values: np.array(values, np.float32)
    ),
    min_size=1,
    max_size=8,
)


@given(parts=arrays)
def test_everything_is_counted_once_in_its_bin(parts):
    found = Histogram()
    for part in parts:
        found.add(part)
    values = np.concatenate(parts)
    assert found.counts.shape[1] <= BINS
    assert found.numbers.sum() == values.size
    np.testing.assert_array_equal(found.numbers, np.histogram(values.astype(np.float64), found.edges)[0])


@pytest.mark.parametrize("value", [3.0, 1e7, -1e7, 2.0**60, -1e30, 3e38])
def test_values_of_a_narrow_range_far_from_0(value):
    found, values = Histogram(), np.full(5, value, np.float32)
    found.add(values)
    found.add_extremes(values[:1], values[:1])
    assert found.numbers.tolist() == [5.0]
    assert found.edges[0] <= values[0] < found.edges[1]
    found.add(np.float32([1.0]))
    assert found.numbers.sum() == 6


@given(parts=arrays, seed=st.integers(0, 9))
def test_neither_order_nor_extremes_in_between_change_the_counts(parts, seed):
    order = np.random.default_rng(seed).permutation(len(parts))
    straight, shuffled = Histogram(), Histogram()
    for part in parts:
        straight.add(part, 7 * part.size)
        straight.add_extremes(part[:1], part[-1:])
    for index in order:
        shuffled.add_extremes(parts[index][:1], parts[index][-1:])
        shuffled.add(parts[index], 7 * parts[index].size)
    np.testing.assert_array_equal(straight.numbers, shuffled.numbers)
    np.testing.assert_array_equal(straight.edges, shuffled.edges)


def test_extremes_tell_the_tail_that_a_few_values_miss():
    """Every hundredth of 1,000 values in 500 parts is counted; each tenth part has a peak that is not."""
    random = np.random.default_rng(0)
    values = random.normal(size=(500, 1000)).astype(np.float32)
    values[::10, 1] = 50.0
    found = Histogram()
    found.add(values[:, ::100].reshape(-1), values.size)
    assert found.numbers.sum() == pytest.approx(values.size)
    assert percentile(found.numbers, found.edges)[1] < 6
    found.add_extremes(values.min(1), values.max(1))
    beyond = found.numbers[found.edges[:-1] > 10].sum()
    assert beyond == 50
    assert found.numbers.sum() == pytest.approx(values.size, rel=0.01)
    assert percentile(found.numbers, found.edges)[1] >= 50


@given(st.integers(0, 20))
def test_least_squares_finds_what_trying_all_pairs_of_bounds_finds(seed):
    random = np.random.default_rng(seed)
    values = (random.standard_t(3, size=4000) * random.uniform(0.1, 10)).astype(np.float32)
    found = Histogram()
    found.add(values)
    whole = float(values.min()), float(values.max())
    low, high = least_squares(found.numbers, found.edges, whole)

    def error(low, high):
        clipped = np.clip(values.astype(np.float64), low, high)
        inside = (values >= low) & (values <= high)
        return np.square(clipped - values).sum() + inside.sum() * ((high - low) / 255) ** 2 / 12

    best = min(error(whole[0] * a, whole[1] * b) for a in np.linspace(0.02, 1, 50) for b in np.linspace(0.02, 1, 50))
    assert error(low, high) <= best * 1.02
