"""What a folder holds as samples: files, their labels, and what was passed over."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from narrowcast._files import inside
from narrowcast.errors import DataError, ModelFileError

__all__ = ["IMAGES", "LARGEST_LABEL", "Listing", "kind_of", "listed"]

IMAGES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
KINDS: Mapping[str, frozenset[str]] = {
    "images": IMAGES,
    "recordings": frozenset({".wav", ".wave"}),
    "arrays": frozenset({".npy"}),
}
"""What samples can be, and the suffixes that tell; a folder that holds several is of the first."""
LABELS = "labels.csv"

LARGEST_LABEL = 2**31
MOST_NAMED = 5
"""How many of the files that are passed over are named."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The samples of a folder.

    Attributes:
        files: of samples, of one kind.
        labels: the files' class indices, None where the folder tells none.
        classes: names of sub-folders that stand for classes.
        skipped: files beside them that are no samples.
    """

    files: Sequence[Path]
    labels: Sequence[int] | None = None
    classes: tuple[str, ...] = ()
    skipped: Sequence[Path] = field(default=())

    @property
    def kind(self) -> str:
        """What the files hold: a key of `KINDS`."""
        kinds = {kind_of(file) for file in self.files}
        return next((kind for kind in KINDS if kinds == {kind}), "images")

    @property
    def remarks(self) -> tuple[str, ...]:
        """A line on the files that were passed over, if there are any."""
        if not self.skipped:
            return ()
        names = ", ".join(file.name for file in self.skipped[:MOST_NAMED])
        more = f" and {len(self.skipped) - MOST_NAMED} more" if len(self.skipped) > MOST_NAMED else ""
        readable = " ".join(sorted(KINDS[self.kind]))
        return (f"{len(self.skipped)} of the data's files passed over, being none of {readable}: {names}{more}",)


def kind_of(path: Path) -> str | None:
    """What a file holds by its suffix: a key of `KINDS`; None for none of them."""
    return next((kind for kind, suffixes in KINDS.items() if path.suffix.lower() in suffixes), None)


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
    samples, others = _parted(files)
    if folders and samples:
        raise DataError(
            f"both {kind_of(samples[0])} ({samples[0].name}) and folders ({folders[0].name}) lie here",
            where=str(path),
            hint="a folder has either one sub-folder for each class, or samples alone, or a labels.csv",
        )
    if folders:
        return _by_class(folders, others)
    return Listing(samples, skipped=others)


def _visible(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if not entry.name.startswith((".", "__")))


def _parted(files: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """The files of the first kind that there is any of, and the others."""
    kinds = [(kind_of(file), file) for file in files]
    first = next((kind for kind in KINDS if any(kind == other for other, _ in kinds)), None)
    return [file for kind, file in kinds if first == kind is not None], [
        file for kind, file in kinds if kind is None or kind != first
    ]


def _by_class(folders: Sequence[Path], skipped: Sequence[Path]) -> Listing:
    """The files of all sub-folders, of one kind."""
    within = {file: index for index, folder in enumerate(folders) for file in _visible(folder)}
    files, others = _parted(within)
    labels = [within[file] for file in files]
    return Listing(files, labels, tuple(folder.name for folder in folders), [*skipped, *others])


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
