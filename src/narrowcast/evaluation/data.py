"""Data sets: folders of images, .npz and .npy files, arrays, feeds. Samples are read when they are asked for.

Nothing here grows with the number of samples but their file names and labels.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from narrowcast.errors import DataError, UsageError
from narrowcast.evaluation.arrays import Archive, forget, open_array
from narrowcast.evaluation.fitting import checked, fitter
from narrowcast.evaluation.listing import IMAGES, LARGEST_LABEL, Listing, listed
from narrowcast.evaluation.pixels import image_input, load_image
from narrowcast.model import Array, Feed, Preprocessing, TensorSpec

__all__ = ["DataSet", "Sample", "open_data"]

_PIXEL_KEYS = ("x", "images", "image", "data", "features", "inputs", "input", "x_test")
_LABEL_KEYS = ("y", "labels", "label", "classes", "y_test")

READ_AHEAD = 8
DECODERS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True, slots=True)
class Sample:
    """One feed, with its class index where that is known."""

    feed: Feed
    label: int | None = None


@dataclass(frozen=True)
class DataSet:
    """Samples by index, read on demand, over and over.

    Attributes:
        read: makes the feed of a sample.
        indices: which samples take part, in order.
        labels: class index by sample (of all samples, not only those that take part), or None.
        description: for reports.
        class_names: where the data set knows them.
        decoders: how many threads read ahead, so that decoding overlaps inference; 0 where reading costs nothing.
        remarks: what the user should know of the data.
        batch: how many samples make one feed, the first of them again where the last feed is short of some; feeds of
            several have no label.
    """

    read: Callable[[int], Feed]
    indices: Sequence[int]
    labels: Array | None
    description: str
    class_names: tuple[str, ...] = ()
    decoders: int = 0
    remarks: tuple[str, ...] = ()
    batch: int = 1

    def __len__(self) -> int:
        """How many feeds there are."""
        return -(-len(self.indices) // self.batch)

    def __iter__(self) -> Iterator[Sample]:
        indices = self.indices if self.batch == 1 else np.resize(self.indices, len(self) * self.batch).tolist()
        feeds = map(self.read, indices) if not self.decoders else self._read_ahead(indices)
        if self.batch > 1:
            yield from (Sample(_joined(tuple(islice(feeds, self.batch)))) for _ in range(len(self)))
            return
        for index, feed in zip(indices, feeds, strict=True):
            yield Sample(feed, None if self.labels is None else int(self.labels[index]))

    def _read_ahead(self, indices: Sequence[int]) -> Iterator[Feed]:
        with ThreadPoolExecutor(self.decoders) as pool:
            submitted = (pool.submit(self.read, index) for index in indices)
            waiting = deque(islice(submitted, READ_AHEAD))
            while waiting:
                yield waiting.popleft().result()
                waiting.extend(islice(submitted, 1))

    def feeds(self) -> Iterator[Feed]:
        """The feeds alone."""
        return (sample.feed for sample in self)

    def subset(self, samples: int | None, seed: int = 0) -> DataSet:
        """At most `samples` of them, drawn without replacement, as equally from the classes as can be; all if None.

        Raises:
            UsageError: fewer than one is asked for, or the seed is negative.
        """
        if samples is not None and samples < 1:
            raise UsageError(f"cannot take {samples} samples", hint="at least 1")
        if seed < 0:
            raise UsageError(f"cannot draw samples by the seed {seed}", hint="0 or more")
        if samples is None or samples >= len(self.indices):
            return self
        return replace(self, indices=self._shuffled(seed)[:samples], description=f"{samples} of the {self.description}")

    def last(self, samples: int, seed: int = 0) -> DataSet:
        """At most `samples` of them, those that `subset` takes last by the same seed: others than a smaller one has."""
        if samples >= len(self.indices):
            return self
        return replace(
            self, indices=self._shuffled(seed)[-samples:], description=f"{samples} of the {self.description}"
        )

    def split(self, samples: int, seed: int = 0) -> tuple[DataSet, DataSet]:
        """A drawn part of `samples`, at most half, and the rest; the two share none.

        Raises:
            UsageError: there are fewer than two samples, or fewer than one is asked for.
        """
        count = len(self.indices)
        if samples < 1 or count < 2:
            raise UsageError(f"cannot set {samples} of {count} samples aside", hint="give the calibration data as well")
        first = self.subset(min(samples, count // 2), seed)
        chosen = set(first.indices)
        rest = [index for index in self.indices if index not in chosen]
        return first, replace(self, indices=rest, description=f"the other {len(rest)} of the {self.description}")

    def _shuffled(self, seed: int) -> list[int]:
        """All indices at random; where labels are known, one of each class before a second of any."""
        shuffled = np.asarray(self.indices)[np.random.default_rng(seed).permutation(len(self.indices))]
        if self.labels is not None:
            by_class = np.argsort(self.labels[shuffled], kind="stable")
            ordered = self.labels[shuffled][by_class]
            starts = np.flatnonzero(np.diff(ordered, prepend=ordered[0] - 1))
            turn = np.empty(len(shuffled), np.int64)
            turn[by_class] = np.arange(len(shuffled)) - np.repeat(starts, np.diff(starts, append=len(shuffled)))
            shuffled = shuffled[np.argsort(turn, kind="stable")]
        chosen: list[int] = shuffled.tolist()
        return chosen


def _joined(feeds: Sequence[Feed]) -> Feed:
    return {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]}


def open_data(
    data: str | Path | Array | Mapping[str, Array] | Iterable[Feed],
    inputs: Sequence[TensorSpec],
    preprocessing: Preprocessing | None = None,
    *,
    label_offset: int = 0,
    samples: int | None = None,
    seed: int = 0,
) -> DataSet:
    """Opens a data set for a model.

    Args:
        data: a folder with a sub-folder per class, with labels.csv (filename,class_index), or of images or .npy files;
            a .npz with arrays by input name, or x and y; a .npy; arrays; or feeds, which are then kept.
        inputs: the model's, in the source's layout.
        preprocessing: for images and arrays; if it is None, their values are taken as they are.
        label_offset: added to each label.
        samples: at most so many, drawn by `seed`.
        seed: of the draw.

    Raises:
        DataError: the data is missing, empty, damaged, or does not fit the model.
        UsageError: fewer than one sample is asked for, or an option is out of its range.
    """
    where = str(data) if isinstance(data, str | Path) else ""
    try:
        opened = _batched(data, inputs, preprocessing)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", where=where) from error
    if not len(opened):
        raise DataError("there are no samples", where=where)
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


def _batched(
    data: str | Path | Array | Mapping[str, Array] | Iterable[Feed],
    inputs: Sequence[TensorSpec],
    preprocessing: Preprocessing | None,
) -> DataSet:
    """Data as it is; or where the inputs take several samples at a time and the data are single ones, in batches."""
    sizes = {spec.shape[0] if spec.shape else 1 for spec in inputs}
    batch = sizes.pop() if len(sizes) == 1 else 1
    try:
        return _opened(data, inputs, preprocessing)
    except DataError:
        if batch is None or batch < 2 or not isinstance(data, str | Path | np.ndarray | Mapping):
            raise
    single = [replace(spec, shape=(1, *spec.shape[1:])) for spec in inputs]
    opened = _opened(data, single, preprocessing)
    return replace(opened, batch=batch, description=f"{opened.description}, {batch} at a time")


def _opened(
    data: str | Path | Array | Mapping[str, Array] | Iterable[Feed],
    inputs: Sequence[TensorSpec],
    preprocessing: Preprocessing | None,
) -> DataSet:
    if isinstance(data, str | Path):
        path = Path(data)
        if path.is_dir():
            return _folder(path, inputs, preprocessing)
        if not path.is_file():
            what = "neither a regular file nor a folder" if path.exists() else "no such file or folder"
            raise DataError(what, where=str(path))
        return _file(path, inputs, preprocessing)
    if isinstance(data, np.ndarray):
        return _arrays({"x": data}, inputs, preprocessing, "the array")
    if isinstance(data, Mapping):
        return _arrays(data, inputs, preprocessing, "the arrays")
    feeds = [_feed(feed, inputs) for feed in data]
    return DataSet(feeds.__getitem__, range(len(feeds)), None, f"{len(feeds)} feeds")


def _feed(feed: Feed, inputs: Sequence[TensorSpec]) -> Feed:
    missing = [spec.name for spec in inputs if spec.name not in feed]
    if missing:
        raise DataError(f"no data for the input {missing[0]!r}", hint=f"the feed has {', '.join(map(repr, feed))}")
    return {spec.name: checked(np.asarray(feed[spec.name]), spec) for spec in inputs}


def _folder(path: Path, inputs: Sequence[TensorSpec], preprocessing: Preprocessing | None) -> DataSet:
    listing = listed(path)
    read = _array_files if listing.arrays else _images
    return read(path, listing, inputs, preprocessing)


def _array_files(
    path: Path, listing: Listing, inputs: Sequence[TensorSpec], preprocessing: Preprocessing | None
) -> DataSet:
    """One sample in each file, with or without a batch axis of 1; all have the first one's shape."""
    files, spec = listing.files, _only(inputs)
    first = open_array(files[0])
    fit = fitter(first, spec, preprocessing, str(files[0]))

    def read(index: int) -> Feed:
        array = open_array(files[index])
        if array.shape != first.shape or array.dtype != first.dtype:
            raise DataError(
                f"it is {array.dtype} of shape {array.shape}, the first one {first.dtype} of {first.shape}",
                where=str(files[index]),
            )
        return {spec.name: fit(array)}

    return DataSet(read, range(len(files)), None, f"{len(files)} arrays of {path.name}", remarks=listing.remarks)


def _images(path: Path, listing: Listing, inputs: Sequence[TensorSpec], preprocessing: Preprocessing | None) -> DataSet:
    files, labels = listing.files, listing.labels
    if not files:
        raise DataError("no images in this folder", where=str(path), hint=f"readable: {' '.join(sorted(IMAGES))}")
    spec, how = _only(inputs), preprocessing or Preprocessing()
    image_input(spec.shape, how)
    if spec.dtype.kind != "f" and (how.mean, how.std) != ((0.0,), (1.0,)):
        raise DataError(
            f"the input {spec.name!r} is {spec.dtype}: it takes pixels as they are", hint="leave the preprocessing out"
        )
    return DataSet(
        lambda index: {spec.name: load_image(files[index], how, spec.shape).astype(spec.dtype, copy=False)},
        range(len(files)),
        None if labels is None else np.asarray(labels, np.int64),
        f"{len(files)} images of {path.name}",
        listing.classes,
        DECODERS,
        listing.remarks,
    )


def _only(inputs: Sequence[TensorSpec]) -> TensorSpec:
    if len(inputs) != 1:
        raise DataError(
            f"the model has {len(inputs)} inputs, these files are for one",
            hint=f"give a .npz with arrays named {', '.join(spec.name for spec in inputs)}",
        )
    return inputs[0]


def _file(path: Path, inputs: Sequence[TensorSpec], preprocessing: Preprocessing | None) -> DataSet:
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return _arrays(Archive(path), inputs, preprocessing, str(path))
    if suffix == ".npy":
        return _arrays({"x": open_array(path)}, inputs, preprocessing, str(path))
    if suffix in IMAGES:
        return _images(path.parent, Listing([path]), inputs, preprocessing)
    raise DataError(
        f"cannot read data from {suffix or path.name!r} files", where=str(path), hint="a folder, .npz or .npy"
    )


def _arrays(
    arrays: Mapping[str, Array], inputs: Sequence[TensorSpec], preprocessing: Preprocessing | None, where: str
) -> DataSet:
    """Arrays by input name, or values and labels under their usual names; the first axis counts the samples."""
    key = next((key for key in _LABEL_KEYS if key in arrays and key not in {spec.name for spec in inputs}), None)
    labels = None if key is None else _labels(arrays[key], where)
    chosen = {spec.name: _array_for(spec, arrays, key, len(inputs) == 1, where) for spec in inputs}
    counts = {len(array) for array in chosen.values()} | (set() if labels is None else {len(labels)})
    if len(counts) != 1:
        raise DataError(f"the arrays count different numbers of samples: {sorted(counts)}", where=where)
    count = counts.pop()
    if not count:
        raise DataError("the arrays hold no samples", where=where)
    fits = {spec.name: fitter(chosen[spec.name][0], spec, preprocessing, where) for spec in inputs}

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
