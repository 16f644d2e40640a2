"""TFLite files as JSON, in the spelling of flatc for TFLite's schema, and back.

flatc's JSON: names of fields in snake_case, enumerations by their names, a union as `name_type` and `name`, contents of
buffers as lists of integers, nothing that is at its default. Three things differ: floats have all digits that they need
(flatc rounds to six decimals, which is another number for most scales), lists of numbers stand on one line, and, where
asked for, large buffers lie in a file beside the JSON, which flatc does not know:

    {"external_data": {"location": "model.json.data", "offset": 0, "length": 864}}

So does the zip archive that TFLite Metadata puts behind a flatbuffer, as `associated_files` of the model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from narrowcast._archives import entries_of, mapped
from narrowcast._files import map_file
from narrowcast.errors import ModelFileError, NarrowcastError, UnsupportedError, at
from narrowcast.model import Array
from narrowcast.schemas import jsontext
from narrowcast.schemas.beside import Beside, referred
from narrowcast.schemas.builder import Blob, build
from narrowcast.schemas.flatbuffer import Field, Table, damaged, root
from narrowcast.schemas.jsontext import item, key, told
from narrowcast.schemas.tflite import TFLITE
from narrowcast.schemas.verifier import DAMAGED, FETCH

__all__ = ["EXTERNAL", "FILES", "from_binary", "retell", "to_binary"]

_ROW = re.compile(r"(tensor|operator|[A-Z][A-Z0-9_]+|custom operator .+?) (\d+)\b")
"""How errors begin that are about a row of a subgraph."""
EXTERNAL = "external_data"
"""The key of ours: in a buffer whose contents lie in a file beside the JSON."""
OUTSIDE = {
    "Buffer": ("data", "offset", "size"),
    "Operator": ("custom_options", "large_custom_options_offset", "large_custom_options_size"),
}
"""By table: the field whose contents may lie behind the flatbuffer, and those that say where."""
FILES = "associated_files"
"""The key of ours: in a model with an archive behind it."""
LARGEST_INLINE = 2**31 - 2**26
"""Bytes of contents beyond which they are no part of the flatbuffer, which ends below 2^31 bytes."""
PIECE = 2**16
"""Numbers of a long list that are written at once."""
DIGITS = np.array([list(f"{number},".encode().ljust(4, b"\0")) for number in range(256)], np.uint8)
"""The text of each byte in four."""
LEAST_COMPACT = 16
"""Numbers of a list that is worth holding as bytes."""
DECIMALS = 6
"""That flatc writes of a float."""
LEAST_TIMES = 2
"""As many letters of JSON as it has bytes a file has at least, a digit and a comma for each."""
MOST_TIMES = 64
"""A file's JSON is some ten times as long; what is longer than this refers to one thing again and again."""


def from_binary(source: Path, destination: Path, inline_limit: int | None = None) -> tuple[str, ...]:
    """Writes a file as JSON.

    Args:
        source: a TFLite file.
        destination: the JSON file.
        inline_limit: bytes of a buffer beyond which it lies in `<destination>.data`; None for never.

    Returns:
        What the user should know.

    Raises:
        ModelFileError: it is no TFLite file, or its JSON would be too large.
        UnsupportedError: it has options that are not known here.
    """
    content = memoryview(map_file(source))
    if inline_limit is None and LEAST_TIMES * len(content) > jsontext.LARGEST:
        raise ModelFileError(f"{len(content) / 2**30:.1f} GiB would be too much JSON", hint=jsontext.ASIDE)
    names, archive = _archive(content)
    writer = _Writer(content, Beside(destination, len(content)), inline_limit, archive)
    left = min(jsontext.LARGEST, MOST_TIMES * len(content) + 2**20)
    with destination.open("w", encoding="utf-8") as text:
        for part in writer.object(root(TFLITE, content), "", ""):
            left -= text.write(part)
            if left < 0:
                raise ModelFileError("would be too much JSON", hint=jsontext.ASIDE)
        text.write("\n")
    notes = []
    if writer.has_unknown:
        notes.append("fields that TFLite's schema does not know here are left out")
    if names and inline_limit is None:
        notes.append(f"files behind the flatbuffer are left out, --inline-limit keeps them: {', '.join(names)}")
    return tuple(notes)


def _archive(content: memoryview) -> tuple[list[str], memoryview]:
    """The names in the zip archive behind a flatbuffer, and its bytes; none where there is none."""
    entries = entries_of(content)
    start = min((entry.header_offset for entry in entries.values()), default=len(content))
    return list(entries), content[max(start, 0) :]


@dataclass(slots=True)
class _Writer:
    """Spells tables.

    Attributes:
        content: the whole file.
        beside: where large buffers go.
        limit: bytes of a buffer that is large; None for no limit.
        archive: what lies behind the flatbuffer.
        has_unknown: whether a table had a field that the schema lacks.
    """

    content: memoryview
    beside: Beside
    limit: int | None
    archive: memoryview
    has_unknown: bool = False

    def object(self, table: Table, place: str, indent: str) -> Iterator[str]:
        """A table in pieces of text."""
        known = {row.slot for row in table.kind.fields.values()}
        self.has_unknown |= any(offset and slot not in known for slot, offset in enumerate(table.fields))
        inner, before = f"{indent}  ", "{"
        for name, parts in self._fields(table, place, inner):
            yield f'{before}\n{inner}"{name}": '
            yield from parts
            before = ","
        yield "{}" if before == "{" else f"\n{indent}}}"

    def _fields(self, table: Table, place: str, indent: str) -> Iterator[tuple[str, Iterable[str]]]:
        """Names and texts of what is there; contents behind the flatbuffer take the place that they stand for."""
        name, offset, size = OUTSIDE.get(table.kind.name, ("", "", ""))
        is_outside = bool(name) and max(table[offset], table[size]) > 1  # less is no place (schema.fbs, Buffer)
        for row in table.kind.fields.values():
            if is_outside and row.name == name:
                found: Any = self._outside(table[offset], table[size], key(place, name))
            elif (is_outside and row.name in (offset, size)) or not table.has(row.name):
                continue
            else:
                found = table.raw(row.name) if row.kind == "string" else table[row.name]
            if table.kind.name == "Buffer" and row.name == name and self.limit is not None and found.size > self.limit:
                yield EXTERNAL, [self._put(found.data)]
            else:
                yield row.name, self._value(row, found, key(place, row.name), indent)
        if not place and self.archive and self.limit is not None:
            yield FILES, [f'{{"{EXTERNAL}": {self._put(self.archive)}}}']

    def _put(self, content: memoryview) -> str:
        """Puts contents into the file beside; the reference to them."""
        offset = self.beside.put(content)
        return json.dumps({"location": self.beside.path.name, "offset": offset, "length": len(content)})

    def _outside(self, offset: int, size: int, place: str) -> Array:
        if offset + size > len(self.content):
            raise damaged(f"{place} ends at byte {offset + size}, and the file has {len(self.content)}")
        return np.frombuffer(self.content, np.uint8, size, offset)

    def _value(self, row: Field, found: Any, place: str, indent: str) -> Iterable[str]:
        match row.kind:
            case "number":
                return [_number(row, found)]
            case "numbers":
                return _numbers(row, found)
            case "string":
                return [json.dumps(found.decode("utf-8", "surrogateescape"))]
            case "tables":
                return self._list(found, place, indent)
        if found is None:
            what = f"{place}: of a type that TFLite's schema does not know here"
            raise UnsupportedError(what, hint="the file is newer than this reader's schema")
        return self.object(found, place, indent)

    def _list(self, tables: list[Table], place: str, indent: str) -> Iterator[str]:
        before, inner = "[", f"{indent}  "
        for index, table in enumerate(tables):
            yield f"{before}\n{inner}"
            yield from self.object(table, item(place, index), inner)
            before = ","
        yield "[]" if before == "[" else f"\n{indent}]"


def _number(row: Field, value: Any) -> str:
    """A number as its enumeration names it, or in as few digits as give it back."""
    if row.enumeration is not None:
        name = row.enumeration.names.get(int(value))
        return str(int(value)) if name is None else f'"{name}"'
    if row.type == "bool":
        return "true" if value else "false"
    if not row.type.startswith("float"):
        return str(int(value))
    number = np.dtype(row.type).type(value)
    if not np.isfinite(number):
        return f'"{number}"'
    text = str(number)
    return text if np.dtype(row.type).type(float(text)) == number else repr(float(number))


def _numbers(row: Field, array: Array) -> Iterator[str]:
    before = "["
    for start in range(0, array.size, PIECE):
        piece = array[start : start + PIECE]
        if row.type == "uint8":
            cells = DIGITS[piece].reshape(-1)
            text = cells[cells != 0].tobytes().decode()[:-1]
        else:
            text = ",".join(_number(row, value) for value in piece.tolist())
        yield f"{before}{text}"
        before = ","
    yield "[]" if before == "[" else "]"


def to_binary(source: Path, destination: Path) -> tuple[str, ...]:
    """Writes JSON as a TFLite file.

    Returns:
        What the user should know.

    Raises:
        ModelFileError: a value is not what its field takes, or what lies beside the file is not there; names its place.
    """
    document = jsontext.read(source, _compact, relaxed=True)
    contents = _Contents(source.parent)
    buffers = list(contents.of(document))
    inside = sum(len(blob.content) for _, blob in buffers) <= LARGEST_INLINE
    for buffer, blob in buffers:
        buffer |= {"data": blob} if inside else {"offset": blob, "size": len(blob.content)}
    archive = contents.archive(document)
    built = build(TFLITE, document)
    for place, index, listed, count in _indices(document):
        if index >= count:
            raise ModelFileError(f"{place}: there is no {item(listed, index)}, as there are {count}")
    with destination.open("wb") as file:
        built.write(file)
        file.write(archive)
    if _is_rounded(document):
        return ("its scales have six decimals at most, as flatc writes them: what they scale is no longer exact",)
    return ()


def retell(binary: Path, error: NarrowcastError) -> None:
    """Lets an error about a file name the place in the JSON that it was made of; of an only subgraph, as most are."""
    error.what = error.what.removeprefix(DAMAGED)
    error.hint = "" if error.hint == FETCH else error.hint
    row = _ROW.match(error.where)
    with suppress(NarrowcastError, OSError):
        graphs = len(root(TFLITE, map_file(binary))["subgraphs"] or ()) if row else 0
        if row and graphs == 1:
            place = item(f"subgraphs[0].{'tensors' if row[1] == 'tensor' else 'operators'}", int(row[2]))
            error.where = f"{place}, {error.where}"


def _compact(value: Any) -> Any:
    """Bytes in the place of a long list of them, which would take eight times as much."""
    if not isinstance(value, list) or len(value) < LEAST_COMPACT:
        return value
    try:
        return bytes(value)
    except (TypeError, ValueError):
        return value


class _Contents:
    """Finds what buffers hold, in the JSON or in files beside it.

    Args:
        folder: of the JSON file.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[Path, memoryview] = {}

    def of(self, document: Any) -> Iterator[tuple[dict[str, Any], Blob]]:
        """The buffers that hold much, and it, taken out of the document.

        Raises:
            ModelFileError: a reference to contents is none.
        """
        listed = document.get("buffers") if isinstance(document, dict) else None
        for index, buffer in enumerate(listed if isinstance(listed, list) else ()):
            place = item("buffers", index)
            if not isinstance(buffer, dict):
                continue
            for name in ("offset", "size"):
                if type(buffer.get(name)) is int and buffer[name] > 1:
                    what = f"{key(place, name)}: refers to contents that are not in the JSON"
                    raise ModelFileError(what, hint="give them as data")
            if EXTERNAL in buffer:
                if "data" in buffer:
                    raise ModelFileError(f"{place}: has data and {EXTERNAL}", hint="take one of them out")
                yield buffer, Blob(self._found(buffer.pop(EXTERNAL), key(place, EXTERNAL)))
            elif isinstance(buffer.get("data"), bytes):
                yield buffer, Blob(buffer.pop("data"))

    def archive(self, document: Any) -> memoryview:
        """What lies behind the flatbuffer, taken out of the document."""
        found = document.pop(FILES, None) if isinstance(document, dict) else None
        if found is None:
            return memoryview(b"")
        if not isinstance(found, dict) or found.keys() != {EXTERNAL}:
            raise ModelFileError(f"{FILES}: expected an object with {EXTERNAL}, found {told(found)}")
        return self._found(found[EXTERNAL], key(FILES, EXTERNAL))

    def _found(self, reference: Any, place: str) -> memoryview:
        kinds = {"location": str, "offset": int, "length": int}
        if not isinstance(reference, dict) or reference.keys() != kinds.keys():
            raise ModelFileError(f"{place}: expected an object with {', '.join(kinds)}, found {told(reference)}")
        for name, kind in kinds.items():
            if type(reference[name]) is not kind or (kind is int and not 0 <= reference[name] < 2**62):
                wanted = "a text" if kind is str else "a number of bytes"
                raise ModelFileError(f"{key(place, name)}: expected {wanted}, found {told(reference[name])}")
        offset, length = reference["offset"], reference["length"]
        with at(place):
            path = referred(self._folder, reference["location"], offset, length)
        if not length:
            return memoryview(b"")
        if path not in self._files:
            self._files[path] = memoryview(mapped(path))
        return self._files[path][offset : offset + length]


def _indices(document: dict[str, Any]) -> Iterator[tuple[str, int, str, int]]:
    """What refers to a row of a list by its index: the place and the index, the list and how many rows it has."""
    rows = {name: len(document.get(name, ())) for name in ("buffers", "operator_codes", "subgraphs")}
    graphs = document.get("subgraphs", ())
    for place, entry in _items(document, "metadata", ""):
        yield key(place, "buffer"), entry.get("buffer", 0), "buffers", rows["buffers"]
    for place, graph in _items(document, "subgraphs", ""):
        tensors = key(place, "tensors"), len(graph.get("tensors", ()))
        for spot, tensor in _items(graph, "tensors", place):
            if tensor.get("buffer"):
                yield key(spot, "buffer"), tensor["buffer"], "buffers", rows["buffers"]
        for spot, owner in ((place, graph), *_items(graph, "operators", place)):
            for name in ("inputs", "outputs", "intermediates"):
                yield from (
                    (item(key(spot, name), number), index, *tensors) for number, index in enumerate(owner.get(name, ()))
                )
        for spot, operator in _items(graph, "operators", place):
            yield key(spot, "opcode_index"), operator.get("opcode_index", 0), "operator_codes", rows["operator_codes"]
    for place, signature in _items(document, "signature_defs", ""):
        index = signature.get("subgraph_index", 0)
        yield key(place, "subgraph_index"), index, "subgraphs", rows["subgraphs"]
        tensors = key(item("subgraphs", index), "tensors"), len(graphs[index].get("tensors", ()))
        for name in ("inputs", "outputs"):
            for spot, port in _items(signature, name, place):
                yield key(spot, "tensor_index"), port.get("tensor_index", 0), *tensors


def _items(owner: dict[str, Any], name: str, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a list with their places."""
    return ((item(key(place, name), index), row) for index, row in enumerate(owner.get(name, ())))


def _is_rounded(document: dict[str, Any]) -> bool:
    """Whether all scales are decimals as short as flatc makes them, some of which no float32 is."""
    tensors = (tensor for graph in document.get("subgraphs", ()) for tensor in graph.get("tensors", ()))
    scales = [float(scale) for tensor in tensors for scale in tensor.get("quantization", {}).get("scale", ())]
    return all(round(scale, DECIMALS) == scale for scale in scales) and any(
        float(np.float32(scale)) != scale or scale == 0 for scale in scales
    )
