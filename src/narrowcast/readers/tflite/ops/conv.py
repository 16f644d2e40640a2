"""Convolutions, pools and dense layers.

TFLite keeps kernels as [out, height, width, in], depthwise ones as [1, height, width, out]; ONNX as [out, in / groups,
height, width].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from narrowcast.dialect.windows import same_pads
from narrowcast.errors import ModelFileError
from narrowcast.model import Array, ir
from narrowcast.readers.emit import Tensor
from narrowcast.readers.tflite.emit import static
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
    stored = site.stored(index)
    array = site.array(index).reshape(-1)
    of_source, of_weights = site.storage(source), site.storage(weights)
    if array.dtype.kind == "f" or of_source is None or of_weights is None:
        return site.g.weights(array, site.storage(index), 0, stored.name or "bias")
    if array.dtype == np.int64:
        if array.size and np.abs(array).max() > np.iinfo(np.int32).max:
            raise ModelFileError("its bias does not fit into 32 bits")
        array = array.astype(np.int32)
    scale = of_source.scale * of_weights.scale
    found = Quantization(scale, np.zeros(scale.size, np.int64), 0)
    return site.g.weights(array, found, 0, stored.name or "bias")


def _kernel(site: Site, order: tuple[int, ...], index: int = 1) -> tuple[Array, ir.Value]:
    """A constant kernel in ONNX's order."""
    stored = site.stored(index)
    array = site.array(index).transpose(order)
    found = site.storage(index)
    axis = order.index(found.axis) if found is not None else 0
    return array, site.g.weights(array, found, axis, stored.name or "kernel")


@reads("CONV_2D")
def conv_2d(site: Site) -> Tensor:
    """Input [batch, height, width, in], kernel, bias; channels may be in groups."""
    return _convolution(site, (0, 3, 1, 2), depthwise=False)


@reads("DEPTHWISE_CONV_2D")
def depthwise_conv_2d(site: Site) -> Tensor:
    """Each channel by itself, giving one or more."""
    return _convolution(site, (3, 0, 1, 2), depthwise=True)


def _convolution(site: Site, order: tuple[int, ...], *, depthwise: bool) -> Tensor:
    g, x = site.g, site.input(0)
    kernel, value = _kernel(site, order)
    channels, sizes = x.dim(3), static(x.shape[1:3])
    if kernel.shape[1] == 0 or channels % kernel.shape[1] or (depthwise and kernel.shape[1] != 1):
        raise ModelFileError(f"a kernel of shape {kernel.shape} does not fit an input of shape {x.shape}")
    strides = [site.option("stride_h"), site.option("stride_w")]
    dilations = [site.option("dilation_h_factor", 1), site.option("dilation_w_factor", 1)]
    pads = pads_of(site, sizes, kernel.shape[2:], strides, dilations)
    outs = windows(sizes, kernel.shape[2:], strides, dilations, pads)
    shape = (x.shape[0], kernel.shape[0], *outs)
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
        group=channels // kernel.shape[1],
        kernel_shape=list(kernel.shape[2:]),
    )
    return site.activated(g.from_spatial(made, shape, x.dtype, channels_last=True))


@reads("MAX_POOL_2D", "AVERAGE_POOL_2D")
def pool_2d(site: Site) -> Tensor:
    """The largest or the mean of each window; padding does not count."""
    g, x = site.g, site.input(0)
    sizes, kernel = static(x.shape[1:3]), [site.option("filter_height"), site.option("filter_width")]
    strides = [site.option("stride_h"), site.option("stride_w")]
    pads = pads_of(site, sizes, kernel, strides, [1, 1])
    shape = (x.shape[0], x.shape[3], *windows(sizes, kernel, strides, [1, 1], pads))
    op = "MaxPool" if site.operator.name == "MAX_POOL_2D" else "AveragePool"
    made = g.raw(op, g.channels_first(x), shape=shape, dtype=x.dtype, kernel_shape=kernel, strides=strides, pads=pads)
    return site.activated(g.from_spatial(made, shape, x.dtype, channels_last=True))


@reads("FULLY_CONNECTED")
def fully_connected(site: Site) -> Tensor:
    """All but the last axis are a batch, kept in the output where `keep_num_dims` says so; weights are [out, in]."""
    g, x = site.g, site.input(0)
    weights = site.array(1)
    if weights.ndim != 2:
        raise ModelFileError(f"its weights have the shape {weights.shape}")
    units, width = weights.shape
    flat = x if x.rank == 2 and x.shape[-1] == width else g.reshape(x, _rows(x, width))
    value = g.weights(weights, site.storage(1), 0, site.stored(1).name or "weights")
    bias = bias_of(site, 2, 0, 1)
    made = g.op("Gemm", flat, value, bias, shape=(flat.shape[0], units), transB=1)
    if site.option("keep_num_dims", default=False):
        made = g.reshape(made, (*x.shape[:-1], units))
    return site.activated(made)


def _rows(x: Tensor, width: int) -> tuple[int | str, int]:
    """The shape of a tensor as rows of a given width."""
    if x.rank and isinstance(x.shape[0], str):
        return x.shape[0], width
    count = int(np.prod(static(x.shape)))
    if count % width:
        raise ModelFileError(f"an input of shape {x.shape} has no rows of {width}")
    return count // width, width
