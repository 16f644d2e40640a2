"""What an action is: a function of the graph at hand, under its name and with the fields that its object has."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from narrowcast.dialect.build import Builder
from narrowcast.editing.constants import Constant
from narrowcast.editing.fields import Field
from narrowcast.editing.select import tensor_named, values_of
from narrowcast.errors import UsageError
from narrowcast.model import Array, Model, ir

__all__ = ["ACTIONS", "Action", "Site", "action"]

Run = Callable[..., None]
_Run = TypeVar("_Run", bound=Run)


@dataclass(slots=True)
class Site:
    """The graph that an edit works on.

    Attributes:
        model: changed in place.
        place: of the edit in its document.
        touched: nodes whose outputs may have other shapes or types than before.
    """

    model: Model
    place: str
    touched: set[ir.Node] = field(default_factory=set)

    @property
    def graph(self) -> ir.Graph:
        """The main graph."""
        return self.model.ir.graph

    def error(self, what: str, hint: str = "", field: str = "") -> UsageError:
        """The error that says why the edit does not fit the network."""
        return UsageError(what, where=f"{self.place}.{field}" if field else self.place, hint=hint)

    def tensor(self, name: str, field: str) -> ir.Value:
        """A tensor by its name.

        Raises:
            UsageError: there is none.
        """
        return tensor_named(self.model, name, f"{self.place}.{field}")

    @property
    def builder(self) -> Builder:
        """Appends to the graph."""
        return Builder(self.graph)

    def values(self) -> dict[str, ir.Value]:
        """All tensors by name."""
        return values_of(self.graph)

    def made_by(self, value: ir.Value) -> ir.Node:
        """The node that computes a tensor, which is one that an edit made."""
        node = value.producer()
        assert node is not None
        return node

    def constant(self, constant: Constant, like: ir.Value | None, name: str) -> ir.Value:
        """A new constant, of the type of a tensor beside it where the document does not say its own."""
        known = like.dtype.numpy() if like is not None and like.dtype is not None and not constant.typed else None
        return self.builder.constant(constant.of_type(known), name)

    def add(self, op_type: str, *inputs: ir.Value | None, name: str = "", **attributes: Any) -> ir.Value:
        """A new node at the end of the graph, which is put in order later; returns its first output."""
        made: ir.Value = self.builder(op_type, *inputs, name=name or None, **attributes)
        self.changed(made)
        return made

    def number(self, value: float | Array, like: ir.Value) -> ir.Value:
        """A constant of a tensor's type."""
        dtype = like.dtype.numpy() if like.dtype is not None else np.dtype(np.float32)
        return self.builder.constant(np.asarray(value, dtype), "number")

    def changed(self, *values: ir.Value) -> None:
        """Notes that values, and what depends on them, may have other shapes or types now."""
        self.touched.update(node for value in values if (node := value.producer()) is not None)

    def read_by(self, value: ir.Value) -> None:
        """Notes that what reads a value may have other outputs now."""
        self.touched.update(use.node for use in value.uses())

    def reconnect(self, old: ir.Value, new: ir.Value, nodes: Collection[ir.Node]) -> int:
        """Lets some nodes read another tensor in the place of one; returns how often they did."""
        uses = [use for use in old.uses() if use.node in nodes]
        for use in uses:
            use.node.replace_input_with(use.idx, new)
        self.read_by(new)
        self.changed(new)
        return len(uses)

    def replace(self, old: ir.Value, new: ir.Value, *spared: ir.Node) -> None:
        """Lets a tensor stand wherever another did, but in some nodes; outputs of the graph keep their names.

        Raises:
            UsageError: the old one is an input and an output at once.
        """
        self.reconnect(old, new, {use.node for use in old.uses()} - set(spared))
        if old.is_graph_output():
            if old.is_graph_input():
                raise self.error(f"{old.name!r} is an input and an output at once")
            if new.producer() is None or new.is_graph_output():
                new = self.add("Identity", new)
            self.graph.outputs[list(self.graph.outputs).index(old)] = new
            old.name, new.name = self.builder.unique(f"{old.name}/inner"), old.name


@dataclass(frozen=True, slots=True)
class Action:
    """What can be done to a graph.

    Attributes:
        name: as the document says it.
        fields: those of its object, beside "do".
        run: takes the site and the fields.
    """

    name: str
    fields: dict[str, Field]
    run: Run


ACTIONS: dict[str, Action] = {}


def action(name: str, /, **fields: Field) -> Callable[[_Run], _Run]:
    """Registers a function as an action whose object has these fields."""

    def register(function: _Run) -> _Run:
        ACTIONS[name] = Action(name, fields, function)
        return function

    return register
