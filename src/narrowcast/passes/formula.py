"""`Formula`: writes the arithmetic that takes a node's place, with shapes and dtypes worked out on the way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from narrowcast.dialect.build import constant_of
from narrowcast.model import Array, ir
from narrowcast.passes.rewrite import Rewriter, need

__all__ = ["Formula", "Operand"]

Operand = ir.Value | float | Array
_COMPARISONS = frozenset({"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Not", "Xor"})
_Shape = list[Any]


class Formula:
    """Builds operators before a node.

    Numbers and arrays among the operands become constants of the type of the first tensor beside them.

    Example:
        >>> f = Formula(node, rewriter)
        >>> return f.becomes(f("Div", x, f("Add", f("Abs", x), 1.0)))
    """

    def __init__(self, node: ir.Node, rewriter: Rewriter) -> None:
        self.node, self.rewriter = node, rewriter.at(node)
        self.output = node.outputs[0]
        self.dtype = self.output.dtype.numpy() if self.output.dtype is not None else np.dtype(np.float32)

    def __call__(self, op_type: str, *inputs: Operand, **attributes: Any) -> ir.Value:
        """An elementwise operator; its operands broadcast."""
        tensors = [item for item in inputs if isinstance(item, ir.Value)]
        like = tensors[1] if op_type == "Where" and len(tensors) > 1 else tensors[0] if tensors else None
        dtype = self.dtype if like is None or (op_type == "Where" and len(tensors) == 1) else _dtype(like, self.dtype)
        values = [item if isinstance(item, ir.Value) else self.constant(item, dtype) for item in inputs]
        shape = _broadcast([list(value.shape) for value in values if value.shape is not None])
        result = np.dtype(np.bool_) if op_type in _COMPARISONS else dtype
        return self.rewriter.op(op_type, *values, shape=shape, dtype=result, **attributes)

    def constant(self, array: Array | float | Sequence[int], dtype: Any = np.int64, name: str = "number") -> ir.Value:
        """An initialiser."""
        return self.rewriter.constant(np.asarray(array, dtype), name)

    def cast(self, x: ir.Value, dtype: Any) -> ir.Value:
        """Another dtype."""
        to = ir.DataType.from_numpy(np.dtype(dtype))
        return self.rewriter.op("Cast", x, shape=x.shape, dtype=dtype, to=int(to)) if x.dtype != to else x

    def reduce(self, op_type: str, x: ir.Value, axes: Sequence[int], *, keep: bool = True) -> ir.Value:
        """A reduction over axes."""
        shape = [1 if axis in axes else dim for axis, dim in enumerate(_shape(x)) if keep or axis not in axes]
        over = self.constant(list(axes), name="axes")
        return self.rewriter.op(op_type, x, over, shape=shape, dtype=_dtype(x, self.dtype), keepdims=int(keep))

    def reshape(self, x: ir.Value, shape: Sequence[Any]) -> ir.Value:
        """Another shape; constants are reshaped here and now."""
        array = constant_of(x)
        if array is not None:
            return self.constant(array.reshape(shape), array.dtype, x.name or "const")
        if list(shape) == _shape(x):
            return x
        target = self.constant([dim if isinstance(dim, int) else -1 for dim in shape], name="shape")
        return self.rewriter.op("Reshape", x, target, shape=list(shape), dtype=_dtype(x, self.dtype))

    def transpose(self, x: ir.Value, perm: Sequence[int]) -> ir.Value:
        """Permuted axes."""
        if list(perm) == list(range(len(perm))):
            return x
        shape = [_shape(x)[axis] for axis in perm]
        return self.rewriter.op("Transpose", x, shape=shape, dtype=_dtype(x, self.dtype), perm=list(perm))

    def product(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """A matrix product over the last two axes of each; the others broadcast."""
        left, right = _shape(a), _shape(b)
        shape = [*_broadcast([left[:-2], right[:-2]]), left[-2], right[-1]]
        return self.rewriter.op("MatMul", a, b, shape=shape, dtype=_dtype(a, self.dtype))

    def slice(self, x: ir.Value, axis: int, start: int, stop: int, step: int = 1) -> ir.Value:
        """Part of one axis; `stop` may be beyond -1 for a negative step, as in `range`."""
        shape = _shape(x)
        size = shape[axis]
        shape[axis] = len(range(start, stop, step))
        if step > 0 and (start, stop, step) == (0, size, 1):
            return x
        end = stop if stop >= 0 else -size - 1
        arguments = [self.constant([number], name="slice") for number in (start, end, axis, step)]
        return self.rewriter.op("Slice", x, *arguments, shape=shape, dtype=_dtype(x, self.dtype))

    def concat(self, parts: Sequence[ir.Value], axis: int) -> ir.Value:
        """Parts joined along an axis."""
        if len(parts) == 1:
            return parts[0]
        shape = _shape(parts[0])
        shape[axis] = sum(_shape(part)[axis] for part in parts)
        return self.rewriter.op("Concat", *parts, shape=shape, dtype=_dtype(parts[0], self.dtype), axis=axis)

    def gather(self, x: ir.Value, indices: ir.Value | Array, axis: int = 0) -> ir.Value:
        """Positions of one axis, by any shape of indices."""
        places = indices if isinstance(indices, ir.Value) else self.constant(indices, name="indices")
        before = _shape(x)
        shape = [*before[:axis], *_shape(places), *before[axis + 1 :]]
        return self.rewriter.op("Gather", x, places, shape=shape, dtype=_dtype(x, self.dtype), axis=axis)

    def pad(self, x: ir.Value, begins: Sequence[int], ends: Sequence[int], number: float = 0.0) -> ir.Value:
        """A number around; one amount per axis."""
        if not any(begins) and not any(ends):
            return x
        shape = [dim + b + e if b or e else dim for dim, b, e in zip(_shape(x), begins, ends, strict=True)]
        amounts = self.constant([*begins, *ends], name="pads")
        dtype = _dtype(x, self.dtype)
        value = [self.constant(number, dtype)] if number else []
        return self.rewriter.op("Pad", x, amounts, *value, shape=shape, dtype=dtype)

    def becomes(self, value: ir.Value) -> bool:
        """Ends the formula: `value` takes the place of the node's first output."""
        shape = self.output.shape
        if shape is not None and value.shape is not None and len(value.shape) != len(shape):
            value = self.reshape(value, list(shape))
        return self.rewriter.replace(self.output, value)


def _shape(x: ir.Value) -> _Shape:
    return list(need(x.shape, f"the shape of {x.name} is unknown"))


def _dtype(x: ir.Value, otherwise: np.dtype) -> np.dtype:
    return x.dtype.numpy() if x.dtype is not None else otherwise


def _broadcast(shapes: Sequence[_Shape]) -> _Shape:
    """NumPy's broadcasting, where symbolic dimensions stand for anything but 1."""
    rank = max((len(shape) for shape in shapes), default=0)
    full = [[1] * (rank - len(shape)) + shape for shape in shapes]
    return [next((dim for dim in dims if dim != 1), 1) for dims in zip(*full, strict=True)]
