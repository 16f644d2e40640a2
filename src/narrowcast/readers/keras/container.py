"""Opens the three containers of Keras models: `.keras` (zip), and the whole-model HDF5 of Keras 3 and Keras 2.

Nothing in a file is trusted: sizes are compared with the bytes really there before anything is allocated, only hard
links within the file are followed, and whatever is damaged becomes one `ModelFileError`.
"""

from __future__ import annotations

import itertools
import json
import lzma
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from narrowcast.errors import ModelFileError, UnsupportedError
from narrowcast.model import Array

__all__ = ["FOREIGN", "Archive", "Hdf5", "open_archive"]

CONFIG_LIMIT = 256 << 20
"""The largest JSON text that is parsed, in bytes."""

EXPANSION_LIMIT = 100
"""How many times its stored size a compressed entry may expand to; Keras stores entries uncompressed."""

EXPANSION_FLOOR = 64 << 20
"""Bytes below which no entry or array counts as a bomb."""

BFLOAT16 = np.dtype("V2")
"""How bfloat16, which HDF5 lacks, is stored; an attribute names it."""

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class Archive:
    """An open Keras file.

    Attributes:
        config: the model's own serialised form: `class_name` and `config`.
        version: of the Keras that wrote the file, such as "3.12.0"; "" where the file does not say.
        weights: the HDF5 file, or the group in it, that holds the arrays.
        whole_model: whether the arrays are laid out as in a whole-model `.h5` (else as in `.keras`).
    """

    config: Mapping[str, Any]
    version: str
    weights: Hdf5
    whole_model: bool

    @property
    def generation(self) -> int:
        """2 or 3: which Keras the layers' definitions follow; files without a version predate Keras 3."""
        major = self.version.partition(".")[0]
        return 3 if major.isdigit() and int(major) >= 3 else 2


class Hdf5:
    """Read-only access to a group of an HDF5 file: hard links only, arrays no larger than what is stored.

    It stands on h5py's low-level interface, four times as fast as the other for the hundreds of arrays of a network.
    """

    def __init__(self, group: h5py.Group) -> None:
        self._groups: dict[str, Any] = {"": group.id}

    def group(self, path: str) -> Hdf5 | None:
        """The group at `path` ("a/b/c"), or None."""
        found = self._group(path)
        return Hdf5(h5py.Group(found)) if found is not None else None

    def text(self, attribute: str) -> str:
        """An attribute of the group itself as text, "" where it is missing."""
        attributes = h5py.Group(self._groups[""]).attrs
        return _text(attributes[attribute]) if attribute in attributes else ""

    def strings(self, path: str, attribute: str) -> list[str]:
        """A list of strings kept as an attribute; Keras splits long ones into `attribute0`, `attribute1`, ..."""
        group = self._group(path)
        if group is None:
            return []
        attributes = h5py.Group(group).attrs
        if attribute in attributes:
            return [_text(item) for item in attributes[attribute]]
        parts = itertools.takewhile(attributes.__contains__, (f"{attribute}{part}" for part in itertools.count()))
        return [_text(item) for part in parts for item in attributes[part]]

    def array(self, path: str) -> Array | None:
        """The array at `path`, or None where there is none.

        Raises:
            ModelFileError: it claims to be larger than what the file stores, or is kept outside the file.
        """
        found = self._open(path, h5py.h5d.DatasetID)
        if found is None:
            return None
        plan = found.get_create_plist()
        if plan.get_layout() == h5py.h5d.VIRTUAL or plan.get_external_count():
            raise ModelFileError(f"the array {path} is kept outside of the file, which is not followed")
        dtype: np.dtype = found.dtype
        bfloat16 = dtype == BFLOAT16 and h5py.Dataset(found).attrs.get("dtype") == "bfloat16"
        if dtype.kind not in "fiub" and not bfloat16:
            raise ModelFileError(f"the array {path} has the type {dtype}, which is no number")
        shape = found.shape
        size = math.prod(shape) * dtype.itemsize
        if size > max(EXPANSION_FLOOR, EXPANSION_LIMIT * found.get_storage_size()):
            raise ModelFileError(f"the array {path} claims {size} bytes, far more than the file stores for it")
        array = np.empty(shape, dtype)
        if size:
            found.read(h5py.h5s.ALL, h5py.h5s.ALL, array)
        return (array.view(np.uint16).astype(np.uint32) << 16).view(np.float32) if bfloat16 else array

    def _group(self, path: str) -> Any:
        found = self._groups.get(path)
        if found is None:
            found = self._groups[path] = self._open(path, h5py.h5g.GroupID)
        return found

    def _open(self, path: str, kind: type) -> Any:
        parent, _, name = path.rpartition("/")
        group = self._group(parent)
        key = name.encode()
        if group is None or not name or not group.links.exists(key):
            return None
        if group.links.get_info(key).type != h5py.h5l.TYPE_HARD:
            raise ModelFileError(f"{path} is a link, which is not followed")
        found = h5py.h5o.open(group, key)
        return found if isinstance(found, kind) else None


FOREIGN = (
    *(
        ArithmeticError,
        AttributeError,
        EOFError,
        LookupError,
        MemoryError,
        OSError,
        RuntimeError,
        TypeError,
        ValueError,
    ),
    *(lzma.LZMAError, struct.error, zipfile.BadZipFile, zlib.error),
)
"""What h5py, zipfile and numpy raise on damaged files, and Python on data of an unexpected kind."""


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Opens a Keras file of any generation; its arrays can be read while the block lasts.

    Raises:
        ModelFileError: the file is no Keras model.
        OSError, RuntimeError, ...: (`FOREIGN`) it is truncated or damaged; `read` says so.
    """
    with path.open("rb") as file:
        is_hdf5 = file.read(len(HDF5_MAGIC)) == HDF5_MAGIC
    with _whole_model(path) if is_hdf5 else _zip(path) as archive:
        yield archive


@contextmanager
def _whole_model(path: Path) -> Iterator[Archive]:
    with h5py.File(path, "r") as file:
        root = Hdf5(file)
        config = root.text("model_config")
        if not config:
            raise ModelFileError(
                "holds weights but no model configuration",
                hint="save the whole model with model.save(...), not its weights alone",
            )
        weights = root.group("model_weights")
        if weights is None:
            raise ModelFileError("holds a model configuration but no weights")
        version = root.text("keras_version") or weights.text("keras_version")
        yield Archive(parse_json(config, "model_config"), version, weights, whole_model=True)


@contextmanager
def _zip(path: Path) -> Iterator[Archive]:
    with zipfile.ZipFile(path) as archive:
        config = parse_json(_entry(archive, "config.json", CONFIG_LIMIT), "config.json")
        metadata = parse_json(_entry(archive, "metadata.json", CONFIG_LIMIT), "metadata.json")
        if "model.weights.npz" in archive.namelist():
            raise UnsupportedError("its weights are kept as .npz", hint="save it again with Keras and h5py installed")
        image = _entry(archive, "model.weights.h5", 1 << 62)
    with h5py.File(h5py.h5f.open_file_image(image)) as file:
        yield Archive(config, str(metadata.get("keras_version", "")), Hdf5(file), whole_model=False)


def _entry(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    try:
        info = archive.getinfo(name)
    except KeyError as error:
        raise ModelFileError(f"the archive lacks {name}", hint="it is no file that Keras saved whole") from error
    if info.file_size > min(limit, max(EXPANSION_FLOOR, EXPANSION_LIMIT * info.compress_size)):
        raise ModelFileError(f"the entry {name} claims {info.file_size} bytes, {info.compress_size} are stored")
    return archive.read(info)


def parse_json(text: str | bytes, what: str) -> Mapping[str, Any]:
    """Parses a JSON object.

    Raises:
        ModelFileError: it is no JSON, no object, or nested too deeply.
    """
    if len(text) > CONFIG_LIMIT:
        raise ModelFileError(f"{what} is {len(text)} bytes long, {CONFIG_LIMIT} are the limit")
    try:
        parsed = json.loads(text)
    except RecursionError as error:
        raise ModelFileError(f"{what} is nested too deeply") from error
    except ValueError as error:
        raise ModelFileError(f"{what} is no JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise ModelFileError(f"{what} is no JSON object")
    return parsed


def _text(item: Any) -> str:
    return item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item)
