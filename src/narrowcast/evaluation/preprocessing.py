"""What a user says of preprocessing: presets and options become crop, size, order of channels, and an affine map."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from narrowcast.errors import DataError, UsageError
from narrowcast.evaluation.expression import affine
from narrowcast.model import Preprocessing

__all__ = ["PRESETS", "make_preprocessing"]


PRESETS: dict[str, Preprocessing] = {
    "tf": Preprocessing((127.5,), (127.5,)),
    "torch": Preprocessing((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "caffe": Preprocessing((103.939, 116.779, 123.68), (1.0,), "bgr"),
    "none": Preprocessing(),
}
"""As Keras names them (keras.applications.imagenet_utils.preprocess_input)."""

ORDERS = ("rgb", "bgr", "gray")

LARGEST_SIDE = 16384
"""Pixels that an image may be resized to."""


def make_preprocessing(
    *,
    preprocess: str | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    scale: float | None = None,
    channel_order: str | None = None,
    normalize: str | None = None,
    resize: int | None = None,
    crop: float | None = None,
    base: Preprocessing | None = None,
) -> Preprocessing:
    """Puts the options of the command line together.

    A value x in 0..255 becomes (x * scale - mean) / std. So mean and std are in units of 0..255, unless a scale says
    otherwise: `scale=1/255, mean=(0.485, ...), std=(0.229, ...)` is `mean=(123.675, ...), std=(58.395, ...)`.

    Args:
        preprocess: a preset's name; it stands in place of mean, std, scale and normalize.
        mean: one value, or one per channel in the order of `channel_order`.
        std: likewise, never zero.
        scale: factor before mean and std.
        channel_order: "rgb", "bgr" or "gray". Where it differs from the preset's, the preset's means follow their
            colours.
        normalize: an expression in x, in place of mean, std and scale.
        resize: side in pixels, in 1..16384.
        crop: central fraction of the short side, in (0, 1].
        base: what holds where no option says otherwise.

    Raises:
        UsageError: an option is unknown, out of its range or contradicts another.
        DataError: the expression cannot be read or is not affine in x.
    """
    given = [
        name
        for name, value in (
            ("--preprocess", preprocess),
            ("--normalize", normalize),
            ("--mean, --std, --scale", (mean, std, scale) if (mean, std, scale) != (None, None, None) else None),
        )
        if value is not None
    ]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} exclude one another", hint="give one of them")
    if preprocess is not None and preprocess not in PRESETS:
        raise UsageError(f"unknown preprocessing {preprocess!r}", hint=f"one of {', '.join(PRESETS)}")
    start = base or Preprocessing()
    if preprocess is not None:
        start = replace(PRESETS[preprocess], resize=start.resize, crop=start.crop)
    made = _ordered(start, channel_order)
    if normalize is not None:
        factor, term = affine(normalize)
        if factor == 0:
            raise DataError(f"normalisation {normalize!r}: it does not depend on x")
        made = replace(made, mean=(-term / factor,), std=(1 / factor,))
    elif len(given) == 1 and preprocess is None:
        made = _mean_std(made, mean, std, scale)
    with np.errstate(over="ignore"):
        stored = np.array([*made.mean, *made.std], np.float32)
    if not np.isfinite(stored).all() or not stored[len(made.mean) :].all():
        raise UsageError("mean and std, brought to the units of 0..255, are beyond float32")
    return _sized(made, resize, crop)


def _ordered(base: Preprocessing, order: str | None) -> Preprocessing:
    """Another order of channels; means and standard deviations stay with their colours."""
    if order is None or order == base.channel_order:
        return base
    if order not in ORDERS:
        raise UsageError(f"unknown order of channels {order!r}", hint=f"one of {', '.join(ORDERS)}")
    if "gray" in (order, base.channel_order):
        return replace(base, channel_order=order)
    return replace(base, channel_order=order, mean=base.mean[::-1], std=base.std[::-1])


def _mean_std(
    base: Preprocessing, mean: tuple[float, ...] | None, std: tuple[float, ...] | None, scale: float | None
) -> Preprocessing:
    """(x scale - mean) / std = (x - mean / scale) / (std / scale)."""
    factor = 1.0 if scale is None else scale
    means = mean if mean is not None else ((0.0,) if scale is not None else base.mean)
    stds = std if std is not None else ((1.0,) if scale is not None else base.std)
    if {len(means), len(stds)} - {1, 3, 4}:
        raise UsageError("mean and std are one value, or one for each channel (3 or 4)")
    if not np.isfinite([factor, *means, *stds]).all() or 0 in (factor, *stds):
        raise UsageError("mean, std and scale must be finite, std and scale not zero")
    if scale is None and std is not None and max(map(abs, std)) < 1:
        raise UsageError(
            "std is below 1, but the values that it divides are in 0..255",
            hint="--scale 0.00392156863 where mean and std are meant for values in 0..1, --scale 1 if they are right",
        )
    return replace(base, mean=tuple(value / factor for value in means), std=tuple(value / factor for value in stds))


def _sized(base: Preprocessing, resize: int | None, crop: float | None) -> Preprocessing:
    if resize is not None and not 0 < resize <= LARGEST_SIDE:
        raise UsageError(f"cannot resize to {resize} pixels", hint=f"1 to {LARGEST_SIDE}")
    if crop is not None and not 0 < crop <= 1:
        raise UsageError(f"cannot crop to {crop} of the image", hint="a fraction above 0, up to 1")
    return replace(
        base,
        resize=base.resize if resize is None else (resize, resize),
        crop=base.crop if crop is None else crop,
    )
