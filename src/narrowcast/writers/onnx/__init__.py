"""Writes ONNX files: the canonical graph as it stands, in the opset that is asked for."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from narrowcast.errors import UnsupportedOpError
from narrowcast.model import Model, TensorSpec, ir
from narrowcast.passes.control.opened import open_up
from narrowcast.passes.prepare import Prepared, lacking
from narrowcast.passes.tidy import share_constants
from narrowcast.schemas.onnx_file import LARGEST_INLINE
from narrowcast.targets.spelling import dequantizer_after, parameters_of, quantizer_before
from narrowcast.writers.formats import DEFAULTS, Port, WriteOptions, Written, record
from narrowcast.writers.onnx.older import respell

if TYPE_CHECKING:
    import onnx

__all__ = ["store", "write"]

_IR_VERSIONS = {17: 8, 18: 8, 19: 9, 20: 9}
"""The format's own version in the release of ONNX that brought an opset; 10 from opset 21 on."""


def write(prepared: Prepared, path: Path, *, options: WriteOptions = DEFAULTS) -> Written:
    """Writes a prepared model.

    Args:
        prepared: for a target that takes ONNX's operators, at the opset that is to be written.
        path: where to; weights of more than `LARGEST_INLINE` bytes go to `<path>.data`.
        options: of no effect but by the target that the model was prepared for.

    Raises:
        UnsupportedOpError: the opset cannot express something.
    """
    model, opset = prepared.model, prepared.target.opset
    copy = model.clone()
    for (name, operator), why in lacking(copy, prepared.target).items():
        quantizer = operator in ("QuantizeLinear", "DequantizeLinear")
        hint = f"a file that is quantised already: quantize it again --to {prepared.target.name}"
        raise UnsupportedOpError(
            f"{prepared.target.title} of opset {opset} {why}",
            where=f"{name or operator} ({operator})",
            hint=hint if quantizer else "a higher --opset",
        )
    share_constants(copy)
    copy.ir.metadata_props.clear()
    copy.ir.metadata_props["narrowcast"] = json.dumps(record(model))
    _check(store(copy.ir, path, opset), path)
    return Written(
        tuple(_port(spec, dequantizer_after(value)) for spec, value in _ports(model)),
        tuple(
            _port(spec, quantizer_before(value)) for spec, value in zip(model.outputs, model.graph.outputs, strict=True)
        ),
    )


def store(model: ir.Model, path: Path, opset: int) -> onnx.ModelProto:
    """Writes a graph as it stands, which it changes to the spelling of an opset; returns what is in the file.

    Raises:
        UnsupportedOpError: the opset spells an attribute otherwise, or lacks it.
    """
    respell(model.graph, opset)
    model.ir_version = _IR_VERSIONS.get(opset, 10)
    model.producer_name, model.producer_version = "narrowcast", version("narrowcast")
    tensors = [value.const_value for inner in model.graphs() for value in inner.initializers.values()]
    if sum(tensor.nbytes for tensor in tensors if tensor is not None) > LARGEST_INLINE:
        ir.external_data.unload_from_model(model, path.parent, f"{path.name}.data", size_threshold_bytes=1024)
    proto = ir.to_proto(model)
    open_up(proto)
    for domain in [item for item in proto.opset_import if item.domain.startswith("narrowcast")]:
        proto.opset_import.remove(domain)
    with path.open("wb") as file:
        file.write(proto.SerializeToString(deterministic=True))
    return proto


def _ports(model: Model) -> list[tuple[TensorSpec, ir.Value]]:
    fed = [value for value in model.graph.inputs if value.name not in model.graph.initializers]
    return list(zip(model.inputs, fed, strict=True))


def _port(spec: TensorSpec, node: ir.Node | None) -> Port:
    """An input or output: integers that stand for real numbers have a scale."""
    step = parameters_of(node)
    if step is None:
        return Port(spec.name, dtype=spec.dtype.name)
    return Port(spec.name, None, step.scale, step.zero_point, spec.dtype.name)


def _check(proto: onnx.ModelProto, path: Path) -> None:
    """ONNX's own checker has nothing to say."""
    import onnx.checker

    external = any(tensor.data_location for tensor in proto.graph.initializer)
    try:
        onnx.checker.check_model(str(path) if external else proto)
    except onnx.checker.ValidationError as error:
        first = (str(error).splitlines() or ["unknown reason"])[0]
        raise UnsupportedOpError(f"ONNX's checker refuses what was written: {first}") from error
