"""The arithmetic of scales: bounds that hold for any range and any weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from narrowcast.quantization.parameters import activation_parameters, grid_scale, quantize_array, weight_scale

finite = st.floats(-1e4, 1e4, width=32)


@given(a=finite, b=finite, dtype=st.sampled_from(["int8", "uint8", "int16"]))
def test_zero_is_exact_and_errors_are_half_a_step(a, b, dtype):
    low, high = min(a, b), max(a, b)
    found = activation_parameters(low, high, dtype, symmetric=dtype == "int16")
    info = np.iinfo(dtype)
    assert info.min <= found.zero_point <= info.max
    if dtype == "int16":
        assert found.zero_point == 0
    values = np.linspace(min(low, 0), max(high, 0), 101).astype(np.float32)
    stored = quantize_array(values, np.array([found.scale]), found.zero_point, dtype)
    back = (stored.astype(np.float64) - found.zero_point) * found.scale
    assert np.abs(back - values).max() <= found.scale * 1.01 / 2 + found.scale * (dtype != "int16") / 2
    assert (0 - found.zero_point) * found.scale + found.zero_point * found.scale == 0


@given(
    weights=arrays(
        np.float32, array_shapes(min_dims=2, max_dims=4, max_side=5), elements=st.floats(-100, 100, width=32)
    )
)
def test_weights_are_symmetric_and_narrow(weights):
    scale = weight_scale(weights, 0)
    assert scale.shape == (weights.shape[0],)
    stored = quantize_array(weights, scale, 0, "int8", 0)
    assert stored.min() >= -127
    shape = (-1, *(1,) * (weights.ndim - 1))
    error = np.abs(stored * scale.reshape(shape).astype(np.float64) - weights)
    assert (error <= scale.reshape(shape) * 0.5001).all()


@given(weights=arrays(np.float32, (3, 4), elements=st.floats(-100, 100, width=32)))
def test_one_scale_is_the_largest_of_all(weights):
    assert weight_scale(weights, None) == pytest.approx([weight_scale(weights, 0).max()])


def test_a_constant_tensor_has_a_scale():
    found = activation_parameters(0.0, 0.0, "int8", symmetric=False)
    assert found.scale > 0


@given(arrays(np.int8, (3, 40), elements=st.integers(-127, 127)), st.floats(1e-4, 10))
def test_what_lies_on_a_grid_is_stored_exactly(integers, step):
    weights = (integers * np.float64(step)).astype(np.float32)
    for axis in (0, None):
        scale = grid_scale(weights, axis, weight_scale(weights, axis))
        stored = quantize_array(weights, scale, 0, "int8", 0 if scale.size > 1 else None)
        along = scale[:, None] if scale.size > 1 else scale
        np.testing.assert_allclose(stored * along, weights, rtol=1e-4, atol=0)


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e30])
def test_powers_of_two_of_weights_of_any_size(size):
    weights = np.float32(size) * np.linspace(-1, 1, 64, dtype=np.float32).reshape(2, 32)
    scales = weight_scale(weights, 0, powers=True)
    assert np.array_equal(np.frexp(scales)[0], [0.5, 0.5])
    reached = np.abs(weights).max(1) / scales
    assert np.all((reached > 127 / 2) & (reached <= 127 * 2))


def test_what_lies_on_none_keeps_its_scale():
    weights = np.random.default_rng(0).normal(size=(4, 50)).astype(np.float32)
    weights[3] = np.arange(50) - 200.0  # on a grid, but of more steps than there are
    scale = weight_scale(weights, 0)
    np.testing.assert_array_equal(grid_scale(weights, 0, scale), scale)
