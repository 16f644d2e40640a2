"""Convolutions, pools, resizes: spatial operators on channel-last tensors.

TFLite pads in two ways. SAME: the output is ceil(input / stride), the odd pixel at the end. VALID: not at all. Other
amounts take an explicit PAD before the operator.
"""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.windows import open_windows_of
from narrowcast.errors import UnsupportedOpError
from narrowcast.model import CHANNELS_LAST, Array, ir
from narrowcast.targets.groups import rule_of
from narrowcast.targets.rules import Storage
from narrowcast.targets.spelling import (
    becomes_float,
    block_of,
    dequantizer,
    is_symmetric,
    is_weight,
    noted_operator,
)
from narrowcast.writers.tflite.site import Site, lowers
from narrowcast.writers.tflite.tables import TYPES, Quantization

SAME, VALID = 0, 1
WINDOW = ("kernel_shape", "strides", "pads", "dilations", "group")


def weights(
    site: Site, index: int, perm: tuple[int, ...] | None, *, hybrid: bool = True, spread: int | None = None
) -> int:
    """The tensor of weights: integers where the operator computes in them, or where it can widen them itself.

    Beside floats, `spread` is an axis along which they have scales though all be one: the kernel reads so many.
    """
    value = site.value(index)
    if not is_weight(value):
        return _turned(site, site.input(index), perm)
    if site.integer:
        return site.lowering.quantized_weights(value, perm)
    if hybrid and is_symmetric(value) and _multiplies(site, value):
        return site.lowering.quantized_weights(value, perm, spread=spread)
    return site.lowering.constant_value(value, perm)


def _multiplies(site: Site, value: ir.Value) -> bool:
    """Whether an operator on floats takes stored weights as they are."""
    node, rule = dequantizer(value), rule_of(site.node, site.lowering.target)
    if node is None or becomes_float(value):
        return False
    stored = node.inputs[0]
    if stored is None or stored.dtype is not ir.DataType.INT4:
        return not block_of(node)
    return rule is not None and not rule.int4(site.node, Storage(weights="int4", block=block_of(node)))


def _turned(site: Site, tensor: int, perm: tuple[int, ...] | None) -> int:
    """Computed weights are permuted by an operator."""
    if perm is None:
        return tensor
    shape = site.lowering.container.tensors[tensor].shape
    result = site.scratch([shape[axis] for axis in perm], tensor)
    site.emit("TRANSPOSE", [tensor, site.ints(perm)], [result], "TransposeOptions")
    return result


def bias(site: Site, index: int, channels: int, filters: int, source: int) -> int:
    """The bias tensor: int32 beside int8 activations, int64 beside int16; zeros where the model has none."""
    container = site.lowering.container
    if site.has(index):
        value = site.value(index)
        if site.integer:
            return site.lowering.quantized_weights(value, wide=site.wide)
        return site.lowering.floating(value)
    name = f"{site.node.outputs[0].name}/bias"
    if not site.integer:
        return site.lowering.constant(np.zeros(channels, np.float32), name)
    step, scales = container.tensors[source].quantization, container.tensors[filters].quantization
    assert step is not None
    assert scales is not None
    scale = (step.scale * scales.scale).astype(np.float32)
    zeros = np.zeros(channels, np.int64 if site.wide else np.int32)
    return site.lowering.constant(zeros, name, Quantization(scale, np.zeros(scale.size, np.int64)))


def _window(site: Site) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    attributes = site.node.attributes
    kernel = tuple(attributes.get_ints("kernel_shape", ()))
    ones = (1,) * len(kernel)
    pads = tuple(attributes.get_ints("pads", (0,) * (2 * len(kernel))))
    return kernel, tuple(attributes.get_ints("strides", ones)), tuple(attributes.get_ints("dilations", ones)), pads


def padding(site: Site) -> tuple[int, tuple[int, ...]]:
    """SAME or VALID, and the amounts that must be padded explicitly before (none for SAME).

    The amounts at the end are those that the output's size implies: less where the last window does not reach the
    padding, more where a pool rounds up. Along an open axis they are what the model pads.
    """
    windows = open_windows_of(site.node)
    amounts = (*(window.before for window in windows), *(window.overhang for window in windows))
    if not any(amounts):
        return VALID, ()
    return (SAME, ()) if all(window.is_same for window in windows) else (VALID, amounts)


def padded(site: Site, source: int, amounts: tuple[int, ...], lowest: bool = False) -> int:
    """The source with spatial padding: by zero, or by the lowest value of its type."""
    container = site.lowering.container
    tensor = container.tensors[source]
    half = len(amounts) // 2
    table = np.array([[0, 0], *([amounts[i], amounts[half + i]] for i in range(half)), [0, 0]], np.int32)
    shape = [
        dim if dim < 0 else dim + int(before + after) for dim, (before, after) in zip(tensor.shape, table, strict=True)
    ]
    result = site.scratch(shape, source)
    if not lowest:
        site.emit("PAD", [source, site.ints(table)], [result], "PadOptions")
        return result
    info = np.finfo(tensor.dtype) if tensor.dtype.kind == "f" else np.iinfo(tensor.dtype)
    value = site.lowering.constant(np.array(info.min, tensor.dtype).reshape(1), "lowest", tensor.quantization)
    site.emit("PADV2", [source, site.ints(table), value], [result], "PadV2Options")
    return result


@lowers("Conv", domain=CHANNELS_LAST)
def conv(site: Site) -> None:
    """CONV_2D, or DEPTHWISE_CONV_2D where every channel has its own filters; CONV_3D at rank 5."""
    site.allow(*WINDOW)
    if len(site.shape()) == 5:
        _conv_3d(site)
        return
    _, strides, dilations, _ = _window(site)
    channels = site.shape()[-1]
    groups = site.node.attributes.get_int("group", 1)
    shape = site.shape(1)
    depthwise = groups == channels and shape[1] == 1 and not (groups == 1 and shape[0] == 1 and channels == 1)
    if channels == 1:  # either operator computes it, and a file that was quantised keeps its own
        depthwise = {"CONV_2D": False, "DEPTHWISE_CONV_2D": True}.get(noted_operator(site.node), depthwise)
    how, amounts = padding(site)
    source = site.input(0)
    if any(amounts):
        source = padded(site, source, amounts)
    filters = weights(site, 1, (1, 2, 3, 0) if depthwise else (0, 2, 3, 1), spread=3 if depthwise else None)
    inputs = [source, filters, bias(site, 2, shape[0], filters, source)]
    common = {
        "padding": how,
        "strideH": strides[0],
        "strideW": strides[1],
        "dilationHFactor": dilations[0],
        "dilationWFactor": dilations[1],
        "fusedActivationFunction": site.activation,
    }
    if depthwise:
        site.emit(
            "DEPTHWISE_CONV_2D",
            inputs,
            [site.output()],
            "DepthwiseConv2DOptions",
            depthMultiplier=shape[0] // channels,
            **common,
        )
    else:
        site.emit("CONV_2D", inputs, [site.output()], "Conv2DOptions", **common)


def _conv_3d(site: Site) -> None:
    """CONV_3D, in float: filters [depth, height, width, in, out]."""
    if site.integer:
        raise UnsupportedOpError("TFLite's CONV_3D is float")
    _, strides, dilations, _ = _window(site)
    how, amounts = padding(site)
    source = site.input(0)
    if any(amounts):
        source = padded(site, source, amounts)
    filters = weights(site, 1, (2, 3, 4, 1, 0), hybrid=False)
    inputs = [source, filters, bias(site, 2, site.shape(1)[0], filters, source)]
    site.emit(
        "CONV_3D",
        inputs,
        [site.output()],
        "Conv3DOptions",
        padding=how,
        strideD=strides[0],
        strideH=strides[1],
        strideW=strides[2],
        dilationDFactor=dilations[0],
        dilationHFactor=dilations[1],
        dilationWFactor=dilations[2],
        fusedActivationFunction=site.activation,
    )


@lowers("ConvTranspose", domain=CHANNELS_LAST)
def conv_transpose(site: Site) -> None:
    """TRANSPOSE_CONV: filters [out, height, width, in]; the output's size is an input."""
    site.allow(*WINDOW, "output_padding", "output_shape")
    kernel, strides, _, pads = _window(site)
    output = site.output_shape()
    full = [(size - 1) * stride + k for size, stride, k in zip(site.shape()[1:3], strides, kernel, strict=True)]
    how = VALID if not any(pads) and list(output[1:3]) == full else SAME
    channels = site.shape(1)[1]
    filters = weights(site, 1, (1, 2, 3, 0), hybrid=False)
    source = site.input(0)
    size = site.ints(output) if -1 not in output else _size_of(site, source, how, output)
    inputs = [size, filters, source, bias(site, 2, channels, filters, source)]
    site.emit(
        "TRANSPOSE_CONV",
        inputs,
        [site.output()],
        "TransposeConvOptions",
        padding=how,
        strideH=strides[0],
        strideW=strides[1],
        fusedActivationFunction=site.activation,
    )


def _size_of(site: Site, source: int, how: int, output: tuple[int, ...]) -> int:
    """The size of an output with open dimensions: the input's by the strides, and what windows add to that."""
    kernel, strides, _, _ = _window(site)
    more = [0 if how == SAME else k - stride for k, stride in zip(kernel, strides, strict=True)]
    times = [stride if dim < 0 else 0 for stride, dim in zip((1, *strides, 1), output, strict=True)]
    plus = [rest if dim < 0 else dim for rest, dim in zip((0, *more, 0), output, strict=True)]
    int32 = np.dtype(np.int32)
    found, enlarged, size = (site.temporary((len(output),), int32) for _ in range(3))
    site.emit("SHAPE", [source], [found], "ShapeOptions", outType=TYPES[int32])
    site.emit("MUL", [found, site.ints(times)], [enlarged], "MulOptions")
    site.emit("ADD", [enlarged, site.ints(plus)], [size], "AddOptions")
    return size


@lowers("MaxPool", "AveragePool", domain=CHANNELS_LAST)
def pool(site: Site) -> None:
    """MAX_POOL_2D and AVERAGE_POOL_2D; TFLite's average leaves padding out of the count."""
    site.allow(*WINDOW, "ceil_mode", "count_include_pad", "storage_order")
    kernel, strides, _, pads = _window(site)
    how, amounts = padding(site)
    source = site.input(0)
    average = site.node.op_type == "AveragePool"
    counted = average and site.node.attributes.get_int("count_include_pad", 0) != 0
    if how == SAME and counted:
        how, amounts = VALID, pads
    if any(amounts):
        source = padded(site, source, amounts, lowest=not average)
    site.emit(
        "AVERAGE_POOL_2D" if average else "MAX_POOL_2D",
        [source],
        [site.output()],
        "Pool2DOptions",
        padding=how,
        strideH=strides[0],
        strideW=strides[1],
        filterHeight=kernel[0],
        filterWidth=kernel[1],
        fusedActivationFunction=site.activation,
    )


@lowers("Resize", domain=CHANNELS_LAST)
def resize(site: Site) -> None:
    """RESIZE_BILINEAR and RESIZE_NEAREST_NEIGHBOR, where their coordinates are ONNX's."""
    attributes, sizes = site.node.attributes, site.output_shape()[1:3]
    mode = attributes.get_string("mode", "nearest")
    transform = attributes.get_string("coordinate_transformation_mode", "half_pixel").removeprefix("pytorch_")
    name = "RESIZE_BILINEAR" if mode == "linear" else "RESIZE_NEAREST_NEIGHBOR"
    values = {"alignCorners": transform == "align_corners", "halfPixelCenters": transform == "half_pixel"}
    options = "ResizeBilinearOptions" if mode == "linear" else "ResizeNearestNeighborOptions"
    site.emit(name, [site.input(0), site.ints(sizes)], [site.output()], options, **values)


@lowers("DepthToSpace", "SpaceToDepth", domain=CHANNELS_LAST)
def depth_space(site: Site) -> None:
    """Blocks of pixels to channels and back; TFLite's order of channels is ONNX's DCR."""
    site.allow("blocksize", "mode")
    block = site.node.attributes.get_int("blocksize", 1)
    name = "DEPTH_TO_SPACE" if site.node.op_type == "DepthToSpace" else "SPACE_TO_DEPTH"
    site.emit(name, [site.input(0)], [site.output()], f"{site.node.op_type}Options", blockSize=block)


def as_int32(array: Array) -> Array:
    """Indices as TFLite wants them."""
    clipped: Array = np.clip(array, np.iinfo(np.int32).min, np.iinfo(np.int32).max).astype(np.int32)
    return clipped
