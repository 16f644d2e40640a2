"""From a photograph to a model's input: crop, resize, order of channels, and an affine map of the values."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from narrowcast.errors import DataError
from narrowcast.evaluation.expression import affine
from narrowcast.model import Array, Layout, Preprocessing

__all__ = ["PRESETS", "image_layout", "load_image", "make_preprocessing", "normalized"]

PRESETS: dict[str, Preprocessing] = {
    "tf": Preprocessing((127.5,), (127.5,)),
    "torch": Preprocessing((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "caffe": Preprocessing((103.939, 116.779, 123.68), (1.0,), "bgr"),
    "none": Preprocessing(),
}
"""As Keras names them (keras.applications.imagenet_utils.preprocess_input)."""

LARGEST_IMAGE = 100_000_000
"""Pixels; a larger image is refused."""


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

    A value x in 0..255 becomes (x * scale - mean) / std; so `mean` and `std` are in units of 0..255 unless a scale is given.

    Args:
        preprocess: a preset's name.
        mean: one value or one per channel.
        std: likewise, never zero.
        scale: factor before mean and std.
        channel_order: "rgb", "bgr" or "gray".
        normalize: an expression in x, in place of mean, std and scale.
        resize: side in pixels.
        crop: central fraction in (0, 1].
        base: what holds where no option says otherwise.

    Raises:
        DataError: an option is unknown, contradicts another or divides by zero.
    """
    if preprocess is not None and preprocess not in PRESETS:
        raise DataError(f"unknown preprocessing {preprocess!r}", hint=f"one of {', '.join(PRESETS)}")
    made = PRESETS[preprocess] if preprocess is not None else base or Preprocessing()
    if normalize is not None:
        if any(option is not None for option in (mean, std, scale)):
            raise DataError("--normalize stands in place of --mean, --std and --scale", hint="give one or the others")
        factor, term = affine(normalize)
        if factor == 0:
            raise DataError("the normalisation does not depend on x")
        made = replace(made, mean=(-term / factor,), std=(1 / factor,))
    elif any(option is not None for option in (mean, std, scale)):
        made = _mean_std(made, mean, std, scale)
    if channel_order is not None:
        if channel_order not in ("rgb", "bgr", "gray"):
            raise DataError(f"unknown order of channels {channel_order!r}", hint="rgb, bgr or gray")
        made = replace(made, channel_order=channel_order)
    if resize is not None:
        if not 0 < resize <= 16384:
            raise DataError(f"cannot resize to {resize} pixels", hint="between 1 and 16384")
        made = replace(made, resize=(resize, resize))
    if crop is not None:
        if not 0 < crop <= 1:
            raise DataError(f"cannot crop to {crop} of the image", hint="a fraction above 0, up to 1")
        made = replace(made, crop=crop)
    return made


def _mean_std(
    base: Preprocessing, mean: tuple[float, ...] | None, std: tuple[float, ...] | None, scale: float | None
) -> Preprocessing:
    factor = 1.0 if scale is None else scale
    means = mean if mean is not None else ((0.0,) if scale is not None else base.mean)
    stds = std if std is not None else ((1.0,) if scale is not None else base.std)
    if factor == 0 or any(value == 0 for value in stds) or not np.isfinite([factor, *means, *stds]).all():
        raise DataError("scale and std must be finite and not zero")
    if {len(means), len(stds)} - {1, 3}:
        raise DataError("mean and std are one value, or one for each of three channels")
    return replace(base, mean=tuple(value / factor for value in means), std=tuple(value / factor for value in stds))


def image_layout(shape: tuple[int | None, ...]) -> Layout | None:
    """Where an input of rank 4 keeps its channels, told by which of its sizes can be a number of channels; None if neither.

    Where both can, channels first is taken: a map of 1 to 4 pixels' width is rarer than a channel-first input.
    """
    if len(shape) != 4:
        return None
    if shape[1] in (1, 3, 4):
        return Layout.CHANNELS_FIRST
    return Layout.CHANNELS_LAST if shape[3] in (1, 3, 4) else None


def load_image(path: Path, preprocessing: Preprocessing, shape: tuple[int | None, ...]) -> Array:
    """Reads an image file as an input of a model.

    Args:
        path: anything that Pillow reads.
        preprocessing: how values are mapped.
        shape: the input's, of rank 4; open sides take `preprocessing.resize`.

    Returns:
        float32 of shape [1, channels, height, width] or [1, height, width, channels].

    Raises:
        DataError: the file is no image, or too large, or the input cannot take one.
    """
    from PIL import Image, ImageOps

    layout = image_layout(shape)
    if layout is None:
        raise DataError(f"an input of shape {shape} takes no images", hint="give arrays as .npz or .npy")
    channels = shape[1] if layout is Layout.CHANNELS_FIRST else shape[3]
    sides = shape[2:] if layout is Layout.CHANNELS_FIRST else shape[1:3]
    height, width = (side or wanted for side, wanted in zip(sides, preprocessing.resize or (None, None), strict=True))
    if height is None or width is None:
        raise DataError("the input's height and width are open", hint="--resize N")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as opened:
                if opened.width * opened.height > LARGEST_IMAGE:
                    raise DataError(f"the image has {opened.width}x{opened.height} pixels", where=str(path))
                turned = ImageOps.exif_transpose(opened)
                pixels = _resized(turned.convert(_mode(preprocessing, channels)), preprocessing, (height, width))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"not a readable image: {error}", where=str(path)) from error
    return normalized(pixels[None], preprocessing, layout)


def _mode(preprocessing: Preprocessing, channels: int | None) -> str:
    if channels == 4:
        return "RGBA"
    return "L" if channels == 1 or preprocessing.channel_order == "gray" else "RGB"


def _resized(image: Any, preprocessing: Preprocessing, size: tuple[int, int]) -> Array:
    """Crops the central square, resizes bilinearly; uint8 [height, width, channels]."""
    from PIL import Image

    if preprocessing.crop is not None:
        side = max(int(min(image.size) * preprocessing.crop), 1)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    if preprocessing.resize is not None and preprocessing.resize != size:
        raise DataError(f"--resize {preprocessing.resize[0]} does not fit the input's {size[0]}x{size[1]}")
    if image.size != (size[1], size[0]):
        image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    array = np.asarray(image)
    return array[..., None] if array.ndim == 2 else array


def normalized(pixels: Array, preprocessing: Preprocessing, layout: Layout) -> Array:
    """Maps channel-last values in 0..255 and puts them into a layout: float32, same batch."""
    if pixels.shape[-1] == 3 and preprocessing.channel_order == "bgr":
        pixels = pixels[..., ::-1]
    mean = np.asarray(preprocessing.mean, np.float32)
    factor = (1.0 / np.asarray(preprocessing.std, np.float64)).astype(np.float32)
    values = pixels.astype(np.float32)
    if mean.any():
        values -= mean
    if (factor != 1).any():
        values *= factor
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2)) if layout is Layout.CHANNELS_FIRST else values
