"""Bundles of .tflite files, as MediaPipe's tasks are: zip archives of models, further bundles and other files."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from pathlib import Path
from zipfile import ZIP_STORED

from narrowcast._archives import content_of, entries_of, head_of
from narrowcast._files import map_file
from narrowcast.errors import ModelFileError, UsageError, at, shown
from narrowcast.model import Model
from narrowcast.readers import tflite
from narrowcast.readers.formats import ReadOptions
from narrowcast.schemas.tflite import TFLITE

__all__ = ["members", "only", "read"]

MOST_BUNDLES = 64
"""Archives that are looked into, those within others included."""


MOST_TOLD = 8
"""Models that an error names."""


def members(path: Path) -> Mapping[str, int]:
    """The models in a bundle: their sizes in bytes by their names, `inner.task/model.tflite` in a bundle within.

    Raises:
        ModelFileError: the bundle is damaged, or holds none.
    """
    found: dict[str, int] = {}
    with at(str(path)):
        waiting = deque([("", map_file(path))])
        for _ in range(MOST_BUNDLES):
            if not waiting:
                if not found:
                    raise ModelFileError("it is no bundle: it holds no .tflite file")
                return found
            prefix, content = waiting.popleft()
            for name, entry in entries_of(content).items():
                head = head_of(content, entry, 8)
                if head[4:] == TFLITE.identifier:
                    found[prefix + name] = entry.file_size
                elif head[:4] == b"PK\x03\x04" and entry.compress_type == ZIP_STORED:
                    waiting.append((f"{prefix}{name}/", content_of(content, entry)))
        raise ModelFileError(f"it holds more than {MOST_BUNDLES} archives, one in another")


def only(path: Path) -> Path:
    """The path of a bundle's only model.

    Raises:
        UsageError: it holds several.
        ModelFileError: the bundle is damaged, or holds none.
    """
    found = members(path)
    if len(found) != 1:
        listed = ", ".join(f"{shown(name)} ({size:,} bytes)" for name, size in list(found.items())[:MOST_TOLD])
        more = ", ..." if len(found) > MOST_TOLD else ""
        hint = f"choose one: --member NAME; there are {listed}{more}"
        raise UsageError(f"it holds {len(found)} models", where=str(path), hint=hint)
    return path / next(iter(found))


def read(path: Path, options: ReadOptions) -> Model:
    """Reads the only model of a bundle.

    Raises:
        UsageError: it holds several.
        ModelFileError, UnsupportedError: as for a .tflite file.
    """
    return tflite.read(only(path), options)
