"""Spatial operators by plain two-dimensional ones.

1. One spatial axis -> two, the first of size 1, between reshapes.
2. AveragePool that leaves its padding out, where the padding is not SAME -> zero Pad, a pool that counts it, and a
   constant map of kernel size / counted size.
3. ConvTranspose with groups -> one for each group. 4. ConvTranspose whose padding is neither SAME nor VALID -> VALID,
   then a Slice (or Pad, for output_padding).
5. DepthToSpace in CRD order -> its channels in DCR order first, folded into the convolution before it where there is
   one.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from narrowcast.dialect.build import attributes_of, constant_of, input_of
from narrowcast.dialect.windows import windows_of
from narrowcast.model import Array, ir
from narrowcast.passes.rewrite import (
    Rewriter,
    RuleSet,
    dtype_of,
    need,
    producer_of,
    require,
    sole_consumer,
    static_shape,
)

RULES = RuleSet()
_WINDOW = ("kernel_shape", "strides", "dilations", "pads", "output_padding")


def _reshape(value: ir.Value, shape: list[int], rewriter: Rewriter) -> ir.Value:
    array = constant_of(value)
    if array is not None:
        return rewriter.constant(array.reshape(shape), value.name or "const")
    target = rewriter.constant(np.array(shape, np.int64), "shape")
    return rewriter.op("Reshape", value, target, shape=shape, dtype=dtype_of(value))


@RULES.rule("Conv", "ConvTranspose", "MaxPool", "AveragePool")
def one_to_two(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 1."""
    shape, out = static_shape(node.inputs[0]), static_shape(node.outputs[0])
    require(len(shape) == 3 and len(node.outputs) == 1)
    rewriter.at(node)
    inputs: list[ir.Value | None] = [
        _reshape(value, [*size[:2], 1, size[2]], rewriter)
        for value, size in [(need(value), static_shape(value)) for value in node.inputs[:2]]
    ]
    inputs.extend(node.inputs[2:])
    attributes = attributes_of(node)
    for name in _WINDOW:
        if name in attributes:
            values = list(attributes[name])
            attributes[name] = (
                [0, values[0], 0, values[1]] if name == "pads" else [int(name != "output_padding"), *values]
            )
    wide = [*out[:2], 1, out[2]]
    made = rewriter.op(node.op_type, *inputs, shape=wide, dtype=np.float32, **attributes)
    target = rewriter.constant(np.array(out, np.int64), "shape")
    return rewriter.replace(node.outputs[0], rewriter.op("Reshape", made, target, like=node.outputs[0]))


@RULES.rule("AveragePool")
def average_without_padding(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 2."""
    source, windows = need(node.inputs[0]), need(windows_of(node))
    shape, out = static_shape(source), static_shape(node.outputs[0])
    require(len(windows) == 2 and all(window.dilation == 1 for window in windows))
    rewriter.at(node)
    begins, ends = [window.before for window in windows], [window.overhang for window in windows]
    amounts = rewriter.constant(np.array([0, 0, *begins, 0, 0, *ends], np.int64), "pads")
    wide = [sum(sizes) for sizes in zip(shape[2:], begins, ends, strict=True)]
    padded = rewriter.op("Pad", source, amounts, shape=[*shape[:2], *wide], dtype=np.float32)
    kernel, strides = [window.kernel for window in windows], [window.stride for window in windows]
    plain: dict[str, Any] = {"kernel_shape": kernel, "strides": strides, "dilations": [1, 1], "pads": [0, 0, 0, 0]}
    pooled = rewriter.op("AveragePool", padded, shape=out, dtype=np.float32, **plain)
    counted = node.attributes.get_int("count_include_pad", 0) != 0
    factor = math.prod(kernel) / np.outer(*(window.counts(padding=counted) for window in windows))
    constant = rewriter.constant(factor.astype(np.float32)[None, None], "counts")
    return rewriter.replace(node.outputs[0], rewriter.op("Mul", pooled, constant, like=node.outputs[0]))


@RULES.rule("ConvTranspose")
def transpose_groups(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 3."""
    groups = node.attributes.get_int("group", 1)
    require(groups > 1)
    source, weights = need(node.inputs[0]), need(constant_of(node.inputs[1]), "its weights are computed")
    shape, out, bias = static_shape(source), static_shape(node.outputs[0]), constant_of(input_of(node, 2))
    require(len(shape) == 4)
    rewriter.at(node)
    attributes = attributes_of(node, "group")
    sizes = rewriter.constant(np.full(groups, shape[1] // groups), "sizes")
    part = (shape[0], shape[1] // groups, *shape[2:])
    pieces = rewriter.ops("Split", source, sizes, outputs=groups, shape=part, dtype=np.float32, axis=1)
    made = []
    width = weights.shape[1]
    for index, piece in enumerate(pieces):
        piece.shape, piece.dtype = ir.Shape(part), ir.DataType.FLOAT
        inputs = [
            piece,
            rewriter.constant(np.ascontiguousarray(weights[index * part[1] : (index + 1) * part[1]]), "weights"),
        ]
        if bias is not None:
            inputs.append(rewriter.constant(np.ascontiguousarray(bias[index * width : (index + 1) * width]), "bias"))
        made.append(
            rewriter.op("ConvTranspose", *inputs, shape=(out[0], width, *out[2:]), dtype=np.float32, **attributes)
        )
    return rewriter.replace(node.outputs[0], rewriter.op("Concat", *made, like=node.outputs[0], axis=1))


@RULES.rule("ConvTranspose")
def transpose_padding(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 4."""
    shape, out = static_shape(node.inputs[0]), static_shape(node.outputs[0])
    require(len(shape) == 4 and node.attributes.get_int("group", 1) == 1)
    attributes = node.attributes
    kernel, strides = attributes.get_ints("kernel_shape", ()), attributes.get_ints("strides", (1, 1))
    dilations, pads = attributes.get_ints("dilations", (1, 1)), attributes.get_ints("pads", (0,) * 4)
    rewriter.at(node)
    if max(dilations) > 1:
        weights = need(constant_of(node.inputs[1]), "its weights are computed")
        spread = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
        wide = np.zeros((*weights.shape[:2], *spread), weights.dtype)
        wide[:, :, :: dilations[0], :: dilations[1]] = weights
        rewriter.set_input(node, 1, rewriter.constant(wide, "weights"))
        attributes["kernel_shape"] = ir.AttrInt64s("kernel_shape", spread)
        attributes["dilations"] = ir.AttrInt64s("dilations", [1, 1])
        return True
    full = [(size - 1) * stride + k for size, stride, k in zip(shape[2:], strides, kernel, strict=True)]
    window: dict[str, Any] = {"kernel_shape": kernel, "strides": strides, "dilations": dilations, "pads": [0, 0, 0, 0]}
    made = rewriter.op("ConvTranspose", *node.inputs, shape=[*out[:2], *full], dtype=np.float32, **window)
    missing = [max(pads[i] + out[2 + i] - full[i], 0) for i in range(2)]
    if any(missing):
        bias = constant_of(input_of(node, 2))
        if bias is not None and bias.any():
            made = _biased_padding(node, made, missing, bias, window, [*out[:2], *full], rewriter)
        else:
            made = _pad_end(made, missing, rewriter)
    starts = rewriter.constant(np.array(pads[:2], np.int64), "starts")
    ends = rewriter.constant(np.array([pads[i] + out[2 + i] for i in range(2)], np.int64), "ends")
    axes, steps = rewriter.constant(np.array([2, 3]), "axes"), rewriter.constant(np.array([1, 1]), "steps")
    return rewriter.replace(
        node.outputs[0], rewriter.op("Slice", made, starts, ends, axes, steps, like=node.outputs[0])
    )


def _pad_end(value: ir.Value, amounts: list[int], rewriter: Rewriter) -> ir.Value:
    shape = static_shape(value)
    pads = rewriter.constant(np.array([0, 0, 0, 0, 0, 0, *amounts], np.int64), "pads")
    return rewriter.op(
        "Pad", value, pads, shape=[*shape[:2], shape[2] + amounts[0], shape[3] + amounts[1]], dtype=np.float32
    )


def _biased_padding(
    node: ir.Node,
    old: ir.Value,
    missing: list[int],
    bias: Array,
    window: dict[str, Any],
    shape: list[int],
    rewriter: Rewriter,
) -> ir.Value:
    """What lies beyond the last window holds the bias: without it first, then padded, then it is added."""
    bare = rewriter.op("ConvTranspose", *node.inputs[:2], shape=shape, dtype=np.float32, **window)
    padded = _pad_end(bare, missing, rewriter)
    constant = rewriter.constant(bias.reshape(1, -1, 1, 1), "bias")
    return rewriter.op("Add", padded, constant, shape=padded.shape, dtype=np.float32)


@RULES.rule("DepthToSpace")
def depth_to_space_crd(node: ir.Node, rewriter: Rewriter) -> bool:
    """Case 5: channel c b^2 + k of CRD is channel k C + c of DCR."""
    source, shape = need(node.inputs[0]), static_shape(node.inputs[0])
    require(node.attributes.get_string("mode", "DCR") == "CRD")
    square = node.attributes.get_int("blocksize", 1) ** 2
    channels = shape[1] // square
    order = np.arange(shape[1]).reshape(channels, square).T.reshape(-1)
    rewriter.at(node)
    conv = producer_of(source, "Conv")
    if conv is not None and sole_consumer(source) is node:
        weights, bias = constant_of(conv.inputs[1]), constant_of(input_of(conv, 2))
        if weights is not None and conv.attributes.get_int("group", 1) == 1:
            rewriter.set_input(conv, 1, rewriter.constant(np.ascontiguousarray(weights[order]), "weights"))
            if bias is not None:
                rewriter.set_input(conv, 2, rewriter.constant(np.ascontiguousarray(bias[order]), "bias"))
            node.attributes["mode"] = ir.AttrString("mode", "DCR")
            return True
    sorted_ = rewriter.op("Gather", source, rewriter.constant(order, "order"), shape=shape, dtype=np.float32, axis=1)
    rewriter.set_input(node, 0, sorted_)
    node.attributes["mode"] = ir.AttrString("mode", "DCR")
    return True
