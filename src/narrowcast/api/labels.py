"""Class names from a text file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from narrowcast.errors import DataError
from narrowcast.evaluation.metrics import is_classifier
from narrowcast.model import TensorSpec

__all__ = ["check_labels", "classes_of", "read_labels"]

MAX_BYTES = 16 << 20


def classes_of(outputs: Sequence[TensorSpec]) -> int | None:
    """How many classes a model with one output tells apart; None where it is no classifier, or not clearly one.

    A single score is the probability of one of two classes.
    """
    if len(outputs) != 1 or not is_classifier(outputs[0].shape) or None in outputs[0].shape[1:]:
        return None
    return max(2, math.prod(dim for dim in outputs[0].shape[1:] if dim is not None))


def check_labels(names: Sequence[str], outputs: Sequence[TensorSpec], path: Path) -> None:
    """Refuses the names of another model: a classifier has as many classes as there are names.

    Raises:
        DataError: the numbers differ.
    """
    classes = classes_of(outputs)
    if classes not in (None, len(names)):
        raise DataError(
            f"it has {len(names)} line{'s' * (len(names) > 1)}, and the model {classes} classes",
            where=str(path),
            hint="the labels are one name a line, in the order of the model's classes",
        )


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
