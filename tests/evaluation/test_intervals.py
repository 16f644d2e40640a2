"""Intervals beside published figures, and how often they hold what they are about."""

from __future__ import annotations

import numpy as np
import pytest

from narrowcast.evaluation.intervals import jackknife, paired, paired_share, share, student


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


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    # M. Abramowitz and I. Stegun, Handbook of Mathematical Functions, table 26.10
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (6, 2.447), (10, 2.228), (30, 2.042), (120, 1.980)],
)
def test_students_quantiles_as_published(freedom, quantile):
    assert student(freedom) == pytest.approx(quantile, rel=2e-3)


def test_the_jackknife_of_a_mean_is_the_paired_t_interval():
    differences = np.array([67.0, -11, 8, 14, -5, 31, 2, 40])
    without = np.array([np.delete(differences, index).mean() for index in range(8)])
    found = jackknife(differences.mean(), without)
    half = 2.365 * differences.std(ddof=1) / np.sqrt(8)  # 0.975 of Student's t with 7 degrees of freedom
    assert (found.low, found.high) == pytest.approx((differences.mean() - half, differences.mean() + half), abs=0.01)


@pytest.mark.parametrize("counts", [(0, 0, 5), (3, 1, 40), (0, 7, 12)])
def test_changes_of_shares_are_those_of_counts(counts):
    gained, lost, total = counts
    drawn = np.repeat([1.0, -1.0, 0.0], [gained, lost, total - gained - lost])
    without = np.array([np.delete(drawn, index).mean() for index in range(total)])
    found = paired_share(drawn.mean(), without, total)
    assert (found.low, found.high) == pytest.approx((paired(*counts).low, paired(*counts).high), abs=1e-12)


def test_intervals_of_ratios_hold_them_as_often_as_they_should():
    random = np.random.default_rng(1)
    held = 0
    for _ in range(1000):
        whole = random.integers(1, 9, 30).astype(float)
        part = random.binomial(whole.astype(int), 0.7).astype(float)
        without = np.array([np.delete(part, index).sum() / np.delete(whole, index).sum() for index in range(30)])
        found = jackknife(part.sum() / whole.sum(), without)
        held += found.low <= 0.7 <= found.high
    assert held > 925


def test_one_block_tells_nothing():
    assert jackknife(1.0, np.array([1.0])) is None
    assert jackknife(1.0, np.array([1.0, np.inf])) is None
    assert paired_share(0.0, np.array([0.0]), 8) == paired(0, 0, 8)
    assert paired_share(0.0, np.array([]), 0) is None
