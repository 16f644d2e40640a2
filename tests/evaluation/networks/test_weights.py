"""What weights hold, beside numpy's own words for it."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from narrowcast.evaluation.networks import weights

RANDOM = np.random.default_rng(3)
ARRAYS = {
    "float32": RANDOM.normal(size=(7, 5, 3)).astype(np.float32),
    "float16": RANDOM.normal(size=100).astype(np.float16),
    "int8": RANDOM.integers(-128, 128, (4, 9)).astype(np.int8),
    "bool": RANDOM.integers(0, 2, 50).astype(bool),
    "int64": np.array([-(2**63), 2**63 - 1, 0]),
    "huge": np.array([-3e38, 3e38], np.float32),
    "one": np.array(2.5, np.float32),
    "many": RANDOM.normal(size=3_000_000).astype(np.float32),
    "big": np.arange(6, dtype=">i4"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_figures_are_those_of_numpy(name):
    array = ARRAYS[name]
    found = weights.weigh(array)
    plain = array.astype(np.float64)
    assert (found.low, found.high) == (plain.min(), plain.max())
    assert found.mean == pytest.approx(plain.mean(), abs=1e-6 * max(1.0, abs(plain).max()))
    assert found.deviation == pytest.approx(plain.std(), rel=2e-3)
    assert found.zeros == pytest.approx((array == 0).mean())
    assert found.strange == 0
    assert len(found.counts) == weights.INTERVALS


@pytest.mark.parametrize("name", ["float32", "int8", "float16"])
def test_counts_are_a_histogram(name):
    array = ARRAYS[name]
    wanted, _ = np.histogram(array.astype(np.float64), weights.INTERVALS)
    assert weights.weigh(array).counts == tuple(wanted)


def test_what_is_no_number_is_counted_apart():
    found = weights.weigh(np.array([np.nan, 1, np.inf, 3, -np.inf], np.float32))
    assert (found.low, found.high, found.mean, found.strange) == (1, 3, 2, 3)
    assert weights.weigh(np.full(4, np.nan)) is None
    assert weights.weigh(np.empty(0, np.float32)) is None
    assert weights.weigh(np.array([b"a"], object)) is None


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, ml_dtypes.int4, ml_dtypes.float8_e4m3fn])
def test_types_that_numpy_lacks(dtype):
    assert weights.weigh(np.array([-1, 0, 2]).astype(dtype)).high == 2
