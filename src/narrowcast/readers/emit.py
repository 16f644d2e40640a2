"""Emits ONNX nodes for sources whose tensors are channel-last, where ONNX's spatial operators are channel-first.

A `Tensor` knows both of its forms. A transposition is emitted when a form is first needed and never twice, and
elementwise operators work on the form at hand, so that a stack of convolutions, normalisations and activations
becomes a chain without transpositions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from narrowcast.dialect.build import Builder
from narrowcast.errors import ModelFileError
from narrowcast.model import Array, ir

__all__ = ["ChannelLast", "Dim", "Operand", "Shape", "Tensor", "broadcast", "from_first", "permuted", "to_first"]

Dim: TypeAlias = int | str
Shape: TypeAlias = tuple[Dim, ...]
Operand: TypeAlias = "Tensor | ir.Value | float | int"

FILL_LIMIT = 1 << 26
"""The most elements of a constant that does not come from the file."""


@dataclass(slots=True, eq=False)
class Tensor:
    """A tensor as the source sees it.

    Attributes:
        shape: in the source's order; a string names a dynamic batch.
        dtype: numpy's.
        value: the ONNX value in the source's order, once there is one.
        first: the ONNX value with the last axis moved to place 1, once there is one.
        mask: True for the steps that count [batch, steps], where the source attaches one.
        sizes: what it holds, where that is the shape of another tensor, or a part of one.
    """

    shape: Shape
    dtype: np.dtype
    value: ir.Value | None = None
    first: ir.Value | None = None
    mask: Tensor | None = None
    sizes: Shape | None = None

    @property
    def rank(self) -> int:
        """How many axes it has, the batch included."""
        return len(self.shape)

    @property
    def is_float(self) -> bool:
        """Whether it holds real numbers."""
        return self.dtype.kind == "f"

    def dim(self, axis: int) -> int:
        """The size of an axis.

        Raises:
            ModelFileError: there is no such axis, or it is the dynamic batch.
        """
        try:
            size = self.shape[axis]
        except IndexError as error:
            raise ModelFileError(f"a tensor of shape {self.shape} has no axis {axis}") from error
        if isinstance(size, str):
            raise ModelFileError(f"the size of axis {axis} must be known; it is the dynamic {size}")
        return size

    def axis(self, axis: int) -> int:
        """`axis` counted from the front.

        Raises:
            ModelFileError: there is no such axis.
        """
        if not -self.rank <= axis < self.rank:
            raise ModelFileError(f"a tensor of shape {self.shape} has no axis {axis}")
        return axis % self.rank


def to_first(rank: int) -> tuple[int, ...]:
    """The permutation from channel-last to channel-first."""
    return (0, rank - 1, *range(1, rank - 1))


def from_first(rank: int) -> tuple[int, ...]:
    """The permutation from channel-first to channel-last."""
    return (0, *range(2, rank), 1)


def permuted(shape: Sequence[Any], order: Sequence[int]) -> tuple[Any, ...]:
    """`shape` in another order of axes."""
    return tuple(shape[axis] for axis in order)


class ChannelLast:
    """Appends nodes for channel-last tensors to a graph, named after the layer at hand; keeps track of both forms.

    Attributes:
        build: appends to the graph.
        scope: the path of the layer at hand.
    """

    def __init__(self, build: Builder) -> None:
        self.build = build
        self.scope = ""
        self._constants: dict[tuple[str, str], list[tuple[Array, ir.Value]]] = {}

    def name(self, suffix: str) -> str:
        """A hint for the name of something in the layer at hand."""
        return f"{self.scope}/{suffix}" if self.scope else suffix

    def constant(self, array: Any, name: str = "const", dtype: Any = None) -> ir.Value:
        """An initialiser; one that the layer has made before (when it is shared) is used again."""
        array = np.asarray(array, dtype=dtype)
        made = self._constants.setdefault((self.scope, name), [])
        for known, value in made:
            if known.dtype == array.dtype and known.shape == array.shape and np.array_equal(known, array):
                return value
        value = self.build.constant(array, self.name(name))
        made.append((array, value))
        return value

    def filled(self, value: float, shape: Sequence[int], name: str) -> ir.Value:
        """A float32 initialiser of one value.

        Raises:
            ModelFileError: it would have more than `FILL_LIMIT` elements.
        """
        if math.prod(shape) > FILL_LIMIT:
            raise ModelFileError(f"a constant of shape {tuple(shape)} is too large")
        return self.constant(np.full(shape, value, np.float32), name)

    def ints(self, values: Sequence[int], name: str = "const") -> ir.Value:
        """An int64 initialiser, for arguments such as shapes and axes."""
        return self.constant(np.asarray(values, np.int64), name)

    def plain(self, tensor: Tensor) -> ir.Value:
        """The value of a tensor in the source's order."""
        if tensor.value is None:
            assert tensor.first is not None
            tensor.value = self._transposed(tensor.first, from_first(tensor.rank), tensor.shape)
        return tensor.value

    def channels_first(self, tensor: Tensor) -> ir.Value:
        """The value of a tensor with its last axis moved to place 1."""
        if tensor.first is None:
            assert tensor.value is not None
            order = to_first(tensor.rank)
            tensor.first = self._transposed(tensor.value, order, permuted(tensor.shape, order))
        return tensor.first

    def _transposed(self, value: ir.Value, order: Sequence[int], shape: Shape) -> ir.Value:
        made: ir.Value = self.raw("Transpose", value, shape=shape, perm=list(order))
        return made

    def raw(self, op: str, *inputs: ir.Value | None, shape: Shape, name: str = "", **attributes: Any) -> Any:
        """Appends a node on ONNX values; returns its output, or outputs (see `Builder`).

        Optional inputs that are left out at the end are cut off, as ONNX Runtime fails on some of them.
        """
        count = max((place for place, value in enumerate(inputs, 1) if value is not None), default=0)
        inputs = inputs[:count]
        return self.build(op, *inputs, name=self.name(name or op.lower()), shape=shape, **attributes)

    def op(
        self, op: str, *inputs: Operand | None, shape: Shape, dtype: Any = None, name: str = "", **attributes: Any
    ) -> Tensor:
        """Appends a node on tensors in the source's order."""
        values = [self.operand(item) if item is not None else None for item in inputs]
        first = next(item for item in inputs if isinstance(item, Tensor))
        dtype = np.dtype(dtype) if dtype is not None else first.dtype
        return Tensor(shape, dtype, self.raw(op, *values, shape=shape, name=name, dtype=dtype, **attributes))

    def operand(self, item: Operand) -> ir.Value:
        """The value of a tensor in the source's order, a constant for a number."""
        if isinstance(item, Tensor):
            return self.plain(item)
        if isinstance(item, ir.Value):
            return item
        return self.constant(np.asarray(item, np.float32), "value")

    def pointwise(self, op: str, *inputs: Operand, dtype: Any = None, name: str = "", **attributes: Any) -> Tensor:
        """Appends an elementwise node with numpy's broadcasting, in the form that the operands are at hand in.

        Numbers are taken as constants of the type of the first tensor.
        """
        tensors = [item for item in inputs if isinstance(item, Tensor)]
        rank = max(tensor.rank for tensor in tensors)
        operands = [
            item if isinstance(item, Tensor | ir.Value) else self.constant(np.asarray(item, tensors[0].dtype), "value")
            for item in inputs
        ]
        shapes = [item.shape if isinstance(item, Tensor) else _static(item) for item in operands]
        shape = broadcast(*shapes)
        first = rank > 2 and any(tensor.first is not None for tensor in tensors)
        if not first or any(tensor.rank != rank for tensor in tensors) or len(shape) != rank:
            return self.op(op, *operands, shape=shape, dtype=dtype, name=name, **attributes)
        dtype = np.dtype(dtype) if dtype is not None else tensors[0].dtype
        values = [
            self.channels_first(item) if isinstance(item, Tensor) else self._constant_first(item, rank)
            for item in operands
        ]
        made = self.raw(op, *values, shape=permuted(shape, to_first(rank)), name=name, dtype=dtype, **attributes)
        return Tensor(shape, dtype, first=made)

    def _constant_first(self, value: ir.Value, rank: int) -> ir.Value:
        shape = _static(value)
        if math.prod(int(dim) for dim in shape) == 1:
            return value
        assert value.const_value is not None
        array = value.const_value.numpy()
        array = array.reshape((1,) * (rank - array.ndim) + array.shape).transpose(to_first(rank))
        return self.constant(array, "per_channel")

    def spatial(self, tensor: Tensor, channels_last: bool) -> ir.Value:
        """The value that a spatial operator of ONNX takes, for a tensor whose layer has that data format."""
        return self.channels_first(tensor) if channels_last else self.plain(tensor)

    def from_spatial(self, value: ir.Value, shape: Shape, dtype: np.dtype, channels_last: bool) -> Tensor:
        """The tensor of a spatial operator's output, whose channel-first shape is given."""
        if not channels_last:
            return Tensor(shape, dtype, value)
        return Tensor(permuted(shape, from_first(len(shape))), dtype, first=value)

    def axis_of(self, tensor: Tensor, axis: int) -> tuple[ir.Value, int, bool]:
        """The form of a tensor that is at hand, where `axis` is in it, and whether it is channel-first."""
        axis = tensor.axis(axis)
        if tensor.first is None:
            return self.plain(tensor), axis, False
        return tensor.first, to_first(tensor.rank).index(axis), True

    def like(self, value: ir.Value, shape: Shape, dtype: np.dtype, first: bool) -> Tensor:
        """A tensor of a given shape (in the source's order) from a value in one of the two forms."""
        return Tensor(shape, dtype, first=value) if first else Tensor(shape, dtype, value)

    def cast(self, tensor: Tensor, dtype: Any) -> Tensor:
        """The tensor in another type."""
        dtype = np.dtype(dtype)
        if tensor.dtype == dtype:
            return tensor
        return self.pointwise("Cast", tensor, dtype=dtype, to=int(ir.DataType.from_numpy(dtype)))

    def floating(self, tensor: Tensor) -> Tensor:
        """The tensor as real numbers."""
        return tensor if tensor.is_float else self.cast(tensor, np.float32)

    def reshape(self, tensor: Tensor, shape: Sequence[Dim]) -> Tensor:
        """The tensor in another shape; a dynamic batch is left to be worked out.

        Raises:
            ModelFileError: the number of elements differs.
        """
        shape = tuple(shape)
        if shape == tensor.shape:
            return tensor
        wanted, given = ([dim for dim in dims if isinstance(dim, int)] for dims in (shape, tensor.shape))
        if len(wanted) == len(shape) and len(given) == tensor.rank and math.prod(wanted) != math.prod(given):
            raise ModelFileError(f"a tensor of shape {tensor.shape} cannot be reshaped to {shape}")
        target = self.ints([dim if isinstance(dim, int) else -1 for dim in shape], "shape")
        return self.op("Reshape", tensor, target, shape=shape)

    def transpose(self, tensor: Tensor, order: Sequence[int]) -> Tensor:
        """The tensor with its axes in another order."""
        if tuple(order) == tuple(range(tensor.rank)):
            return tensor
        return self.op("Transpose", tensor, shape=permuted(tensor.shape, order), perm=list(order))

    def slice(self, tensor: Tensor, axis: int, start: int, stop: int, step: int = 1) -> Tensor:
        """A range along an axis, with ONNX's meaning of the bounds."""
        size = tensor.dim(axis)
        shape = list(tensor.shape)
        value, position, first = self.axis_of(tensor, axis)
        shape[tensor.axis(axis)] = len(range(size)[start : stop if stop >= -size else None : step])
        arguments = [self.ints([item], "bound") for item in (start, stop, position, step)]
        order = to_first(tensor.rank) if first else range(tensor.rank)
        made = self.raw("Slice", value, *arguments, shape=permuted(shape, order), dtype=tensor.dtype)
        return self.like(made, tuple(shape), tensor.dtype, first)

    def concat(self, tensors: Sequence[Tensor], axis: int) -> Tensor:
        """Tensors joined along an axis."""
        if len(tensors) == 1:
            return tensors[0]
        axis = tensors[0].axis(axis)
        shape = list(tensors[0].shape)
        if any(tensor.rank != len(shape) for tensor in tensors):
            raise ModelFileError(f"tensors of shapes {[tensor.shape for tensor in tensors]} cannot be joined")
        shape[axis] = sum(tensor.dim(axis) for tensor in tensors)
        if not all(tensor.first is not None for tensor in tensors):
            return self.op("Concat", *tensors, shape=tuple(shape), axis=axis)
        order = to_first(len(shape))
        values = [self.channels_first(tensor) for tensor in tensors]
        made = self.raw("Concat", *values, shape=permuted(shape, order), axis=order.index(axis))
        return Tensor(tuple(shape), tensors[0].dtype, first=made)

    def reduce(self, op: str, tensor: Tensor, axes: Sequence[int], keepdims: bool = False) -> Tensor:
        """A reduction such as ReduceMean over `axes`; over none it is the tensor itself."""
        if not axes:
            return tensor
        axes = sorted(tensor.axis(axis) for axis in axes)
        shape = tuple(
            1 if axis in axes else dim for axis, dim in enumerate(tensor.shape) if keepdims or axis not in axes
        )
        first = tensor.first is not None and (keepdims or set(axes) == set(range(1, tensor.rank - 1)))
        order = to_first(tensor.rank) if first else tuple(range(tensor.rank))
        value = self.channels_first(tensor) if first else self.plain(tensor)
        argument = self.ints(sorted(order.index(axis) for axis in axes), "axes")
        made_shape = permuted(shape, order) if keepdims else shape
        made = self.raw(op, value, argument, shape=made_shape, keepdims=int(keepdims))
        return self.like(made, shape, tensor.dtype, first and keepdims)

    def matmul(self, left: Tensor, right: Operand, name: str = "") -> Tensor:
        """The product of matrices in the last two axes."""
        other = right.shape if isinstance(right, Tensor) else _static(self.operand(right))
        if left.shape[-1] != other[-2]:
            raise ModelFileError(f"matrices of shapes {left.shape} and {other} cannot be multiplied")
        shape = (*broadcast(left.shape[:-2], other[:-2]), left.shape[-2], other[-1])
        return self.op("MatMul", left, right, shape=shape, name=name)


def _static(value: ir.Value) -> Shape:
    assert value.shape is not None
    return tuple(dim if isinstance(dim, int) else str(dim.value) for dim in value.shape)


def broadcast(*shapes: Shape) -> Shape:
    """The shape that numpy's broadcasting gives.

    Raises:
        ModelFileError: the shapes do not fit.
    """
    rank = max(map(len, shapes), default=0)
    result: list[Dim] = []
    for axis in range(-rank, 0):
        sizes = {shape[axis] for shape in shapes if len(shape) >= -axis} - {1}
        if len(sizes) > 1:
            raise ModelFileError(f"tensors of shapes {', '.join(map(str, shapes))} do not fit together")
        result.append(sizes.pop() if sizes else 1)
    return tuple(result)
