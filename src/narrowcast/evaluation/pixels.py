"""From a photograph to a model's input: crop, resize, order of channels, and an affine map of the values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from narrowcast.errors import DataError
from narrowcast.model import Array, Layout, Preprocessing

__all__ = ["CHANNELS", "ImageInput", "as_input", "image_input", "image_layout", "load_image", "normalized"]

CHANNELS = (1, 3, 4)
"""Numbers of channels that an image can have."""

LARGEST_IMAGE = 89_000_000
"""Pixels; a larger image is refused. Just below the size at which Pillow warns of a decompression bomb."""

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
"""What Pillow may decode: none of its formats that start another program."""


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
    if not path.is_file():
        raise DataError("not a regular file" if path.exists() else "no such file", where=str(path))
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
