"""Custom operators with kernels in LiteRT, as the dialect's own (`passes.decompose.kept` says what they compute)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from narrowcast.dialect.ops import KEEP
from narrowcast.errors import ModelFileError, UnsupportedOpError
from narrowcast.model import NARROWCAST, ir
from narrowcast.readers.emit import Shape, Tensor
from narrowcast.readers.tflite.emit import static
from narrowcast.readers.tflite.ops.conv import windows
from narrowcast.readers.tflite.registry import Site, reads_custom
from narrowcast.schemas.custom import KEPT

LARGEST_WINDOW = 1024
MOST_DETECTIONS = 1 << 20


def _attributes(site: Site, op: str) -> dict[str, Any]:
    """The options of a custom operator."""
    return KEPT[op].decode(bytes(site.operator.custom_options))


def _node(
    site: Site, op: str, inputs: Sequence[Tensor | ir.Value], shapes: Sequence[Shape], attributes: dict[str, Any]
) -> list[Tensor]:
    """A node of the dialect, in the file's order of axes."""
    g, f32 = site.g, np.dtype(np.float32)
    marked = {**attributes, KEEP: int(site.network.keep_custom)}
    values = [g.operand(x) for x in inputs]
    made = g.raw(op, *values, shape=shapes[0], dtype=f32, outputs=len(shapes), domain=NARROWCAST, **marked)
    outputs: tuple[ir.Value, ...] = made if isinstance(made, tuple) else (made,)
    for output, shape in zip(outputs, shapes, strict=True):
        output.shape, output.dtype = ir.Shape(shape), ir.DataType.FLOAT
    return [Tensor(shape, f32, output) for output, shape in zip(outputs, shapes, strict=True)]


def _window(site: Site, op: str) -> dict[str, Any]:
    """The options of a pool.

    Raises:
        UnsupportedOpError: each window is of more than `LARGEST_WINDOW` elements, which are taken one by one.
    """
    options = _attributes(site, op)
    if math.prod(options["kernel_shape"]) > LARGEST_WINDOW:
        raise UnsupportedOpError(f"its windows are of {options['kernel_shape']} elements")
    return options


def _image(site: Site) -> Tensor:
    x = site.input(0)
    if x.rank != 4 or not x.is_float:
        raise ModelFileError(f"its input has the shape {x.shape} and the type {x.dtype}")
    return x


@reads_custom("MaxPoolingWithArgmax2D")
def max_pool_with_places(site: Site) -> list[Tensor]:
    """The largest number of each window, and where it was."""
    x, options = _image(site), _window(site, "MaxPoolWithArgmax")
    sizes, kernel, strides = static(x.shape[1:3]), options["kernel_shape"], options["strides"]
    if options["padding"] == "SAME":
        outs = [-(-size // stride) for size, stride in zip(sizes, strides, strict=True)]
    else:
        outs = windows(sizes, kernel, strides, [1, 1], [0] * 4)
    shape = (x.shape[0], *outs, x.shape[3])
    return _node(site, "MaxPoolWithArgmax", [x], [shape, shape], options)


@reads_custom("MaxUnpooling2D")
def max_unpool(site: Site) -> list[Tensor]:
    """Numbers at the places of larger windows where they were the largest."""
    x, places, options = _image(site), site.input(1), _window(site, "MaxUnpool")
    if places.shape != x.shape or not places.is_float:
        raise ModelFileError(f"places of shape {places.shape} do not fit numbers of {x.shape}")
    sizes = [size * taps for size, taps in zip(static(x.shape[1:3]), options["kernel_shape"], strict=True)]
    return _node(site, "MaxUnpool", [x, places], [(x.shape[0], *sizes, x.shape[3])], options)


@reads_custom("Convolution2DTransposeBias")
def transposed_convolution(site: Site) -> list[Tensor]:
    """A convolution backwards, with a bias; weights are [out, height, width, in]."""
    x, options = _image(site), _attributes(site, "ConvTransposeBias")
    if len(site.stored(1).shape) != 4:
        raise ModelFileError(f"its weights have the shape {site.stored(1).shape}")
    shape, weights = site.weights(1, (3, 0, 1, 2))
    width, bias = site.weights(2, [0])
    if shape[0] != x.shape[3] or width != shape[1:2]:
        raise ModelFileError(f"weights {shape} and a bias {width} do not fit an input of {x.shape}")
    sizes = []
    for size, taps, stride in zip(static(x.shape[1:3]), shape[2:], options["strides"], strict=True):
        less = max(taps - (size - 1) % stride - 1, 0) if options["padding"] == "SAME" else 0
        sizes.append(stride * (size - 1) + taps - less)
    made = (x.shape[0], *sizes, shape[1])
    return _node(site, "ConvTransposeBias", [x, weights, bias], [made], options)


@reads_custom("TFLite_Detection_PostProcess")
def detection(site: Site) -> list[Tensor]:
    """Boxes, their classes and scores, and how many there are."""
    codes, scores, anchors = inputs = [site.input(index) for index in range(3)]
    options = _attributes(site, "DetectionPostProcess")
    (batch, count, width), classes = static(codes.shape), static(scores.shape)[-1]
    fits = batch == 1 and width >= 4 and scores.shape == (1, count, classes) and anchors.shape == (count, 4)
    rows = options["max_detections"] * options["max_classes_per_detection"]
    if not fits or rows > MOST_DETECTIONS or not 0 <= classes - options["num_classes"] <= 1:
        given = ", ".join(str(list(x.shape)) for x in inputs)
        raise ModelFileError(f"its inputs {given} do not fit {options['num_classes']} classes")
    shapes: list[Shape] = [(1, rows, 4), (1, rows), (1, rows), (1,)]
    return _node(site, "DetectionPostProcess", inputs, shapes, options)
