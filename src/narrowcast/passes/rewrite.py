"""A small rewriting engine: rules by operator, applied until none fires, in time near-linear in the nodes.

A rule is a function of a node that changes the graph through its `Rewriter` and returns True, or leaves it alone and
returns False. What it stands on it asks for by `need` and `require`, before it changes anything: where that is missing
they raise `Skip`, and the rule does not apply. If a node might have been expected to fit, they get a sentence that says
why it does not (`Rewriter.skipped` collects those; a rule may also return one). Rules hold no state. After a change
the nodes around it are looked at again.

Rules say how, a target says whether: where the graph is made for one, a rule is tried only on nodes that it lacks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from narrowcast._extras import modules_of
from narrowcast.dialect.build import Builder, constant_of, dims, input_of, scalar_of, tensor_of
from narrowcast.dialect.deferred import derive
from narrowcast.model import Array, Model, ir
from narrowcast.targets.rules import Storage, Target, lacks_form
from narrowcast.targets.spelling import holds_roundings

__all__ = [
    "Rewriter",
    "Rule",
    "RuleSet",
    "Skip",
    "Skipped",
    "constant_operand",
    "dims",
    "dtype_of",
    "is_read",
    "need",
    "operands",
    "producer_of",
    "reduced_axes",
    "require",
    "rules_in",
    "scalar_of",
    "sole_consumer",
    "static_shape",
]

BUDGET = 200
"""Rewrites that a node of the graph may cause before a run counts as endless."""

Rule = Callable[[ir.Node, "Rewriter"], bool | str]
Question = Callable[[ir.Node, Target], str]
"""What a target lacks of a node: `lacks` or a part of it."""
_Rule = TypeVar("_Rule", bound=Rule)
_T = TypeVar("_T")


class Skip(Exception):  # noqa: N818, as StopIteration it is no error
    """A rule does not apply to a node; its text, if any, says why."""


def need(found: _T | None, why: str = "") -> _T:
    """What was looked for.

    Raises:
        Skip: there is none.
    """
    if found is None:
        raise Skip(why)
    return found


def require(fits: object, why: str = "") -> None:
    """Goes on only where something holds.

    Raises:
        Skip: it does not.
    """
    if not fits:
        raise Skip(why)


@dataclass(frozen=True, slots=True)
class Skipped:
    """Why a rule left a node alone."""

    rule: str
    node: str
    reason: str


@dataclass(slots=True)
class RuleSet:
    """Rules by the operator at which they start.

    Attributes:
        by_operator: for each operator its rules, in the order in which they are tried.
        idiom: whether the rules gather arithmetic into operators that a target may lack; `decompose` takes those apart
            again, so they have no place after it.
        rounds: whether the rules compute the same in another order, so that floats are rounded in other places; a graph
            that holds its roundings is left alone.
        asks: for each rule, what a target must lack of a node for the rule to be tried.
    """

    by_operator: dict[str, list[Rule]] = field(default_factory=dict)
    idiom: bool = False
    rounds: bool = False
    asks: dict[Rule, Question] = field(default_factory=dict)

    def rule(self, *operators: str, asks: Question = lacks_form) -> Callable[[_Rule], _Rule]:
        """Registers a rule for nodes of these operators: "Conv", or "narrowcast::LSTM" outside the default domain."""

        def register(function: _Rule) -> _Rule:
            for operator in operators:
                self.by_operator.setdefault(operator, []).append(function)
            self.asks[function] = asks
            return function

        return register


def rules_in(package: ModuleType, *, idioms: bool = True, exact: bool = False) -> RuleSet:
    """The rules of a package: those of the `RULES` of each of its modules, in the modules' alphabetical order.

    Args:
        package: of modules with rules.
        idioms: whether those are wanted that gather idioms.
        exact: whether no rounding may change.
    """
    found = RuleSet()
    for module in modules_of(package):
        if (module.RULES.idiom and (exact or not idioms)) or (module.RULES.rounds and exact):
            continue
        for operator, rules in module.RULES.by_operator.items():
            found.by_operator.setdefault(operator, []).extend(rules)
        found.asks.update(module.RULES.asks)
    return found


class Rewriter:
    """Applies a rule set to a model's main graph, in place.

    Attributes:
        graph: the graph at work.
        target: what the graph is made for; None for any.
        storage: how that stores the model's scheme.
        exact: whether the graph holds its roundings.
        skipped: what the rules had to say about nodes that they left alone.
    """

    def __init__(self, model: Model, rules: RuleSet, target: Target | None = None) -> None:
        self.graph = model.graph
        self.target = target
        self.storage = target.stored(model.scheme) if target is not None else Storage()
        self.rules, self.exact = rules, holds_roundings(model.graph)
        self.skipped: dict[tuple[str, str], Skipped] = {}
        self._builder = Builder(self.graph)
        self._queue: deque[ir.Node] = deque()
        self._queued: set[ir.Node] = set()

    def run(self) -> bool:
        """Rewrites until no rule fires; True if anything changed.

        Raises:
            RuntimeError: rules undo one another without end, which is a bug in them.
        """
        changed = False
        self._push(self.graph)
        budget = BUDGET * (len(self._queue) + BUDGET)
        while self._queue:
            node = self._queue.popleft()
            self._queued.discard(node)
            if node.graph is not self.graph:
                continue
            answers: dict[Question, str] = {}
            name = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
            for rule in self.rules.by_operator.get(name, ()):
                if self.target is not None and not self._lacks(node, self.rules.asks[rule], answers):
                    continue
                try:
                    outcome = rule(node, self)
                except Skip as skip:
                    outcome = str(skip)
                if outcome and isinstance(outcome, str):
                    title = getattr(rule, "__name__", "rule")
                    self.skipped[title, node.name or ""] = Skipped(title, node.name or "", outcome)
                elif outcome:
                    changed = True
                    budget -= 1
                    if budget < 0:
                        raise RuntimeError(f"the rule {getattr(rule, '__name__', rule)} fires without end")
                    if node.graph is self.graph:
                        self._push([node])
                        self.touch(*node.outputs)
                    break
        return changed

    def _lacks(self, node: ir.Node, question: Question, answers: dict[Question, str]) -> str:
        """What the target lacks, asked once for all rules of a node."""
        if question not in answers:
            assert self.target is not None
            answers[question] = question(node, self.target)
        return answers[question]

    def at(self, node: ir.Node) -> Rewriter:
        """Puts what is built next before `node`."""
        self._builder.anchor = node
        return self

    def op(self, op_type: str, *inputs: ir.Value | None, like: ir.Value | None = None, **attributes: Any) -> ir.Value:
        """Builds a node before the anchor; `like` gives the output's shape and dtype, and its name as a hint.

        `shape`, `dtype`, `name`, `domain` are as for `Builder`.
        """
        if like is not None:
            attributes.setdefault("shape", like.shape)
            attributes.setdefault("name", like.name)
            attributes.setdefault("dtype", like.dtype.numpy() if like.dtype is not None else None)
        made: ir.Value = self._builder(op_type, *inputs, **attributes)
        producer = made.producer()
        if producer is not None:
            self._push([producer])
        return made

    def ops(self, op_type: str, *inputs: ir.Value | None, outputs: int, **attributes: Any) -> tuple[ir.Value, ...]:
        """Builds a node of any number of outputs before the anchor."""
        found = self._builder(op_type, *inputs, outputs=outputs, **attributes)
        made: tuple[ir.Value, ...] = found if isinstance(found, tuple) else (found,)
        producer = made[0].producer()
        if producer is not None:
            self._push([producer])
        return made

    def constant(self, array: ArrayLike, name: str = "const", dtype: Any = None) -> ir.Value:
        """An initialiser."""
        return self._builder.constant(np.asarray(array, dtype), name)

    def derived(
        self, function: Callable[[Array], Array], source: ir.Value, name: str, shape: Sequence[int] | None = None
    ) -> ir.Value:
        """An initialiser of the type, and but for `shape` the shape, of another that it is computed from."""
        tensor = need(tensor_of(source))
        made = derive(function, tensor, shape=tensor.shape.numpy() if shape is None else shape, dtype=tensor.dtype)
        return self._builder.initializer(made, name)

    def replace(self, old: ir.Value, new: ir.Value) -> bool:
        """Lets `new` stand wherever `old` stood; what only `old` needed goes away. Always True, for rules to return."""
        producer = old.producer()
        if old.is_graph_output():
            name = old.name
            if new.is_graph_output() or new.is_graph_input() or new.is_initializer():
                self._builder.anchor = producer
                new = self._builder("Identity", new, shape=new.shape, dtype=new.dtype.numpy() if new.dtype else None)
            for index, output in enumerate(self.graph.outputs):
                if output is old:
                    self.graph.outputs[index] = new
            old.name = self._builder.unique(f"{name}/replaced")
            new.name = name
        for use in tuple(old.uses()):
            if use.node is not new.producer():
                use.node.replace_input_with(use.idx, new)
        if new.shape is None:
            new.shape = old.shape
        if new.dtype is None and old.dtype is not None:
            new.dtype = old.dtype
        self.touch(new)
        if producer is not None:
            self.discard(producer)
        return True

    def set_input(self, node: ir.Node, index: int, value: ir.Value | None) -> None:
        """Changes one input of a node, adding empty ones before it where there are none."""
        if len(node.inputs) <= index:
            node.resize_inputs(index + 1)
        old = node.inputs[index]
        node.replace_input_with(index, value)
        self._push([node])
        if old is not None and old.producer() is not None:
            self.discard(old.producer())  # type: ignore[arg-type]

    def move_after(self, value: ir.Value, node: ir.Node) -> None:
        """Puts the node that computes a value, which only reads what is known there, right behind another."""
        producer = need(value.producer())
        self.graph.remove(producer)
        self.graph.insert_after(node, producer)

    def discard(self, node: ir.Node) -> None:
        """Removes a node that nothing reads, and what thereby becomes unread."""
        stack = [node]
        while stack:
            dead = stack.pop()
            if any(map(is_read, dead.outputs)) or dead.graph is not self.graph:
                continue
            producers = [value.producer() for value in dead.inputs if value is not None]
            self.graph.remove(dead, safe=True)
            stack.extend(producer for producer in producers if producer is not None)
            self._push(producer for producer in producers if producer is not None)

    def touch(self, *values: ir.Value) -> None:
        """Looks again at all nodes around values."""
        for value in values:
            producer = value.producer()
            if producer is not None:
                self._push([producer])
            self._push(use.node for use in value.uses())

    def _push(self, nodes: Iterable[ir.Node]) -> None:
        for node in nodes:
            if node not in self._queued:
                self._queued.add(node)
                self._queue.append(node)


def operands(node: ir.Node, count: int) -> tuple[ir.Value, ...]:
    """The first inputs of a node.

    Raises:
        Skip: one is left out.
    """
    return tuple(need(value) for value in node.inputs[:count])


def static_shape(value: ir.Value | None) -> tuple[int, ...]:
    """`dims` of what is there and known.

    Raises:
        Skip: it is not.
    """
    return need(dims(need(value)), "its shapes are open")


def is_read(value: ir.Value) -> bool:
    """Whether anything reads a value, or it is an output."""
    return bool(value.uses()) or value.is_graph_output()


def sole_consumer(value: ir.Value) -> ir.Node | None:
    """The one node that reads a value that nothing else reads and that is no output."""
    uses = value.uses()
    if len(uses) != 1 or value.is_graph_output():
        return None
    return next(iter(uses)).node


def producer_of(value: ir.Value | None, *operators: str) -> ir.Node | None:
    """The node that computes a value, if it is one of these operators."""
    node = value.producer() if value is not None else None
    return node if node is not None and not node.domain and node.op_type in operators else None


def dtype_of(value: ir.Value) -> np.dtype:
    """The type of a value's elements.

    Raises:
        Skip: it is not known.
    """
    return need(value.dtype).numpy()


def constant_operand(node: ir.Node) -> tuple[ir.Value, Array, int] | None:
    """(activation, constant, index of the constant) of a binary node with exactly one constant operand."""
    for index in (1, 0):
        array = constant_of(node.inputs[index])
        value = node.inputs[1 - index]
        if array is not None and value is not None and constant_of(value) is None:
            return value, array, index
    return None


def reduced_axes(node: ir.Node) -> tuple[int, ...] | None:
    """The axes over which a reduction goes, non-negative and sorted; None where they are computed."""
    source = node.inputs[0]
    if source is None or source.shape is None:
        return None
    rank, attributes = len(source.shape), node.attributes
    if node.op_type in ("ArgMax", "ArgMin"):
        return (attributes.get_int("axis", 0) % rank,)
    given = input_of(node, 1)
    axes = constant_of(given) if given is not None else np.empty(0, np.int64)
    if axes is None:
        return None
    if axes.size == 0:
        return () if attributes.get_int("noop_with_empty_axes", 0) else tuple(range(rank))
    return tuple(sorted({int(axis) % rank for axis in axes.reshape(-1)}))
