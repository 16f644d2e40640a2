"""Every error that a user of narrowcast can meet, with the exit code of the command line.

NarrowcastError
├── UsageError                 exit 2: the request itself is contradictory or unknown
├── VerificationError          exit 3: the file was written, but does not reproduce the source
├── UnsupportedError           exit 4: the model is readable, but something in it cannot be expressed
│   ├── UnsupportedOpError     an operator (or one of its attributes)
│   └── MissingExtraError      an optional dependency is not installed
└── BadInputError              exit 5: a file or data that cannot be what it claims to be
    ├── ModelFileError         a model file is damaged, truncated or inconsistent
    ├── DataError              data sets, images, arrays, preprocessing
    └── OutputError            the destination cannot be written

An error says *what* is wrong, *where* (a node, a tensor, a file) and, as its hint, *what to do*.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

__all__ = [
    "BadInputError",
    "DataError",
    "MissingExtraError",
    "ModelFileError",
    "NarrowcastError",
    "OutputError",
    "UnsupportedError",
    "UnsupportedOpError",
    "UsageError",
    "VerificationError",
    "at",
    "did_you_mean",
    "foreign_as",
    "shown",
]

LONGEST_NAME = 120
"""Letters of a name that an error shows."""


class NarrowcastError(Exception):
    """Base of all errors that narrowcast raises on purpose.

    Args:
        what: one sentence that says what is wrong, without a full stop at its end being required.
        where: the node, tensor, layer or file concerned; `at` fills it in when it is empty.
        hint: what the user can do about it.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text} ({self.hint})" if self.hint else text


class UsageError(NarrowcastError):
    """The request cannot be carried out as asked: an unknown scheme, options that exclude one another."""

    exit_code = 2


class VerificationError(NarrowcastError):
    """A file was written and kept as `*.unverified`, because it does not reproduce its source.

    Args:
        what, where, hint: as for every error.
        written: the `WrittenFile` with the figures of the verification.
    """

    exit_code = 3

    def __init__(self, what: str, *, where: str = "", hint: str = "", written: Any = None) -> None:
        super().__init__(what, where=where, hint=hint)
        self.written = written


class UnsupportedError(NarrowcastError):
    """The model is sound, but narrowcast or the target cannot express something in it."""

    exit_code = 4


class UnsupportedOpError(UnsupportedError):
    """An operator, a layer or one of its attributes has no counterpart in the target."""


class MissingExtraError(UnsupportedError):
    """A package that only this step needs is not installed."""


class BadInputError(NarrowcastError):
    """A file or data that is not what it claims to be."""

    exit_code = 5


class ModelFileError(BadInputError):
    """A model file is damaged, truncated, hostile or contradicts itself."""


class DataError(BadInputError):
    """A data set, an image, an array or a preprocessing expression is unusable."""


class OutputError(BadInputError):
    """A destination cannot be written: no permission, no space, not a folder."""


@contextmanager
def at(where: str) -> Iterator[None]:
    """Names the place (a node, a layer, a file) in any `NarrowcastError` that passes through without one."""
    try:
        yield
    except NarrowcastError as error:
        if not error.where:
            error.where = where
        raise


@contextmanager
def foreign_as(kind: type[NarrowcastError], what: str, hint: str = "") -> Iterator[None]:
    """Turns what libraries raise into one of narrowcast's errors; what its own code raises is a bug and passes through.

    A library's exception is one of a class that a library defines, or one raised in a library's own code.

    Args:
        kind: the class of the error.
        what: what is wrong; the exception's own words follow.
        hint: what the user can do.
    """
    try:
        yield
    except NarrowcastError:
        raise
    except Exception as error:
        if not _is_foreign(error):
            raise
        cause: BaseException = error
        while cause.__cause__ is not None:  # a library may prefix its calls, one by one, to the cause
            cause = cause.__cause__
        said = " ".join(str(cause).split())[:300] or type(cause).__name__
        raise kind(f"{what}: {said}", hint=hint) from error


def _is_foreign(error: BaseException) -> bool:
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    defined, raised = type(error).__module__, frame.tb_frame.f_globals.get("__name__", "") if frame is not None else ""
    return defined.partition(".")[0] not in ("builtins", "narrowcast") or raised.partition(".")[0] != "narrowcast"


def shown(name: str | None) -> str:
    """A name of the file as an error shows it: on one line, and not without end."""
    text = name or ""
    text = text if text.isprintable() else repr(text)[1:-1]
    return text if len(text) <= LONGEST_NAME else f"{text[:LONGEST_NAME]}..."


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question that names the known word nearest to a mistyped one; "" where none is near."""
    from difflib import get_close_matches

    words = {word.lower(): word for word in known}
    near = get_close_matches(name.lower(), words, 1)
    return f"did you mean {words[near[0]]}?" if near else ""
