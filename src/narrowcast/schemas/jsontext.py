"""JSON as people edit it: read with every mistake told by its place.

A place in a document is written as its keys and indices: `graph.node[3].attribute[0].type`.
"""

from __future__ import annotations

import json
import mmap
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from narrowcast._files import readable_file
from narrowcast.errors import ModelFileError, shown

__all__ = ["LARGEST", "item", "key", "read", "told"]

LARGEST = 2**31 - 1
"""Bytes of a document; what is read takes up to five times as many of memory."""
ASIDE = "keep its weights in a file beside it: --inline-limit 1024"
"""What to do about a document that is too large."""
_LONGEST_SHOWN = 60
_WORDS = re.compile(r'"(?:[^"\\]|\\.)*"?|(?<![\w.])[A-Za-z_]\w*', re.DOTALL)
_MEANT = {"true": "true", "false": "false", "null": "null", "nan": "NaN", "inf": "Infinity"}


class _Twice(dict[str, Any]):
    """An object that has a key more than once."""


def read(
    path: Path,
    compact: Callable[[Any], Any] | None = None,
    fold: Callable[[str], str] = str,
    *,
    relaxed: bool = False,
) -> Any:
    """Reads a document in which no object has a key twice.

    Args:
        path: the file, in UTF-8.
        compact: is given each value of an object as soon as that is read; what it returns takes the value's place.
        fold: makes one of the spellings of a key.
        relaxed: whether keys may stand without quotes, and nan and inf as numbers, as flatc writes them.

    Raises:
        ModelFileError: it is too large, no JSON, nested too deeply, or has a key twice.
    """
    size = readable_file(path).stat().st_size
    if size > LARGEST:
        raise ModelFileError(f"{size / 2**30:.1f} GiB of JSON; {LARGEST / 2**30:.0f} are read", hint=ASIDE)
    twice: list[str] = []

    def collected(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs) if compact is None else {key: compact(value) for key, value in pairs}
        if len({fold(name) for name in found}) == len(pairs):
            return found
        counts = Counter(fold(name) for name, _ in pairs)
        twice.append(next(name for name, _ in reversed(pairs) if counts[fold(name)] > 1))
        return _Twice(found)

    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            text = str(content, "utf-8-sig")
        try:
            document = json.loads(text, object_pairs_hook=collected)
        except json.JSONDecodeError:
            if not relaxed:
                raise
            twice.clear()
            document = json.loads(_WORDS.sub(_quoted, text), object_pairs_hook=collected)
    except UnicodeDecodeError as error:
        raise ModelFileError(f"no JSON: byte {error.start} is no UTF-8 text") from error
    except json.JSONDecodeError as error:
        raise ModelFileError(f"no JSON: {error.msg} in line {error.lineno}, column {error.colno}") from error
    except RecursionError as error:
        raise ModelFileError("no model: its objects are nested too deeply") from error
    except ValueError as error:  # an integer of thousands of digits
        raise ModelFileError("no model: a number in it is too long") from error
    if twice:
        place = next(_places(document, ""), "")
        raise ModelFileError(f"{key(place, twice[0])}: stands twice in one object", hint="remove one of the two")
    return document


def _quoted(word: re.Match[str]) -> str:
    found = word.group()
    return found if found.startswith('"') else _MEANT.get(found, f'"{found}"')


def _places(value: Any, place: str) -> Iterator[str]:
    """Where the objects lie that have a key twice."""
    if isinstance(value, _Twice):
        yield place
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _places(inner, key(place, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _places(inner, item(place, index))


def key(place: str, name: str) -> str:
    """The place of an object's value."""
    return f"{place}.{shown(name)}" if place else shown(name)


def item(place: str, index: int) -> str:
    """The place of a list's element."""
    return f"{place}[{index}]"


def told(value: Any) -> str:
    """A value as it stands in the document, cut short."""
    kinds: dict[type, str] = {dict: "an object", list: "a list", bytes: "a list"}
    if type(value) in kinds:
        return kinds[type(value)]
    text = json.dumps(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."
