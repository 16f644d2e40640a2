"""Cases of single operators, by the module of the reader that reads them."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.readers.tflite.single import Single, T

RANDOM = np.random.default_rng(0)


def real(*shape: int, low: float = -3.0, high: float = 3.0) -> np.ndarray:
    """Drawn numbers, float32."""
    return RANDOM.uniform(low, high, shape).astype(np.float32)


def whole(*shape: int, low: int = -9, high: int = 9, dtype: Any = np.int32) -> np.ndarray:
    """Drawn integers, both ends included."""
    return RANDOM.integers(low, high, shape, endpoint=True).astype(dtype)


def truth(*shape: int) -> np.ndarray:
    """Drawn truths."""
    return RANDOM.integers(0, 2, shape).astype(bool)


def int8(*shape: int, scale: Any = 0.05, zero: int = 3, **more: Any) -> T:
    """Drawn integers that stand for real numbers."""
    dtype = more.pop("dtype", np.int8)
    info = np.iinfo(dtype)
    return T(whole(*shape, low=info.min, high=info.max, dtype=dtype), scale=scale, zero=zero, **more)


def out8(scale: float = 0.05, zero: int = 3, dtype: Any = np.int8) -> T:
    """An output of integers that stand for real numbers."""
    return T(np.zeros((), dtype), scale=scale, zero=zero)


__all__ = ["Single", "T", "int8", "out8", "real", "truth", "whole"]
