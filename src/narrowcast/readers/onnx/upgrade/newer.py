"""Opsets newer than the canonical one: a node is accepted where it says nothing that the canonical opset cannot say."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from narrowcast.dialect.build import Builder
from narrowcast.errors import UnsupportedOpError
from narrowcast.model import OPSET, ir
from narrowcast.readers.onnx.upgrade.registry import replace

if TYPE_CHECKING:
    import onnx

__all__ = ["lower"]

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


def lower(node: ir.Node, opset: int) -> None:
    """Takes out of a node what newer opsets added, as long as it is not made use of.

    Raises:
        UnsupportedOpError: it is.
    """
    if node.op_type == "Swish":
        _swish(node)
        return
    schema, defaults = _schemas(node.op_type, opset)
    if schema is None:
        raise UnsupportedOpError(
            f"{node.op_type} came after opset {OPSET}", hint=f"export the model with opset {OPSET} or older"
        )
    if len(node.inputs) > schema.max_input and any(value is not None for value in node.inputs[schema.max_input :]):
        raise UnsupportedOpError(f"uses an input of {node.op_type} that came after opset {OPSET}")
    node.resize_inputs(min(len(node.inputs), schema.max_input))
    known = schema.attributes
    for name in [name for name in node.attributes if name not in known]:
        default = defaults.get(name)
        value = node.attributes.pop(name).value
        if value != (default.decode() if isinstance(default, bytes) else default):
            raise UnsupportedOpError(f"uses {name}={value!r} of {node.op_type}, which came after opset {OPSET}")


def _swish(node: ir.Node) -> None:
    """Writes out x * sigmoid(alpha * x)."""
    graph = node.graph
    source = node.inputs[0]
    assert isinstance(graph, ir.Graph)
    assert source is not None
    build = Builder(graph, anchor=node)
    name = node.outputs[0].name
    alpha = node.attributes.get_float("alpha", 1.0)
    scaled = source
    if alpha != 1.0:
        dtype = source.dtype.numpy() if source.dtype is not None else np.dtype(np.float32)
        scaled = build("Mul", source, build.constant(np.array(alpha, dtype), f"{name}/alpha"), name=f"{name}/scaled")
    replace(node, build, "Mul", source, build("Sigmoid", scaled, name=f"{name}/sigmoid"))
