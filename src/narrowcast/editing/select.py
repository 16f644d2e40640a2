"""Which nodes and tensors an edit means; where none fits, the error lists what it could have meant."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from narrowcast.errors import UsageError, shown
from narrowcast.model import Model, ir

__all__ = ["Selector", "nothing", "operator_of", "tensor_named", "values_of"]

LISTED = 8
LONGEST_COMPARED = 120
"""Letters of names by which the nearest are found, which takes as many steps as their square."""
REPEATS = re.compile(r"[*+{]")
PATIENCE = 5.0
"""Seconds."""
MATCH = """
import json, re, sys
pattern, names = json.load(sys.stdin)
json.dump([name for name in names if re.fullmatch(pattern, name)], sys.stdout)
"""


def operator_of(node: ir.Node) -> str:
    """The operator as users write it: "Conv", "narrowcast::Swish"."""
    return f"{node.domain}::{node.op_type}" if node.domain else node.op_type


def values_of(graph: ir.Graph) -> dict[str, ir.Value]:
    """The tensors of the main graph by name: inputs, constants, and what nodes compute."""
    found = {value.name: value for value in (*graph.inputs, *graph.initializers.values()) if value.name}
    found.update((value.name, value) for node in graph for value in node.outputs if value.name)
    return found


@dataclass(frozen=True, slots=True)
class Selector:
    """What is meant by its name, its operator, or a regular expression that its whole name fits; all that is given.

    Attributes:
        place: where it stands in the document.
        name: exact.
        type: the operator, of nodes alone.
        regex: as of Python's `re`.
    """

    place: str
    name: str = ""
    type: str = ""
    regex: str = ""

    def nodes(self, model: Model) -> list[ir.Node]:
        """The nodes of the main graph that are meant, in order.

        Raises:
            UsageError: there are none.
        """
        fitting = self._fitting([node.name or "" for node in model.graph])
        found = [node for node in model.graph if node.name in fitting and self.type in ("", operator_of(node))]
        if not found:
            raise self._none(model)
        return found

    def tensors(self, values: Iterable[str]) -> list[str]:
        """Those of some tensors that are meant.

        Raises:
            UsageError: there are none.
        """
        if self.type:
            raise UsageError("a tensor has no type of operator", where=self.place, hint="select the node instead")
        known = list(values)
        fitting = self._fitting(known)
        found = [name for name in known if name in fitting]
        if not found:
            raise nothing("tensor", self.name or self.regex, known, self.place)
        return found

    def _fitting(self, names: Sequence[str]) -> Collection[str | None]:
        """The names that the name and the regular expression fit."""
        named = {name for name in names if self.name in ("", name)}
        return named if not self.regex else named.intersection(_matching(self.regex, names, self.place))

    def _none(self, model: Model) -> UsageError:
        types = sorted({operator_of(node) for node in model.graph})
        if self.type and self.type not in types:
            return nothing("operator", self.type, types, self.place)
        known = [node.name or "" for node in model.graph if self.type in ("", operator_of(node))]
        return nothing(f"node of type {self.type}" if self.type else "node", self.name or self.regex, known, self.place)


def _matching(pattern: str, names: Sequence[str], place: str) -> list[str]:
    """The names that a regular expression fits; some take for ever, so all but the plainest are given a time.

    Raises:
        UsageError: that was not enough.
    """
    if "(" not in pattern and len(REPEATS.findall(pattern)) <= 1:
        return [name for name in names if re.fullmatch(pattern, name)]
    asked = json.dumps([pattern, names])
    command = [sys.executable, "-I", "-S", "-c", MATCH]
    try:
        done = subprocess.run(command, input=asked, capture_output=True, text=True, timeout=PATIENCE, check=True)
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
        what = f"the regular expression {pattern[:80]!r} takes too long"
        raise UsageError(what, where=place, hint="repeat nothing that repeats itself") from error
    found: list[str] = json.loads(done.stdout)
    return found


def nothing(kind: str, name: str, known: Sequence[str], place: str) -> UsageError:
    """The error for a name that fits nothing: the nearest names first, then some of the others."""
    lower = {word.lower()[:LONGEST_COMPARED]: word for word in reversed(known)}
    near = [lower[word] for word in get_close_matches(name.lower()[:LONGEST_COMPARED], lower, 3, 0.5)]
    rest = [word for word in known if word not in near][: LISTED - len(near)]
    left = len(known) - len(near) - len(rest)
    told = [f"'{shown(word)}'" for word in (*near, *rest)]
    guess = f"did you mean {' or '.join(told[: len(near)])}? " if near else ""
    listed = ", ".join(told)
    others = f"there {'is' if len(known) == 1 else 'are'} {listed}"
    more = f" and {left} more" if left else ""
    hint = f"{guess}{others}{more}" if known else f"there is no {kind} at all"
    return UsageError(f"no {kind} fits '{shown(name)}'", where=place, hint=hint)


def tensor_named(model: Model, name: str, place: str) -> ir.Value:
    """The tensor of a name.

    Raises:
        UsageError: there is none; the error lists those that nodes compute first.
    """
    values = values_of(model.graph)
    if name not in values:
        raise nothing("tensor", name, sorted(values, key=lambda known: values[known].producer() is None), place)
    return values[name]
