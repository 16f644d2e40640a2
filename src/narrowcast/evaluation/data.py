"""Data sets: folders of images, .npz and .npy files, arrays, feeds. Samples are read when they are asked for.

Nothing here grows with the number of samples but their file names and labels.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from narrowcast.errors import DataError
from narrowcast.evaluation.arrays import open_arrays
from narrowcast.evaluation.preprocessing import image_layout, load_image, normalized
from narrowcast.model import Array, Feed, Layout, Preprocessing, TensorSpec

__all__ = ["DataSet", "Sample", "open_data"]

IMAGES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
READ_AHEAD = 8
READERS = 2
_PIXEL_KEYS, _LABEL_KEYS = ("x", "images", "image", "data"), ("y", "labels", "label", "classes")


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
    """

    read: Callable[[int], Feed]
    indices: tuple[int, ...]
    labels: Array | None
    description: str
    class_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[Sample]:
        """Reads ahead in threads, so that decoding overlaps inference."""
        with ThreadPoolExecutor(READERS) as pool:
            rest = iter(self.indices)
            waiting = [(index, pool.submit(self.read, index)) for index in islice(rest, READ_AHEAD)]
            while waiting:
                index, future = waiting.pop(0)
                feed = future.result()
                waiting.extend((following, pool.submit(self.read, following)) for following in islice(rest, 1))
                yield Sample(feed, None if self.labels is None else int(self.labels[index]))

    def feeds(self) -> Iterator[Feed]:
        """The feeds alone."""
        return (sample.feed for sample in self)

    def subset(self, samples: int | None, seed: int = 0) -> DataSet:
        """At most `samples` of them, drawn without replacement, as many of each class as can be."""
        if samples is None or samples >= len(self):
            return self
        return DataSet(
            self.read, self._draw(samples, seed), self.labels, f"{samples} of {self.description}", self.class_names
        )

    def split(self, samples: int, seed: int = 0) -> tuple[DataSet, DataSet]:
        """A drawn part of `samples`, at most half, and the rest."""
        chosen = self._draw(min(samples, len(self) // 2), seed)
        rest = tuple(index for index in self.indices if index not in set(chosen))
        first = DataSet(self.read, chosen, self.labels, f"{len(chosen)} of {self.description}", self.class_names)
        return first, DataSet(
            self.read, rest, self.labels, f"the other {len(rest)} of {self.description}", self.class_names
        )

    def _draw(self, samples: int, seed: int) -> tuple[int, ...]:
        order = np.random.default_rng(seed).permutation(len(self.indices))
        shuffled = [self.indices[position] for position in order]
        if self.labels is not None:
            rank: dict[int, int] = {}
            places: list[tuple[int, int, int]] = []
            for index in shuffled:
                label = int(self.labels[index])
                rank[label] = rank.get(label, -1) + 1
                places.append((rank[label], len(places), index))
            shuffled = [index for _, _, index in sorted(places)]
        return tuple(sorted(shuffled[:samples]))


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
        data: a folder with a sub-folder per class, with labels.csv (filename,class_index), or of images; a .npz with arrays by
            input name, or x and y; a .npy; arrays; or feeds, which are then kept.
        inputs: the model's, in the source's layout.
        preprocessing: for images and arrays of 8-bit pixels. Float arrays are taken as they are unless it is given.
        label_offset: added to each label.
        samples: at most so many, drawn by `seed`.
        seed: of the draw.

    Raises:
        DataError: the data is missing, empty, damaged, or does not fit the model.
    """
    if isinstance(data, str | Path):
        path = Path(data)
        if not path.exists():
            raise DataError("no such file or folder", where=str(path))
        opened = _folder(path, inputs, preprocessing) if path.is_dir() else _file(path, inputs, preprocessing)
    elif isinstance(data, np.ndarray):
        opened = _arrays({"x": data}, inputs, preprocessing, "an array")
    elif isinstance(data, Mapping):
        opened = _arrays(dict(data), inputs, preprocessing, "arrays")
    else:
        feeds = list(data)
        opened = DataSet(lambda index: feeds[index], tuple(range(len(feeds))), None, f"{len(feeds)} feeds")
    if not len(opened):
        raise DataError("there are no samples", where=str(data) if isinstance(data, str | Path) else "")
    if label_offset and opened.labels is not None:
        shifted = opened.labels + label_offset
        opened = DataSet(opened.read, opened.indices, shifted, opened.description, opened.class_names)
    return opened.subset(samples, seed)


def _folder(path: Path, inputs: Sequence[TensorSpec], preprocessing: Preprocessing | None) -> DataSet:
    if (path / "labels.csv").is_file():
        files, labels = _listed(path)
        return _images(path, files, labels, (), inputs, preprocessing)
    found = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    folders = [entry for entry in found if entry.is_dir()]
    if folders:
        pairs = [
            (file, index)
            for index, folder in enumerate(folders)
            for file in sorted(folder.iterdir())
            if file.suffix.lower() in IMAGES
        ]
        names = tuple(folder.name for folder in folders)
        return _images(path, [file for file, _ in pairs], [index for _, index in pairs], names, inputs, preprocessing)
    files = [entry for entry in found if entry.suffix.lower() in IMAGES]
    if files:
        return _images(path, files, None, (), inputs, preprocessing)
    arrays = [entry for entry in found if entry.suffix.lower() == ".npy"]
    if not arrays:
        raise DataError("no images in this folder", where=str(path), hint=f"readable: {' '.join(sorted(IMAGES))} .npy")
    spec = _only(inputs)
    take = _taker(open_arrays(arrays[0])["x"][None], spec, preprocessing, str(arrays[0]))
    return DataSet(
        lambda index: {spec.name: take(open_arrays(arrays[index])["x"][None])},
        tuple(range(len(arrays))),
        None,
        f"{len(arrays)} arrays of {path.name}",
    )


def _listed(path: Path) -> tuple[list[Path], list[int]]:
    """The rows of labels.csv."""
    files, labels = [], []
    root = path.resolve()
    with (path / "labels.csv").open(newline="", encoding="utf-8", errors="replace") as file:
        for number, row in enumerate(csv.reader(file), 1):
            if not row or (number == 1 and not _is_integer(row[-1] if len(row) < 2 else row[1])):
                continue
            if len(row) < 2 or not _is_integer(row[1]):
                raise DataError(
                    f"line {number} is not filename,class_index: {','.join(row)[:80]!r}", where=str(path / "labels.csv")
                )
            target = (root / row[0]).resolve()
            if not target.is_relative_to(root):
                raise DataError(f"line {number} names a file outside the folder", where=str(path / "labels.csv"))
            if not target.is_file():
                raise DataError(
                    f"line {number} names a file that is not there: {row[0]!r}", where=str(path / "labels.csv")
                )
            files.append(path / row[0])
            labels.append(int(row[1]))
    return files, labels


def _is_integer(text: str) -> bool:
    return text.strip().lstrip("-").isdigit()


def _images(
    path: Path,
    files: list[Path],
    labels: list[int] | None,
    names: tuple[str, ...],
    inputs: Sequence[TensorSpec],
    preprocessing: Preprocessing | None,
) -> DataSet:
    if not files:
        raise DataError("no images in this folder", where=str(path), hint=f"readable: {' '.join(sorted(IMAGES))}")
    spec = _only(inputs)
    how = preprocessing or Preprocessing()
    dtype = spec.dtype if spec.dtype.kind in "iu" else np.dtype(np.float32)
    return DataSet(
        lambda index: {spec.name: load_image(files[index], how, spec.shape).astype(dtype, copy=False)},
        tuple(range(len(files))),
        None if labels is None else np.asarray(labels, np.int64),
        f"{len(files)} images of {path.name}",
        names,
    )


def _only(inputs: Sequence[TensorSpec]) -> TensorSpec:
    if len(inputs) != 1:
        raise DataError(
            f"the model has {len(inputs)} inputs; images fill one",
            hint=f"give a .npz with arrays named {', '.join(spec.name for spec in inputs)}",
        )
    return inputs[0]


def _file(path: Path, inputs: Sequence[TensorSpec], preprocessing: Preprocessing | None) -> DataSet:
    suffix = path.suffix.lower()
    if suffix in (".npz", ".npy"):
        return _arrays(open_arrays(path), inputs, preprocessing, path.name)
    if suffix in IMAGES:
        return _images(path.parent, [path], None, (), inputs, preprocessing)
    raise DataError(
        f"cannot read data from {suffix or path.name!r} files", where=str(path), hint="a folder, .npz or .npy"
    )


def _arrays(
    arrays: Mapping[str, Array], inputs: Sequence[TensorSpec], preprocessing: Preprocessing | None, name: str
) -> DataSet:
    """Arrays by input name, or pixels and labels under their usual names; the first axis counts the samples."""
    labels = next(
        (arrays[key] for key in _LABEL_KEYS if key in arrays and key not in {spec.name for spec in inputs}), None
    )
    chosen: dict[str, Array] = {}
    for spec in inputs:
        if spec.name in arrays:
            chosen[spec.name] = arrays[spec.name]
        elif len(inputs) == 1:
            key = next((key for key in _PIXEL_KEYS if key in arrays), None)
            left = [key for key in arrays if arrays[key] is not labels]
            key = key or (left[0] if len(left) == 1 else None)
            if key is not None:
                chosen[spec.name] = arrays[key]
        if spec.name not in chosen:
            raise DataError(f"no array for the input {spec.name!r}", where=name, hint=f"it has {', '.join(arrays)}")
    counts = {len(array) if array.ndim else 0 for array in (*chosen.values(), *([] if labels is None else [labels]))}
    if len(counts) != 1:
        raise DataError(f"the arrays count different numbers of samples: {sorted(counts)}", where=name)
    if labels is not None and (labels.ndim != 1 or labels.dtype.kind not in "iu"):
        raise DataError(f"the labels are {labels.dtype} of shape {labels.shape}, not one integer a sample", where=name)
    takers = {spec.name: _taker(chosen[spec.name][:1], spec, preprocessing, name) for spec in inputs}
    count = counts.pop()
    return DataSet(
        lambda index: {key: takers[key](array[index : index + 1]) for key, array in chosen.items()},
        tuple(range(count)),
        None if labels is None else np.asarray(labels, np.int64),
        f"{count} samples of {name}",
    )


def _taker(first: Array, spec: TensorSpec, preprocessing: Preprocessing | None, name: str) -> Callable[[Array], Array]:
    """How one sample of an array becomes one feed: pixels normalised, channels moved, shape and values checked."""
    layout = image_layout(spec.shape)
    shape = first.shape
    pixels = layout is not None and (first.dtype == np.uint8 or (preprocessing is not None and first.dtype.kind == "f"))
    if pixels and layout is not None and spec.dtype.kind == "f":
        if len(shape) == 3:
            shape = (*shape, 1)
        source = (
            image_layout(shape)
            if image_layout(shape) is not None and shape[3] not in (1, 3, 4)
            else Layout.CHANNELS_LAST
        )
        if _fits(shape, spec.shape) and layout is Layout.CHANNELS_FIRST:
            source = Layout.CHANNELS_FIRST
        how = preprocessing or Preprocessing()

        def take(sample: Array) -> Array:
            image = np.asarray(sample).reshape(shape)
            if source is Layout.CHANNELS_FIRST:
                image = image.transpose(0, 2, 3, 1)
            return _checked(normalized(image, how, layout), spec, name)

        return take
    if not _fits(shape, spec.shape) and layout is not None and len(shape) == 4:
        turn = (0, 3, 1, 2) if layout is Layout.CHANNELS_FIRST else (0, 2, 3, 1)
        if _fits(tuple(shape[axis] for axis in turn), spec.shape):
            return lambda sample: _checked(np.asarray(sample).transpose(turn), spec, name)
    return lambda sample: _checked(np.asarray(sample), spec, name)


def _fits(shape: Sequence[int], wanted: Sequence[int | None]) -> bool:
    return len(shape) == len(wanted) and all(want in (None, have) for have, want in zip(shape, wanted, strict=True))


def _checked(array: Array, spec: TensorSpec, name: str) -> Array:
    if not _fits(array.shape, spec.shape):
        missing = array.ndim == len(spec.shape) - 1 and _fits((*array.shape, 1), spec.shape)
        if missing:
            return _checked(array[..., None], spec, name)
        want = "x".join("?" if dim is None else str(dim) for dim in spec.shape)
        raise DataError(
            f"the input {spec.name!r} wants samples of shape {want}, found {'x'.join(map(str, array.shape))}",
            where=name,
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise DataError(f"samples for {spec.name!r} hold NaN or infinite values", where=name)
    return np.ascontiguousarray(array, dtype=spec.dtype)
