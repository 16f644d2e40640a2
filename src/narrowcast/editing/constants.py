"""Constants that an edit brings along: numbers in the document, arrays of Python, or .npy files beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from narrowcast._files import inside, readable_file
from narrowcast.errors import BadInputError
from narrowcast.evaluation.arrays import open_array
from narrowcast.model import Array, ir

if TYPE_CHECKING:
    from narrowcast.editing.fields import Place

__all__ = ["Constant"]


@dataclass(frozen=True, slots=True)
class Constant:
    """An array whose type may follow from where it goes.

    Attributes:
        place: where it stands.
        array: as it was given: floats or 64-bit integers where the document says numbers.
        typed: whether the array's own type was meant: that of a file or of numpy.
        dtype: the type that was asked for.
    """

    place: Place
    array: Array
    typed: bool
    dtype: np.dtype[Any] | None = None

    @classmethod
    def inline(cls, value: Any, place: Place, dtype: np.dtype[Any] | None = None) -> Constant:
        """Numbers of the document, or an array of Python.

        Raises:
            DataError: it is neither.
        """
        if isinstance(value, np.ndarray | np.generic):
            return cls(place, np.asarray(value), typed=True, dtype=dtype)
        try:
            array = np.asarray(value)
        except (ValueError, OverflowError) as error:
            raise place.error(f"not an array: {' '.join(str(error).split())[:120]}") from error
        if array.dtype.kind not in "biuf" or array.dtype == np.uint64:
            raise place.wanted("a number, or lists of numbers of equal lengths", value)
        return cls(place, array, typed=False, dtype=dtype)

    @classmethod
    def of_file(cls, name: str, place: Place, dtype: np.dtype[Any] | None = None) -> Constant:
        """The array of a .npy file in the document's folder; nothing is unpickled, no path leaves the folder.

        Raises:
            DataError: it lies elsewhere, or is no such file.
        """
        if place.folder is None:
            raise place.error("there is no folder to look in", "give the array itself")
        try:
            array = open_array(readable_file(inside(place.folder, name)))
        except BadInputError as error:
            raise place.error(f"{name}: {error.what}", error.hint) from error
        return cls(place, array, typed=True, dtype=dtype)

    def of_type(self, wanted: np.dtype[Any] | None) -> Array:
        """The array in the type of the constant whose place it takes, or else in its own; numbers become float32.

        Raises:
            DataError: the type is another, or does not hold the numbers.
        """
        array = self.array
        target = self.dtype or wanted or (np.dtype(np.float32) if array.dtype.kind == "f" and not self.typed else None)
        if target is None or array.dtype.newbyteorder("=") == target:
            return self._sound(np.array(array, array.dtype.newbyteorder("="), order="C"))
        if self.typed and array.dtype.kind == "V" and array.dtype.itemsize == target.itemsize:
            return self._sound(np.array(array, order="C").view(target))  # numpy saves what it does not know as bytes
        if self.typed and self.dtype is None:
            raise self.place.error(
                f"the array is {array.dtype}, the constant {target}",
                f'save it as {target}, or have it converted: {{"file": ..., "dtype": "{target}"}}',
            )
        with np.errstate(over="ignore", invalid="ignore"):
            found = np.array(array.astype(target), order="C")
        given, held = array.astype(np.float64), found.astype(np.float64)
        if not ir.DataType.from_numpy(target).is_floating_point() and not np.array_equal(given, held):
            raise self.place.error(f"{target} does not hold these numbers")
        if np.isinf(held).sum() > np.isinf(given).sum():
            raise self.place.error(f"a number is beyond {target}")
        return self._sound(found)

    def _sound(self, array: Array) -> Array:
        if array.dtype.kind == "f" and np.isnan(array).any():
            raise self.place.error("it holds NaN")
        return array
