"""Data sets: folders of images, arrays or recordings, .npz, .npy and idx files, arrays, feeds.

What a path holds is a row of `FILES` or `FOLDERS`. Samples are read when they are asked for: nothing here grows with
their number but file names, lengths and labels.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from narrowcast.errors import DataError, UsageError
from narrowcast.evaluation.arrays import Archive, forget, open_array
from narrowcast.evaluation.dataset import DataSet, Sample
from narrowcast.evaluation.fitting import checked, fitter
from narrowcast.evaluation.idx import is_idx, labels_beside, open_idx
from narrowcast.evaluation.listing import IMAGES, LARGEST_LABEL, Listing, kind_of, listed
from narrowcast.evaluation.pixels import image_input, load_image
from narrowcast.evaluation.ports import StoredSpec
from narrowcast.evaluation.recordings import open_recording
from narrowcast.model import Array, Feed, Preprocessing, TensorSpec

__all__ = ["DataSet", "Sample", "open_data"]

_PIXEL_KEYS = ("x", "images", "image", "data", "features", "inputs", "input", "x_test")
_LABEL_KEYS = ("y", "labels", "label", "classes", "y_test")

DECODERS = min(4, os.cpu_count() or 1)

MOST_SAMPLES = 1 << 24
"""Of a data set; a draw lists them all."""

AS_THEY_ARE = "images went in as pixels of 0..255: no preprocessing was given, and the file names none"
"""What is remarked on images for which nothing else was asked."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What samples are to become.

    Attributes:
        inputs: the model's, in the source's layout.
        preprocessing: for images and arrays; None for values as they are.
        sample_rate: that recordings have to have; None for any, as long as it is one.
    """

    inputs: Sequence[TensorSpec]
    preprocessing: Preprocessing | None
    sample_rate: int | None = None

    @property
    def only(self) -> TensorSpec:
        """The only input.

        Raises:
            DataError: there are several.
        """
        if len(self.inputs) != 1:
            raise DataError(
                f"the model has {len(self.inputs)} inputs, these files are for one",
                hint=f"give a .npz with arrays named {', '.join(spec.name for spec in self.inputs)}",
            )
        return self.inputs[0]


def open_data(
    data: str | Path | Array | Mapping[str, Array] | Iterable[Feed],
    inputs: Sequence[TensorSpec],
    preprocessing: Preprocessing | None = None,
    *,
    label_offset: int = 0,
    samples: int | None = None,
    seed: int = 0,
    sample_rate: int | None = None,
) -> DataSet:
    """Opens a data set for a model.

    Args:
        data: a folder with a sub-folder per class, with labels.csv (filename,class_index), or of files alone: images,
            .wav or .npy; a .npz with arrays by input name, or x and y; a .npy; an idx file, whose labels may lie beside
            it; arrays; or feeds, which are then kept.
        inputs: the model's, in the source's layout.
        preprocessing: for images and arrays; if it is None, their values are taken as they are.
        label_offset: added to each label.
        samples: at most so many, drawn by `seed`.
        seed: of the draw.
        sample_rate: that recordings have to have.

    Raises:
        DataError: the data is missing, empty, damaged, or does not fit the model.
        UsageError: fewer than one sample is asked for, or an option is out of its range.
    """
    where = str(data) if isinstance(data, str | Path) else ""
    try:
        opened = _batched(data, _Wanted(inputs, preprocessing, sample_rate))
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", where=where) from error
    if not len(opened):
        raise DataError("there are no samples", where=where)
    if len(opened.indices) > MOST_SAMPLES:
        raise DataError(
            f"{len(opened.indices)} samples are too many to draw from", where=where, hint=f"{MOST_SAMPLES} at most"
        )
    if opened.labels is not None:
        if abs(label_offset) > LARGEST_LABEL:
            raise UsageError(f"a label offset of {label_offset} is beyond every class", hint="1, or -1, is usual")
        labels = opened.labels + label_offset
        if labels.min() < 0:
            raise DataError(
                f"a label is {labels.min()}; classes count from 0", where=where, hint="--label-offset is added to each"
            )
        opened = replace(opened, labels=labels)
    return opened.subset(samples, seed)


def _batched(data: str | Path | Array | Mapping[str, Array] | Iterable[Feed], wanted: _Wanted) -> DataSet:
    """Data as it is; or where the inputs take several samples at a time and the data are single ones, in batches."""
    sizes = {spec.shape[0] if spec.shape else 1 for spec in wanted.inputs}
    batch = sizes.pop() if len(sizes) == 1 else 1
    try:
        return _opened(data, wanted)
    except DataError:
        if batch is None or batch < 2 or not isinstance(data, str | Path | np.ndarray | Mapping):
            raise
    single = [replace(spec, shape=(1, *spec.shape[1:])) for spec in wanted.inputs]
    opened = _opened(data, replace(wanted, inputs=single))
    return replace(opened, batch=batch, description=f"{opened.description}, {batch} at a time")


def _opened(data: str | Path | Array | Mapping[str, Array] | Iterable[Feed], wanted: _Wanted) -> DataSet:
    if isinstance(data, str | Path):
        path = Path(data)
        if path.is_dir():
            listing = listed(path)
            return FOLDERS[listing.kind](path, listing, wanted)
        if not path.is_file():
            what = "neither a regular file nor a folder" if path.exists() else "no such file or folder"
            raise DataError(what, where=str(path))
        return _file(path, wanted)
    if isinstance(data, np.ndarray):
        return _arrays({"x": data}, wanted, "the array")
    if isinstance(data, Mapping):
        return _arrays(data, wanted, "the arrays")
    feeds = [_feed(feed, wanted.inputs) for feed in data]
    return DataSet(feeds.__getitem__, range(len(feeds)), None, f"{len(feeds)} feeds")


def _feed(feed: Feed, inputs: Sequence[TensorSpec]) -> Feed:
    missing = [spec.name for spec in inputs if spec.name not in feed]
    if missing:
        raise DataError(f"no data for the input {missing[0]!r}", hint=f"the feed has {', '.join(map(repr, feed))}")
    return {spec.name: checked(np.asarray(feed[spec.name]), spec) for spec in inputs}


def _array_files(path: Path, listing: Listing, wanted: _Wanted) -> DataSet:
    """One sample in each file, with or without a batch axis of 1; all have the first one's shape."""
    files, spec = listing.files, wanted.only
    first = open_array(files[0])
    fit = fitter(first, spec, wanted.preprocessing, str(files[0]))

    def read(index: int) -> Feed:
        array = open_array(files[index])
        if array.shape != first.shape or array.dtype != first.dtype:
            raise DataError(
                f"it is {array.dtype} of shape {array.shape}, the first one {first.dtype} of {first.shape}",
                where=str(files[index]),
            )
        return {spec.name: fit(array)}

    description = f"{len(files)} arrays of {path.name}"
    return DataSet(read, range(len(files)), _class_indices(listing), description, listing.classes, 0, listing.remarks)


def _images(path: Path, listing: Listing, wanted: _Wanted) -> DataSet:
    files = listing.files
    if not files:
        readable = " ".join(sorted(IMAGES))
        raise DataError("no samples in this folder", where=str(path), hint=f"readable: {readable} .wav .npy")
    spec, how = wanted.only, wanted.preprocessing or Preprocessing()
    plain = () if wanted.preprocessing is not None else (AS_THEY_ARE,)
    image_input(spec.shape, how)
    if spec.dtype.kind != "f" and (how.mean, how.std) != ((0.0,), (1.0,)):
        raise DataError(
            f"the input {spec.name!r} is {spec.dtype}: it takes pixels as they are", hint="leave the preprocessing out"
        )
    return DataSet(
        lambda index: {spec.name: load_image(files[index], how, spec.shape).astype(spec.dtype, copy=False)},
        range(len(files)),
        _class_indices(listing),
        f"{len(files)} images of {path.name}",
        listing.classes,
        DECODERS,
        (*listing.remarks, *plain),
    )


def _recordings(path: Path, listing: Listing, wanted: _Wanted) -> DataSet:
    """Windows of the input's length, one after the other; what is shorter than one is filled with silence."""
    spec = wanted.only
    lengths = [dim for dim in spec.shape if dim != 1]
    if len(lengths) > 1 or None in lengths:
        shape = "x".join("?" if dim is None else str(dim) for dim in spec.shape)
        raise DataError(
            f"the input {spec.name!r} of shape {shape} is no number of samples of a recording",
            hint="give its length (--input name:1,16000), or arrays of what is computed from recordings",
        )
    length = next((dim for dim in lengths if dim is not None), 1)
    files = [open_recording(file) for file in listing.files]
    rate = wanted.sample_rate or files[0].rate
    for file in files:
        if file.rate != rate:
            beside = "is asked for" if wanted.sample_rate else f"has {files[0].path.name}"
            raise DataError(f"{file.rate} samples a second, where {rate} {beside}", where=str(file.path))
    starts = np.cumsum([0, *(max(file.length // length, 1) for file in files)])
    fit = fitter(np.zeros(length, np.float32), spec, wanted.preprocessing, str(path))
    whole = spec.dtype.kind in "iu" and not isinstance(spec, StoredSpec)

    def read(index: int) -> Feed:
        file = int(np.searchsorted(starts, index, "right")) - 1
        samples = files[file].window((index - int(starts[file])) * length, length)
        return {spec.name: fit(np.rint(samples * 2.0**15) if whole else samples)}

    labels, count = _class_indices(listing), int(starts[-1])
    labels = None if labels is None else np.repeat(labels, np.diff(starts))
    description = f"{count} windows of {length} samples from {len(files)} recordings of {path.name}"
    return DataSet(read, range(count), labels, description, listing.classes, 0, listing.remarks)


def _class_indices(listing: Listing) -> Array | None:
    return None if listing.labels is None else np.asarray(listing.labels, np.int64)


FOLDERS: Mapping[str, Callable[[Path, Listing, _Wanted], DataSet]] = {
    "images": _images,
    "recordings": _recordings,
    "arrays": _array_files,
}
"""What opens a folder, or a file, of each kind that `listing` tells."""


def _idx(path: Path, wanted: _Wanted) -> DataSet:
    labels = labels_beside(path)
    beside = {} if labels is None else {"y": open_idx(labels)}
    return _arrays({"x": open_idx(path), **beside}, wanted, str(path))


FILES: Sequence[tuple[Callable[[Path], bool], Callable[[Path, _Wanted], DataSet]]] = (
    (lambda path: path.suffix.lower() == ".npz", lambda path, wanted: _arrays(Archive(path), wanted, str(path))),
    (
        lambda path: path.suffix.lower() == ".npy",
        lambda path, wanted: _arrays({"x": open_array(path)}, wanted, str(path)),
    ),
    (is_idx, _idx),
    (lambda path: kind_of(path) is not None, lambda path, wanted: _alone(path, wanted)),
)
"""What a file is by its name, and what opens it; the first row that fits holds."""


def _alone(path: Path, wanted: _Wanted) -> DataSet:
    listing = Listing([path])
    return FOLDERS[listing.kind](path.parent, listing, wanted)


def _file(path: Path, wanted: _Wanted) -> DataSet:
    opener = next((opener for fits, opener in FILES if fits(path)), None)
    if opener is None:
        hint = "a folder, .npz, .npy, .wav, or an idx file as t10k-images-idx3-ubyte.gz"
        raise DataError(f"cannot read data from {path.suffix or path.name!r} files", where=str(path), hint=hint)
    return opener(path, wanted)


def _arrays(arrays: Mapping[str, Array], wanted: _Wanted, where: str) -> DataSet:
    """Arrays by input name, or values and labels under their usual names; the first axis counts the samples."""
    inputs = wanted.inputs
    key = next((key for key in _LABEL_KEYS if key in arrays and key not in {spec.name for spec in inputs}), None)
    labels = None if key is None else _labels(arrays[key], where)
    chosen = {spec.name: _array_for(spec, arrays, key, len(inputs) == 1, where) for spec in inputs}
    counts = {len(array) for array in chosen.values()} | (set() if labels is None else {len(labels)})
    if len(counts) != 1:
        raise DataError(f"the arrays count different numbers of samples: {sorted(counts)}", where=where)
    count = counts.pop()
    if not count:
        raise DataError("the arrays hold no samples", where=where)
    fits = {spec.name: fitter(chosen[spec.name][0], spec, wanted.preprocessing, where) for spec in inputs}

    def read(index: int) -> Feed:
        for array in chosen.values():
            forget(array)
        return {name: fits[name](array[index]) for name, array in chosen.items()}

    return DataSet(
        read,
        range(count),
        labels,
        f"{count} samples of {Path(where).name}",
    )


def _array_for(spec: TensorSpec, arrays: Mapping[str, Array], labels: str | None, alone: bool, where: str) -> Array:
    """The array named as the input; for an only input also the one under a usual name, or the only one there is."""
    name: str | None = spec.name if spec.name in arrays else None
    if name is None and alone:
        left = [key for key in arrays if key != labels]
        name = next((key for key in _PIXEL_KEYS if key in left), left[0] if len(left) == 1 else None)
    if name is None:
        names = ", ".join(arrays) or "none"
        raise DataError(f"no array for the input {spec.name!r}", where=where, hint=f"it has {names}")
    array = np.asanyarray(arrays[name])
    if array.ndim == 0:
        raise DataError(f"the array {name!r} has no axis that counts the samples", where=where)
    return array


def _labels(array: Array, where: str) -> Array:
    labels = np.asarray(array)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataError(
            f"the labels are {labels.dtype} of shape {labels.shape}, not one integer a sample",
            where=where,
            hint="numpy.argmax(labels, axis=1) makes classes of one-hot labels",
        )
    return labels.astype(np.int64)
