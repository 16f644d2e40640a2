"""The fake quantiser is what QuantizeLinear and DequantizeLinear compute, and its gradients are what papers say."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from narrowcast.dialect.build import Builder
from narrowcast.model import Model
from narrowcast.quantization.parameters import quantize_array
from narrowcast.reference import Reference
from narrowcast.targets.spelling import Parameters, Speller
from narrowcast.training import quantizers
from narrowcast.training.quantizers import Grid, fake_quantize, real, stored

KINDS = {"int8": Grid(-128, 127, 5), "uint8": Grid(0, 255, 128), "int16": Grid(-32768, 32767, 0)}


def onnx_runtime(x, step, grid, dtype):
    build = Builder.new("pair")
    value = build.input("x", x.shape)
    back = Speller(build.graph).pair(value, Parameters(step, grid.zero, dtype))
    return Reference(Model(build.finish([back])), optimize=False).run({"x": x})[back.name]


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("size", [40, quantizers.FEW + 40])
@pytest.mark.parametrize("step", [0.25, 0.037])
def test_it_rounds_as_onnx_does_and_ties_to_even(dtype, size, step):
    grid = KINDS[dtype]
    halves = (np.arange(size) - size // 2) * 0.5  # every second one is a tie
    x = (halves * step).astype("f") if step == 0.25 else np.random.default_rng(0).normal(size=size).astype("f") * 9
    found = fake_quantize(torch.from_numpy(x), torch.tensor(step), grid).numpy()
    np.testing.assert_array_equal(found, onnx_runtime(x, step, grid, dtype))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=30),
    st.floats(2**-13, 100, width=32),
    st.sampled_from(sorted(KINDS)),
)
def test_integers_are_those_of_the_quantiser_and_stand_for_the_same_numbers(values, step, dtype):
    grid, x, scale = KINDS[dtype], np.array(values, "f"), np.array([step], "f")
    wanted = quantize_array(x, scale, grid.zero, dtype, narrow=False)
    found = stored(torch.from_numpy(x), torch.from_numpy(scale), grid)
    assert np.abs(found.numpy() - wanted).max() <= (np.abs(x / step % 1 - 0.5).min() < 1e-3)
    made = fake_quantize(torch.from_numpy(x), torch.from_numpy(scale), grid)
    np.testing.assert_allclose(real(found, torch.from_numpy(scale), grid).numpy(), made.numpy(), rtol=1e-6)


@pytest.mark.parametrize("size", [200, quantizers.FEW + 200])
def test_gradients_pass_within_the_range_and_stop_outside(size):
    x = torch.linspace(-20, 20, size, requires_grad=True)
    fake_quantize(x, torch.tensor(0.1), Grid(-128, 127, 28)).sum().backward()
    inside = (x > (-128 - 28) * 0.1) & (x < (127 - 28) * 0.1)
    away = ((x / 0.1 + 156).abs() > 1) & ((x / 0.1 - 99).abs() > 1)  # within half a step of an end either is right
    assert torch.equal(x.grad[away], inside[away].float())


@pytest.mark.parametrize("shape", [(), (3, 1)])
def test_the_gradient_of_a_step_is_that_of_learned_step_sizes(shape):
    torch.manual_seed(0)
    x, grid = torch.randn(3, 400) * 4, Grid(-7, 7)
    step = torch.full(shape, 0.5, requires_grad=True)
    fake_quantize(x, step, grid).sum().backward()
    ratio = x / 0.5
    each = torch.where(ratio <= -7, -7.0, torch.where(ratio >= 7, 7.0, torch.round(ratio) - ratio))
    count = x.numel() / step.numel()
    wanted = (each.sum() if shape == () else each.sum(1, keepdim=True)) / math.sqrt(count * 7)
    torch.testing.assert_close(step.grad, wanted, rtol=1e-4, atol=1e-4)
