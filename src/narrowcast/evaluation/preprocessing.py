"""From a photograph to a model's input: crop, resize, order of channels, and an affine map of the values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from narrowcast.errors import DataError, UsageError
from narrowcast.evaluation.expression import affine
from narrowcast.model import Array, Layout, Preprocessing

__all__ = [
    "PRESETS",
    "ImageInput",
    "as_input",
    "image_input",
    "image_layout",
    "load_image",
    "make_preprocessing",
    "normalized",
]

PRESETS: dict[str, Preprocessing] = {
    "tf": Preprocessing((127.5,), (127.5,)),
    "torch": Preprocessing((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "caffe": Preprocessing((103.939, 116.779, 123.68), (1.0,), "bgr"),
    "none": Preprocessing(),
}
"""As Keras names them (keras.applications.imagenet_utils.preprocess_input)."""

ORDERS = ("rgb", "bgr", "gray")
CHANNELS = (1, 3, 4)
"""Numbers of channels that an image can have."""

LARGEST_IMAGE = 89_000_000
"""Pixels; a larger image is refused. Just below the size at which Pillow warns of a decompression bomb."""

LARGEST_SIDE = 16384
"""Pixels that an image may be resized to."""

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
"""What Pillow may decode: none of its formats that start another program."""


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


def image_layout(shape: Sequence[int | None]) -> Layout | None:
    """Where an input of rank 4 keeps its channels, told by which of its sizes can be a number of channels (1, 3, 4).

    1. Only axis 1 can: channels first. Only axis 3: channels last. Neither: None, it takes no images.
    2. Both can: the one that leaves a square image; channels first if both do or neither does.
    """
    if len(shape) != 4:
        return None
    first, last = shape[1] in CHANNELS, shape[3] in CHANNELS
    if first and last:
        last = shape[1] == shape[2] and shape[2] != shape[3]
        first = not last
    if first:
        return Layout.CHANNELS_FIRST
    return Layout.CHANNELS_LAST if last else None


@dataclass(frozen=True, slots=True)
class ImageInput:
    """What images must become for an input: its layout, and the sizes in pixels."""

    layout: Layout
    height: int
    width: int
    channels: int


def image_input(shape: Sequence[int | None], preprocessing: Preprocessing) -> ImageInput:
    """What images must become for an input of this shape.

    Raises:
        DataError: it takes no images, more than one at a time, or others than the preprocessing makes.
    """
    text = "x".join("?" if dim is None else str(dim) for dim in shape)
    layout = image_layout(shape)
    if layout is None:
        raise DataError(f"an input of shape {text} takes no images", hint="give arrays as .npz or .npy")
    if shape[0] not in (None, 1):
        raise DataError(f"an input of shape {text} takes {shape[0]} images at a time", hint="convert with --batch 1")
    first = layout is Layout.CHANNELS_FIRST
    channels = shape[1] if first else shape[3]
    wanted = preprocessing.resize or (None, None)
    height, width = (side or ours for side, ours in zip(shape[2:] if first else shape[1:3], wanted, strict=True))
    if height is None or width is None or channels is None:
        raise DataError(f"the input's height and width are open ({text})", hint="--resize N, or --input name:shape")
    if preprocessing.resize not in (None, (height, width)):
        raise DataError(
            f"--resize {preprocessing.resize[0]} does not fit the input's {height}x{width}", hint="leave --resize out"
        )
    values = max(len(preprocessing.mean), len(preprocessing.std))
    if values not in (1, channels):
        raise DataError(f"mean and std are for {values} channels, the input has {channels}")
    return ImageInput(layout, height, width, channels)


def load_image(path: Path, preprocessing: Preprocessing, shape: Sequence[int | None]) -> Array:
    """Reads an image file as an input of a model.

    The image is turned as its EXIF orientation says. Transparency is dropped unless the input has four channels; 16-bit
    images are brought to 8 bits; an animation gives its first frame.

    Args:
        path: JPEG, PNG, BMP, GIF, WebP, TIFF or PPM.
        preprocessing: crop, size, order of channels, and how values are mapped.
        shape: the input's, of rank 4; open sides take `preprocessing.resize`.

    Returns:
        float32 of shape [1, channels, height, width] or [1, height, width, channels].

    Raises:
        DataError: the file is no image, or too large, or the input cannot take one.
    """
    from PIL import Image, ImageOps

    target = image_input(shape, preprocessing)
    if path.exists() and not path.is_file():
        raise DataError("not a regular file", where=str(path))
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > LARGEST_IMAGE:
                raise DataError(f"the image has {image.width}x{image.height} pixels, which is too large")
            image.load()
            turned = ImageOps.exif_transpose(image)
            pixels = _pixels(_eight_bit(turned), preprocessing, target)
    except DataError as error:
        error.where = str(path)
        raise
    except Exception as error:  # decoders of damaged files raise whatever they stumble over
        raise DataError(f"not a readable image: {str(error) or type(error).__name__}", where=str(path)) from error
    return normalized(pixels[None], preprocessing, target.layout)


def as_input(image: Array, preprocessing: Preprocessing, target: ImageInput) -> Array:
    """Makes an array of pixels into an input; it is cropped and resized only if its size differs from the input's.

    Args:
        image: uint8 [height, width, channels], RGB.
        preprocessing: see `load_image`.
        target: of `image_input`.

    Returns:
        float32, as `load_image`.
    """
    if image.shape != (target.height, target.width, target.channels):
        from PIL import Image

        how = preprocessing
        if image.shape[:2] == (target.height, target.width):
            how = replace(preprocessing, crop=None)
        image = _pixels(Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image), how, target)
    return normalized(image[None], preprocessing, target.layout)


def _eight_bit(image: Any) -> Any:
    """Greys of 16 bits in 8; Pillow's own conversion would cut them off at 255."""
    if not image.mode.startswith(("I", "F")):
        return image
    from PIL import Image

    values = np.asarray(image)
    if values.dtype.kind not in "iu" or values.min() < 0 or values.max() > 65535:
        raise DataError(
            f"the image's values ({image.mode}) are not of 8 or 16 bits", hint="give it as an array in .npy"
        )
    return Image.fromarray((values >> 8).astype(np.uint8))


def _pixels(image: Any, preprocessing: Preprocessing, target: ImageInput) -> Array:
    """Crops the central square, resizes bilinearly, converts: uint8 [height, width, channels] in RGB."""
    from PIL import Image

    mode = {1: "L", 3: "RGB", 4: "RGBA"}[target.channels]
    gray = preprocessing.channel_order == "gray" and mode != "L"
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    for wanted in ("L", mode) if gray else (mode,):
        image = image if image.mode == wanted else image.convert(wanted)
    if preprocessing.crop is not None:
        side = max(int(min(image.size) * preprocessing.crop), 1)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    if image.size != (target.width, target.height):
        image = image.resize((target.width, target.height), Image.Resampling.BILINEAR)
    array = np.asarray(image)
    return array[..., None] if array.ndim == 2 else array


def normalized(pixels: Array, preprocessing: Preprocessing, layout: Layout | None = None) -> Array:
    """Maps values in 0..255 to (x - mean) / std and puts them into a layout.

    Args:
        pixels: [..., channels], RGB; images have rank 4.
        preprocessing: its order of channels is brought about where there are three or four of them.
        layout: channels first moves them there; None and channels last leave them.

    Returns:
        float32, same batch.
    """
    if preprocessing.channel_order == "bgr" and layout is not None and pixels.shape[-1] in (3, 4):
        pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[-1]]]
    mean = np.asarray(preprocessing.mean, np.float32)
    factor = (1.0 / np.asarray(preprocessing.std, np.float64)).astype(np.float32)
    values = pixels.astype(np.float32)
    if mean.any():
        values -= mean
    if (factor != 1).any():
        values *= factor
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2)) if layout is Layout.CHANNELS_FIRST else values
