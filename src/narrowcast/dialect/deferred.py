"""Initialisers that stay in their files: what is made of them is made when its elements are read, and not kept.

A network may be larger than the memory. Its weights then are `onnx_ir.LazyTensor`s, whose type and shape are known
(`build.tensor_of`) and whose elements are read from the file at each look; so a rule looks at them only when it must.
A rule that changes weights calls `derive`: of weights in memory it gets an array, of others another lazy tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from narrowcast.model import Array, ir

__all__ = ["derive", "is_deferred"]


def is_deferred(tensor: ir.TensorProtocol | None) -> bool:
    """Whether the elements of a tensor are made anew at each look."""
    return isinstance(tensor, ir.LazyTensor)


def derive(
    function: Callable[..., Array],
    *sources: ir.TensorProtocol,
    shape: Sequence[int],
    dtype: ir.DataType,
    name: str | None = None,
) -> ir.TensorProtocol:
    """A tensor computed from others: now, or, if one of them is deferred, whenever it is read.

    Args:
        function: takes their arrays, returns one of `shape` and `dtype`; a view is fine.
        sources: the tensors.
        shape: of the result.
        dtype: of the result.
        name: of the result.
    """

    def computed() -> ir.TensorProtocol:
        return ir.Tensor(function(*(source.numpy() for source in sources)), dtype, name=name)

    if any(is_deferred(source) for source in sources):
        return ir.LazyTensor(computed, dtype, ir.Shape(shape), name=name)
    return ir.Tensor(np.asarray(computed().numpy(), order="C"), dtype, name=name)
