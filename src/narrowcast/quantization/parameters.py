"""Scales and zero points from ranges, and integers from floats.

Activations: affine over the whole type, or symmetric over [-127, 127] or [-32767, 32767] where the target wants zero
points of 0. Weights: symmetric, over [-127, 127] or, where the target takes it, [-128, 127].
Source: Jacob et al., https://arxiv.org/abs/1712.05877, equation 1: real = scale (stored - zero point).
"""

from __future__ import annotations

import numpy as np

from narrowcast.model import Array, ir
from narrowcast.targets.spelling import Parameters

__all__ = [
    "activation_parameters",
    "block_scale",
    "grid_scale",
    "limits",
    "power_of_two",
    "quantize_array",
    "quantize_blocks",
    "weight_scale",
]

SMALLEST_SCALE = 2.0**-60
"""No scale is smaller, so that a product of two, as a bias has it, is a normal number of float32."""
SMALLEST_HALF = np.float32(2.0**-24)
"""The smallest scale of a block, which is stored in float16."""
DEAD_SPAN = 1.0
"""The range of a tensor that is always zero; any holds it."""
DEAD_CHANNEL = 1e-6
"""Weights of a channel are taken to be at least this large, or if that is less, as large as the tensor's largest / 256:
half a step of int8 then is a step of 16 bits of the tensor."""
OFF_GRID, GLANCE = 1e-3, 32
"""How far from a whole number of steps a weight is on none, and how many tell most rows from those on a grid."""
BLOCK = 2**20
"""Elements that are quantised at once, in double precision."""
BIAS_LIMIT = 2.0**30
"""A stored bias stays below this, half of int32, so that the accumulator has room."""


def power_of_two(scale: Array) -> Array:
    """The lowest powers of two that are no less than positive numbers. Float32, of the same shape."""
    mantissa, exponent = np.frexp(scale.astype(np.float64))
    found: Array = np.ldexp(1.0, np.where(mantissa == 0.5, exponent - 1, exponent)).astype(np.float32)
    return found


def limits(dtype: str) -> tuple[int, int]:
    """The lowest and the highest integer of a type, by its numpy name or "int4"."""
    if dtype == "int4":
        return -8, 7
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def activation_parameters(low: float, high: float, dtype: str, *, symmetric: bool, powers: bool = False) -> Parameters:
    """The parameters of an activation whose values lie in [low, high]; zero is represented exactly.

    Args:
        low: lowest value.
        high: highest value.
        dtype: "int8", "uint8" or "int16".
        symmetric: whether the zero point is 0.
        powers: whether the scale is a power of two. The largest magnitude then is 2^n, so that 2^n itself is clipped to
            2^n less a step, as TVM's `relay.quantize` has it.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        high = DEAD_SPAN
    bottom, top = limits(dtype)
    if powers:
        power = float(power_of_two(np.array(max(-low, high) / -bottom)))
        return Parameters(max(power, SMALLEST_SCALE), 0, dtype)
    if symmetric:
        return Parameters(float(np.float32(max(max(-low, high) / top, SMALLEST_SCALE))), 0, dtype)
    scale = float(np.float32(max((high - low) / (top - bottom), SMALLEST_SCALE)))
    return Parameters(scale, int(np.clip(round(bottom - low / scale), bottom, top)), dtype)


def weight_scale(
    weights: Array, axis: int | None, dtype: str = "int8", *, narrow: bool = True, powers: bool = False
) -> Array:
    """Symmetric scales: one for each slice along `axis`, or one in all (axis None). Shape [channels] or [1].

    Args:
        weights: float.
        axis: of the channels.
        dtype: of the integers.
        narrow: whether the lowest integer is left out.
        powers: whether they are powers of two: of the least that clips nothing and half of it the one by which the
            slice is nearer to its weights.
    """
    bottom, top = limits(dtype)
    others = None if axis is None else tuple(index for index in range(weights.ndim) if index != axis)
    highest, lowest = weights.max(axis=others, initial=0.0), weights.min(axis=others, initial=0.0)
    if not narrow:
        lowest = lowest * np.float32(top / -bottom)
    peaks = np.maximum(highest, -lowest).reshape(-1)  # less memory than the largest of all magnitudes
    largest = float(peaks.max(initial=0.0))
    floor = min(DEAD_CHANNEL, largest / 256) if largest else DEAD_CHANNEL
    smallest = max(floor, top * SMALLEST_SCALE)
    scales: Array = np.maximum(peaks, smallest).astype(np.float32) / np.float32(top)
    return _nearer_power(weights, axis, dtype, power_of_two(scales), narrow=narrow) if powers else scales


def _nearer_power(weights: Array, axis: int | None, dtype: str, scale: Array, *, narrow: bool) -> Array:
    """`scale`, or half of it where that has the lower squared error, for each slice."""
    others = None if axis is None else tuple(index for index in range(weights.ndim) if index != axis)
    shape = [1] * weights.ndim
    if axis is not None and scale.size > 1:
        shape[axis] = scale.size
    errors = []
    for tried in (scale, scale / 2):
        stored = quantize_array(weights, tried, 0, dtype, axis, narrow=narrow)
        missed = stored * tried.reshape(shape) - weights
        errors.append(np.square(missed, dtype=np.float64).sum(axis=others).reshape(-1))
    return np.where(errors[1] < errors[0], scale / 2, scale).astype(np.float32)


def grid_scale(weights: Array, axis: int | None, scale: Array, dtype: str = "int8") -> Array:
    """Scales by which weights that were dequantised are stored without a further loss, in the place of `scale`'s.

    A slice stays with the one it has unless all its numbers are multiples of a step, up to the highest integer.

    Args:
        weights: float.
        axis: of the channels.
        scale: of `weight_scale`.
        dtype: of the integers.
    """
    rows = weights.reshape(1, -1) if axis is None else np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1)
    peaks = np.abs(rows).max(axis=1, initial=0.0).astype(np.float64)
    found, left = scale.copy(), np.flatnonzero(peaks)
    few = rows[:, :GLANCE]
    for steps in range(limits(dtype)[1], 0, -1):
        step = peaks[left] / steps
        likely = left[_multiples(few[left], step)]
        fits = likely[_multiples(rows[likely], peaks[likely] / steps)]
        found[fits] = (peaks[fits] / steps).astype(np.float32)
        left = np.setdiff1d(left, fits)
    return found


def _multiples(rows: Array, step: Array) -> Array:
    """Which rows are multiples of their step but for roundings."""
    ratios = rows / step[:, None]
    found: Array = (np.abs(ratios - np.rint(ratios)) < OFF_GRID).all(axis=1)
    return found


def block_scale(weights: Array, axis: int, block: int, dtype: str = "int4", *, narrow: bool = True) -> Array:
    """Symmetric scales of runs of `block` elements along an axis, whose size is a multiple of it.

    They are numbers that bfloat16 and float16 hold, as files store them. Shape: that of the weights, with runs along
    `axis`.
    """
    rows, shape = _runs(weights, axis, block)
    exact = weight_scale(rows, 0, dtype, narrow=narrow)
    short = exact.astype(ir.DataType.BFLOAT16.numpy()).astype(np.float16).astype(np.float32)
    scales: Array = np.maximum(short, SMALLEST_HALF).reshape(shape)
    return scales


def quantize_blocks(array: Array, scale: Array, axis: int, dtype: str = "int4", *, narrow: bool = True) -> Array:
    """The integers of weights by the scales of `block_scale`."""
    size, count = array.shape[axis], scale.shape[axis]
    rows, _ = _runs(array, axis, size // count)
    integers = quantize_array(rows, scale.reshape(-1), 0, dtype, 0, narrow=narrow)
    split = (*array.shape[:axis], count, *array.shape[axis + 1 :], size // count)
    found: Array = np.moveaxis(integers.reshape(split), -1, axis + 1).reshape(array.shape)
    return found


def _runs(weights: Array, axis: int, block: int) -> tuple[Array, tuple[int, ...]]:
    """Weights as rows, one for each run along an axis, and the shape of all runs."""
    shape = (*weights.shape[:axis], weights.shape[axis] // block, *weights.shape[axis + 1 :])
    split = weights.reshape(*weights.shape[:axis], -1, block, *weights.shape[axis + 1 :])
    return np.moveaxis(split, axis + 1, -1).reshape(-1, block), shape


def quantize_array(
    array: Array, scale: Array, zero_point: int, dtype: str, axis: int | None = None, *, narrow: bool = True
) -> Array:
    """Rounds half to even and clips to the type's range, without its lowest where the zero point is 0 and `narrow`."""
    bottom, top = limits(dtype)
    shape = [1] * array.ndim
    if axis is not None and scale.size > 1:
        shape[axis] = scale.size
    low = -top if zero_point == 0 and bottom < 0 and narrow else bottom
    scales = np.broadcast_to(scale.reshape(shape if array.ndim else ()), array.shape)
    stored = np.empty(array.shape, dtype)
    rows = max(BLOCK * len(array) // max(array.size, 1), 1) if array.ndim else 0
    blocks = [slice(start, start + rows) for start in range(0, len(array), rows)] if rows else [...]
    for block in blocks:
        exact = np.rint(array[block] / scales[block]).astype(np.float64) + zero_point
        stored[block] = np.clip(exact, low, top)
    return stored
