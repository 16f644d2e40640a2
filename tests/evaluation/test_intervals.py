"""Intervals beside published figures, and how often they hold what they are about."""

from __future__ import annotations

import numpy as np
import pytest

from narrowcast.evaluation.intervals import paired, share


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    # R. G. Newcombe, Statistics in Medicine 17, 1998, table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_shares_as_published(count, total, low, high):
    found = share(count, total)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("total", [8, 40, 300])
@pytest.mark.parametrize(("gain", "loss"), [(0.0, 0.0), (0.02, 0.05), (0.1, 0.1), (0.05, 0.4)])
def test_paired_differences_lie_within_as_often_as_they_should(gain, loss, total):
    random = np.random.default_rng(total)
    drawn = random.multinomial(total, [gain, loss, 1 - gain - loss], size=2000)
    held = [found.low <= gain - loss <= found.high for found in (paired(*row[:2].tolist(), total) for row in drawn)]
    assert np.mean(held) > 0.935


def test_no_difference_on_few_samples_is_no_certainty():
    assert paired(0, 0, 8).low == pytest.approx(-0.196, abs=1e-3)
    assert paired(0, 0, 10_000).low == pytest.approx(-0.0002, abs=1e-4)
    assert share(8, 8).low == pytest.approx(0.6756, abs=1e-4)


@pytest.mark.parametrize("counts", [(10, 0, 10), (0, 10, 10), (5, 5, 10)])
def test_bounds(counts):
    found = paired(*counts)
    assert -1 <= found.low <= (counts[0] - counts[1]) / counts[2] <= found.high <= 1


def test_nothing_counted():
    assert share(0, 0) is None
    assert paired(0, 0, 0) is None
