"""A recipe: a trial as YAML that people read and edit, with what each choice brought as comments."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

from narrowcast.errors import DataError
from narrowcast.evaluation.trials import Trial

__all__ = ["read_recipe", "spelled"]

LARGEST = 1 << 18
"""Bytes of a recipe."""
_HEAD = ("source", "target", "scheme", "seed")


def spelled(trial: Trial, about: str = "", why: Mapping[str, str] | None = None) -> str:
    """A trial as a recipe.

    Args:
        trial: what it says.
        about: lines above it.
        why: what to say of a setting, by its name.
    """
    import yaml

    data = trial.to_data()
    lines = [_comment(line) for line in about.splitlines()]
    for name, value in {**{name: data[name] for name in _HEAD}, **data["overrides"]}.items():
        lines += [_comment(line) for line in (why or {}).get(name, "").splitlines()]
        plain = json.dumps(value, ensure_ascii=False).isprintable()  # other characters YAML may fold
        lines.append(yaml.safe_dump({name: value}, sort_keys=False, allow_unicode=plain, width=10_000).rstrip())
    return "\n".join(lines) + "\n"


def _comment(line: str) -> str:
    """A line as a comment; characters that YAML refuses are spelled, as names come out of files."""
    plain = (char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in line)
    return f"# {''.join(plain)}".rstrip()


def read_recipe(path: str | Path) -> Trial:
    """The trial that a recipe says; its overrides are what the verbs take as options.

    Args:
        path: of the YAML file: fields of `Settings`, and `scheme`; `target` is "tflite" and `seed` 0 where they are
            left out, and `source` is for people alone.

    Raises:
        DataError: the file cannot be read, is no YAML, or says something that no trial has.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", where=str(path)) from error
    if len(content) > LARGEST:
        raise DataError("it is too large for a recipe", where=str(path))
    try:
        data = _loaded(content)
        if not isinstance(data, dict):
            raise DataError("a recipe says a scheme", hint="as in: 'scheme: int8'")
        head = {"source": "-", "target": "tflite", **{name: data[name] for name in _HEAD if name in data}}
        settings = {str(name): value for name, value in data.items() if name not in _HEAD}
        return Trial.from_data({**head, "overrides": settings})
    except DataError as error:
        raise DataError(error.what, where=str(path), hint=error.hint) from error


def _loaded(content: bytes) -> Any:
    """What YAML says, plain values only.

    Raises:
        DataError: it is none, says a name twice, has tags, or repeats parts by reference.
    """
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        """Without references, by which a small file could say more than memory holds, and without tags (!!int)."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            event = self.peek_event()
            if isinstance(event, yaml.AliasEvent):
                raise DataError(f"line {event.start_mark.line + 1}: references (*name) are not for recipes")
            if getattr(event, "tag", None) is not None:
                raise DataError(f"line {event.start_mark.line + 1}: tags ({event.tag[:80]}) are not for recipes")
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
            seen: set[str] = set()
            for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
                if key.value in seen:
                    raise DataError(f"line {key.start_mark.line + 1}: {key.value[:80]!r} is said twice")
                seen.add(key.value)
            made: dict[Hashable, Any] = super().construct_mapping(node, deep)
            return made

    try:
        return yaml.load(content, Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = "" if mark is None else f"line {mark.line + 1}: "
        raise DataError(f"{place}it is no YAML: {getattr(error, 'problem', None) or error}") from error
    except (ValueError, OverflowError, RecursionError) as error:
        raise DataError(f"it is no recipe: {error}") from error
