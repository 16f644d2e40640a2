"""Random samples that a model can be run on: plausible floats, and integers that the graph can use as it does."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from narrowcast.errors import UsageError
from narrowcast.evaluation.pixels import image_layout
from narrowcast.evaluation.roles import Draw, roles_of
from narrowcast.model import Array, Feed, Layout, Model, Preprocessing, TensorSpec

__all__ = ["LARGEST_SAMPLE", "random_feeds"]

LARGEST_SAMPLE = 2**30
"""No random input is larger, in bytes."""


def random_feeds(model: Model, count: int, seed: int = 0) -> Iterator[Feed]:
    """Plausible samples, the same for the same seed.

    Floats are preprocessed random pixels where the preprocessing is known, in [-1, 1] for other image-like inputs, and
    normal ones otherwise; integers are 0 and 1. What an operator asks of an input comes before all that (`roles`).
    """
    random = np.random.default_rng(seed)
    roles = roles_of(model)
    for _ in range(count):
        yield {spec.name: _random(random, spec, model.preprocessing, roles.get(spec.name)) for spec in model.inputs}


def _random(
    random: np.random.Generator, spec: TensorSpec, preprocessing: Preprocessing | None, draw: Draw | None
) -> Array:
    shape = tuple(1 if dim is None else dim for dim in spec.shape)
    if math.prod(shape) * spec.dtype.itemsize > LARGEST_SAMPLE:
        raise UsageError(
            f"a sample of the input {spec.name!r}, {'x'.join(map(str, shape))}, does not fit into memory beside others",
            hint="give it another shape, or leave the verification out",
        )
    if draw is not None:
        return np.asarray(draw(random, shape)).astype(spec.dtype)
    if spec.dtype.kind == "f":
        layout = image_layout(spec.shape)
        if layout is None:
            return random.normal(size=shape).astype(spec.dtype)
        if preprocessing is None:
            return random.uniform(-1, 1, shape).astype(spec.dtype)
        axes = (-1, 1, 1) if layout is Layout.CHANNELS_FIRST else (-1,)
        mean, std = (np.reshape(values, axes) for values in (preprocessing.mean, preprocessing.std))
        pixels: Array = (random.uniform(0, 255, shape) - mean) / std
        return pixels.astype(spec.dtype)
    high = 256 if spec.dtype == np.uint8 else 2
    return random.integers(0, high, shape).astype(spec.dtype)
