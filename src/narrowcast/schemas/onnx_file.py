"""ONNX files as protocol buffers, and the files beside them that hold elements of their tensors.

https://onnx.ai/onnx/repo-docs/ExternalData.html
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from narrowcast.errors import ModelFileError, at, shown
from narrowcast.model import ir
from narrowcast.schemas.beside import Beside, referred

if TYPE_CHECKING:
    import onnx

__all__ = [
    "HIGHEST_RANK",
    "LARGEST_INLINE",
    "LARGEST_SIZE",
    "dtype_of",
    "external",
    "is_whole",
    "messages",
    "parse",
    "place",
    "tensors",
    "total_bytes",
    "without_unknown",
]

LARGEST_FILE = 2**31 - 1
"""Protocol buffers end here; larger models keep their weights in files of their own."""
LARGEST_INLINE = 1_900_000_000
"""Bytes of weights that a file holds itself; more lie in a file beside it, as a protocol buffer ends at 2 GB."""
HIGHEST_RANK = 64
"""numpy's."""
LARGEST_SIZE = 2**40
"""Of one dimension: no memory holds more, and products of a few such sizes still fit the arithmetic of numpy."""
MOST_DIGITS = 19
"""Of a number of bytes: 2^63 has as many."""
_LISTS: Mapping[int, tuple[str, str]] = {
    ir.DataType.FLOAT: ("float_data", "<f4"),
    ir.DataType.DOUBLE: ("double_data", "<f8"),
    ir.DataType.INT32: ("int32_data", "<i4"),
    ir.DataType.INT64: ("int64_data", "<i8"),
    ir.DataType.UINT64: ("uint64_data", "<u8"),
}
"""Where a tensor without `raw_data` keeps its elements, one in each value, and their type in bytes."""


def parse(path: Path) -> onnx.ModelProto:
    """The protocol buffer of a file.

    Raises:
        ModelFileError: it is too large, or none.
    """
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    if path.stat().st_size > LARGEST_FILE:
        raise ModelFileError("larger than 2 GiB, which no ONNX file can be", hint="save it with external data")
    proto = ModelProto()
    try:
        proto.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise ModelFileError("not an ONNX file, or a truncated one", hint="copy or export it again") from error
    return is_whole(proto)


def is_whole(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Returns a model that has a graph with outputs.

    Raises:
        ModelFileError: it has none.
    """
    if not proto.HasField("graph") or not proto.graph.output:
        raise ModelFileError("holds no ONNX graph with outputs", hint="is it really a model, and whole?")
    return proto


def without_unknown(proto: onnx.ModelProto) -> bool:
    """Drops fields that the ONNX at hand does not know; returns whether there were none."""
    size = proto.ByteSize()
    proto.DiscardUnknownFields()
    return bool(proto.ByteSize() == size)


def dtype_of(tensor: onnx.TensorProto) -> ir.DataType:
    """The type of a tensor whose shape is possible.

    Raises:
        ModelFileError: it has none, or no such shape.
    """
    dims = tuple(tensor.dims)
    if any(not 0 <= dim <= LARGEST_SIZE for dim in dims) or len(dims) > HIGHEST_RANK:
        raise ModelFileError(f"has an impossible shape: {dims}")
    try:
        dtype = ir.DataType(tensor.data_type)
    except ValueError as error:
        raise ModelFileError(f"has an unknown type: {tensor.data_type}") from error
    if dtype is ir.DataType.UNDEFINED:
        raise ModelFileError("has no type")
    return dtype


def external(tensor: onnx.TensorProto, folder: Path, size: int) -> tuple[Path, int]:
    """The file inside the model's folder that holds the elements of a tensor, and where they begin.

    Args:
        tensor: whose elements lie in another file.
        folder: the model's.
        size: bytes that the tensor's shape and type need.

    Raises:
        ModelFileError: the file is missing, too short, outside of the folder, or may be one from elsewhere.
    """
    if tensor.data_type == ir.DataType.STRING:
        raise ModelFileError("strings cannot be external data")
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    offset, length = (_number(entries, key, default) for key, default in (("offset", 0), ("length", size)))
    if length != size:
        raise ModelFileError(f"needs {size} bytes of external data, {length} are declared")
    return referred(folder, location, offset, size), offset


def _number(entries: Mapping[str, str], key: str, default: int) -> int:
    """An offset or length in bytes, written in decimal digits."""
    text = entries.get(key) or str(default)
    if not (text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS):
        raise ModelFileError(f"its external data has the {key} '{shown(text)}', which is no number of bytes")
    return int(text)


def messages(message: Any) -> Iterator[Any]:
    """A message and all within it, however deep they lie."""
    from google.protobuf.message import Message

    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in (value,) if isinstance(value, Message) else value:
                yield from messages(inner)


def tensors(message: Any) -> Iterator[onnx.TensorProto]:
    """All tensors of a message."""
    return (inner for inner in messages(message) if inner.DESCRIPTOR.name == "TensorProto")


def _is_external(tensor: onnx.TensorProto) -> bool:
    return bool(tensor.data_location == 1)


def _size(tensor: onnx.TensorProto) -> int:
    """Bytes of a tensor's elements, by its shape and type."""
    with at(_title(tensor)):
        return -(-math.prod(tensor.dims) * dtype_of(tensor).bitwidth // 8)


def _file_of(tensor: onnx.TensorProto, folder: Path) -> tuple[Path, int]:
    with at(_title(tensor)):
        return external(tensor, folder, _size(tensor))


def _title(tensor: onnx.TensorProto) -> str:
    return f"tensor '{shown(tensor.name)}'" if tensor.name else "a constant"


def total_bytes(proto: onnx.ModelProto) -> int:
    """Bytes of a model with all that lies beside it."""
    return proto.ByteSize() + sum(_size(tensor) for tensor in tensors(proto) if _is_external(tensor))


def place(proto: onnx.ModelProto, folder: Path, destination: Path, limit: int | None) -> None:
    """Puts the elements of every tensor where a new file shall have them: into it, or into `<destination>.data`.

    Args:
        proto: changed in place.
        folder: of the file that it was read from, which its external data lie in.
        destination: the file that it will be written to.
        limit: bytes of a tensor beyond which its elements are put beside; None for never.

    Raises:
        ModelFileError: external data are not there, or not as long as they should be.
    """
    files = {_file_of(tensor, folder)[0] for tensor in tensors(proto) if _is_external(tensor)}
    beside = Beside(destination, proto.ByteSize() + sum(path.stat().st_size for path in files))
    for tensor in tensors(proto):
        moves = limit is not None and (_size(tensor) if _is_external(tensor) else _bytes_inside(tensor)) > limit
        if not moves and not _is_external(tensor):
            continue
        content = _content(tensor, folder)
        if not moves:
            tensor.raw_data = content
            tensor.ClearField("data_location")
            del tensor.external_data[:]
            continue
        _refer(tensor, beside.path.name, beside.put(content), len(content))


def _bytes_inside(tensor: onnx.TensorProto) -> int:
    """Bytes of the elements that a tensor holds itself, as far as they can lie elsewhere."""
    if tensor.HasField("raw_data"):
        return len(tensor.raw_data)
    name, kind = _LISTS.get(tensor.data_type, ("", ""))
    return len(getattr(tensor, name)) * np.dtype(kind).itemsize if name else 0


def _content(tensor: onnx.TensorProto, folder: Path) -> bytes:
    """The bytes of a tensor's elements."""
    if _is_external(tensor):
        path, offset = _file_of(tensor, folder)
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(_size(tensor))
    if tensor.HasField("raw_data"):
        return bytes(tensor.raw_data)
    name, kind = _LISTS[tensor.data_type]
    return np.asarray(getattr(tensor, name), kind).tobytes()


def _refer(tensor: onnx.TensorProto, location: str, offset: int, length: int) -> None:
    """Says of a tensor that its elements lie in another file."""
    tensor.ClearField("raw_data")
    for name, _ in _LISTS.values():
        tensor.ClearField(name)
    tensor.data_location = tensor.EXTERNAL
    del tensor.external_data[:]
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
