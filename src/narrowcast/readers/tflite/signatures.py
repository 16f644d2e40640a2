"""Which graph of a .tflite file is meant, and what its inputs and outputs are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from narrowcast.errors import UsageError, did_you_mean, shown
from narrowcast.readers.tflite.file import File, Signature, Subgraph

__all__ = ["DEFAULT", "Ports", "ports_of"]

DEFAULT = "serving_default"
"""The key of the signature that is meant where none is asked for, if there is one of that key."""


@dataclass(frozen=True, slots=True)
class Ports:
    """One graph of a file, to be called.

    Attributes:
        graph: the subgraph.
        inputs, outputs: indices of tensors by the names of the ports.
        key: of the signature; empty where a caller gets the same without.
    """

    graph: Subgraph
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]
    key: str = ""


def ports_of(file: File, key: str = "") -> Ports:
    """The graph of a signature.

    Args:
        file: all signatures.
        key: of one; if empty, "serving_default" is meant, or the first, or the first graph where there are none.

    Raises:
        UsageError: there is no signature of that key.
    """
    by_key = {signature.key: signature for signature in file.signatures}
    if key and key not in by_key:
        listed = ", ".join(repr(shown(known)) for known in list(by_key)[:8])
        hint = f"{did_you_mean(key, by_key)} there are {listed}".strip() if by_key else "leave --signature out"
        raise UsageError(f"no signature {shown(key)!r}" + ("" if by_key else ": there are none"), hint=hint)
    signature = by_key.get(key or DEFAULT) or next(iter(file.signatures), None)
    graph = file.subgraphs[signature.subgraph if signature is not None else 0]
    called = key if key or signature is None or signature.subgraph == 0 else signature.key
    if signature is None or not _covers(signature, graph):
        inputs, outputs = (_by_own_names(graph, side) for side in (graph.inputs, graph.outputs))
        return Ports(graph, inputs, outputs, called)
    named = {index: name for name, index in signature.inputs.items()}
    return Ports(graph, {named[index]: index for index in graph.inputs}, dict(signature.outputs), called)


def _covers(signature: Signature, graph: Subgraph) -> bool:
    """Whether each input of a graph has its name in a signature."""
    return sorted(signature.inputs.values()) == sorted(graph.inputs)


def _by_own_names(graph: Subgraph, ports: Sequence[int]) -> dict[str, int]:
    """Ports by their tensors' names; by number where two have one, or none."""
    names = [graph.tensors[index].name for index in ports]
    return {
        name if name and names.count(name) == 1 else f"{name or 'tensor'}_{place}": index
        for place, (name, index) in enumerate(zip(names, ports, strict=True))
    }
