"""Convolutions: `Conv`, `ConvTranspose`, depthwise and separable ones, in one to three dimensions.

Keras keeps kernels as [spatial..., in / groups, out], ONNX as [out, in / groups, spatial...].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from narrowcast.dialect.windows import same_pads
from narrowcast.errors import ModelFileError
from narrowcast.model import Array, ir
from narrowcast.readers.emit import Shape, Tensor
from narrowcast.readers.keras.activations import activate
from narrowcast.readers.keras.config import LayerConfig
from narrowcast.readers.keras.emit import Emitter, Weights
from narrowcast.readers.keras.registry import Inputs, layer, unsupported

__all__ = ["channels_last", "paired", "window_size"]


def channels_last(layer: LayerConfig) -> bool:
    """Whether a layer's data format keeps the channels last, which is the default."""
    return layer.text("data_format", "channels_last") != "channels_first"


def window_size(size: int, extent: int, stride: int, pads: tuple[int, int]) -> int:
    """How many windows of a given extent fit.

    Raises:
        ModelFileError: none does.
    """
    count = (size + sum(pads) - extent) // stride + 1
    if count < 1 or stride < 1:
        raise ModelFileError(f"a window of {extent} does not fit into {size} pixels")
    return count


def paired(pads: Sequence[int]) -> list[tuple[int, int]]:
    """Beginnings and ends of all axes, as ONNX lists them, as a pair for each."""
    half = len(pads) // 2
    return list(zip(pads[:half], pads[half:], strict=True))


def flat_pads(pads: Sequence[tuple[int, int]]) -> list[int]:
    """ONNX's order: all beginnings, then all ends."""
    return [begin for begin, _ in pads] + [end for _, end in pads]


def spatial_shape(g: Emitter, x: Tensor, last: bool) -> tuple[ir.Value, Shape]:
    """A tensor's value in ONNX's order, and its shape in that order."""
    value = g.spatial(x, last)
    return value, (x.shape[0], x.shape[-1], *x.shape[1:-1]) if last else x.shape


def spatial_sizes(shape: Shape) -> list[int]:
    """The sizes behind batch and channels.

    Raises:
        ModelFileError: one is not known.
    """
    sizes = [dim for dim in shape[2:] if isinstance(dim, int)]
    if len(sizes) != len(shape) - 2:
        raise ModelFileError(f"the spatial sizes of {shape} must be known")
    return sizes


def with_bias(layer: LayerConfig, *names: str) -> tuple[str, ...]:
    """The slots of a layer whose last one is a bias that may be left out."""
    return (*names, "bias") if layer.flag("use_bias", True) else names


def convolve(
    g: Emitter,
    layer: LayerConfig,
    x: Tensor,
    kernel: Array,
    bias: Array | None,
    *,
    groups: int,
    strides: Sequence[int],
    dilations: Sequence[int],
    name: str = "kernel",
) -> Tensor:
    """A convolution with a kernel in ONNX's order [out, in / groups, spatial...]."""
    last = channels_last(layer)
    value, shape = spatial_shape(g, x, last)
    rank = len(shape) - 2
    if kernel.ndim != rank + 2 or shape[1] != kernel.shape[1] * groups:
        raise ModelFileError(f"a kernel of shape {kernel.shape} does not fit an input of shape {x.shape}")
    extents = [(size - 1) * dilation + 1 for size, dilation in zip(kernel.shape[2:], dilations, strict=True)]
    sizes = spatial_sizes(shape)
    match layer.text("padding", "valid"):
        case "same":
            pads = paired(same_pads(sizes, kernel.shape[2:], strides, dilations))
        case "causal":
            pads = [(extent - 1, 0) for extent in extents]
        case "valid":
            pads = [(0, 0)] * rank
        case other:
            raise unsupported(f"the padding {other!r} is unknown")
    outputs = [window_size(*of) for of in zip(sizes, extents, strides, pads, strict=True)]
    made_shape = (shape[0], kernel.shape[0], *outputs)
    made = g.raw(
        "Conv",
        value,
        g.constant(kernel, name),
        g.constant(bias, "bias") if bias is not None else None,
        shape=made_shape,
        pads=flat_pads(pads),
        strides=list(strides),
        dilations=list(dilations),
        group=groups,
        kernel_shape=list(kernel.shape[2:]),
    )
    return g.from_spatial(made, made_shape, x.dtype, last)


def _to_onnx(kernel: Array) -> Array:
    """[spatial..., in, out] as [out, in, spatial...]."""
    return kernel.transpose(kernel.ndim - 1, kernel.ndim - 2, *range(kernel.ndim - 2))


def _depthwise_to_onnx(kernel: Array) -> Array:
    """[spatial..., channels, multiplier] as [channels * multiplier, 1, spatial...]."""
    spatial = kernel.ndim - 2
    moved = kernel.transpose(spatial, spatial + 1, *range(spatial))
    return moved.reshape(-1, 1, *kernel.shape[:spatial])


def _expect_rank(kernel: Array, rank: int) -> Array:
    if kernel.ndim != rank + 2:
        raise ModelFileError(f"its kernel has the shape {kernel.shape}, {rank + 2} axes were expected")
    return kernel


def _kernel_slots(layer: LayerConfig) -> tuple[str, ...]:
    return with_bias(layer, "kernel")


@layer("Conv1D", "Conv2D", "Conv3D", "Convolution1D", "Convolution2D", "Convolution3D", weights=_kernel_slots)
def conv(g: Emitter, layer: LayerConfig, weights: Weights, inputs: Inputs) -> Tensor:
    """A convolution, grouped or dilated, of any padding."""
    x = g.floating(inputs.x)
    kernel = _to_onnx(_expect_rank(weights["kernel"], x.rank - 2))
    rank = x.rank - 2
    made = convolve(
        g,
        layer,
        x,
        kernel,
        weights.get("bias"),
        groups=layer.integer("groups", 1),
        strides=layer.integers("strides", rank),
        dilations=layer.integers("dilation_rate", rank),
    )
    return activate(g, layer, made)


@layer("DepthwiseConv1D", "DepthwiseConv2D", weights=_kernel_slots)
def depthwise_conv(g: Emitter, layer: LayerConfig, weights: Weights, inputs: Inputs) -> Tensor:
    """A convolution of each channel by itself; the outputs of one channel stand side by side."""
    x = g.floating(inputs.x)
    made = _depthwise(g, layer, x, weights["kernel"], weights.get("bias"))
    return activate(g, layer, made)


def _depthwise(g: Emitter, layer: LayerConfig, x: Tensor, kernel: Array, bias: Array | None) -> Tensor:
    rank = x.rank - 2
    return convolve(
        g,
        layer,
        x,
        _depthwise_to_onnx(_expect_rank(kernel, rank)),
        bias,
        groups=kernel.shape[-2],
        strides=layer.integers("strides", rank),
        dilations=layer.integers("dilation_rate", rank),
        name="depthwise_kernel",
    )


def _separable_slots(layer: LayerConfig) -> tuple[str, ...]:
    return with_bias(layer, "depthwise_kernel", "pointwise_kernel")


@layer("SeparableConv1D", "SeparableConv2D", weights=_separable_slots)
def separable_conv(g: Emitter, layer: LayerConfig, weights: Weights, inputs: Inputs) -> Tensor:
    """A depthwise convolution, then one of 1 x 1 that mixes the channels."""
    x = g.floating(inputs.x)
    rank = x.rank - 2
    middle = _depthwise(g, layer, x, weights["depthwise_kernel"], None)
    kernel = _to_onnx(_expect_rank(weights["pointwise_kernel"], rank))
    ones = (1,) * rank
    plain = LayerConfig(layer.kind, layer.name, layer.path, {**layer.config, "padding": "valid"}, layer.generation)
    made = convolve(
        g,
        plain,
        middle,
        kernel,
        weights.get("bias"),
        groups=1,
        strides=ones,
        dilations=ones,
        name="pointwise_kernel",
    )
    return activate(g, layer, made)


@layer("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose", weights=_kernel_slots)
def conv_transpose(g: Emitter, layer: LayerConfig, weights: Weights, inputs: Inputs) -> Tensor:
    """The gradient of a convolution; Keras keeps its kernel as [spatial..., out, in].

    Keras fixes the output's size first and pads, as "same" would, what that size leaves over.
    """
    x = g.floating(inputs.x)
    last = channels_last(layer)
    value, shape = spatial_shape(g, x, last)
    rank = len(shape) - 2
    kernel = _expect_rank(weights["kernel"], rank)
    kernel = kernel.transpose(rank + 1, rank, *range(rank))
    if shape[1] != kernel.shape[0]:
        raise ModelFileError(f"a kernel of shape {weights['kernel'].shape} does not fit an input of shape {x.shape}")
    strides = layer.integers("strides", rank)
    dilations = layer.integers("dilation_rate", rank)
    extra = layer.integers("output_padding", rank) if layer.get("output_padding") is not None else (None,) * rank
    padding = layer.text("padding", "valid")
    pads: list[tuple[int, int]] = []
    surplus: list[int] = []
    outputs: list[int] = []
    for size, taps, stride, dilation, output_padding in zip(
        spatial_sizes(shape), kernel.shape[2:], strides, dilations, extra, strict=True
    ):
        extent = (taps - 1) * dilation + 1
        output = _transposed_size(size, extent, stride, padding, output_padding)
        full = (size - 1) * stride + extent
        total = max(full - output, 0)
        pads.append((total // 2, total - total // 2))
        surplus.append(output - (full - total))
        outputs.append(output)
    made_shape = (shape[0], kernel.shape[1], *outputs)
    made = g.raw(
        "ConvTranspose",
        value,
        g.constant(kernel, "kernel"),
        g.constant(weights["bias"], "bias") if "bias" in weights else None,
        shape=made_shape,
        pads=flat_pads(pads),
        strides=list(strides),
        dilations=list(dilations),
        output_padding=surplus if any(surplus) else None,
        kernel_shape=list(kernel.shape[2:]),
    )
    return activate(g, layer, g.from_spatial(made, made_shape, np.dtype(np.float32), last))


def _transposed_size(size: int, extent: int, stride: int, padding: str, output_padding: int | None) -> int:
    if output_padding is None:
        return size * stride + (max(extent - stride, 0) if padding == "valid" else 0)
    pad = extent // 2 if padding == "same" else 0
    return (size - 1) * stride + extent - 2 * pad + output_padding
