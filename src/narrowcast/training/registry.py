"""Operators of the dialect as functions on torch tensors, registered by name.

A function has the operator's inputs as positional parameters and its attributes as keywords, with ONNX's defaults. It
runs whatever batch it is given: the first axis may be longer than the graph says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from inspect import Parameter, signature
from typing import Any, TypeVar

from narrowcast._extras import modules_of
from narrowcast.dialect.build import attributes_of, constant_of
from narrowcast.errors import UnsupportedOpError, shown
from narrowcast.model import ir

__all__ = ["TRANSLATIONS", "Translation", "bound", "key_of", "prepares", "translates", "translations"]

Function = Callable[..., Any]
F = TypeVar("F", bound=Function)


@dataclass(frozen=True, slots=True)
class Translation:
    """How an operator is computed.

    Attributes:
        function: of tensors, with attributes as keywords; or of a node, where it is `prepared`.
        numbers: inputs that are handed over as Python's numbers and lists: they have to be constants.
        prepared: whether the function makes another one of a node, which then gets the tensors.
        inputs: how many of the inputs it gets; all if None.
    """

    function: Function
    numbers: tuple[int, ...] = ()
    prepared: bool = False
    inputs: int | None = None


TRANSLATIONS: dict[str, Translation] = {}


def translates(*names: str, numbers: Sequence[int] = ()) -> Callable[[F], F]:
    """Registers a function of tensors for operators of these names, "domain::name" outside ONNX's own."""
    return _registered(names, lambda function: Translation(function, tuple(numbers)))


def prepares(*names: str, inputs: int | None = None) -> Callable[[F], F]:
    """Registers a function that makes of a node a function of its first inputs."""
    return _registered(names, lambda function: Translation(function, prepared=True, inputs=inputs))


def _registered(names: Sequence[str], made: Callable[[Function], Translation]) -> Callable[[F], F]:
    def register(function: F) -> F:
        for name in names:
            if name in TRANSLATIONS:
                raise ValueError(f"{name} has two translations")
            TRANSLATIONS[name] = made(function)
        return function

    return register


def key_of(node: ir.Node) -> str:
    """The name by which a node's operator is registered."""
    return f"{node.domain}::{node.op_type}" if node.domain else node.op_type


@cache
def translations() -> dict[str, Translation]:
    """All operators that there are functions for."""
    from narrowcast.training import ops

    modules_of(ops)
    return TRANSLATIONS


def bound(node: ir.Node) -> tuple[Function, list[ir.Value | None]]:
    """What computes a node, and the inputs that it takes.

    Raises:
        UnsupportedOpError: there is no function for the operator, or for the form of it.
    """
    found = translations().get(key_of(node))
    if found is None:
        raise UnsupportedOpError(
            f"training has no {shown(key_of(node))}",
            where=shown(node.name),
            hint="train the part before or after it: --cut-outputs, --cut-inputs",
        )
    if found.prepared:
        return found.function(node), list(node.inputs[: found.inputs])
    attributes = attributes_of(node)
    known = signature(found.function).parameters if attributes else {}
    for name in attributes:
        if name not in known or known[name].kind is not Parameter.KEYWORD_ONLY:
            raise UnsupportedOpError(f"training knows no {node.op_type} with {shown(name)}", where=shown(node.name))
    function = partial(found.function, **attributes) if attributes else found.function
    if not found.numbers:
        return function, list(node.inputs)
    given = {index: _number(node, index) for index in found.numbers if index < len(node.inputs)}
    tensors = [None if index in given else value for index, value in enumerate(node.inputs)]

    def with_numbers(*values: Any) -> Any:
        return function(*(given.get(index, value) for index, value in enumerate(values)))

    return with_numbers, tensors


def _number(node: ir.Node, index: int) -> Any:
    """A constant input in Python's numbers; None where it is left out."""
    value = node.inputs[index]
    if value is None:
        return None
    array = constant_of(value)
    if array is None:
        raise UnsupportedOpError(
            f"training wants input {index} of {node.op_type} to be a constant", where=shown(node.name)
        )
    return array.tolist()
