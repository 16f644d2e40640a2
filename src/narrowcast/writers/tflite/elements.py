"""The elements of constants: where they come from, and how their bytes go to the file piece by piece."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from narrowcast.dialect.deferred import is_deferred
from narrowcast.model import Array, ir

__all__ = ["Elements", "pieces"]

INT4 = ir.DataType.INT4.numpy()
PIECE = 2**24
"""Bytes that are put into the order of the file at once."""


@dataclass(frozen=True, slots=True)
class Elements:
    """A tensor with its axes permuted; its elements are read when they are written.

    Attributes:
        tensor: in memory, or deferred.
        perm: axis i is the tensor's axis `perm[i]`; None leaves them.
    """

    tensor: ir.TensorProtocol
    perm: tuple[int, ...] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape, permuted."""
        shape = tuple(self.tensor.shape.numpy())
        return shape if self.perm is None else tuple(shape[axis] for axis in self.perm)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of its elements."""
        return self.tensor.dtype.numpy()

    @property
    def nbytes(self) -> int:
        """Bytes in the file."""
        count = math.prod(self.shape)
        return -(-count // 2) if self.dtype == INT4 else count * self.dtype.itemsize

    @property
    def is_deferred(self) -> bool:
        """Whether it costs time to read it."""
        return is_deferred(self.tensor)

    def array(self) -> Array:
        """A view of the tensor's array; it keeps what was read in memory.

        Integers of 4 bits are packed, two in a byte, the first in its lower half: uint8 [bytes].
        """
        array = self.tensor.numpy()
        array = array if self.perm is None else array.transpose(self.perm)
        return _packed(array) if self.dtype == INT4 else array


def _packed(array: Array) -> Array:
    flat = array.reshape(-1).astype(np.uint8) & 0xF
    pairs = np.resize(flat, 2 * -(-flat.size // 2)).reshape(-1, 2) if flat.size else flat.reshape(0, 2)
    if flat.size % 2:
        pairs[-1, 1] = 0
    packed: Array = pairs[:, 0] | pairs[:, 1] << 4
    return packed


def pieces(array: Array) -> Iterator[Array]:
    """The bytes of an array in row-major order, uint8 [bytes] each; at most `PIECE` of them are copied at once."""
    if array.flags.c_contiguous or array.nbytes <= PIECE:
        yield np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    elif len(array) == 1:
        yield from pieces(array[0])
    else:
        rows = max(PIECE * len(array) // array.nbytes, 1)
        for start in range(0, len(array), rows):
            yield from pieces(array[start : start + rows])
