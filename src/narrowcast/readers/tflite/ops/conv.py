"""Convolutions, forwards and backwards.

TFLite keeps kernels as [out, height, width, in], depthwise ones as [1, height, width, out]; ONNX as [out, in / groups,
height, width].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from narrowcast.dialect.windows import same_pads
from narrowcast.errors import ModelFileError, UnsupportedOpError
from narrowcast.model import ir
from narrowcast.readers.emit import Tensor
from narrowcast.readers.tflite.emit import Blocks, Emitter, static
from narrowcast.readers.tflite.file import Quantization
from narrowcast.readers.tflite.registry import Site, reads


def pads_of(
    site: Site, sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> list[int]:
    """What the padding of the options is along each axis, all beginnings before all ends."""
    if site.word("padding", "SAME") == "VALID":
        return [0] * (2 * len(sizes))
    return list(same_pads(sizes, kernel, strides, dilations))


def windows(
    sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], pads: Sequence[int]
) -> list[int]:
    """How many windows fit along each axis.

    Raises:
        ModelFileError: none does.
    """
    rank, found = len(sizes), []
    for axis, size in enumerate(sizes):
        if strides[axis] < 1 or dilations[axis] < 1 or kernel[axis] < 1:
            raise ModelFileError("its strides, dilations and kernel must be positive")
        extent = (kernel[axis] - 1) * dilations[axis] + 1
        count = (size + pads[axis] + pads[rank + axis] - extent) // strides[axis] + 1
        if count < 1:
            raise ModelFileError(f"a window of {extent} does not fit into {size} pixels")
        found.append(count)
    return found


def bias_of(site: Site, index: int, source: int, weights: int) -> ir.Value | None:
    """A bias, where there is one: real numbers, or integers of the scale of the products."""
    if not site.has(index):
        return None
    of_source, of_weights = site.storage(source), site.storage(weights)
    if site.stored(index).dtype.kind == "f" or of_source is None or of_weights is None:
        return site.weights(index, [0])[1]
    stored, array = site.stored(index), site.numbers(index).reshape(-1)
    if array.dtype == np.int64:
        if array.size and np.abs(array).max() > np.iinfo(np.int32).max:
            raise ModelFileError("its bias does not fit into 32 bits")
        array = array.astype(np.int32)
    scale = of_source.scale * of_weights.scale
    found = Quantization(scale, np.zeros(scale.size, np.int64), 0)
    return site.g.weights(array, found, 0, stored.name or "bias")


def _options(site: Site, name: str, axes: int) -> list[int]:
    """Numbers for the last of depth, height and width."""
    return [site.option(name.format(axis), 1) for axis in "dhw"[3 - axes :]]


@reads("CONV_2D")
def conv_2d(site: Site) -> Tensor:
    """Input [batch, height, width, in], kernel, bias; channels may be in groups."""
    return _convolution(site, (0, 3, 1, 2))


@reads("DEPTHWISE_CONV_2D")
def depthwise_conv_2d(site: Site) -> Tensor:
    """Each channel by itself, giving one or more."""
    return _convolution(site, (3, 0, 1, 2), depthwise=True)


@reads("CONV_3D")
def conv_3d(site: Site) -> Tensor:
    """Input [batch, depth, height, width, in], kernel [depth, height, width, in, out], bias."""
    return _convolution(site, (4, 3, 0, 1, 2))


def _convolution(site: Site, order: tuple[int, ...], *, depthwise: bool = False) -> Tensor:
    g, x = site.g, site.input(0)
    kernel, value = site.weights(1, order)
    axes = len(order) - 2
    if x.rank != len(order):
        raise ModelFileError(f"its input has the shape {x.shape}")
    channels = x.dim(-1)
    if kernel[1] == 0 or channels % kernel[1] or (depthwise and kernel[1] != 1):
        raise ModelFileError(f"a kernel of shape {kernel} does not fit an input of shape {x.shape}")
    before = site.stored(0).shape[-1:]
    if site.network.resized and before != (channels,) and before[:1] and before[0] % kernel[1] == 0:
        raise UnsupportedOpError(
            f"it convolves {before[0]} channels, not {channels}", hint="leave their number as it is"
        )
    strides, dilations = _options(site, "stride_{}", axes), _options(site, "dilation_{}_factor", axes)
    blocks = x if isinstance(x, Blocks) and site.word("padding", "SAME") == "VALID" and max(strides) == 1 else None
    if blocks is not None and max(dilations) == 1:
        x, dilations = blocks.whole, list(blocks.block)
        pads = [amount for ends in zip(*blocks.pads, strict=True) for amount in ends]
    else:
        blocks, pads = None, pads_of(site, static(x.shape[1:-1]), kernel[2:], strides, dilations)
    outs = windows(static(x.shape[1:-1]), kernel[2:], strides, dilations, pads)
    shape = (x.shape[0], kernel[0], *outs)
    made = g.raw(
        "Conv",
        g.channels_first(x),
        value,
        bias_of(site, 2, 0, 1),
        shape=shape,
        dtype=x.dtype,
        pads=pads,
        strides=strides,
        dilations=dilations,
        group=channels // kernel[1],
        kernel_shape=list(kernel[2:]),
    )
    result = site.activated(g.from_spatial(made, shape, x.dtype, channels_last=True))
    return result if blocks is None else g.blocks(result, blocks.block, [(0, 0)] * axes)


@reads("TRANSPOSE_CONV")
def transpose_conv(site: Site) -> Tensor:
    """Inputs: the output's shape, kernel [out, height, width, in], [batch, height, width, in], bias."""
    return _backwards(site, (3, 0, 1, 2))


@reads("CONV_3D_TRANSPOSE")
def conv_3d_transpose(site: Site) -> Tensor:
    """As `transpose_conv` with a kernel [depth, height, width, out, in]."""
    return _backwards(site, (4, 3, 0, 1, 2))


def _backwards(site: Site, order: tuple[int, ...]) -> Tensor:
    x = site.input(2)
    strides = _options(site, "stride_{}", len(order) - 2)
    dilations = _options(site, "dilation_{}_factor", len(order) - 2)
    kernel, value = site.weights(1, order)
    outs = site.dims(0)[1:-1]
    sizes = static(x.shape[1:-1])
    if len(outs) == len(sizes):  # the user may have asked for other sizes
        more = [now - before for now, before in zip(sizes, site.stored(2).shape[1:-1], strict=True)]
        outs = [int(out) + places * stride for out, places, stride in zip(outs, more, strides, strict=True)]
    if len(outs) != len(sizes) or kernel[0] != x.dim(-1) or min(strides) < 1:
        raise ModelFileError(f"a kernel of shape {kernel} does not fit from {x.shape} to {outs}")
    result = transposed(
        site.g,
        x,
        value,
        bias_of(site, 3, 2, 1),
        kernel,
        strides,
        dilations,
        [int(out) for out in outs],
        valid=site.word("padding", "SAME") == "VALID",
    )
    return site.activated(result)


def transposed(
    g: Emitter,
    x: Tensor,
    kernel: ir.Value,
    bias: ir.Value | None,
    shape: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    outs: Sequence[int],
    *,
    valid: bool,
) -> Tensor:
    """A convolution backwards, to an output of given sizes.

    Padding is what a convolution of the output's sizes would have (ComputePaddingHeightWidth in
    tflite/kernels/transpose_conv.cc).

    Args:
        g: appends nodes.
        x: [batch, ..., in].
        kernel: [in, out, ...].
        bias: [out], or None.
        shape: the kernel's.
        strides: of each axis.
        dilations: of each axis.
        outs: of each axis.
        valid: whether the padding is VALID.

    Raises:
        ModelFileError: the output cannot be of that size.
    """
    begins, ends = [], []
    for axis, out in enumerate(outs):
        extent, size = (shape[2 + axis] - 1) * dilations[axis] + 1, x.dim(1 + axis)
        whole = (size - 1) * strides[axis] + extent
        windows_there = -(-(out - extent + 1) // strides[axis]) if valid else -(-out // strides[axis])
        begin = max((windows_there - 1) * strides[axis] + extent - out, 0) // 2
        begins.append(begin)
        ends.append(whole - out - begin)
    if min(outs) < 1:
        raise ModelFileError(f"its output has the sizes {list(outs)}")
    beyond = [max(-end, 0) for end in ends]  # places that no window reaches
    if any(more >= stride for more, stride in zip(beyond, strides, strict=True)):
        raise ModelFileError(f"an input of shape {x.shape} does not give an output of {list(outs)}")
    made_shape = (x.shape[0], shape[1], *outs)
    made = g.raw(
        "ConvTranspose",
        g.channels_first(x),
        kernel,
        bias,
        shape=made_shape,
        dtype=x.dtype,
        kernel_shape=list(shape[2:]),
        strides=list(strides),
        dilations=list(dilations),
        pads=[*begins, *(max(end, 0) for end in ends)],
        output_padding=beyond if any(beyond) else None,
    )
    return g.from_spatial(made, made_shape, x.dtype, channels_last=True)
