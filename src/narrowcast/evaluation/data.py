"""Data sets: folders of images, .npz and .npy files, arrays, feeds. Samples are read when they are asked for.

Nothing here grows with the number of samples but their file names and labels.
"""

from __future__ import annotations

import csv
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from narrowcast._files import inside
from narrowcast.errors import DataError, ModelFileError, UsageError
from narrowcast.evaluation.arrays import Archive, forget, open_array
from narrowcast.evaluation.fitting import checked, fitter
from narrowcast.evaluation.preprocessing import image_input, load_image
from narrowcast.model import Array, Feed, Preprocessing, TensorSpec

__all__ = ["DataSet", "Sample", "open_data"]

IMAGES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
LABELS = "labels.csv"
_PIXEL_KEYS = ("x", "images", "image", "data", "features", "inputs", "input", "x_test")
_LABEL_KEYS = ("y", "labels", "label", "classes", "y_test")

LARGEST_LABEL = 2**31
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
    """

    read: Callable[[int], Feed]
    indices: Sequence[int]
    labels: Array | None
    description: str
    class_names: tuple[str, ...] = ()
    decoders: int = 0

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[Sample]:
        feeds = map(self.read, self.indices) if not self.decoders else self._read_ahead()
        for index, feed in zip(self.indices, feeds, strict=True):
            yield Sample(feed, None if self.labels is None else int(self.labels[index]))

    def _read_ahead(self) -> Iterator[Feed]:
        with ThreadPoolExecutor(self.decoders) as pool:
            submitted = (pool.submit(self.read, index) for index in self.indices)
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
        if samples is None or samples >= len(self):
            return self
        return replace(self, indices=self._shuffled(seed)[:samples], description=f"{samples} of the {self.description}")

    def split(self, samples: int, seed: int = 0) -> tuple[DataSet, DataSet]:
        """A drawn part of `samples`, at most half, and the rest; the two share none.

        Raises:
            UsageError: there are fewer than two samples, or fewer than one is asked for.
        """
        if samples < 1 or len(self) < 2:
            raise UsageError(
                f"cannot set {samples} of {len(self)} samples aside", hint="give the calibration data as well"
            )
        first = self.subset(min(samples, len(self) // 2), seed)
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
        opened = _opened(data, inputs, preprocessing)
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
            raise DataError("no such file or folder", where=str(path))
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
    if (path / LABELS).is_file():
        files, labels = _listed(path)
        return _images(path, files, labels, (), inputs, preprocessing)
    found = sorted(entry for entry in path.iterdir() if not entry.name.startswith((".", "__")))
    folders = [entry for entry in found if entry.is_dir()]
    files = [entry for entry in found if entry.suffix.lower() in IMAGES and entry.is_file()]
    if folders and files:
        raise DataError(
            f"both images ({files[0].name}) and folders ({folders[0].name}) lie here",
            where=str(path),
            hint="a folder has either one sub-folder for each class, or images alone, or a labels.csv",
        )
    if folders:
        pairs = [
            (file, index)
            for index, folder in enumerate(folders)
            for file in sorted(folder.iterdir())
            if file.suffix.lower() in IMAGES and not file.name.startswith(".")
        ]
        names = tuple(folder.name for folder in folders)
        return _images(path, [file for file, _ in pairs], [index for _, index in pairs], names, inputs, preprocessing)
    arrays = [entry for entry in found if entry.suffix.lower() == ".npy"]
    if arrays and not files:
        return _array_files(path, arrays, _only(inputs), preprocessing)
    return _images(path, files, None, (), inputs, preprocessing)


def _array_files(path: Path, files: Sequence[Path], spec: TensorSpec, preprocessing: Preprocessing | None) -> DataSet:
    """One sample in each file, with or without a batch axis of 1; all have the first one's shape."""
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

    return DataSet(read, range(len(files)), None, f"{len(files)} arrays of {path.name}")


def _listed(path: Path) -> tuple[list[Path], list[int]]:
    """The rows of labels.csv: filename,class_index; a header and further columns are passed over."""
    listing = path / LABELS
    files, labels = [], []
    try:
        with listing.open(newline="", encoding="utf-8-sig") as file:
            for number, row in enumerate(csv.reader(file), 1):
                label = _integer(row[1]) if len(row) > 1 else None
                if not row or (number == 1 and len(row) > 1 and label is None):
                    continue
                if label is None:
                    raise DataError(
                        f"line {number} is not filename,class_index: {','.join(row)[:80]!r}", where=str(listing)
                    )
                files.append(_named(path, row[0], number))
                labels.append(label)
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"not a list of comma-separated UTF-8 text: {error}", where=str(listing)) from error
    return files, labels


def _named(path: Path, name: str, number: int) -> Path:
    try:
        target = inside(path, name)
    except (ModelFileError, ValueError) as error:
        raise DataError(
            f"line {number} names a file outside the folder: {name[:80]!r}", where=str(path / LABELS)
        ) from error
    if not target.is_file():
        raise DataError(f"line {number} names a file that is not there: {name[:80]!r}", where=str(path / LABELS))
    return target


def _integer(text: str) -> int | None:
    """A number that can be a class index; None for any other text."""
    try:
        number = int(text)
    except ValueError:
        return None
    return number if abs(number) <= LARGEST_LABEL else None


def _images(
    path: Path,
    files: Sequence[Path],
    labels: list[int] | None,
    names: tuple[str, ...],
    inputs: Sequence[TensorSpec],
    preprocessing: Preprocessing | None,
) -> DataSet:
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
        names,
        DECODERS,
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
        return _images(path.parent, [path], None, (), inputs, preprocessing)
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
        raise DataError(f"no array for the input {spec.name!r}", where=where, hint=f"it has {', '.join(arrays)}")
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
