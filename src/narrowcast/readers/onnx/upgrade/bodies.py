"""Operators newer than the canonical opset that ONNX defines by others: a node becomes the function that ONNX gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from narrowcast.errors import ModelFileError, at
from narrowcast.model import ir
from narrowcast.readers.check.structure import all_graphs, where
from narrowcast.readers.onnx.upgrade.newer import unsaid

if TYPE_CHECKING:
    import onnx

__all__ = ["write_out"]

DOMAIN = "narrowcast.bodies"
DEEPEST = 4
"""How deep ONNX's functions may be made of one another."""


def write_out(model: ir.Model, opset: int) -> bool:
    """Inlines ONNX's own function for every node that the canonical opset cannot express, where there is one.

    A function may depend on the types of the node's inputs, which must be known.

    Args:
        model: of a newer opset; changed in place, its main graph and all within.
        opset: the model's.

    Returns:
        Whether there was any.
    """
    from onnx_ir.passes.common import InlinePass, NameFixPass

    changed = False
    for _ in range(DEEPEST):
        for graph in (model.graph, *all_graphs(model.graph)):
            for node in graph:
                if node.domain in ("", "ai.onnx") and unsaid(node, opset):
                    with at(where(node)):
                        _call_body(model, node, opset)
        if not model.functions:
            break
        changed = True
        InlinePass()(model)
        NameFixPass()(model)
        model.functions.clear()
    return changed


def _call_body(model: ir.Model, node: ir.Node, opset: int) -> None:
    """Makes of a node the call of a function of its own; nothing where ONNX has none for it."""
    from onnx import helper

    body = _body(node, opset)
    if body is None:
        return
    del body.output[len(node.outputs) :]
    made = {name for item in body.node for name in item.output}
    body.node.extend(helper.make_node("Identity", body.output[:1], [name]) for name in body.output if name not in made)
    name = f"{node.op_type}_{len(model.functions)}"
    body.domain, body.name = DOMAIN, name
    function = ir.serde.deserialize_function(body)
    function.opset_imports.update({"": opset, DOMAIN: 1})
    model.functions[function.identifier()] = function
    node.domain, node.op_type = DOMAIN, name
    model.graph.opset_imports[DOMAIN] = 1


def _body(node: ir.Node, opset: int) -> onnx.FunctionProto | None:
    """ONNX's function for a node, if its operators are still those of the model's opset."""
    import onnx
    from onnx import defs

    schema: Any = defs.get_schema(node.op_type, opset, "")
    version = schema.since_version
    body = onnx.FunctionProto()
    if schema.has_function:
        body.CopyFrom(schema.function_body)
    elif version in schema.context_dependent_function_opset_versions:
        types = [_type(value) for value in node.inputs]
        proto = ir.serde.serialize_node(node).SerializeToString()
        try:
            body.ParseFromString(schema.get_context_dependent_function_with_opset_version(version, proto, types))
        except (RuntimeError, ValueError) as error:
            raise ModelFileError(f"contradicts ONNX's definition of {node.op_type}: {error}") from error
    else:
        return None
    stale = any(
        defs.get_schema(item.op_type, version, "").since_version
        != defs.get_schema(item.op_type, opset, "").since_version
        for item in body.node
        if not item.domain
    )
    return None if stale else body


def _type(value: ir.Value | None) -> bytes:
    """A serialised TypeProto; an empty one for an input that is left out."""
    import onnx

    proto = onnx.TypeProto()
    if value is not None and value.dtype is not None:
        proto.tensor_type.elem_type = int(value.dtype)
        for dim in value.shape or ():
            proto.tensor_type.shape.dim.add(**({"dim_value": dim} if isinstance(dim, int) else {}))
    found: bytes = proto.SerializeToString()
    return found
