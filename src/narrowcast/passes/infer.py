"""Shape inference: ONNX's own, on a copy of the graph without its weights."""

from __future__ import annotations

from narrowcast.errors import ModelFileError
from narrowcast.model import Model, ir

__all__ = ["infer_shapes"]

LARGEST_KEPT = 1024
"""Initialisers up to this many bytes are sent along: they may be shapes."""


def infer_shapes(model: Model) -> None:
    """Fills in the dtype and shape of every value of the main graph, in place.

    Values whose shape is known keep it where inference says less.

    Raises:
        ModelFileError: the shapes contradict one another.
    """
    import onnx

    graph = model.graph
    proto = _without_weights(model)
    try:
        inferred = onnx.shape_inference.infer_shapes(proto, check_type=False, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        lines = str(error).strip().splitlines()
        raise ModelFileError(f"the tensors' shapes do not fit together: {lines[-1] if lines else error}") from error
    values = {value.name: value for node in graph for value in node.outputs if value.name}
    for info in (*inferred.graph.value_info, *inferred.graph.output):
        value = values.get(info.name)
        if value is not None and info.type.HasField("tensor_type"):
            _merge(value, info.type.tensor_type)


def _without_weights(model: Model):  # type: ignore[no-untyped-def]
    """The protobuf of a model in which large initialisers are inputs."""
    graph = model.graph
    large = {
        name: value
        for name, value in graph.initializers.items()
        if value.const_value is not None and value.const_value.nbytes > LARGEST_KEPT
    }
    inputs = len(graph.inputs)
    for name, value in large.items():
        value.type = value.type or ir.TensorType(value.const_value.dtype)  # type: ignore[union-attr]
        value.shape = value.const_value.shape  # type: ignore[assignment, union-attr]
        del graph.initializers[name]
        if not value.is_graph_input():
            graph.inputs.append(value)
    try:
        return ir.to_proto(model.ir)
    finally:
        while len(graph.inputs) > inputs:
            graph.inputs.pop()
        for name, value in large.items():
            graph.initializers[name] = value


def _merge(value: ir.Value, inferred) -> None:  # type: ignore[no-untyped-def]
    if inferred.elem_type:
        value.dtype = ir.DataType(inferred.elem_type)
    if not inferred.HasField("shape"):
        return
    known = list(value.shape) if value.shape is not None else None
    dims: list[int | str | None] = []
    for axis, dim in enumerate(inferred.shape.dim):
        if dim.HasField("dim_value"):
            dims.append(dim.dim_value)
        elif known is not None and len(known) == len(inferred.shape.dim) and isinstance(known[axis], int):
            dims.append(known[axis])  # type: ignore[arg-type]
        else:
            dims.append(dim.dim_param or None)
    value.shape = ir.Shape(dims)
