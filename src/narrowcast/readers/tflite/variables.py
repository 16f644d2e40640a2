"""Variables by name, which operators read and write: what they hold in the first inference of a fresh interpreter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from narrowcast.readers.emit import Tensor
from narrowcast.readers.tflite import file

__all__ = ["Key", "Variables", "key_of", "written_later"]

Key: TypeAlias = "tuple[str, str]"
"""Of a variable: its container and its name."""


@dataclass(slots=True)
class Variables:
    """What the networks of one file know of its variables.

    Attributes:
        lasting: those that an inference writes, for the next one to read.
        initial: constants that they hold before the first inference.
        now: what they hold where the main graph has come to.
    """

    lasting: frozenset[Key]
    initial: dict[Key, file.Tensor] = field(default_factory=dict)
    now: dict[Key, Tensor] = field(default_factory=dict)


def key_of(handle: file.Operator) -> Key:
    """Whose handle a VAR_HANDLE gives."""
    options = handle.options
    return ("", "") if options is None else (options["container"] or "", options["shared_name"] or "")


def written_later(source: file.File) -> frozenset[Key]:
    """The variables that are written after their initialisation."""
    first = {
        operator.options["init_subgraph_index"]
        for graph in source.subgraphs
        for operator in graph.operators
        if operator.name == "CALL_ONCE" and operator.options is not None
    }
    return frozenset(key for graph in source.subgraphs if graph.index not in first for key in _written(graph))


def _written(graph: file.Subgraph) -> Iterator[Key]:
    handles = {found.outputs[0]: key_of(found) for found in graph.operators if found.name == "VAR_HANDLE"}
    for operator in graph.operators:
        if operator.name == "ASSIGN_VARIABLE" and operator.inputs[0] in handles:
            yield handles[operator.inputs[0]]
