"""Actions that add pre- and post-processing to the graph, so that the device need not compute it beside."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from narrowcast.dialect.build import dims
from narrowcast.editing import fields
from narrowcast.editing.action import Site, action
from narrowcast.editing.fields import optional, required
from narrowcast.editing.select import nothing
from narrowcast.model import Array, ir


@action(
    "normalize_input",
    input=required(fields.text),
    mean=optional(fields.numbers, (0.0,)),
    std=optional(fields.numbers, (1.0,)),
    axis=optional(fields.whole),
    dtype=optional(fields.dtype),
)
def normalize_input(
    site: Site, *, input: str, mean: list[float], std: list[float], axis: int | None, dtype: np.dtype[Any] | None
) -> None:
    """Puts (x - mean) / std behind an input, for the whole or for each channel along an axis.

    With `dtype` the input takes that type (uint8 for pixels as they are) and is cast.
    """
    old = _port(site, input, "input", site.graph.inputs)
    if any(value == 0 for value in std):
        raise site.error("a standard deviation is zero", field="std")
    if old.dtype is None or not old.dtype.is_floating_point() or old.shape is None:
        raise site.error(f"{input!r} is no tensor of floats", field="input")
    stored = old.dtype if dtype is None else ir.DataType.from_numpy(dtype)
    new = ir.Value(name=input, type=ir.TensorType(stored), shape=old.shape)
    y = new if stored is old.dtype else site.add("Cast", new, name=f"{input}/cast", to=int(old.dtype))
    if any(mean):
        y = site.add("Sub", y, site.number(_channels(site, old, mean, axis, "mean"), old), name=f"{input}/centered")
    if any(value != 1 for value in std):
        steps = _channels(site, old, [1 / value for value in std], axis, "std")
        y = site.add("Mul", y, site.number(steps, old), name=f"{input}/normalized")
    _feed(site, old, new, y)
    if site.model.preprocessing is not None:  # what is left of it beside
        site.model.preprocessing = replace(site.model.preprocessing, mean=(0.0,), std=(1.0,))


@action("transpose_input", input=required(fields.text), perm=required(fields.wholes))
def transpose_input(site: Site, *, input: str, perm: list[int]) -> None:
    """Puts a Transpose behind an input, which then comes in another order of axes."""
    old = _port(site, input, "input", site.graph.inputs)
    if old.shape is None or sorted(perm) != list(range(len(old.shape))):
        raise site.error(f"no order of the axes of {input!r}", field="perm")
    shape = [old.shape[perm.index(axis)] for axis in range(len(perm))]
    new = ir.Value(name=input, type=old.type, shape=ir.Shape(shape))
    _feed(site, old, new, site.add("Transpose", new, name=f"{input}/transposed", perm=perm))


def _port(site: Site, name: str, field: str, ports: Any) -> ir.Value:
    known = {value.name or "": value for value in ports}
    if name not in known:
        raise nothing(field, name, list(known), f"{site.place}.{field}")
    found: ir.Value = known[name]
    return found


def _feed(site: Site, old: ir.Value, new: ir.Value, fed: ir.Value) -> None:
    """Lets an input take another's place, and what is made of it be read instead."""
    if old.is_graph_output():
        raise site.error(f"{old.name!r} is an input and an output at once", field="input")
    site.graph.inputs[list(site.graph.inputs).index(old)] = new
    for use in tuple(old.uses()):
        use.node.replace_input_with(use.idx, fed)
    site.read_by(new)


def _channels(site: Site, value: ir.Value, numbers: list[float], axis: int | None, field: str) -> Array:
    """Numbers in the shape in which they go along an axis."""
    array, shape = np.asarray(numbers), dims(value)
    if array.size == 1:
        return array.reshape(())
    fitting = [place for place, size in enumerate(shape or ()) if size == array.size]
    if axis is None and len(fitting) == 1:
        axis = fitting[0]
    rank = len(value.shape or ())
    if axis is None or not -rank <= axis < rank or axis % rank not in fitting:
        hint = f"'axis' says which; the shape is {list(value.shape or ())}"
        raise site.error(f"{array.size} numbers do not say their axis", hint, field=field)
    return array.reshape([array.size if place == axis % rank else 1 for place in range(rank)])


@action("softmax", output=required(fields.text), axis=optional(fields.whole, -1), name=optional(fields.text))
def softmax(site: Site, *, output: str, axis: int, name: str | None) -> None:
    """Puts a Softmax behind an output; under a name of its own it is one more output."""
    _behind(site, output, name, "Softmax", axis=axis)


@action("sigmoid", output=required(fields.text), name=optional(fields.text))
def sigmoid(site: Site, *, output: str, name: str | None) -> None:
    """Puts a Sigmoid behind an output; under a name of its own it is one more output."""
    _behind(site, output, name, "Sigmoid")


@action(
    "argmax",
    output=required(fields.text),
    axis=optional(fields.whole, -1),
    keepdims=optional(fields.boolean, False),
    name=optional(fields.text),
)
def argmax(site: Site, *, output: str, axis: int, keepdims: bool, name: str | None) -> None:
    """Puts an ArgMax behind an output: the index of the best class; under a name of its own it is one more output."""
    _behind(site, output, name, "ArgMax", axis=axis, keepdims=int(keepdims))


def _behind(site: Site, output: str, name: str | None, op_type: str, **attributes: Any) -> None:
    old = _port(site, output, "output", site.graph.outputs)
    new = site.add(op_type, old, name=f"{output}/{op_type.lower()}" if name is None else _new(site, name), **attributes)
    if name is None:
        _ends(site, old, new)
    else:
        site.graph.outputs.append(new)


def _ends(site: Site, old: ir.Value, new: ir.Value) -> None:
    """Lets a tensor be the output in the place, and under the name, of another, which stays inside."""
    if old.is_graph_input():
        raise site.error(f"{old.name!r} is an input and an output at once", field="output")
    site.graph.outputs[list(site.graph.outputs).index(old)] = new
    old.name, new.name = site.builder.unique(f"{old.name}/inner"), old.name


def _new(site: Site, name: str) -> str:
    if name in site.values():
        raise site.error(f"there is a tensor {name!r} already", field="name")
    return name


@action(
    "nms",
    boxes=required(fields.text),
    scores=required(fields.text),
    name=optional(fields.text, "selected"),
    max_boxes=required(fields.whole),
    iou_threshold=optional(fields.number, 0.5),
    score_threshold=optional(fields.number),
    center_point_box=optional(fields.boolean, False),
)
def nms(
    site: Site,
    *,
    boxes: str,
    scores: str,
    name: str,
    max_boxes: int,
    iou_threshold: float,
    score_threshold: float | None,
    center_point_box: bool,
) -> None:
    """Adds ONNX's NonMaxSuppression over two outputs, boxes [batch, n, 4] and scores [batch, classes, n].

    Its output, one more, is [selected, 3] of int64: batch, class and box of each box that is kept.
    """
    places = [_port(site, boxes, "boxes", site.graph.outputs), _port(site, scores, "scores", site.graph.outputs)]
    for value, field in zip(places, ("boxes", "scores"), strict=True):
        if value.shape is None or len(value.shape) != 3:
            raise site.error(f"{value.name!r} is not of three axes", "reshape or transpose it before", field=field)
    if max_boxes < 1:
        raise site.error("no box would be kept", field="max_boxes")
    limits: list[Array] = [np.array([max_boxes], np.int64), np.array([iou_threshold], np.float32)]
    limits += [] if score_threshold is None else [np.array([score_threshold], np.float32)]
    constants = [site.builder.constant(array, f"{name}/limit") for array in limits]
    attributes = {"center_point_box": int(center_point_box)}
    site.graph.outputs.append(site.add("NonMaxSuppression", *places, *constants, name=_new(site, name), **attributes))
