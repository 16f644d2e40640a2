"""How one sample of an array becomes one feed of a model.

1. 8-bit pixels (a uint8 sample of rank 2 or 3) for an image-like float input are resized if their size differs,
   normalised, and put into the input's layout.
2. Other values for a float input are normalised if preprocessing was asked for, and taken as they are otherwise.
3. A missing batch axis, and a missing channel axis of size 1, are added; NHWC becomes NCHW and the reverse where only
   that fits.
4. Where the model's file stores the input in integers, integers are such, but for the pixels of case 1, and other
   numbers are real ones, unless another map is asked for than the file's own.
5. What does not fit then, is not finite, or would lose its value in the input's type, is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from narrowcast.errors import DataError
from narrowcast.evaluation.pixels import CHANNELS, as_input, image_input, image_layout, normalized
from narrowcast.evaluation.ports import StoredSpec, outputs_as_source
from narrowcast.model import Array, Layout, Preprocessing, TensorSpec

__all__ = ["checked", "fitter"]

Fit = Callable[[Array], Array]
Shape = tuple[int, ...]

TO_FIRST, TO_LAST = (2, 0, 1), (1, 2, 0)


def fitter(first: Array, spec: TensorSpec, preprocessing: Preprocessing | None, where: str) -> Fit:
    """Makes the function from a sample to the input's array.

    Args:
        first: the first sample, without the axis that counts samples; the others have its shape and dtype.
        spec: the input.
        preprocessing: None where none was asked for.
        where: the file, for messages.

    Raises:
        DataError: the samples do not fit the input.
    """
    if first.dtype.kind not in "biuf":
        raise DataError(f"the samples for {spec.name!r} are {first.dtype}, not numbers", where=where)
    shape = first.shape[1:] if first.ndim == 4 and first.shape[0] == 1 else first.shape
    if spec.dtype.kind == "f":
        if first.dtype == np.uint8 and len(shape) in (2, 3) and image_layout(spec.shape) is not None:
            return _pixels(shape, spec, preprocessing or Preprocessing(), where)
        asked = preprocessing is not None and preprocessing != Preprocessing()
        if isinstance(spec, StoredSpec):
            asked = asked and first.dtype.kind not in "iu" and not spec.takes_real(preprocessing or Preprocessing())
        if asked and preprocessing is not None:
            _plausible(first, preprocessing, where)
            return _values(shape, spec, preprocessing, where)
    place = _place(first.shape, spec, where)
    return lambda sample: checked(place(sample), spec, where)


def checked(array: Array, spec: TensorSpec, where: str = "") -> Array:
    """An array in the input's type.

    Raises:
        DataError: its shape is another, it is not finite, or the input's type cannot hold it.
    """
    if not _fits(array.shape, spec.shape):
        raise _misfit(array.shape, spec, where)
    if isinstance(spec, StoredSpec) and array.dtype.kind in "iu":
        (real,) = outputs_as_source([spec.port], {spec.name: checked(array, spec.stored, where)}).values()
        return real
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise DataError(f"the data for {spec.name!r} holds NaN or infinite values", where=where)
    kept = array if array.flags.c_contiguous else np.ascontiguousarray(array)
    if array.dtype == spec.dtype:
        return kept
    with np.errstate(over="ignore"):
        converted = kept.astype(spec.dtype)
    lossless = spec.dtype.kind == "f" and np.isfinite(converted).all()
    if not lossless and not np.array_equal(converted, kept):
        raise DataError(
            f"the input {spec.name!r} is {spec.dtype}, which cannot hold the data ({array.dtype})", where=where
        )
    return converted


def _pixels(shape: Shape, spec: TensorSpec, preprocessing: Preprocessing, where: str) -> Fit:
    target = image_input(spec.shape, preprocessing)
    full = shape if len(shape) == 3 else (*shape, 1)
    first = target.layout is Layout.CHANNELS_FIRST and _fits((1, *shape), spec.shape)
    if not first and full[2] not in CHANNELS:
        if full[0] not in CHANNELS:
            raise _misfit((1, *shape), spec, where)
        first = True

    def fit(sample: Array) -> Array:
        image = np.asarray(sample).reshape(full)
        return as_input(image.transpose(TO_LAST) if first else image, preprocessing, target).astype(spec.dtype)

    return fit


def _values(shape: Shape, spec: TensorSpec, preprocessing: Preprocessing, where: str) -> Fit:
    if image_layout(spec.shape) is None:
        if max(len(preprocessing.mean), len(preprocessing.std)) > 1:
            raise DataError(
                f"the input {spec.name!r} has no channels of an image for which mean and std are given",
                where=where,
                hint="give one mean and one std, or leave them out",
            )
        place = _place(shape, spec, where)
        return lambda sample: checked(normalized(place(sample.reshape(shape)), preprocessing), spec, where)
    target = image_input(spec.shape, preprocessing)
    last = TensorSpec(spec.name, (1, target.height, target.width, target.channels), spec.dtype)
    turn = _fits((1, *shape), spec.shape) and target.layout is Layout.CHANNELS_FIRST
    place = _place(tuple(shape[axis] for axis in TO_LAST) if turn else shape, last, where)

    def fit(sample: Array) -> Array:
        image = np.asarray(sample).reshape(shape)
        image = place(image.transpose(TO_LAST) if turn else image)
        return checked(normalized(image, preprocessing, target.layout), spec, where)

    return fit


def _plausible(first: Array, preprocessing: Preprocessing, where: str) -> None:
    """Values in 0..1 to which a map for 0..255 is to be applied are a mistake that costs all accuracy."""
    if first.dtype.kind != "f" or not first.size or min(map(abs, preprocessing.std)) <= 2:
        return
    low, high = float(first.min()), float(first.max())
    if low >= -1 and high <= 1 and not np.array_equal(first, np.rint(first)):
        raise DataError(
            "the values are within -1..1 already, but the preprocessing is for values in 0..255",
            where=where,
            hint="leave it out for arrays that are ready, or give mean and std in their units with --scale 1",
        )


def _place(shape: Shape, spec: TensorSpec, where: str) -> Fit:
    """Adds missing axes of size 1, or moves the channels."""
    for full in (shape, (1, *shape), (1, *shape, 1), (1, 1, *shape)):
        if _fits(full, spec.shape):
            return lambda sample: np.asarray(sample).reshape(full)
    single = shape[1:] if len(shape) == 4 and shape[0] == 1 else shape
    if len(single) == 3:
        for turn in (TO_FIRST, TO_LAST):
            if _fits((1, *(single[axis] for axis in turn)), spec.shape):
                return lambda sample: np.asarray(sample).reshape(single).transpose(turn)[None]
    raise _misfit((1, *shape), spec, where)


def _fits(shape: Sequence[int], wanted: Sequence[int | None]) -> bool:
    return len(shape) == len(wanted) and all(want in (None, have) for have, want in zip(shape, wanted, strict=True))


def _misfit(shape: Sequence[int], spec: TensorSpec, where: str) -> DataError:
    wanted = "x".join("?" if dim is None else str(dim) for dim in spec.shape) or "a scalar"
    return DataError(
        f"the input {spec.name!r} wants samples of shape {wanted}, found {'x'.join(map(str, shape)) or 'scalars'}",
        where=where,
    )
