"""The arguments of functions that were applied to tensors: by keyword, in their configuration, or by place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from narrowcast.errors import ModelFileError
from narrowcast.readers.emit import Tensor
from narrowcast.readers.keras.config import LayerConfig, unwrap
from narrowcast.readers.keras.registry import Inputs

__all__ = ["argument", "axes_of", "dtype_of", "integer_of", "pair_of", "tensor_of", "tensors_of"]


def argument(layer: LayerConfig, inputs: Inputs, name: str, place: int, default: Any = None) -> Any:
    """An argument by its keyword, in the function's configuration, or by its place in the call."""
    for source in (inputs.kwargs, layer.config):
        if name in source and source[name] is not None:
            return unwrap(source[name]) if isinstance(source[name], Mapping) else source[name]
    return inputs.args[place] if len(inputs.args) > place and inputs.args[place] is not None else default


def tensor_of(inputs: Inputs) -> Tensor:
    """The tensor that a function of one tensor is called with, by place or by keyword."""
    for item in (*inputs.tensors, *inputs.kwargs.values()):
        if isinstance(item, Tensor):
            return item
    raise ModelFileError("not called with a tensor")


def tensors_of(inputs: Inputs) -> list[Tensor]:
    """The list of tensors that a function is called with, by place or by keyword."""
    return inputs.tensors or [item for value in inputs.kwargs.values() for item in Inputs.of(value).tensors]


def axes_of(value: Any, x: Tensor) -> list[int]:
    """One axis or several as ascending numbers from the front; all axes for None.

    Raises:
        ModelFileError: they are no integers, or the tensor lacks one.
    """
    if value is None:
        return list(range(x.rank))
    axes = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(axis, int) for axis in axes):
        raise ModelFileError(f"the axes {str(value)[:80]} are no integers")
    return sorted({x.axis(axis) for axis in axes})


def integer_of(value: Any, what: str) -> int:
    """The value if it is an integer.

    Raises:
        ModelFileError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise ModelFileError(f"{what} is {str(value)[:80]}, not an integer")
    return value


def pair_of(inputs: Inputs) -> list[Any]:
    """The two operands of a function, tensors or numbers."""
    named = [inputs.kwargs[key] for key in ("x", "x1", "y", "x2") if key in inputs.kwargs]
    args = inputs.args[0] if len(inputs.args) == 1 and isinstance(inputs.args[0], list) else inputs.args
    sides = [unwrap(item) if isinstance(item, Mapping) else item for item in [*args, *named] if item is not None]
    if len(sides) != 2 or not any(isinstance(side, Tensor) for side in sides):
        raise ModelFileError(f"called with {len(sides)} operands, two were expected")
    return sides


def dtype_of(name: Any) -> np.dtype:
    """A type by its name; real numbers of every width are float32."""
    name = re.sub(r"<dtype: '(\w+)'>", r"\1", str(name))  # as TensorFlow writes its own
    if name in ("float16", "float64", "bfloat16"):
        return np.dtype(np.float32)
    try:
        dtype: np.dtype = np.dtype(name)
    except TypeError as error:
        raise ModelFileError(f"the type {str(name)[:40]!r} is unknown") from error
    return dtype
