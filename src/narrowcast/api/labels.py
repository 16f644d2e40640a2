"""Class names from a text file."""

from __future__ import annotations

from pathlib import Path

from narrowcast.errors import DataError

__all__ = ["read_labels"]

MAX_BYTES = 16 << 20


def read_labels(path: Path) -> tuple[str, ...]:
    """The lines of a UTF-8 text file, without blanks around them and without empty lines at the end.

    Raises:
        DataError: the file is missing, empty, no text, or larger than a list of names can be.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DataError(f"cannot read the labels: {error.strerror}", where=str(path)) from error
    if len(content) > MAX_BYTES:
        raise DataError(f"a list of labels has at most {MAX_BYTES >> 20} MiB", where=str(path))
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError("the labels are no UTF-8 text", where=str(path), hint="give one class name a line") from error
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise DataError("the file of labels is empty", where=str(path))
    return tuple(line.strip() for line in lines)
