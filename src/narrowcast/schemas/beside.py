"""Contents that lie in a file beside the one that refers to them."""

from __future__ import annotations

from pathlib import Path

from narrowcast._files import inside
from narrowcast.errors import ModelFileError, shown

__all__ = ["ALIGNMENT", "MOST_TIMES", "Beside", "name_of", "referred"]

ALIGNMENT = 64
"""Of contents in such a file, in bytes."""
MOST_TIMES = 8
"""How many times as long as the files that they come from contents may be, as several may share a place."""


def name_of(destination: Path) -> Path:
    """The file beside one that is to be written."""
    return destination.with_name(f"{destination.name}.data")


class Beside:
    """A file that is made as soon as something is put into it.

    Args:
        destination: the file that it will lie beside.
        source: bytes of the files that contents come from.
    """

    def __init__(self, destination: Path, source: int) -> None:
        self.path = name_of(destination)
        self._end, self._most = 0, MOST_TIMES * source + ALIGNMENT

    def put(self, content: bytes | memoryview) -> int:
        """Appends contents; returns where they begin.

        Raises:
            ModelFileError: they are far more than what they come from.
        """
        start = -(-self._end // ALIGNMENT) * ALIGNMENT
        if start + len(content) > self._most:
            raise ModelFileError(f"its weights are more than {MOST_TIMES} times what its files hold")
        with self.path.open("r+b" if self._end else "wb") as file:
            file.seek(start)
            file.write(content)
        self._end = start + len(content)
        return start


def referred(folder: Path, location: str, offset: int, length: int) -> Path:
    """The file that a reference leads to.

    Args:
        folder: of the file that refers to it; the other is in it, or in one of its folders.
        location: relative to the folder.
        offset: where the contents begin.
        length: how many bytes they are.

    Raises:
        ModelFileError: the file is missing, too short, outside of the folder, or may be one from elsewhere.
    """
    try:
        target = inside(folder, location)
        found = target.stat()
    except (OSError, ValueError) as error:
        raise ModelFileError(
            f"its external data is missing: '{shown(location)}'", hint="keep it beside the file"
        ) from error
    if not location or not target.is_file():
        raise ModelFileError(f"its external data is no file: '{shown(location)}'", hint="keep it beside the file")
    if offset + length > found.st_size:
        raise ModelFileError(
            f"its external data reaches past the end of {location!r}", hint="the data file is truncated; copy it again"
        )
    if found.st_nlink > 1:
        raise ModelFileError(
            f"its external data {location!r} has more than one hard link, so it may be a file from elsewhere",
            hint=f"copy it: cp {location} copy && mv copy {location}",
        )
    return target
