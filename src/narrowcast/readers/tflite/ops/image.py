"""Operators on images: other sizes, and pixels moved between space, channels and batch."""

from __future__ import annotations

from collections.abc import Sequence

from narrowcast.errors import ModelFileError
from narrowcast.model import ir
from narrowcast.readers.emit import Dim, Tensor
from narrowcast.readers.tflite.emit import Blocks, static
from narrowcast.readers.tflite.registry import Site, reads


@reads("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")
def resize(site: Site) -> Tensor:
    """To other sizes; pixels lie by their corners unless the options say otherwise."""
    g, x, sizes = site.g, site.input(0), site.ints(1)
    if x.rank != 4 or len(sizes) != 2 or min(sizes) < 1:
        raise ModelFileError(f"it resizes a tensor of shape {x.shape} to {sizes}")
    sizes = [
        size * now // before if before and size * now % before == 0 else size  # the user may have asked for other sizes
        for size, now, before in zip(sizes, static(x.shape[1:3]), site.stored(0).shape[1:3], strict=True)
    ]
    bilinear = site.operator.name == "RESIZE_BILINEAR"
    place = (
        "align_corners"
        if site.flag("align_corners")
        else "half_pixel"
        if site.flag("half_pixel_centers")
        else "asymmetric"
    )
    rounding = "floor" if place == "asymmetric" else "round_prefer_ceil"
    shape: tuple[Dim, ...] = (x.shape[0], x.shape[3], *sizes)
    target: tuple[ir.Value | None, ir.Value | None]
    if isinstance(shape[0], int):
        target = (None, g.ints(static(shape), "sizes"))
    else:
        factors = [1.0, 1.0, *(size / dim for size, dim in zip(sizes, static(x.shape[1:3]), strict=True))]
        target = (g.constant(factors, "scales", "float32"), None)
    made = g.raw(
        "Resize",
        g.channels_first(x),
        None,
        *target,
        shape=shape,
        mode="linear" if bilinear else "nearest",
        nearest_mode=None if bilinear else rounding,
        coordinate_transformation_mode=place,
    )
    return g.from_spatial(made, shape, x.dtype, channels_last=True)


@reads("DEPTH_TO_SPACE", "SPACE_TO_DEPTH")
def depth_space(site: Site) -> Tensor:
    """Channels to blocks of pixels, and back."""
    g, x, block = site.g, site.input(0), site.option("block_size")
    deep = site.operator.name == "DEPTH_TO_SPACE"
    batch, (height, width, channels) = x.shape[0], static(x.shape[1:])
    if block < 1 or (channels % block**2 if deep else height % block or width % block):
        raise ModelFileError(f"a tensor of shape {x.shape} has no blocks of {block}")
    square = block**2
    shape = (
        (batch, channels // square, height * block, width * block)
        if deep
        else (batch, channels * square, height // block, width // block)
    )
    op = "DepthToSpace" if deep else "SpaceToDepth"
    made = g.raw(op, g.channels_first(x), shape=shape, dtype=x.dtype, blocksize=block)
    return g.from_spatial(made, shape, x.dtype, channels_last=True)


@reads("SPACE_TO_BATCH_ND")
def space_to_batch(site: Site) -> Tensor:
    """Every so many pixels become an image of their own: what old converters made of dilation (`Blocks`)."""
    x, block = site.input(0), site.ints(1)
    pads = _pairs(site.ints(2), block)
    sizes = static(x.shape[1 : 1 + len(block)])
    if len(sizes) < len(block) or any((n + sum(p)) % b for n, p, b in zip(sizes, pads, block, strict=True)):
        raise ModelFileError(f"a tensor of shape {x.shape}, padded by {pads}, has no blocks of {block}")
    return site.g.blocks(x, tuple(block), pads)


@reads("BATCH_TO_SPACE_ND")
def batch_to_space(site: Site) -> Tensor:
    """The inverse of SPACE_TO_BATCH_ND; some pixels are cut off at the borders."""
    g, x, block = site.g, site.input(0), site.ints(1)
    crops = _pairs(site.ints(2), block)
    if not isinstance(x, Blocks) or x.block != tuple(block) or any(map(any, x.pads)):
        x = g.from_blocks(x, tuple(block))
    whole = x.whole if isinstance(x, Blocks) else x
    ranges = {}
    for axis, (before, after) in enumerate(crops, 1):
        if before + after > whole.dim(axis):
            raise ModelFileError(f"it cuts {crops} off a tensor of shape {whole.shape}")
        ranges[axis] = range(before, whole.dim(axis) - after)
    return g.cut(whole, ranges)


def _pairs(table: Sequence[int], block: Sequence[int]) -> list[tuple[int, int]]:
    """An amount before and after for each axis of blocks."""
    if len(table) != 2 * len(block) or min(table, default=0) < 0 or min(block, default=0) < 1:
        raise ModelFileError(f"its amounts {list(table)} do not fit blocks of {list(block)}")
    return list(zip(table[::2], table[1::2], strict=True))
