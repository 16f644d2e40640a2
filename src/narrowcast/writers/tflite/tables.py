"""The rows of a model's tables: tensors and operators, before they become bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from narrowcast.model import Array, ir

__all__ = ["INNER_TYPES", "TYPES", "Operator", "Quantization", "Tensor", "options"]

TYPES: dict[np.dtype[Any], int] = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.float16): schema.TensorType.FLOAT16,
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.uint8): schema.TensorType.UINT8,
    np.dtype(np.int16): schema.TensorType.INT16,
    np.dtype(np.uint16): schema.TensorType.UINT16,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.uint32): schema.TensorType.UINT32,
    np.dtype(np.int64): schema.TensorType.INT64,
    np.dtype(np.uint64): schema.TensorType.UINT64,
    np.dtype(np.float64): schema.TensorType.FLOAT64,
    np.dtype(np.bool_): schema.TensorType.BOOL,
    ir.DataType.INT4.numpy(): schema.TensorType.INT4,
}
"""The schema's types by numpy's; complex numbers and strings are left out, which hardly any kernel computes with."""
INNER_TYPES = {**TYPES, np.dtype(np.complex64): schema.TensorType.COMPLEX64}
"""Those of tensors between the operators of one lowering."""


@dataclass(frozen=True, slots=True)
class Quantization:
    """real = (stored - zero_point) * scale, per tensor or for each slice along `axis`.

    Attributes:
        scale: float32 [1] or [slices].
        zero_point: int64, of the same length.
        axis: of the tensor as it is stored.
        blocks: of weights [out, in] with a scale for each run of inputs: the index of the tensor of scales, float16
            [out, runs], and how many inputs a run has; None for others. `scale` and `zero_point` are empty then.
    """

    scale: Array
    zero_point: Array
    axis: int = 0
    blocks: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Tensor:
    """One row of the tensor table; a dimension of -1 is open until run time, buffer 0 is an activation's.

    A variable tensor keeps its contents from one operator, and one inference, to the next.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    buffer: int = 0
    quantization: Quantization | None = None
    variable: bool = False


@dataclass(frozen=True, slots=True)
class Operator:
    """One row of the operator list: inputs and outputs by tensor index (-1: left out), and its options.

    Intermediates are tensors that hold nothing but the scales of what an operator has inside.
    A custom operator's options are bytes.
    """

    name: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any = None
    intermediates: tuple[int, ...] = ()


def options(kind: str, **values: Any) -> Any:
    """The options object `kind` of the schema, with fields set by their schema names.

    Raises:
        AttributeError: the schema has no such field.
    """
    made = getattr(schema, f"{kind}T")()
    for name, value in values.items():
        if not hasattr(made, name):
            raise AttributeError(f"{kind} has no field {name}")
        setattr(made, name, value)
    return made
