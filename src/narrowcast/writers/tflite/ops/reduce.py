"""Reductions, softmax and their kin."""

from __future__ import annotations

import numpy as np

from narrowcast.errors import UnsupportedOpError
from narrowcast.writers.tflite.ops.conv import as_int32
from narrowcast.writers.tflite.ops.shape import int32
from narrowcast.writers.tflite.site import Site, lowers
from narrowcast.writers.tflite.tables import TYPES, Tensor

REDUCTIONS = {
    "ReduceMean": "MEAN",
    "ReduceSum": "SUM",
    "ReduceMax": "REDUCE_MAX",
    "ReduceMin": "REDUCE_MIN",
    "ReduceProd": "REDUCE_PROD",
}


@lowers(*REDUCTIONS)
def reduction(site: Site) -> None:
    """MEAN, SUM and the others, over constant axes."""
    site.allow("keepdims", "noop_with_empty_axes")
    axes = site.array(1) if site.has(1) else np.arange(len(site.shape()))
    keep = site.node.attributes.get_int("keepdims", 1) != 0
    name = REDUCTIONS[site.node.op_type]
    site.emit(name, [site.input(0), site.ints(as_int32(axes))], [site.output()], "ReducerOptions", keepDims=keep)


@lowers("Softmax")
def softmax(site: Site) -> None:
    """SOFTMAX over the last axis."""
    _last_axis(site)
    site.emit("SOFTMAX", [site.input(0)], [site.output()], "SoftmaxOptions", beta=1.0)


@lowers("LogSoftmax")
def log_softmax(site: Site) -> None:
    """LOG_SOFTMAX over the last axis."""
    _last_axis(site)
    site.emit("LOG_SOFTMAX", [site.input(0)], [site.output()], "LogSoftmaxOptions")


def _last_axis(site: Site) -> None:
    site.allow("axis", "p")
    rank = len(site.shape())
    if site.node.attributes.get_int("axis", -1) % rank != rank - 1:
        raise UnsupportedOpError(
            "TFLite normalises the last axis only", hint="this is a bug in narrowcast: please report it"
        )


@lowers("LpNormalization")
def l2_normalization(site: Site) -> None:
    """L2_NORMALIZATION over the last axis."""
    _last_axis(site)
    site.emit("L2_NORMALIZATION", [site.input(0)], [site.output()], "L2NormOptions", fusedActivationFunction=0)


@lowers("ArgMax", "ArgMin")
def arg(site: Site) -> None:
    """ARG_MAX and ARG_MIN drop the axis; a RESHAPE brings it back where the model keeps it."""
    site.allow("axis", "keepdims", "select_last_index")
    attributes = site.node.attributes
    shape = site.shape()
    axis = attributes.get_int("axis", 0) % len(shape)
    name = "ARG_MAX" if site.node.op_type == "ArgMax" else "ARG_MIN"
    output = site.output()
    dropped = [dim for index, dim in enumerate(shape) if index != axis]
    keep = attributes.get_int("keepdims", 1) != 0
    result = site.scratch(dropped, output) if keep else output
    kind = f"{site.node.op_type}Options"
    site.emit(name, [site.input(0), site.ints(np.array(axis))], [result], kind, outputType=4)
    if keep:
        full = list(site.output_shape())
        site.emit("RESHAPE", [result, site.ints(full)], [output], "ReshapeOptions", newShape=full)


@lowers("TopK")
def top_k(site: Site) -> None:
    """TOPK_V2 of the largest along the last axis; its indices are int32."""
    site.allow("axis", "largest", "sorted")
    values, indices = site.output(0), site.output(1)
    found = site.lowering.container.tensor(
        Tensor(site.lowering.unique(f"{site.node.outputs[1].name}/int32"), site.output_shape(1), np.dtype(np.int32))
    )
    site.emit("TOPK_V2", [site.input(0), site.ints(site.array(1).reshape(()))], [values, found], "TopKV2Options")
    site.emit(
        "CAST",
        [found],
        [indices],
        "CastOptions",
        inDataType=TYPES[np.dtype(np.int32)],
        outDataType=TYPES[np.dtype(np.int64)],
    )


@lowers("CumSum")
def cumsum(site: Site) -> None:
    """CUMSUM."""
    site.allow("exclusive", "reverse")
    attributes = site.node.attributes
    site.emit(
        "CUMSUM",
        [site.input(0), int32(site, 1)],
        [site.output()],
        "CumsumOptions",
        exclusive=bool(attributes.get_int("exclusive", 0)),
        reverse=bool(attributes.get_int("reverse", 0)),
    )
