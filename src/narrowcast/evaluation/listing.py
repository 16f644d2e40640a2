"""What a folder holds as samples: files, their labels, and what was passed over."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from narrowcast._files import inside
from narrowcast.errors import DataError, ModelFileError

__all__ = ["IMAGES", "LARGEST_LABEL", "Listing", "listed"]

IMAGES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
ARRAYS = frozenset({".npy"})
LABELS = "labels.csv"

LARGEST_LABEL = 2**31
MOST_NAMED = 5
"""How many of the files that are passed over are named."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The samples of a folder.

    Attributes:
        files: one for each sample: images, or arrays alone.
        labels: class indices, None where the folder tells none.
        classes: names of sub-folders that stand for classes.
        skipped: files beside them that are no samples.
    """

    files: Sequence[Path]
    labels: Sequence[int] | None = None
    classes: tuple[str, ...] = ()
    skipped: Sequence[Path] = field(default=())

    @property
    def arrays(self) -> bool:
        """Whether the files hold arrays."""
        return bool(self.files) and all(file.suffix.lower() in ARRAYS for file in self.files)

    @property
    def remarks(self) -> tuple[str, ...]:
        """A line on the files that were passed over, if there are any."""
        if not self.skipped:
            return ()
        names = ", ".join(file.name for file in self.skipped[:MOST_NAMED])
        more = f" and {len(self.skipped) - MOST_NAMED} more" if len(self.skipped) > MOST_NAMED else ""
        readable = " ".join(sorted(ARRAYS if self.arrays else IMAGES))
        return (f"{len(self.skipped)} of the data's files passed over, being none of {readable}: {names}{more}",)


def listed(path: Path) -> Listing:
    """The samples of a folder: what its labels.csv names, or a sub-folder for each class, or images or arrays.

    Raises:
        DataError: it holds both images and sub-folders, or its labels.csv is no such list.
        OSError: it cannot be read.
    """
    if (path / LABELS).is_file():
        return _by_list(path)
    found = _visible(path)
    folders = [entry for entry in found if entry.is_dir()]
    files = [entry for entry in found if entry.is_file()]
    images, others = _parted(files, IMAGES)
    if folders and images:
        raise DataError(
            f"both images ({images[0].name}) and folders ({folders[0].name}) lie here",
            where=str(path),
            hint="a folder has either one sub-folder for each class, or images alone, or a labels.csv",
        )
    if folders:
        return _by_class(folders, others)
    arrays, rest = _parted(files, ARRAYS)
    if arrays and not images:
        return Listing(arrays, skipped=rest)
    return Listing(images, skipped=others)


def _visible(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if not entry.name.startswith((".", "__")))


def _parted(files: Iterable[Path], suffixes: frozenset[str]) -> tuple[list[Path], list[Path]]:
    """The files with one of the suffixes, and the others."""
    parts: tuple[list[Path], list[Path]] = [], []
    for file in files:
        parts[file.suffix.lower() not in suffixes].append(file)
    return parts


def _by_class(folders: Sequence[Path], skipped: Sequence[Path]) -> Listing:
    files, labels, others = [], [], list(skipped)
    for index, folder in enumerate(folders):
        images, rest = _parted(_visible(folder), IMAGES)
        files += images
        labels += [index] * len(images)
        others += rest
    return Listing(files, labels, tuple(folder.name for folder in folders), others)


def _by_list(path: Path) -> Listing:
    """The rows of labels.csv: filename,class_index; a header and further columns are passed over."""
    listing = path / LABELS
    folders: dict[Path, Path] = {}
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
                files.append(_named(path, row[0], number, folders))
                labels.append(label)
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"not a list of comma-separated UTF-8 text: {error}", where=str(listing)) from error
    return Listing(files, labels)


def _named(path: Path, name: str, number: int, folders: dict[Path, Path]) -> Path:
    """The file of a row; its folder is resolved once for all rows, which takes longer than all else."""
    relative = Path(name)
    try:
        if relative.parent not in folders:
            folders[relative.parent] = inside(path, str(relative.parent))
        target = folders[relative.parent] / relative.name
        if target.is_symlink() or relative.name == "..":
            target = inside(path, name)
        there = target.is_file()
    except (ModelFileError, ValueError) as error:
        raise DataError(
            f"line {number} names a file outside the folder: {name[:80]!r}", where=str(path / LABELS)
        ) from error
    if not there:
        raise DataError(f"line {number} names a file that is not there: {name[:80]!r}", where=str(path / LABELS))
    return target


def _integer(text: str) -> int | None:
    """A number that can be a class index; None for any other text."""
    try:
        number = int(text)
    except ValueError:
        return None
    return number if abs(number) <= LARGEST_LABEL else None
