"""Observers: order does not matter, memory does not grow, ranges lie within what was seen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from narrowcast.errors import UsageError
from narrowcast.quantization.observers import OBSERVERS, UNFELT, Seen, observer_named

samples = st.lists(
    st.lists(st.floats(-1000, 1000, width=32), min_size=1, max_size=20).map(
        lambda values: np.array(values, np.float32)
    ),
    min_size=1,
    max_size=8,
)


def ranged(name, arrays, parts=1):
    """What an observer makes of samples, each counted in some parts."""
    seen = Seen()
    for array in arrays:
        seen.widen(float(array.min()), float(array.max()))
        for part in np.array_split(array, min(parts, array.size)):
            seen.histogram.add(part)
    return observer_named(name).of(seen, 256)


@pytest.mark.parametrize("name", OBSERVERS)
@given(arrays=samples, seed=st.integers(0, 9))
def test_neither_the_order_of_samples_nor_their_parting_matters(name, arrays, seed):
    order = np.random.default_rng(seed).permutation(len(arrays))
    straight = ranged(name, arrays)
    shuffled = ranged(name, [arrays[i] for i in order], parts=3)
    assert shuffled == pytest.approx(straight, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", OBSERVERS)
@given(arrays=samples)
def test_ranges_lie_within_what_was_seen(name, arrays):
    low, high = ranged(name, arrays)
    values = np.concatenate(arrays)
    assert float(values.min()) <= low <= max(high, 0.0) or low <= high
    assert high <= max(float(values.max()), 0.0)
    assert low >= min(float(values.min()), 0.0)


def test_outliers_are_left_out_by_all_but_extremes():
    random = np.random.default_rng(0)
    arrays = [random.normal(size=20_000).astype(np.float32) for _ in range(4)]
    arrays[2][7] = 1000.0
    widths = {name: ranged(name, arrays)[1] for name in OBSERVERS}
    assert widths["minmax"] == 1000.0
    assert widths["percentile"] < 10
    assert widths["mse"] < 950, "(1000 - c)^2 + 80,000 (c / 255)^2 / 12 is least at c = 910"
    assert widths["entropy"] < 500


def test_mse_keeps_a_uniform_distribution_whole():
    arrays = [np.random.default_rng(0).uniform(-1, 1, 50_000).astype(np.float32)]
    low, high = ranged("mse", arrays)
    assert (low, high) == pytest.approx((-1, 1), abs=0.05)


def silu(x):
    return x / (1 + np.exp(-x))


FUNCTIONS = {
    "silu": silu,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "hard swish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "mish": lambda x: x * np.tanh(np.logaddexp(0, x)),
    "relu": lambda x: np.maximum(x, 0),
}


def error_behind(function, values, low, high):
    """The mean square error of a function of 8-bit integers, by computing all of them."""
    step = (high - low) / 255
    zero = np.round(low / step)
    stored = np.clip(np.round(values / step), zero, zero + 255) * step
    return np.square(function(stored) - function(values)).mean()


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("observer", ["activation", "percentile", "mse"])
def test_a_range_behind_a_function_is_near_the_best_that_brute_force_finds(name, observer):
    function, random = FUNCTIONS[name], np.random.default_rng(3)
    values = np.concatenate([random.normal(0, 3, 30_000), random.uniform(-60, 20, 300)]).astype(np.float32)
    seen = Seen()
    seen.widen(float(values.min()), float(values.max()))
    seen.histogram.add(values)
    plain, found = observer_named(observer).of(seen, 256), observer_named(observer).behind(seen, function)
    assert plain[0] <= found[0] <= found[1] <= plain[1]
    inside = values[(values >= plain[0]) & (values <= plain[1])]
    most = np.ptp(function(inside)) / 255 / UNFELT
    cut = function(np.clip(inside, *found)) - function(inside)
    assert np.abs(cut).max() <= most * 1.1, "what is cut changes next to nothing"
    lows, highs = (plain[0] * np.geomspace(1, 0.01, 40), plain[1] * np.geomspace(1, 0.05, 25))
    allowed = [
        (low, high)
        for low in lows
        for high in highs
        if np.abs(function(np.clip(inside, low, high)) - function(inside)).max() <= most
    ]
    best = min(error_behind(function, inside, *bounds) for bounds in allowed)
    assert error_behind(function, inside, *found) <= best * 1.3
    assert error_behind(function, inside, *found) <= error_behind(function, inside, *plain) * 1.02


def test_what_silu_levels_out_takes_no_steps():
    values = np.linspace(-66, 86, 100_000).astype(np.float32)
    seen = Seen()
    seen.widen(-66.0, 86.0)
    seen.histogram.add(values)
    low, high = OBSERVERS["activation"].behind(seen, silu)
    assert -12 < low < -3
    assert high == 86.0


def test_an_unknown_observer_is_refused():
    with pytest.raises(UsageError, match="unknown observer 'median'"):
        observer_named("median")
