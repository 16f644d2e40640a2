"""How each group of a network is stored: by the scheme, or by what an override says of nodes of its name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import translate

from narrowcast.dialect.control import all_graphs
from narrowcast.errors import UsageError
from narrowcast.model import Model, ir
from narrowcast.quantization.scheme import Scheme, scheme_named
from narrowcast.targets.rules import Storage, Target

__all__ = ["Choice", "Overrides", "choose", "needs_ranges"]

Overrides = Mapping[str, Storage | str]
"""Storage, or the name of a scheme whose storage is meant, by a pattern of node or tensor names.

"head" and "head/*" both mean all nodes of that path. Where several patterns fit, the last one holds.
"""

_WILD = re.compile(r"[*?[]")


@dataclass(frozen=True, slots=True)
class Choice:
    """How the nodes of a model are stored.

    Attributes:
        default: of all that no override names.
        named: of nodes that one does.
    """

    default: Storage
    named: Mapping[ir.Node, Storage] = field(default_factory=dict)

    def of(self, nodes: Sequence[ir.Node]) -> Storage:
        """How nodes that become one operator are stored."""
        return next((self.named[node] for node in reversed(nodes) if node in self.named), self.default)

    @property
    def kinds(self) -> list[Storage]:
        """All storages that are asked for, the default first."""
        return list(dict.fromkeys((self.default, *self.named.values())))


def choose(model: Model, target: Target, scheme: Scheme | str, overrides: Overrides | None) -> Choice:
    """How the groups of a model are stored.

    Args:
        model: canonical.
        target: has the scheme's storage.
        scheme: of all groups that no override names.
        overrides: by patterns with `*` and `?` of the names of nodes or of the tensors that they compute.

    Raises:
        UsageError: the target lacks a scheme, a pattern fits nothing, or what it asks for contradicts itself.
    """
    default = _storage(target, scheme)
    chosen = {pattern: _checked(pattern, _storage(target, wanted)) for pattern, wanted in (overrides or {}).items()}
    found: dict[ir.Node, Storage] = {}
    fitting: set[str] = set()
    matches = {pattern: re.compile(translate(pattern)).match for pattern in chosen if _WILD.search(pattern)}
    for node in (node for graph in all_graphs(model.graph) if chosen for node in graph):
        names = set(_names(node))
        for pattern, storage in chosen.items():
            match = matches.get(pattern)
            if pattern in names if match is None else any(map(match, names)):
                found[node] = storage
                fitting.add(pattern)
    if strange := [pattern for pattern in chosen if pattern not in fitting]:
        raise UsageError(f"no node is named like {strange[0]!r}", hint="narrowcast inspect MODEL --why names the nodes")
    return Choice(default, found)


def _names(node: ir.Node) -> Iterator[str]:
    """What a node goes by: its name, those of its outputs, and the paths that lead to them."""
    for name in (node.name, *(value.name for value in node.outputs)):
        parts = (name or "").split("/")
        yield from ("/".join(parts[:count]) for count in range(1, len(parts) + 1) if name)


def needs_ranges(target: Target, scheme: str, overrides: Overrides | None) -> bool:
    """Whether activations of some group become integers, so that their ranges are needed.

    Raises:
        UsageError: the target lacks a scheme.
    """
    wanted = [_storage(target, name) for name in (scheme, *(overrides or {}).values())]
    return any(storage.activations != "float32" for storage in wanted)


def _storage(target: Target, wanted: Storage | Scheme | str) -> Storage:
    if isinstance(wanted, Storage):
        return wanted
    row = scheme_named(wanted) if isinstance(wanted, str) else wanted
    if row.name not in target.storage:
        raise UsageError(f"{target.title} has no scheme {row.name}", hint=f"its schemes: {', '.join(target.storage)}")
    storage = target.storage[row.name]
    return replace(storage, weights="int4", block=row.block or storage.block) if row.weights == "int4" else storage


def _checked(pattern: str, storage: Storage) -> Storage:
    if storage.activations != "float32" and storage.weights not in ("int8", "int4"):
        raise UsageError(
            f"{pattern!r} is to have {storage.activations} activations and {storage.weights} weights",
            hint="integer activations need integer weights",
        )
    return storage
