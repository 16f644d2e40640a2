"""What a .tflite file says of its use: how images become its input, and what its classes are called.

A file that narrowcast wrote has a record of its own, a JSON object; TFLite Metadata says less of images, but more files
have it. Class names lie in a text file that hangs behind the model in a zip archive.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from narrowcast._archives import Entry, content_of, entries_of
from narrowcast.errors import ModelFileError, at
from narrowcast.model import Array, Preprocessing
from narrowcast.readers.tflite.file import File
from narrowcast.schemas.flatbuffer import Table, root
from narrowcast.schemas.tflite_metadata import ENTRY, METADATA

__all__ = ["RECORD", "Attached", "Usage", "usage_of"]

RECORD = "narrowcast"
"""Name of the metadata entry in which narrowcast says how a file was made."""
LARGEST_LABELS = 16 << 20
"""Bytes of a list of class names."""
_ORDERS = {"RGB": "rgb", "GRAYSCALE": "gray"}


@dataclass(frozen=True, slots=True)
class Attached:
    """A file that hangs behind a model.

    Attributes:
        name: in the archive.
        kind: what it is for, in the schema's words ("TENSOR_AXIS_LABELS"); "UNKNOWN" where nobody says.
        description: in the words of who attached it.
        size: bytes; None where the archive lacks it.
    """

    name: str
    kind: str
    description: str
    size: int | None


@dataclass(frozen=True, slots=True)
class Usage:
    """What a file says of its use.

    Attributes:
        preprocessing: how images become its input; None where it does not say.
        labels: the classes of its first output, in their order; none where it does not say.
        description: of the model, by its author.
        licence: likewise.
        attached: files that hang behind it.
    """

    preprocessing: Preprocessing | None = None
    labels: tuple[str, ...] = ()
    description: str = ""
    licence: str = ""
    attached: tuple[Attached, ...] = ()


def usage_of(file: File) -> Usage:
    """Reads the record and the metadata of a file; the record is believed first.

    Raises:
        ModelFileError: they are damaged.
    """
    with at("metadata"):
        record = _record(file)
        own, labels = _recorded(record.get("preprocessing")), record.get("labels")
        named = tuple(str(name) for name in labels) if isinstance(labels, list) else ()
        if ENTRY not in file.metadata:
            return Usage(own, named)
        model = root(METADATA, file.metadata[ENTRY].tobytes())
        graph = next(iter(model["subgraph_metadata"] or ()), None)
        inputs, outputs = (
            () if graph is None else graph[f"{side}_tensor_metadata"] or () for side in ("input", "output")
        )
        entries = entries_of(file.content) if any(_associated((model, graph, *inputs, *outputs))) else {}
        return Usage(
            own or next(filter(None, map(_normalisation, inputs)), None),
            named or _labels(file, outputs, entries),
            model["description"] or "",
            model["license"] or "",
            tuple(_attached(table, entries) for table in _associated((model, graph, *inputs, *outputs))),
        )


def _record(file: File) -> Mapping[str, Any]:
    """The JSON object of the metadata entry `RECORD`, empty where there is none."""
    content = file.metadata.get(RECORD)
    if content is None:
        return {}
    try:
        found = json.loads(content.tobytes())
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"its record is no JSON: {error}") from error
    return found if isinstance(found, dict) else {}


def _recorded(found: Any) -> Preprocessing | None:
    """The record's preprocessing, its fields checked."""
    if not isinstance(found, dict):
        return None
    try:
        mean, std = (tuple(map(float, found.get(name, default))) for name, default in (("mean", [0]), ("std", [1])))
        resize, crop = found.get("resize"), found.get("crop")
        size = None if resize is None else (int(resize[0]), int(resize[1]))
        made = _affine(mean, std, found.get("channel_order", "rgb"), size, None if crop is None else float(crop))
    except (TypeError, ValueError, LookupError, OverflowError) as error:
        raise ModelFileError("its record's preprocessing is none") from error
    if made is None:
        raise ModelFileError("its record's preprocessing is none")
    return made


def _affine(
    mean: Sequence[float],
    std: Sequence[float],
    order: str,
    size: tuple[int, int] | None = None,
    crop: float | None = None,
) -> Preprocessing | None:
    """A preprocessing; None where the numbers make none."""
    if {len(mean), len(std)} - {1, 3} or order not in ("rgb", "bgr", "gray"):
        return None
    if not all(map(math.isfinite, (*mean, *std))) or not all(std):
        return None
    return Preprocessing(tuple(mean), tuple(std), order, size, crop)


def _normalisation(tensor: Table) -> Preprocessing | None:
    """How an input's metadata says that an image is normalised; None of what is no image."""
    content = tensor["content"]
    image = None if content is None else content["content_properties"]
    if image is None or image.kind.name != "ImageProperties":
        return None
    for unit in tensor["process_units"] or ():
        options = unit["options"]
        if options is not None and options.kind.name == "NormalizationOptions":
            mean, std = ([] if options[name] is None else _shortest(options[name]) for name in ("mean", "std"))
            return _affine(mean, std, _ORDERS.get(image.name_of("color_space"), "rgb"))
    return None


def _shortest(numbers: Array) -> list[float]:
    """float32 as the decimal numbers that whoever wrote them meant: 123.675, not 123.67500305."""
    return [float(str(number)) for number in numbers]


def _associated(tables: Sequence[Table | None]) -> Iterator[Table]:
    """The files that some tables name, each once."""
    seen: set[str] = set()
    for table in tables:
        for found in () if table is None else table["associated_files"] or ():
            if found["name"] not in seen:
                seen.add(found["name"])
                yield found


def _attached(table: Table, entries: Mapping[str, Entry]) -> Attached:
    entry = entries.get(table["name"] or "")
    size = None if entry is None else entry.file_size
    return Attached(table["name"] or "", table.name_of("type") or "UNKNOWN", table["description"] or "", size)


def _labels(file: File, outputs: Sequence[Table], entries: Mapping[str, Entry]) -> tuple[str, ...]:
    """The names of the first output's classes, where they are as many as it has."""
    graph = file.subgraphs[0]
    axis = [found for found in _associated(outputs[:1]) if found.name_of("type") == "TENSOR_AXIS_LABELS"]
    axis.sort(key=lambda found: bool(found["locale"]))  # those of no language first
    shape = graph.tensors[graph.outputs[0]].shape if graph.outputs else ()
    if not axis or axis[0]["name"] not in entries or not shape:
        return ()
    entry = entries[axis[0]["name"]]
    if entry.file_size > LARGEST_LABELS:
        raise ModelFileError(f"{entry.filename} has {entry.file_size} bytes, too many for class names")
    lines = bytes(content_of(file.content, entry)).decode("utf-8-sig", "replace").splitlines()
    while lines and not lines[-1].strip():
        lines.pop()
    return tuple(line.strip() for line in lines) if len(lines) == shape[-1] else ()
