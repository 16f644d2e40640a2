"""A document of edits: JSON of a version, checked as a whole before anything is changed, then carried out in order.

{"version": 1, "edits": [{"do": "set_attributes", "nodes": "perm", "attributes": {"perm": [0, 2, 3, 1]}}]}
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from narrowcast._files import readable_file
from narrowcast.editing.action import ACTIONS, Action, Site
from narrowcast.editing.constants import Constant
from narrowcast.editing.fields import Place, parsed
from narrowcast.editing.sound import make_sound, told_at
from narrowcast.errors import DataError, did_you_mean
from narrowcast.model import Array, Model
from narrowcast.readers.check import check

__all__ = ["VERSION", "Document", "Edit", "apply", "cuts", "edits_of"]

VERSION = 1
LARGEST_DOCUMENT = 1 << 28
"""Bytes; larger weights belong into .npy files."""
LONGEST_RECORDED = 1000
"""Characters of a value that the record of a file repeats; of longer ones it has the SHA-256."""

Document: TypeAlias = str | Path | Mapping[str, Any]
"""A JSON file, or what it would hold, in which constants may be arrays of numpy."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One edit, checked but for the network.

    Attributes:
        place: where it stands.
        action: what it does.
        given: the fields of the action.
        record: as a file that is written tells of it: without long values.
    """

    place: str
    action: Action
    given: Mapping[str, Any]
    record: Mapping[str, Any]


def edits_of(document: Document) -> tuple[Edit, ...]:
    """The edits of a document.

    Raises:
        DataError: it cannot be read, is no JSON, or says what no edit has; the error names the JSON path.
        BadInputError: a file that it names is missing, damaged, or lies outside of its folder.
    """
    if isinstance(document, Mapping):
        return _edits(document, Place(""))
    path = Path(document)
    return _edits(_json(path), Place(f"{path}: ", path.parent))


def cuts(inputs: Sequence[str], outputs: Sequence[str]) -> tuple[Edit, ...]:
    """The edit that cuts a network, or none where neither is given.

    Raises:
        DataError: a name is empty, or stands there twice.
    """
    if not inputs and not outputs:
        return ()
    given = {"inputs": list(inputs), "outputs": list(outputs)}
    return (_edit({"do": "cut", **{name: value for name, value in given.items() if value}}, Place("cut")),)


def apply(model: Model, edits: Sequence[Edit]) -> Model:
    """Carries edits out, one after the other, in place.

    Args:
        model: as a reader gives it.
        edits: of `edits_of` and `cuts`.

    Returns:
        The model, whose provenance says what was done.

    Raises:
        UsageError: an edit fits nothing, or the network is not sound after it; the error names the edit and the node.
        DataError: an attribute is not its operator's, or a constant of a wrong type.
    """
    for edit in edits:
        site = Site(model, edit.place)
        edit.action.run(site, **edit.given)
        make_sound(site)
    if edits:
        with told_at(edits[-1].place):
            check(model)
    origin = model.provenance
    return replace(model, provenance=replace(origin, edits=(*origin.edits, *(dict(edit.record) for edit in edits))))


def _json(path: Path) -> Any:
    place = Place(f"{path}: ")
    if readable_file(path).stat().st_size > LARGEST_DOCUMENT:
        raise place.error("larger than 256 MB", 'keep large constants in .npy files: {"file": "x.npy"}')
    try:
        return json.loads(path.read_bytes(), object_pairs_hook=_object, parse_constant=_no_number)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"not a JSON document: {error}", where=str(path)) from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} stands twice in an object")
    return found


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no number of JSON")


def _edits(data: object, place: Place) -> tuple[Edit, ...]:
    if not isinstance(data, Mapping):
        raise place.wanted('an object {"version": 1, "edits": [...]}', data)
    for name in data:
        if name not in ("version", "edits"):
            raise place.error(f"there is no field {str(name)[:80]!r}", did_you_mean(str(name), ("version", "edits")))
    version = data.get("version")
    if version != VERSION or isinstance(version, bool):
        raise place.at("version").wanted(f"the version {VERSION}", version)
    listed, where = data.get("edits"), place.at("edits")
    if not isinstance(listed, list | tuple):
        raise where.wanted("a list of edits", listed)
    return tuple(_edit(item, where.at(index)) for index, item in enumerate(listed))


def _edit(data: object, place: Place) -> Edit:
    if not isinstance(data, Mapping):
        raise place.wanted('an object {"do": ...}', data)
    name = data.get("do")
    if not isinstance(name, str) or name not in ACTIONS:
        guess = did_you_mean(name, ACTIONS) if isinstance(name, str) else ""
        raise (
            place.at("do").wanted("an action", name)
            if not guess
            else place.at("do").error(f"there is no action {name!r}", f"{guess} known: {', '.join(ACTIONS)}")
        )
    given = parsed({key: value for key, value in data.items() if key != "do"}, place, ACTIONS[name].fields)
    return Edit(place.path, ACTIONS[name], given, {key: _recorded(item, given.get(key)) for key, item in data.items()})


def _recorded(value: Any, found: Any) -> Any:
    """A value as JSON has it; of files, of arrays and of what is long, a digest.

    Args:
        value: as it was given.
        found: what it was read as.
    """
    if isinstance(found, Constant):
        names = {key: value[key] for key in ("file", "dtype") if key in value} if isinstance(value, Mapping) else {}
        if found.typed:
            return {**{key: str(item) for key, item in names.items()}, **_digest(found.array)}
    if isinstance(value, list | tuple) and isinstance(found, list) and len(found) == len(value):
        return [_recorded(*pair) for pair in zip(value, found, strict=True)]
    text = json.dumps(value, default=lambda item: _digest(np.asarray(item)))
    recorded = json.loads(text)
    return recorded if len(text) <= LONGEST_RECORDED else _digest(text.encode())


def _digest(data: bytes | Array) -> dict[str, str]:
    elements = data if isinstance(data, bytes) else np.ascontiguousarray(data).reshape(-1).view(np.uint8).data
    return {"sha256": hashlib.sha256(elements).hexdigest()}
