"""MNIST's format: arrays of every type, packed or not, with labels beside them; and files that are none."""

from __future__ import annotations

import gzip
import struct
import tracemalloc

import numpy as np
import pytest

from narrowcast.errors import DataError
from narrowcast.evaluation.data import open_data
from narrowcast.evaluation.idx import TYPES, is_idx, labels_beside, open_idx
from narrowcast.model import TensorSpec

IMAGE = TensorSpec("x", (1, 1, 28, 28), np.dtype(np.float32))
RANDOM = np.random.default_rng(6)


def idx(path, array, code=0x08):
    content = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    content += array.astype(TYPES[code]).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("code", TYPES)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_every_type(code, suffix, tmp_path):
    array = RANDOM.integers(0, 100, (3, 4, 5)).astype(TYPES[code])
    found = open_idx(idx(tmp_path / f"a-idx3-ubyte{suffix}", array, code))
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("t10k-images-idx3-ubyte.gz", True),
        ("train-images.idx3-ubyte", True),
        ("mine.idx", True),
        ("mine.IDX.gz", True),
        ("images-idx2-float", True),
        ("images.gz", False),
        ("idx3-ubyte.png", False),
    ],
)
def test_names(name, is_one, tmp_path):
    assert is_idx(tmp_path / name) is is_one


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
        ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte.gz"),
        ("t10k-images.idx3-ubyte.gz", "t10k-labels.idx1-ubyte"),
    ],
)
def test_labels_beside_images(images, labels, tmp_path):
    pixels = RANDOM.integers(0, 256, (4, 28, 28))
    idx(tmp_path / images, pixels)
    assert labels_beside(tmp_path / images) is None
    assert [sample.label for sample in open_data(tmp_path / images, [IMAGE])] == [None] * 4
    idx(tmp_path / labels, np.array([3, 1, 4, 1]))
    samples = list(open_data(tmp_path / images, [IMAGE]))
    assert [sample.label for sample in samples] == [3, 1, 4, 1]
    assert np.array_equal(np.stack([sample.feed["x"][0, 0] for sample in samples]), pixels)


def test_an_archive_of_the_same_name_is_not_its_labels(tmp_path):
    idx(tmp_path / "mine.idx", RANDOM.integers(0, 256, (4, 28, 28)))
    idx(tmp_path / "mine.idx.gz", np.array([3, 1, 4, 1]))
    assert labels_beside(tmp_path / "mine.idx") is None
    assert labels_beside(tmp_path / "mine.idx.gz") is None


def test_digits_of_the_zoo(zoo):
    data = open_data(zoo / "data/mnist_t10k-images-idx3-ubyte.gz", [IMAGE])
    assert len(data) == 10_000
    first = next(iter(data))
    assert (first.label, first.feed["x"].shape) == (7, (1, 1, 28, 28))


def header(*dims, code=0x08, start=b"\0\0"):
    return start + bytes([code, len(dims)]) + struct.pack(f">{len(dims)}I", *dims)


HOSTILE = {
    "nothing": (b"", "not an IDX"),
    "another file": (b"\x89PNG\r\n\x1a\n", "not an IDX"),
    "another type": (header(3, code=0x07), "not an IDX"),
    "no axes": (header(), "not an IDX"),
    "too many axes": (header(*[1] * 9), "not an IDX"),
    "a short header": (header(3, 4)[:7], "ends within its header"),
    "more than there is": (header(60000, 28, 28) + bytes(100), "claims 47040000 bytes, 100 are there"),
    "no samples": (header(0, 28, 28), "no samples"),
    "nothing of a great shape": (header(0, *[2**32 - 1] * 7), "no samples"),
    "samples of nothing": (header(4, 0), "no samples"),
    "one axis": (header(4) + bytes(4), "wants samples of shape"),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_files_that_are_none(content, suffix, tmp_path):
    made, words = content
    path = tmp_path / f"a-images-idx3-ubyte{suffix}"
    path.write_bytes(gzip.compress(made) if suffix else made)
    with pytest.raises(DataError, match=words):
        open_data(path, [IMAGE])


def test_sizes_without_bounds_are_refused_before_anything_is_unpacked(tmp_path):
    for suffix in ("", ".gz"):
        path = tmp_path / f"a-images-idx3-ubyte{suffix}"
        content = header(*[2**32 - 1] * 4, code=0x0E) + bytes(1000)
        path.write_bytes(gzip.compress(content) if suffix else content)
        with pytest.raises(DataError, match=r"claims|unpacking it takes"):
            open_idx(path)


def test_no_more_is_unpacked_than_the_header_says(tmp_path):
    path = tmp_path / "a-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(header(2, 28, 28) + bytes(200_000_000), 1))
    tracemalloc.start()
    assert open_idx(path).shape == (2, 28, 28)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("damage", [slice(0, 40), slice(0, 3)])
def test_damaged_archives(damage, tmp_path):
    path = idx(tmp_path / "a-images-idx3-ubyte.gz", RANDOM.integers(0, 256, (9, 28, 28)))
    path.write_bytes(path.read_bytes()[damage])
    with pytest.raises(DataError, match="cannot be read"):
        open_idx(path)
    path.write_bytes(b"not gzip at all")
    with pytest.raises(DataError, match="cannot be read"):
        open_idx(path)


def test_labels_that_do_not_fit(tmp_path):
    path = idx(tmp_path / "t10k-images-idx3-ubyte", RANDOM.integers(0, 256, (4, 28, 28)))
    idx(tmp_path / "t10k-labels-idx1-ubyte", np.arange(3))
    with pytest.raises(DataError, match="different numbers of samples"):
        open_data(path, [IMAGE])
