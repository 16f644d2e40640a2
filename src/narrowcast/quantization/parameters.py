"""Scales and zero points from ranges, and integers from floats.

Activations: int8 affine over [-128, 127], int16 symmetric over [-32767, 32767]. Weights: int8 symmetric over [-127,
127]. Source: LiteRT's 8-bit quantisation specification, https://ai.google.dev/edge/litert/models/quantization_spec;
Jacob et al., https://arxiv.org/abs/1712.05877, equation 1: real = scale (stored - zero point).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from narrowcast.model import Array

__all__ = ["Parameters", "activation_parameters", "quantize_array", "weight_scale"]

SMALLEST_SPAN = 1e-6
"""Ranges are at least this wide: a tensor that is always zero has a scale too."""
BIAS_LIMIT = 2.0**30
"""A stored bias stays below this, half of int32, so that the accumulator has room."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """How a tensor is stored: real = scale * (stored - zero_point)."""

    scale: float
    zero_point: int
    dtype: str


def activation_parameters(low: float, high: float, dtype: str) -> Parameters:
    """The parameters of an activation whose values lie in [low, high]; zero is represented exactly.

    Args:
        low: lowest value.
        high: highest value.
        dtype: "int8", "uint8" (both affine) or "int16" (symmetric).
    """
    low, high = min(low, 0.0), max(high, 0.0)
    if high - low < SMALLEST_SPAN:
        high = low + SMALLEST_SPAN
    if dtype == "int16":
        return Parameters(float(np.float32(max(-low, high) / 32767)), 0, dtype)
    bottom, top = (-128, 127) if dtype == "int8" else (0, 255)
    scale = float(np.float32((high - low) / 255))
    return Parameters(scale, int(np.clip(round(bottom - low / scale), bottom, top)), dtype)


def weight_scale(weights: Array, axis: int | None) -> Array:
    """Symmetric int8 scales: one for each slice along `axis`, or one in all (axis None). Shape [channels] or [1]."""
    magnitudes = np.abs(weights)
    if axis is None:
        peaks = magnitudes.max(initial=0.0).reshape(1)
    else:
        others = tuple(index for index in range(weights.ndim) if index != axis)
        peaks = magnitudes.max(axis=others, initial=0.0)
    scales: Array = np.maximum(peaks, SMALLEST_SPAN).astype(np.float32) / np.float32(127)
    return scales


def quantize_array(array: Array, scale: Array, zero_point: int, dtype: str, axis: int | None = None) -> Array:
    """Rounds half to even and clips to the type's range; int8 to [-127, 127] with `axis` or without zero point."""
    info = np.iinfo(dtype)
    shape = [1] * array.ndim
    if axis is not None and scale.size > 1:
        shape[axis] = scale.size
    low = -info.max if zero_point == 0 and info.min < 0 else info.min
    stored = np.rint(array / scale.reshape(shape if array.ndim else ())).astype(np.float64) + zero_point
    clipped: Array = np.clip(stored, low, info.max).astype(dtype)
    return clipped
