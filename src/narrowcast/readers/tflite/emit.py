"""Emits ONNX nodes for the tensors of a .tflite file: channel-last, and perhaps stored in integers by a scale.

A tensor that is stored by a scale has two sides: the integers, which may be moved, and the real numbers that they
stand for, which operators compute with. Only the integers are transposed; each form that is needed is dequantised by
itself. So all that reads such a tensor sees one QuantizeLinear and a DequantizeLinear.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from narrowcast.errors import ModelFileError, UnsupportedOpError
from narrowcast.model import Array, ir
from narrowcast.readers.emit import (
    FILL_LIMIT,
    ChannelLast,
    Dim,
    Shape,
    Tensor,
    broadcast,
    from_first,
    permuted,
    to_first,
)
from narrowcast.readers.tflite import file

__all__ = ["Blocks", "Emitter", "Spectrum", "Stored", "activated", "storage_of"]


INT4 = ir.DataType.INT4.numpy()


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


@dataclass(slots=True, eq=False)
class Blocks(Tensor):
    """A batch of images that each hold every so many pixels of larger ones; emitted where it is looked at.

    Between SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND a convolution without strides is a dilated one of the larger images,
    and then nothing looks at it.

    Attributes:
        whole: the larger images.
        block: the distances of the pixels, for the axes from 1 on.
        pads: zeros before and after each of these axes, put there first.
        stored: the tensor of the file, where that has it in integers.
        settled: the smaller images, once they are emitted.
    """

    whole: Tensor = field(kw_only=True)
    block: tuple[int, ...] = ()
    pads: tuple[tuple[int, int], ...] = ()
    stored: file.Tensor | None = None
    settled: Tensor | None = None


@dataclass(slots=True, eq=False)
class Spectrum(Tensor):
    """The transform of real numbers along their last two axes, perhaps in another shape; emitted where it is looked at.

    Attributes:
        source: real [..., height, width].
        lengths: points along both axes.
    """

    source: Tensor = field(kw_only=True)
    lengths: tuple[int, int] = (1, 1)

    @property
    def own_shape(self) -> Shape:
        """Its shape before anybody reshaped it."""
        height, width = self.lengths
        return (*self.source.shape[:-2], height, width // 2 + 1)


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
        return self._at_hand(made)

    def _scales(self, found: file.Quantization, dtype: np.dtype[Any]) -> tuple[ir.Value, ir.Value]:
        """Scale and zero point as initialisers: scalars, or vectors of several."""
        shape = () if found.scale.size == 1 else (found.scale.size,)
        return (
            self.constant(found.scale.reshape(shape), "scale", np.float32),
            self.constant(found.zero_point.reshape(shape), "zero", dtype),
        )

    def plain(self, tensor: Tensor) -> ir.Value:
        """See `ChannelLast`; what is stored in integers is moved as such.

        Raises:
            UnsupportedOpError: it holds complex numbers.
        """
        if tensor.dtype.kind == "c":
            raise UnsupportedOpError("complex numbers are read as the magnitude or the parts of an RFFT2D only")
        if isinstance(tensor, Blocks) and tensor.value is None:
            tensor.value = self.plain(self.settled(tensor))
        if isinstance(tensor, Stored) and tensor.value is None:
            assert tensor.integers is not None
            tensor.value = self._dequantised(tensor, super().plain(tensor.integers), tensor.shape, tensor.along)
        return super().plain(tensor)

    def channels_first(self, tensor: Tensor) -> ir.Value:
        """See `ChannelLast`; what is stored in integers is moved as such."""
        if isinstance(tensor, Blocks):
            self.plain(tensor)
        if isinstance(tensor, Stored) and tensor.first is None:
            assert tensor.integers is not None
            axis = tensor.along
            if axis is not None:
                axis = 0 if axis == 0 else 1 if axis == tensor.rank - 1 else axis + 1
            shape = permuted(tensor.shape, to_first(tensor.rank))
            tensor.first = self._dequantised(tensor, super().channels_first(tensor.integers), shape, axis)
        return super().channels_first(tensor)

    def reshape(self, tensor: Tensor, shape: Sequence[Dim]) -> Tensor:
        """See `ChannelLast`; what is stored in integers by one scale stays so, and a spectrum one."""
        if isinstance(tensor, Spectrum):
            return replace(tensor, shape=tuple(shape))
        if not isinstance(tensor, Stored) or tensor.along is not None or tuple(shape) == tensor.shape:
            return super().reshape(tensor, shape)
        assert tensor.integers is not None
        return self._again(tensor, super().reshape(tensor.integers, shape))

    def transpose(self, tensor: Tensor, order: Sequence[int]) -> Tensor:
        """See `ChannelLast`; where a form at hand is what is asked for, nothing is moved."""
        if isinstance(tensor, Stored) and tensor.along is None:
            assert tensor.integers is not None
            return self._again(tensor, self.transpose(tensor.integers, order))
        shape, order, rank = permuted(tensor.shape, order), tuple(order), tensor.rank
        if rank > 2 and order == to_first(rank) and tensor.first is not None:
            return Tensor(shape, tensor.dtype, tensor.first)
        if rank > 2 and order == from_first(rank) and tensor.value is not None:
            return Tensor(shape, tensor.dtype, first=tensor.value)
        return super().transpose(tensor, order)

    def cut(self, x: Tensor, ranges: Mapping[int, range]) -> Tensor:
        """Some places of some axes, in the form at hand; a range may go backwards."""
        ranges = {axis: places for axis, places in ranges.items() if places != range(*slice(None).indices(x.dim(axis)))}
        if not ranges:
            return x
        shape = tuple(len(ranges[axis]) if axis in ranges else dim for axis, dim in enumerate(x.shape))
        value, _, first = self.axis_of(x, 0)
        order = to_first(x.rank) if first else tuple(range(x.rank))
        bounds = [
            [places.start for places in ranges.values()],
            [places.stop if places.stop >= 0 else -x.dim(axis) - 1 for axis, places in ranges.items()],
            [order.index(axis) for axis in ranges],
            [places.step for places in ranges.values()],
        ]
        arguments = [self.ints(numbers, "bounds") for numbers in bounds]
        made = self.raw("Slice", value, *arguments, shape=permuted(shape, order), dtype=x.dtype)
        return self.like(made, shape, x.dtype, first)

    def parts(self, x: Tensor, sizes: Sequence[int], axis: int) -> list[Tensor]:
        """A tensor cut into parts of given sizes along an axis."""
        if len(sizes) == 1:
            return [x]
        value, position, first = self.axis_of(x, axis)
        shapes = [(*x.shape[:axis], size, *x.shape[axis + 1 :]) for size in sizes]
        made = self.raw("Split", value, self.ints(sizes, "sizes"), outputs=len(sizes), shape=(), axis=position)
        for output, shape in zip(made, shapes, strict=True):
            output.shape = ir.Shape(permuted(shape, to_first(x.rank)) if first else shape)
            output.type = value.type
        return [self.like(output, shape, x.dtype, first) for output, shape in zip(made, shapes, strict=True)]

    def expand(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """A tensor repeated along axes of size 1, and along new ones in front.

        Raises:
            ModelFileError: it does not fit, or would have more than `FILL_LIMIT` elements.
        """
        if broadcast(x.shape, tuple(shape)) != tuple(shape):
            raise ModelFileError(f"a tensor of shape {x.shape} cannot be repeated to {tuple(shape)}")
        if math.prod(shape) > FILL_LIMIT:
            raise ModelFileError(f"a constant of shape {tuple(shape)} is too large")
        if x.shape == tuple(shape):
            return x
        return self.op("Expand", x, self.ints(shape, "shape"), shape=tuple(shape))

    def tensor(self, array: Any, name: str = "const", dtype: Any = None) -> Tensor:
        """A constant."""
        array = np.asarray(array, dtype)
        return Tensor(array.shape, array.dtype, self.constant(array, name))

    def _again(self, tensor: Stored, integers: Tensor) -> Stored:
        """Other integers that stand for real numbers as those of a tensor do."""
        made = Stored(integers.shape, tensor.dtype, None, None, None, None, integers, tensor.scale, tensor.zero_point)
        return self._at_hand(made)

    def _at_hand(self, made: Stored) -> Stored:
        """Dequantises the form that its integers are at hand in."""
        assert made.integers is not None
        if made.integers.first is not None:
            self.channels_first(made)
        else:
            self.plain(made)
        return made

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

    def blocks(self, whole: Tensor, block: tuple[int, ...], pads: Sequence[tuple[int, int]]) -> Blocks:
        """See `Blocks`; with each axis padded to a multiple of its block."""
        count = math.prod(block)
        batch = whole.shape[0] * count if isinstance(whole.shape[0], int) else f"{whole.shape[0]}*{count}"
        rest = whole.shape[1 + len(block) :]
        sizes = [(whole.dim(axis) + sum(pads[axis - 1])) // size for axis, size in enumerate(block, 1)]
        return Blocks((batch, *sizes, *rest), whole.dtype, whole=whole, block=block, pads=tuple(pads))

    def settled(self, x: Blocks) -> Tensor:
        """The smaller images, in integers where the file stores them so."""
        if x.settled is None:
            x.settled = self._cut_into_blocks(x)
            scales = storage_of(x.stored) if x.stored is not None else None
            if scales is not None and x.stored is not None:
                x.settled = self.quantised(x.settled, scales, x.stored.dtype)
        return x.settled

    def _cut_into_blocks(self, x: Blocks) -> Tensor:
        """The smaller images, block by block in the batch."""
        whole, axes = x.whole, len(x.block)
        table = [(0, 0), *x.pads, *[(0, 0)] * (whole.rank - 1 - axes)]
        shape = tuple(d + sum(p) if isinstance(d, int) else d for d, p in zip(whole.shape, table, strict=True))
        if any(map(any, x.pads)):
            amounts = self.ints([p[0] for p in table] + [p[1] for p in table], "pads")
            whole = self.op("Pad", whole, amounts, shape=shape, mode="constant")
        pairs = [part for dim, size in zip(x.shape[1:], x.block, strict=False) for part in (dim, size)]
        split = self.reshape(whole, (shape[0], *pairs, *shape[1 + axes :]))
        inside, outside = range(2, 2 + 2 * axes, 2), range(1, 1 + 2 * axes, 2)
        order = (*inside, 0, *outside, *range(1 + 2 * axes, split.rank))
        return self.reshape(self.transpose(split, order), x.shape)

    def from_blocks(self, x: Tensor, block: tuple[int, ...]) -> Tensor:
        """The larger images of smaller ones.

        Raises:
            ModelFileError: the batch holds no such blocks.
        """
        axes, count = len(block), math.prod(block)
        batch = x.dim(0)
        if x.rank <= axes or batch % count:
            raise ModelFileError(f"a tensor of shape {x.shape} does not hold blocks of {block}")
        split = self.reshape(x, (*block, batch // count, *x.shape[1:]))
        pairs = [axis for number in range(axes) for axis in (axes + 1 + number, number)]
        moved = self.transpose(split, (axes, *pairs, *range(2 * axes + 1, split.rank)))
        sizes = [x.dim(axis) * size for axis, size in enumerate(block, 1)]
        return self.reshape(moved, (batch // count, *sizes, *x.shape[1 + axes :]))

    def in_blocks(self, array: Array, scales: Array, size: int, name: str) -> ir.Value:
        """A constant matrix [out, in] of 4 bits as real numbers; each run of so many inputs has a scale."""
        value, scale = self.constant(array.astype(INT4), name), self.constant(scales, "scale", np.float32)
        made: ir.Value = self.raw(
            "DequantizeLinear",
            *(value, scale),
            shape=array.shape,
            dtype=np.float32,
            name=f"{name}/dequantized",
            axis=1,
            block_size=size,
        )
        return made

    def weights(
        self, array: Array, found: file.Quantization | None, axis: int, name: str, *, few: bool = False
    ) -> ir.Value:
        """A constant matrix or kernel in ONNX's order, as real numbers where it is stored in integers or half floats.

        Args:
            array: as it is stored.
            found: its scales.
            axis: of several scales, in this order of axes.
            name: of the initialiser.
            few: whether integers have 4 bits.
        """
        array = np.ascontiguousarray(array)
        integers = array.dtype.kind in "iu"
        array = array.astype(INT4) if few and found is not None else array
        value = self.constant(array, name)
        if array.dtype == np.float16:
            cast: ir.Value = self.raw("Cast", value, shape=array.shape, dtype=np.float32, to=int(ir.DataType.FLOAT))
            return cast
        if found is None or not integers:
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
