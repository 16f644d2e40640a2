"""Opsets newer than the canonical one: a node is accepted where it says nothing that the canonical opset cannot say."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from narrowcast.dialect.build import Builder, constant_of
from narrowcast.errors import UnsupportedOpError
from narrowcast.model import NARROWCAST, OPSET, ir
from narrowcast.readers.onnx.upgrade.registry import Upgrade, replace

if TYPE_CHECKING:
    import onnx

__all__ = ["lower", "unsaid"]

NEWEST = 28
"""The newest opset that was looked at. Newer ones are read as far as their operators are those of this one."""


@cache
def _schemas(op_type: str, opset: int) -> tuple[onnx.defs.OpSchema | None, dict[str, Any]]:
    """The canonical schema of an operator, None where there is none, and the newer one's defaults."""
    from onnx import defs, helper

    newer = defs.get_schema(op_type, opset, "")
    defaults = {
        name: helper.get_attribute_value(attribute.default_value) if attribute.default_value.name else None
        for name, attribute in newer.attributes.items()
    }
    try:
        return defs.get_schema(op_type, OPSET, ""), defaults
    except defs.SchemaError:
        return None, defaults


def unsaid(node: ir.Node, opset: int) -> str:
    """What a node of a newer opset says that the canonical one cannot; nothing if that is nothing."""
    if opset <= OPSET or node.op_type in _SPELLINGS:
        return ""
    schema, defaults = _schemas(node.op_type, opset)
    if schema is None:
        return f"{node.op_type} came after opset {OPSET}"
    if any(value is not None for value in node.inputs[schema.max_input :]):
        return f"uses an input of {node.op_type} that came after opset {OPSET}"
    for name in node.attributes:
        default = defaults.get(name)
        value = node.attributes[name].value
        if name not in schema.attributes and value != (default.decode() if isinstance(default, bytes) else default):
            return f"uses {name}={value!r} of {node.op_type}, which came after opset {OPSET}"
    return ""


def lower(node: ir.Node, opset: int, build: Builder) -> None:
    """Takes out of a node what newer opsets added, or spells it by older operators.

    Raises:
        UnsupportedOpError: the canonical opset cannot say it.
    """
    if node.op_type in _SPELLINGS:
        _SPELLINGS[node.op_type](node, build)
        return
    if reason := unsaid(node, opset):
        raise UnsupportedOpError(reason, hint=f"export the model with opset {OPSET} or older")
    schema, _ = _schemas(node.op_type, opset)
    assert schema is not None
    node.resize_inputs(min(len(node.inputs), schema.max_input))
    for name in [name for name in node.attributes if name not in schema.attributes]:
        del node.attributes[name]


def _swish(node: ir.Node, build: Builder) -> None:
    """Written out: x * sigmoid(alpha * x)."""
    source = node.inputs[0]
    assert source is not None
    name = node.outputs[0].name
    alpha = node.attributes.get_float("alpha", 1.0)
    scaled = source
    if alpha != 1.0:
        dtype = source.dtype.numpy() if source.dtype is not None else np.dtype(np.float32)
        scaled = build("Mul", source, build.constant(np.array(alpha, dtype), f"{name}/alpha"), name=f"{name}/scaled")
    replace(node, build, "Mul", source, build("Sigmoid", scaled, name=f"{name}/sigmoid"))


def _cumulative_product(node: ir.Node, build: Builder) -> None:
    """Products with what stands 1, 2, 4, ... places before; along every axis, where the right one is computed."""
    source, axis = node.inputs[:2]
    if source is None or axis is None or source.shape is None or not source.shape.is_static():
        raise UnsupportedOpError("its shape is open", hint="give the inputs' shapes: --input name:shape")
    rank, along = len(source.shape), constant_of(axis)
    if along is not None:
        replace(node, build, "Identity", _product_along(node, build, int(along) % rank))
        return
    counted = build("Cast", axis, to=int(ir.DataType.INT64))
    place = build("Mod", build("Reshape", counted, build.constant(np.array([1]))), build.constant(np.array([rank])))
    found = _product_along(node, build, 0)
    for number in range(1, rank):
        chosen = build("Equal", place, build.constant(np.array([number])))
        found = build("Where", chosen, _product_along(node, build, number), found)
    replace(node, build, "Identity", found)


def _product_along(node: ir.Node, build: Builder, axis: int) -> ir.Value:
    source = node.inputs[0]
    assert source is not None
    assert source.shape is not None
    assert source.dtype is not None
    rank, size = len(source.shape), source.shape.numpy()[axis]
    backwards = bool(node.attributes.get_int("reverse", 0))
    one = build.constant(np.ones((), source.dtype.numpy()), "one")

    def shifted(value: ir.Value, steps: int) -> ir.Value:
        bounds = (steps, size) if backwards else (0, size - steps)
        arguments = [build.constant(np.array([number]), "slice") for number in (*bounds, axis)]
        amounts = np.zeros((2, rank), np.int64)
        amounts[int(backwards), axis] = steps
        moved: ir.Value = build("Pad", build("Slice", value, *arguments), build.constant(amounts.reshape(-1)), one)
        return moved

    value = shifted(source, 1) if node.attributes.get_int("exclusive", 0) else source
    steps = 1
    while steps < size:
        value = build("Mul", value, shifted(value, steps))
        steps *= 2
    return value


def _tensor_scatter(node: ir.Node, build: Builder) -> None:
    """ScatterElements at write_indices[batch] + step, modulo the cache's length where it is circular."""
    cache, update = node.inputs[:2]
    starts = node.inputs[2] if len(node.inputs) > 2 else None
    if cache is None or update is None or cache.shape is None or update.shape is None or not update.shape.is_static():
        raise UnsupportedOpError("its shape is open", hint="give the inputs' shapes: --input name:shape")
    rank = len(cache.shape)
    axis = node.attributes.get_int("axis", -2) % rank
    steps = [1] * rank
    steps[axis] = -1
    places = build.constant(np.arange(update.shape.numpy()[axis]).reshape(steps), "steps")
    if starts is not None:
        first = build.constant(np.array([-1] + [1] * (rank - 1)), "shape")
        places = build("Add", build("Reshape", starts, first), places)
    if node.attributes.get_string("mode", "linear") == "circular":
        places = build("Mod", places, build.constant(np.array(cache.shape[axis]), "length"))
    places = build("Expand", places, build.constant(np.array(list(update.shape)), "shape"))
    replace(node, build, "ScatterElements", cache, places, update, axis=axis)


def _bit_cast(node: ir.Node, build: Builder) -> None:
    """`narrowcast::BitCast`, or a Cast between integers, which keeps the bits."""
    source, to = node.inputs[0], ir.DataType(node.attributes.get_int("to", 0))
    if source is None or source.dtype is None or source.dtype.bitwidth != to.bitwidth:
        raise UnsupportedOpError("its types differ in size", hint="the model contradicts itself")
    domain = NARROWCAST if to.is_floating_point() or source.dtype.is_floating_point() else ""
    replace(node, build, "BitCast" if domain else "Cast", source, domain=domain, to=int(to))


_SPELLINGS: dict[str, Upgrade] = {
    "BitCast": _bit_cast,
    "CumProd": _cumulative_product,
    "Swish": _swish,
    "TensorScatter": _tensor_scatter,
}
"""Operators that older ones spell."""
