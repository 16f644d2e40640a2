"""Operators that look at neighbours: convolutions, pools, and what moves or resamples pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from narrowcast.errors import UnsupportedOpError, shown
from narrowcast.model import ir
from narrowcast.passes.decompose.resize import axes_of, interpolation
from narrowcast.training.registry import prepares, translates

_CONVOLUTIONS: tuple[Callable[..., Tensor], ...] = (functional.conv1d, functional.conv2d, functional.conv3d)
_TRANSPOSED: tuple[Callable[..., Tensor], ...] = (
    functional.conv_transpose1d,
    functional.conv_transpose2d,
    functional.conv_transpose3d,
)
_MAXIMA: tuple[Callable[..., Any], ...] = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)
_AVERAGES: tuple[Callable[..., Tensor], ...] = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)


def _of_rank(functions: Sequence[Callable[..., Any]], x: Tensor) -> Callable[..., Any]:
    if not 3 <= x.dim() <= 5:
        raise UnsupportedOpError(f"torch has windows over 1 to 3 axes, not {x.dim() - 2}")
    return functions[x.dim() - 3]


def padded(x: Tensor, before: Sequence[int], after: Sequence[int], value: float = 0.0) -> Tensor:
    """A tensor with the last axes padded, or with negative numbers cut."""
    pads = [pad for pair in zip(reversed(before), reversed(after), strict=True) for pad in pair]
    return functional.pad(x, pads, value=value) if any(pads) else x


def _plain_padding(auto_pad: str) -> None:
    if auto_pad not in ("NOTSET", "VALID"):
        raise UnsupportedOpError(f"training wants padding in numbers, not {shown(auto_pad)}")


@translates("Conv")
def conv(
    x: Tensor,
    weights: Tensor,
    bias: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] = (),
    group: int = 1,
    kernel_shape: Sequence[int] = (),
    pads: Sequence[int] = (),
    strides: Sequence[int] = (),
) -> Tensor:
    """Padded by itself where the two ends differ."""
    _plain_padding(auto_pad)
    rank = x.dim() - 2
    before, after = pads[:rank] or [0] * rank, pads[rank:] or [0] * rank
    inside = list(before) if list(before) == list(after) and min(before, default=0) >= 0 else [0] * rank
    if inside != list(before) or inside != list(after):
        x = padded(x, before, after)
    function = _of_rank(_CONVOLUTIONS, x)
    made: Tensor = function(x, weights, bias, tuple(strides) or 1, inside, tuple(dilations) or 1, group)
    return made


@translates("ConvTranspose")
def conv_transpose(
    x: Tensor,
    weights: Tensor,
    bias: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] = (),
    group: int = 1,
    kernel_shape: Sequence[int] = (),
    output_padding: Sequence[int] = (),
    output_shape: Sequence[int] = (),
    pads: Sequence[int] = (),
    strides: Sequence[int] = (),
) -> Tensor:
    """All that the products reach, then cut by the pads."""
    _plain_padding(auto_pad)
    if output_shape:
        raise UnsupportedOpError("training wants the padding of a ConvTranspose, not its output's shape")
    rank = x.dim() - 2
    function = _of_rank(_TRANSPOSED, x)
    whole: Tensor = function(x, weights, None, tuple(strides) or 1, 0, 0, group, tuple(dilations) or 1)
    before, after = pads[:rank] or [0] * rank, pads[rank:] or [0] * rank
    more = output_padding or [0] * rank
    made = padded(whole, [-pad for pad in before], [extra - pad for extra, pad in zip(more, after, strict=True)])
    return made if bias is None else made + bias.reshape(-1, *[1] * rank)


def _windows(
    size: int, kernel: int, stride: int, dilation: int, before: int, after: int, *, ceil: bool
) -> tuple[int, int]:
    """How far windows reach past the padding, and how many there are."""
    reach = dilation * (kernel - 1) + 1
    room = size + before + after - reach
    count = (math.ceil(room / stride) if ceil else room // stride) + 1
    if ceil and (count - 1) * stride >= size + before:  # one that starts in the padding behind is none
        count -= 1
    return max((count - 1) * stride + reach - (size + before + after), 0), count


def _extents(
    x: Tensor,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[int],
    *,
    ceil: bool,
) -> tuple[list[int], list[int], list[int]]:
    """Padding before and behind, and what ceiling adds behind."""
    rank = x.dim() - 2
    before, after = list(pads[:rank]) or [0] * rank, list(pads[rank:]) or [0] * rank
    rows = zip(x.shape[2:], kernel, strides, dilations, before, after, strict=True)
    return before, after, [_windows(*row, ceil=ceil)[0] for row in rows]


@translates("MaxPool")
def max_pool(
    x: Tensor,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Sequence[int] = (),
    kernel_shape: Sequence[int],
    pads: Sequence[int] = (),
    storage_order: int = 0,
    strides: Sequence[int] = (),
) -> Tensor:
    """Padding is the lowest number of all."""
    _plain_padding(auto_pad)
    rank = len(kernel_shape)
    strides, dilations = list(strides) or [1] * rank, list(dilations) or [1] * rank
    before, after, more = _extents(x, kernel_shape, strides, dilations, pads, ceil=bool(ceil_mode))
    x = padded(x, before, [a + b for a, b in zip(after, more, strict=True)], -math.inf)
    made: Tensor = _of_rank(_MAXIMA, x)(x, list(kernel_shape), strides, 0, dilations)
    return made


@translates("AveragePool")
def average_pool(
    x: Tensor,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Sequence[int] = (),
    kernel_shape: Sequence[int],
    pads: Sequence[int] = (),
    strides: Sequence[int] = (),
) -> Tensor:
    """Sums over windows, by how many elements each has within the image, or within the padding too."""
    _plain_padding(auto_pad)
    rank = len(kernel_shape)
    strides, dilations = list(strides) or [1] * rank, list(dilations) or [1] * rank
    if any(dilation != 1 for dilation in dilations):
        raise UnsupportedOpError("torch averages without dilations")
    before, after, more = _extents(x, kernel_shape, strides, dilations, pads, ceil=bool(ceil_mode))
    pool, kernel = _of_rank(_AVERAGES, x), list(kernel_shape)
    made: Tensor = pool(padded(padded(x, before, after), [0] * rank, more), kernel, strides)
    counted = torch.ones_like(x[:1, :1])
    counted = padded(padded(counted, before, after, float(count_include_pad)), [0] * rank, more)
    return made / pool(counted, kernel, strides) if any((*before, *after, *more)) else made


@prepares("Resize", inputs=1)
def resize(node: ir.Node) -> Callable[[Tensor], Tensor]:
    """Axis by axis, as a product with the weights of interpolation; nearest neighbours are picked out."""
    axes = axes_of(node)
    if axes is None:
        raise UnsupportedOpError("training wants the sizes of a Resize to be constants", where=shown(node.name))
    if node.attributes.get_string("coordinate_transformation_mode", "") == "tf_crop_and_resize":
        raise UnsupportedOpError("training has no Resize that crops", where=shown(node.name))
    nearest = node.attributes.get_string("mode", "nearest") == "nearest"
    steps: list[tuple[int, Tensor]] = []
    for index, axis in enumerate(axes):
        if axis.size == axis.out and axis.scale == 1.0:
            continue
        matrix = interpolation(node, axis)
        steps.append((index, torch.from_numpy(matrix.argmax(axis=0) if nearest else matrix.astype("float32"))))

    def resized(x: Tensor) -> Tensor:
        for axis, weights in steps:
            given = weights.to(x.device)
            x = x.index_select(axis, given) if nearest else (x.movedim(axis, -1) @ given).movedim(-1, axis)
        return x

    return resized


@translates("DepthToSpace")
def depth_to_space(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    """Channels become blocks of pixels."""
    batch, channels, height, width = x.shape
    rest = channels // blocksize**2
    if mode == "CRD":
        x, order = x.reshape(batch, rest, blocksize, blocksize, height, width), (0, 1, 4, 2, 5, 3)
    else:
        x, order = x.reshape(batch, blocksize, blocksize, rest, height, width), (0, 3, 4, 1, 5, 2)
    return x.permute(order).reshape(batch, rest, height * blocksize, width * blocksize)


@translates("SpaceToDepth")
def space_to_depth(x: Tensor, *, blocksize: int) -> Tensor:
    """Blocks of pixels become channels, positions within a block before the channels there were."""
    batch, channels, height, width = x.shape
    x = x.reshape(batch, channels, height // blocksize, blocksize, width // blocksize, blocksize)
    return x.permute(0, 3, 5, 1, 2, 4).reshape(batch, channels * blocksize**2, height // blocksize, width // blocksize)


@translates("GridSample")
def grid_sample(
    x: Tensor, grid: Tensor, *, align_corners: int = 0, mode: str = "linear", padding_mode: str = "zeros"
) -> Tensor:
    """Pixels at computed places."""
    names = {"linear": "bilinear", "cubic": "bicubic"}
    return functional.grid_sample(
        x, grid, mode=names.get(mode, mode), padding_mode=padding_mode, align_corners=bool(align_corners)
    )
