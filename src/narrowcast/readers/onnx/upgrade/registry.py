"""Where the upgrades are registered, and what they have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from narrowcast.dialect.build import Builder
from narrowcast.model import OPSET, ir

__all__ = ["ALWAYS", "UPGRADES", "Row", "Upgrade", "changed", "is_due", "replace", "set_input", "to_input", "typed"]

Upgrade = Callable[[ir.Node, Builder], None]

ALWAYS = OPSET + 1
"""Opset of a spelling that is put right whatever the model's opset."""


class Row(NamedTuple):
    """A change of an operator: the opset that brought it, and the function that brings older nodes there."""

    opset: int
    function: Upgrade


UPGRADES: dict[str, list[Row]] = {}


def changed(opset: int, *operators: str) -> Callable[[Upgrade], Upgrade]:
    """Registers an upgrade for operators that changed in `opset`; a second one for the same change is an error."""

    def register(function: Upgrade) -> Upgrade:
        for operator in operators:
            rows = UPGRADES.setdefault(operator, [])
            if any(row.opset == opset for row in rows):
                raise ValueError(f"{operator} has an upgrade to opset {opset} already")
            rows.append(Row(opset, function))
            rows.sort()
        return function

    return register


def is_due(row: Row, opset: int) -> bool:
    """Whether nodes of `opset` are older than the change."""
    return opset < row.opset or row.opset == ALWAYS


def set_input(node: ir.Node, index: int, value: ir.Value | None) -> None:
    """Sets an input, with empty ones before it where there are none."""
    if len(node.inputs) <= index:
        node.resize_inputs(index + 1)
    node.replace_input_with(index, value)


def to_input(node: ir.Node, build: Builder, attribute: str, index: int, *, scalar_to_1d: bool = False) -> None:
    """Makes a constant input of an attribute of integers; nothing where the attribute is not given."""
    found = node.attributes.pop(attribute, None)
    if found is not None:
        array = np.array(found.value, np.int64)
        set_input(node, index, build.constant(array.reshape(-1) if scalar_to_1d else array, _name(node, attribute)))


def typed(node: ir.Node, build: Builder, attribute: str, index: int) -> None:
    """Makes a constant input, of the type of the first input, of a float attribute."""
    found = node.attributes.pop(attribute, None)
    if found is None:
        return
    source = node.inputs[0]
    name = _name(node, attribute)
    if source is not None and source.dtype is not None:
        constant = build.constant(np.array(found.as_float(), source.dtype.numpy()), name)
    else:
        constant = build("CastLike", build.constant(np.array(found.as_float(), np.float32), name), source, name=name)
    set_input(node, index, constant)


def replace(node: ir.Node, build: Builder, op_type: str, *inputs: ir.Value | None, **attributes: Any) -> None:
    """Puts another node in the place of one with a single output, whose name and type go over."""
    old = node.outputs[0]
    name = old.name
    new: ir.Value = build(op_type, *inputs, name=f"{name}/{op_type}", **attributes)
    new.type, new.shape = old.type, old.shape
    take_over(old, new, build)
    build.graph.remove(node, safe=True)


def take_over(old: ir.Value, new: ir.Value, build: Builder) -> None:
    """Lets `new` stand wherever `old` is read, and as the graph's output under its name."""
    maker = new.producer()
    for use in tuple(old.uses()):
        if use.node is not maker:
            use.node.replace_input_with(use.idx, new)
    if old.is_graph_output():
        outputs = build.graph.outputs
        outputs[list(outputs).index(old)] = new
    name = old.name
    old.name = build.unique(f"{name}/replaced")
    new.name = name


def _name(node: ir.Node, part: str) -> str:
    return f"{node.outputs[0].name}/{part}"
