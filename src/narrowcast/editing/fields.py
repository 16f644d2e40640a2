"""The values of an edit as JSON says them: each parser checks one kind, and its errors name the JSON path."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from narrowcast.editing.constants import Constant
from narrowcast.editing.select import Selector
from narrowcast.errors import DataError, did_you_mean

__all__ = [
    "Field",
    "Parser",
    "Place",
    "attributes",
    "boolean",
    "constant",
    "dtype",
    "names",
    "number",
    "numbers",
    "one_of",
    "operands",
    "optional",
    "parsed",
    "renames",
    "required",
    "selector",
    "text",
    "whole",
    "wholes",
]

T = TypeVar("T")
LARGEST_NUMBER = 2**63 - 1
_FLOATS = ("float32", "float16", "float64", "bfloat16")
_INTEGERS = ("int4", "int8", "int16", "int32", "int64", "uint4", "uint8", "uint16", "uint32", "uint64")
DTYPES = (*_FLOATS, *_INTEGERS, "bool")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands.

    Attributes:
        path: in the document, as errors name it ("edits.json: edits[3].value").
        folder: where the files lie that it names; None where it may name none.
    """

    path: str
    folder: Path | None = None

    def at(self, key: str | int) -> Place:
        """The place of an element within."""
        step = f"[{key}]" if isinstance(key, int) else key if self.path.endswith(": ") or not self.path else f".{key}"
        return Place(f"{self.path}{step}", self.folder)

    def error(self, what: str, hint: str = "") -> DataError:
        """The error that says what is wrong here."""
        return DataError(what, where=self.path.removesuffix(": "), hint=hint)

    def wanted(self, what: str, value: object) -> DataError:
        """The error where another kind of value stands."""
        return self.error(f"expected {what}, not {_shown(value)}")


Parser = Callable[[Any, Place], T]


@dataclass(frozen=True, slots=True)
class Field:
    """A field of an object: how it is read, and whether it may be left out."""

    parse: Parser[Any]
    needed: bool
    default: Any = None


def required(parse: Parser[Any]) -> Field:
    """A field that must be there."""
    return Field(parse, needed=True)


def optional(parse: Parser[Any], default: Any = None) -> Field:
    """A field that may be left out."""
    return Field(parse, needed=False, default=default)


def parsed(value: object, place: Place, fields: Mapping[str, Field]) -> dict[str, Any]:
    """The fields of an object, those that were left out by their defaults.

    Raises:
        DataError: it is no object, has a field that is not known, or lacks one.
    """
    if not isinstance(value, Mapping):
        raise place.wanted("an object", value)
    for name in value:
        if name not in fields:
            hint = did_you_mean(str(name), fields) or f"known: {', '.join(fields)}"
            raise place.error(f"there is no field {str(name)[:80]!r}", hint)
    for name, field in fields.items():
        if field.needed and name not in value:
            raise place.error(f"the field {name!r} is missing")
    return {
        name: field.parse(value[name], place.at(name)) if name in value else field.default
        for name, field in fields.items()
    }


def _shown(value: object) -> str:
    text = f"a {type(value).__name__}" if isinstance(value, np.ndarray) else repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def text(value: Any, place: Place) -> str:
    """A text with at least one letter."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise place.wanted("a text", value)
    return value


def whole(value: Any, place: Place) -> int:
    """A whole number of 64 bits."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or abs(int(value)) > LARGEST_NUMBER:
        raise place.wanted("a whole number", value)
    return int(value)


def number(value: Any, place: Place) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.floating) or not -1e308 < value < 1e308:
        raise place.wanted("a number", value)
    return float(value)


def boolean(value: Any, place: Place) -> bool:
    """Either true or false."""
    if not isinstance(value, bool):
        raise place.wanted("true or false", value)
    return value


def _list(value: Any, place: Place, parse: Parser[T], what: str) -> list[T]:
    if isinstance(value, str | Mapping) or not isinstance(value, Sequence):
        raise place.wanted(f"a list of {what}", value)
    return [parse(item, place.at(index)) for index, item in enumerate(value)]


def wholes(value: Any, place: Place) -> list[int]:
    """A list of whole numbers."""
    return _list(value, place, whole, "whole numbers")


def numbers(value: Any, place: Place) -> list[float]:
    """A number, or a list of at least one."""
    found = _list([value] if isinstance(value, int | float) else value, place, number, "numbers")
    if not found:
        raise place.wanted("at least one number", value)
    return found


def names(value: Any, place: Place) -> list[str]:
    """A list of different names."""
    found = _list(value, place, text, "names")
    if len(set(found)) < len(found):
        raise place.error("a name stands there twice")
    return found


def renames(value: Any, place: Place) -> dict[str, str]:
    """New names by old ones."""
    if not isinstance(value, Mapping) or not value:
        raise place.wanted("new names by old ones", value)
    found = {text(old, place): text(new, place.at(str(old))) for old, new in value.items()}
    if len(set(found.values())) < len(found):
        raise place.error("a new name stands there twice")
    return found


def one_of(*words: str) -> Parser[str]:
    """One of some words."""

    def parse(value: Any, place: Place) -> str:
        if value not in words:
            guess = did_you_mean(value, words) if isinstance(value, str) else ""
            raise place.error(f"expected one of {', '.join(words)}, not {_shown(value)}", guess)
        return str(value)

    return parse


def dtype(value: Any, place: Place) -> np.dtype[Any]:
    """A type of elements by its name in numpy."""
    return np.dtype(one_of(*DTYPES)(value, place))


def selector(value: Any, place: Place) -> Selector:
    """Which nodes or tensors are meant: a name, or an object with `name`, `type` or `regex`."""
    if isinstance(value, str):
        return Selector(place.path, name=text(value, place))
    fields = {"name": optional(text, ""), "type": optional(text, ""), "regex": optional(_pattern, "")}
    found = parsed(value, place, fields)
    if not any(found.values()):
        raise place.error("nothing is selected", f"give one of {', '.join(fields)}")
    return Selector(place.path, **found)


def _pattern(value: Any, place: Place) -> str:
    import re

    pattern = text(value, place)
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise place.error(f"not a regular expression: {error}") from error
    return pattern


def constant(value: Any, place: Place) -> Constant:
    """An array: a number, nested lists, `{"value": ..., "dtype": ...}`, `{"file": "x.npy"}`, or numpy's own."""
    if not isinstance(value, Mapping):
        return Constant.inline(value, place)
    found = parsed(value, place, {"value": optional(_any), "file": optional(text), "dtype": optional(dtype)})
    if (found["value"] is None) == (found["file"] is None):
        raise place.error("expected either 'value' or 'file'")
    if found["file"] is not None:
        return Constant.of_file(found["file"], place.at("file"), found["dtype"])
    return Constant.inline(found["value"], place.at("value"), found["dtype"])


def _any(value: Any, _place: Place) -> Any:
    return value


def operands(value: Any, place: Place) -> list[str | Constant | None]:
    """Inputs of an operator: names of tensors, constants, null for one that is left out."""

    def operand(item: Any, where: Place) -> str | Constant | None:
        return item if item is None else text(item, where) if isinstance(item, str) else constant(item, where)

    return _list(value, place, operand, "inputs")


def attributes(value: Any, place: Place) -> dict[str, tuple[Any, Place]]:
    """Values of attributes by name, each with its place: what they must be, the operator says."""
    if not isinstance(value, Mapping):
        raise place.wanted("attributes by name", value)
    return {text(name, place): (item, place.at(str(name))) for name, item in value.items()}
