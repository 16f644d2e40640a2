"""`Cell`: one direction of a recurrent operator, and the arithmetic on its tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from narrowcast.dialect.build import constant_of
from narrowcast.errors import UnsupportedOpError
from narrowcast.model import ir
from narrowcast.passes.rewrite import Rewriter, dims

__all__ = ["Cell"]

DEFAULTS = {"LSTM": ("sigmoid", "tanh", "tanh"), "GRU": ("sigmoid", "tanh"), "RNN": ("tanh",)}
ACTIVATIONS: dict[str, tuple[str, dict[str, float]]] = {
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
    "relu": ("Relu", {}),
    "softsign": ("Softsign", {}),
    "softplus": ("Softplus", {}),
    "hardsigmoid": ("HardSigmoid", {"alpha": 0.2, "beta": 0.5}),
    "leakyrelu": ("LeakyRelu", {"alpha": 0.01}),
    "elu": ("Elu", {"alpha": 1.0}),
    "thresholdedrelu": ("ThresholdedRelu", {"alpha": 1.0}),
}
"""For each function its operator, and the parameters that it takes with their defaults."""


@dataclass(slots=True)
class Cell:
    """One direction of a recurrent node, and the arithmetic on its tensors."""

    node: ir.Node
    rewriter: Rewriter
    direction: int
    batch: int
    hidden: int

    def op(self, op_type: str, *inputs: ir.Value | float, shape: Sequence[int], **attributes: Any) -> ir.Value:
        """One operator; numbers become constants."""
        values = [
            item if isinstance(item, ir.Value) else self.rewriter.constant(item, "number", np.float32)
            for item in inputs
        ]
        return self.rewriter.op(op_type, *values, shape=shape, dtype=np.float32, **attributes)

    def weights(self, index: int) -> ir.Value | None:
        """This direction's part of a weight input, its leading axis dropped."""
        value = self.node.inputs[index] if index < len(self.node.inputs) else None
        if value is None:
            return None
        array = constant_of(value)
        if array is not None:
            return self.rewriter.constant(np.ascontiguousarray(array[self.direction]), "weights")
        shape = dims(value) or ()
        if shape[0] > 1:
            value = self.cut(value, self.direction, 0, (1, *shape[1:]))
        return self.reshape(value, shape[1:])

    def rows(self, value: ir.Value, start: int, stop: int) -> ir.Value:
        """Part of the first axis."""
        array, shape = constant_of(value), dims(value) or ()
        if array is not None:
            return self.rewriter.constant(np.ascontiguousarray(array[start:stop]), "weights")
        arguments = [self.rewriter.constant(np.array([number], np.int64), "slice") for number in (start, stop, 0, 1)]
        return self.op("Slice", value, *arguments, shape=(stop - start, *shape[1:]))

    def turned(self, value: ir.Value) -> ir.Value:
        """A matrix with its axes exchanged."""
        array, shape = constant_of(value), dims(value) or ()
        if array is not None:
            return self.rewriter.constant(np.ascontiguousarray(array.T), "weights")
        return self.op("Transpose", value, shape=shape[::-1], perm=[1, 0])

    def sum(self, one: ir.Value, other: ir.Value) -> ir.Value:
        """Of two biases."""
        arrays = constant_of(one), constant_of(other)
        if arrays[0] is not None and arrays[1] is not None:
            return self.rewriter.constant(arrays[0] + arrays[1], "bias")
        return self.op("Add", one, other, shape=dims(one) or ())

    def state(self, index: int) -> ir.Value | None:
        """An initial state [batch, hidden], None for zeros."""
        value = self.node.inputs[index] if index < len(self.node.inputs) else None
        if value is None:
            return None
        array = constant_of(value)
        if array is not None:
            part = array[self.direction]
            return self.rewriter.constant(np.ascontiguousarray(part), "state") if part.any() else None
        size = (self.batch, self.hidden)
        if dims(value) != (1, *size):
            value = self.cut(value, self.direction, 0, (1, *size))
        return self.reshape(value, size)

    def cut(self, value: ir.Value, index: int, axis: int, shape: Sequence[int]) -> ir.Value:
        """One element of an axis, which stays."""
        constant = self.rewriter.constant
        arguments = [constant(np.array([number], np.int64), "slice") for number in (index, index + 1, axis, 1)]
        return self.op("Slice", value, *arguments, shape=shape)

    def reshape(self, value: ir.Value, shape: Sequence[int]) -> ir.Value:
        """A Reshape to a constant shape."""
        target = self.rewriter.constant(np.array(shape, np.int64), "shape")
        return self.op("Reshape", value, target, shape=shape)

    def where(self, mask: ir.Value, value: ir.Value, otherwise: ir.Value | float) -> ir.Value:
        """`value` for the sequences that a mask [batch, 1] names, something else for the others."""
        other = (
            otherwise if isinstance(otherwise, ir.Value) else self.rewriter.constant(np.float32(otherwise), "number")
        )
        return self.rewriter.op("Where", mask, value, other, shape=dims(value), dtype=np.float32)

    def split(self, value: ir.Value, parts: int, axis: int) -> list[ir.Value]:
        """Equal parts along an axis."""
        shape = list(dims(value) or ())
        if parts == 1:
            return [value]
        shape[axis] //= parts
        sizes = self.rewriter.constant(np.full(parts, shape[axis], np.int64), "sizes")
        made = self.rewriter.ops("Split", value, sizes, outputs=parts, shape=shape, dtype=np.float32, axis=axis)
        for piece in made:
            piece.shape, piece.dtype = ir.Shape(shape), ir.DataType.FLOAT
        return list(made)

    def split_at(self, value: ir.Value, sizes: Sequence[int]) -> list[ir.Value]:
        """Parts of these sizes along the first axis."""
        if len(sizes) == 1:
            return [value]
        lengths = self.rewriter.constant(np.array(sizes, np.int64), "sizes")
        made = self.rewriter.ops("Split", value, lengths, outputs=len(sizes), axis=0)
        for piece, size in zip(made, sizes, strict=True):
            piece.shape, piece.dtype = ir.Shape((size, *(dims(value) or ())[1:])), ir.DataType.FLOAT
        return list(made)

    def activation(self, position: int) -> Callable[[ir.Value], ir.Value]:
        """The activation function at a position of the node's list, with clipping before it.

        Alphas and betas are handed out in the order of the functions that take one. As in ONNX Runtime, what enters the
        gates is clipped, but not the state of LSTM's cell.
        """
        attributes = self.node.attributes
        defaults = DEFAULTS[self.node.op_type]
        names = [name.lower() for name in attributes.get_strings("activations", ())] or list(defaults) * 2
        index = self.direction * len(defaults) + position
        name = names[index] if index < len(names) else "that is missing"
        if name not in ACTIVATIONS:
            raise UnsupportedOpError(f"the activation {name} of this {self.node.op_type} is not known")
        operator, parameters = ACTIVATIONS[name]
        extra: dict[str, object] = {}
        for parameter, default in parameters.items():
            given = attributes.get_floats(f"activation_{parameter}", ())
            before = sum(parameter in ACTIVATIONS[earlier][1] for earlier in names[:index] if earlier in ACTIVATIONS)
            extra[parameter] = given[before] if before < len(given) else default
        limit = attributes.get_float("clip", 0.0) if position < 2 else 0.0

        def apply(value: ir.Value) -> ir.Value:
            shape = dims(value) or ()
            if limit:
                value = self.op("Clip", value, -limit, limit, shape=shape)
            return self.op(operator, value, shape=shape, **extra)

        return apply
