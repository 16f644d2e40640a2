"""Emits ONNX nodes for the tensors of a .tflite file: channel-last, and perhaps stored in integers by a scale.

A tensor that is stored by a scale has two sides: the integers, which may be moved, and the real numbers that they
stand for, which operators compute with. Only the integers are transposed; each form that is needed is dequantised by
itself. So all that reads such a tensor sees one QuantizeLinear and a DequantizeLinear.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from narrowcast.errors import ModelFileError
from narrowcast.model import Array, ir
from narrowcast.readers.emit import ChannelLast, Shape, Tensor, permuted, to_first
from narrowcast.readers.tflite import file

__all__ = ["Emitter", "Stored", "activated", "storage_of"]


@dataclass(slots=True, eq=False)
class Stored(Tensor):
    """A tensor of real numbers that lies in integers; `value` and `first` are dequantised.

    Attributes:
        integers: as they are stored, with both forms.
        scale, zero_point: initialisers; of one element, or one for each slice along `along`.
        along: the axis of several scales, in the source's order.
    """

    integers: Tensor | None = None
    scale: ir.Value | None = None
    zero_point: ir.Value | None = None
    along: int | None = None


def storage_of(tensor: file.Tensor) -> file.Quantization | None:
    """The scales of a tensor whose integers stand for real numbers; None for plain numbers.

    Raises:
        ModelFileError: a scale is 0.
    """
    found = tensor.quantization
    if found is None or tensor.dtype.kind not in "iu":
        return None
    if not (found.scale > 0).all():
        raise ModelFileError(f"tensor {tensor.name!r} has a scale of 0")
    return found


class Emitter(ChannelLast):
    """`ChannelLast` that knows of integers behind real numbers."""

    def quantised(
        self, real: Tensor, found: file.Quantization, dtype: np.dtype[Any], name: str = "quantized"
    ) -> Stored:
        """Real numbers, rounded to what integers can hold; in the form that is at hand.

        Raises:
            ModelFileError: a computed tensor has several scales.
        """
        if found.scale.size != 1:
            raise ModelFileError("a computed tensor has several scales")
        scale, zero = self._scales(found, dtype)
        first = real.first is not None
        value = self.channels_first(real) if first else self.plain(real)
        shape = permuted(real.shape, to_first(real.rank)) if first else real.shape
        made = self.raw("QuantizeLinear", value, scale, zero, shape=shape, dtype=dtype, name=name)
        return self.stored(self.like(made, real.shape, dtype, first), found)

    def stored(self, integers: Tensor, found: file.Quantization) -> Stored:
        """The real numbers that integers stand for."""
        scale, zero = self._scales(found, integers.dtype)
        axis = found.axis if found.scale.size > 1 else None
        made = Stored(integers.shape, np.dtype(np.float32), None, None, None, None, integers, scale, zero, axis)
        if integers.first is not None:
            self.channels_first(made)
        else:
            self.plain(made)
        return made

    def _scales(self, found: file.Quantization, dtype: np.dtype[Any]) -> tuple[ir.Value, ir.Value]:
        """Scale and zero point as initialisers: scalars, or vectors of several."""
        shape = () if found.scale.size == 1 else (found.scale.size,)
        return (
            self.constant(found.scale.reshape(shape), "scale", np.float32),
            self.constant(found.zero_point.reshape(shape), "zero", dtype),
        )

    def plain(self, tensor: Tensor) -> ir.Value:
        """See `ChannelLast`; what is stored in integers is moved as such."""
        if isinstance(tensor, Stored) and tensor.value is None:
            assert tensor.integers is not None
            tensor.value = self._dequantised(tensor, super().plain(tensor.integers), tensor.shape, tensor.along)
        return super().plain(tensor)

    def channels_first(self, tensor: Tensor) -> ir.Value:
        """See `ChannelLast`; what is stored in integers is moved as such."""
        if isinstance(tensor, Stored) and tensor.first is None:
            assert tensor.integers is not None
            axis = tensor.along
            if axis is not None:
                axis = 0 if axis == 0 else 1 if axis == tensor.rank - 1 else axis + 1
            shape = permuted(tensor.shape, to_first(tensor.rank))
            tensor.first = self._dequantised(tensor, super().channels_first(tensor.integers), shape, axis)
        return super().channels_first(tensor)

    def _dequantised(self, tensor: Stored, integers: ir.Value, shape: Shape, axis: int | None) -> ir.Value:
        made: ir.Value = self.raw(
            "DequantizeLinear",
            integers,
            tensor.scale,
            tensor.zero_point,
            shape=shape,
            dtype=np.float32,
            name="dequantized",
            axis=axis,
        )
        return made

    def weights(self, array: Array, found: file.Quantization | None, axis: int, name: str) -> ir.Value:
        """A constant matrix or kernel in ONNX's order, dequantised where it is stored in integers.

        Args:
            array: as it is stored.
            found: its scales.
            axis: of several scales, in this order of axes.
            name: of the initialiser.
        """
        array = np.ascontiguousarray(array)
        value = self.constant(array, name)
        if found is None or array.dtype.kind not in "iu":
            return value
        scale, zero = self._scales(found, array.dtype)
        several = axis if found.scale.size > 1 else None
        inputs = [value, scale] if array.dtype == np.int32 else [value, scale, zero]
        made: ir.Value = self.raw(
            "DequantizeLinear", *inputs, shape=array.shape, dtype=np.float32, name=f"{name}/dequantized", axis=several
        )
        return made


def _clip(low: float, high: float) -> Callable[[Emitter, Tensor], Tensor]:
    return lambda g, x: g.pointwise("Clip", x, low, high)


ACTIVATIONS: dict[str, Callable[[Emitter, Tensor], Tensor]] = {
    "NONE": lambda g, x: x,
    "RELU": lambda g, x: g.pointwise("Relu", x),
    "RELU_N1_TO_1": _clip(-1.0, 1.0),
    "RELU6": _clip(0.0, 6.0),
    "TANH": lambda g, x: g.pointwise("Tanh", x),
    "SIGN_BIT": lambda g, x: g.pointwise("Cast", g.pointwise("Less", x, 0.0, dtype=bool), dtype=x.dtype, to=1),
}
"""What operators may do to their output, by the schema's names."""


def activated(g: Emitter, x: Tensor, name: str) -> Tensor:
    """A tensor after the activation that an operator has fused.

    Raises:
        ModelFileError: the schema has no such activation.
    """
    if name not in ACTIVATIONS:
        raise ModelFileError(f"the fused activation {name or 'of this number'} is unknown")
    return ACTIVATIONS[name](g, x)


def static(shape: Shape) -> tuple[int, ...]:
    """A shape whose sizes are all known.

    Raises:
        ModelFileError: one is open.
    """
    if any(isinstance(dim, str) for dim in shape):
        raise ModelFileError(f"the shape {shape} must be known")
    return tuple(dim for dim in shape if isinstance(dim, int))
