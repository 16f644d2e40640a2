"""Control flow: IF, WHILE and CALL of other subgraphs, and variables by name.

A subgraph reads nothing but what it is handed, as the graphs of closed nodes do. Kernels: tflite/kernels/if.cc,
while.cc, call_once.cc, var_handle.cc, read_variable.cc and assign_variable.cc of google-ai-edge/LiteRT. A variable has
in the first inference of a fresh interpreter what the subgraph of CALL_ONCE gives it.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from narrowcast.dialect.build import Builder, scalar_of
from narrowcast.dialect.control import LOOPED
from narrowcast.errors import ModelFileError, UnsupportedOpError
from narrowcast.model import NARROWCAST, ir
from narrowcast.readers.emit import Tensor
from narrowcast.readers.tflite.network import Network
from narrowcast.readers.tflite.registry import Site, reads
from narrowcast.readers.tflite.variables import key_of

_ROWS = "rows"
"""The name of the number of rounds that a loop takes, where only they decide."""
_BOOL, _INT64 = np.dtype(np.bool_), np.dtype(np.int64)


@reads("IF")
def if_(site: Site) -> Sequence[Tensor]:
    """One of two subgraphs, on the same operands."""
    condition, *operands = site.raw_inputs
    names = ("then", "else")
    branches = [_Inner(site, name, site.option(f"{name}_subgraph_index"), operands) for name in names]
    results = [branch.results for branch in branches]
    given = [[(tensor.shape, tensor.dtype) for tensor in tensors] for tensors in results]
    if given[0] != given[1]:
        raise UnsupportedOpError(
            f"its branches give {_types(results[0])} and {_types(results[1])}", hint="make them alike"
        )
    for branch in branches:
        branch.finish(branch.results)
    graphs = {f"{name}_branch": branch.build.graph for name, branch in zip(names, branches, strict=True)}
    values = [site.g.plain(tensor) for tensor in operands]
    return site.read_outputs(_node(site, "If", [_single(site.network, condition), *values], results[0], graphs))


@reads("WHILE")
def while_(site: Site) -> Sequence[Tensor]:
    """A subgraph on what it has given before, as long as another says so; what it hands on unchanged is captured."""
    operands = site.raw_inputs
    condition = site.option("cond_subgraph_index")
    begins = _condition(site.network.inline(condition, operands))
    body = _Inner(site, "body", site.option("body_subgraph_index"), operands, counted=True)
    goes_on = _condition(body.network.inline(condition, body.results))
    course = _counted(site, body, operands, goes_on) or _Course(
        None, _single(site.network, begins), _single(body.network, goes_on)
    )
    rows = {place: row for place in range(len(operands)) if (row := _row(body, operands[place], place)) is not None}
    changed, kept = _states(body, operands, rows)
    results = [*(body.results[place] for place in changed), *rows.values()]
    body.finish([Tensor((), _BOOL, course.goes_on), *results])
    given = list(body.build.graph.inputs)
    body.build.graph.inputs[:] = [*given[:2], *(given[2 + place] for place in (*changed, *kept))]
    values = [site.g.plain(operands[place]) for place in (*changed, *kept)]
    grown = [Tensor((_ROWS, *row.shape), row.dtype) for row in rows.values()]
    attributes = {"body": body.build.graph, "states": len(changed)}
    inputs = [course.trips, course.begins, *values]
    made = _node(site, "Loop", inputs, [*results[: len(changed)], *grown], attributes)
    loop = site.g.plain(made[0]).producer()
    assert loop is not None
    loop.meta[LOOPED] = True
    after = dict(zip((*changed, *rows), made, strict=True))
    return site.read_outputs([after.get(place, operand) for place, operand in enumerate(operands)])


@dataclass(frozen=True, slots=True)
class _Course:
    """How a loop runs: at most so many rounds, if a condition holds at first, and as long as the body's does."""

    trips: ir.Value | None
    begins: ir.Value | None
    goes_on: ir.Value


def _counted(site: Site, body: _Inner, operands: Sequence[Tensor], goes_on: Tensor) -> _Course | None:
    """The course of a loop that counts its rounds from 0 to a number that it is handed; None for another."""
    results = {body.g.plain(tensor): place for place, tensor in enumerate(body.results)}
    terms, going = list(_conjunction(body.g.plain(goes_on))), body.build.graph.inputs[1]
    for term in terms:
        node = term.producer()
        if node is None or node.op_type != "Less" or len(terms) > 2:
            continue
        counter, number = (results.get(value) if value is not None else None for value in node.inputs)
        if counter is None or number is None or not _counts(site, body, operands, counter):
            continue
        last = operands[number]
        if body.g.plain(body.results[number]) is not body.formals[number].value or last.rank or last.dtype.kind != "i":
            continue
        trips = site.g.plain(site.g.cast(last, _INT64))
        others = [results.get(other) for other in terms if other is not term]
        if not others:
            return _Course(trips, None, going)
        if others[0] is not None and not operands[others[0]].shape:
            after = body.g.plain(body.results[others[0]])
            stays = after is body.formals[others[0]].value
            return _Course(trips, site.g.plain(operands[others[0]]), going if stays else after)
    return None


def _conjunction(value: ir.Value) -> Iterator[ir.Value]:
    """The truth values that all must hold for one to hold."""
    node = value.producer()
    if node is None or node.op_type != "And":
        yield value
        return
    for given in node.inputs:
        if given is not None:
            yield from _conjunction(given)


def _counts(site: Site, body: _Inner, operands: Sequence[Tensor], place: int) -> bool:
    """Whether a state begins with 0 and grows by 1 in each round."""
    node = body.g.plain(body.results[place]).producer()
    formal = body.formals[place].value
    if scalar_of(site.g.plain(operands[place])) != 0 or operands[place].shape or node is None or node.op_type != "Add":
        return False
    return formal in node.inputs and any(scalar_of(value) == 1 for value in node.inputs)


def _row(body: _Inner, operand: Tensor, place: int) -> Tensor | None:
    """What a round appends to a state that begins without rows and is not read otherwise; None for other states."""
    formal, result = body.formals[place], body.results[place]
    node, value = body.g.plain(result).producer(), body.g.plain(formal)
    if operand.shape[:1] != (0,) or result.shape[:1] != (1,) or node is None or node.op_type != "Concat":
        return None
    if node.inputs[0] is not value or len(value.uses()) != 1 or len(node.inputs) != 2 or node.attributes["axis"].value:
        return None
    if node.outputs[0].uses():
        return None
    row = node.inputs[1]
    body.build.graph.remove(node, safe=True)
    return body.g.reshape(Tensor(result.shape, result.dtype, row), result.shape[1:])


def _states(body: _Inner, operands: Sequence[Tensor], rows: Container[int]) -> tuple[list[int], list[int]]:
    """The places of what a body changes, and of what it hands on as it is."""
    places = [place for place in range(len(operands)) if place not in rows]
    before, after = (
        [(tensors[place].shape, tensors[place].dtype) for place in places] for tensors in (operands, body.results)
    )
    if before != after:
        raise UnsupportedOpError(f"its body makes {_types(body.results)} of {_types(operands)}", hint="keep the shapes")
    kept = [place for place in places if body.g.plain(body.results[place]) is body.formals[place].value]
    if len(kept) == len(operands):
        raise ModelFileError("its body changes nothing")
    return [place for place in places if place not in kept], kept


@reads("CALL")
def call(site: Site) -> Sequence[Tensor]:
    """Another subgraph in the operator's place."""
    return site.read_outputs(site.network.inline(site.option("subgraph"), site.raw_inputs))


class _Inner:
    """A graph within a node in the making, of a subgraph and the operands that it is handed."""

    def __init__(self, site: Site, name: str, index: int, operands: Sequence[Tensor], *, counted: bool = False) -> None:
        self.build = Builder.new(f"{site.g.scope}/{name}")
        self.network = site.network.nested(self.build)
        self.g = self.network.emit
        if counted:
            self.build.input("step", (), _INT64)
            self.build.input("going", (), _BOOL)
        self.formals = [
            Tensor(
                tensor.shape, tensor.dtype, self.build.input(self.build.unique("operand"), tensor.shape, tensor.dtype)
            )
            for tensor in operands
        ]
        self.results = self.network.inline(index, self.formals)

    def finish(self, results: Sequence[Tensor]) -> None:
        """Closes the graph; no output is an input, a constant or another output."""
        for tensor in results:
            value, outputs = self.g.plain(tensor), self.build.graph.outputs
            if value.is_graph_input() or value.is_initializer() or value in outputs:
                value = self.g.raw("Identity", value, shape=tensor.shape, dtype=tensor.dtype)
            outputs.append(value)


def _node(
    site: Site, kind: str, inputs: Sequence[ir.Value | None], like: Sequence[Tensor], attributes: Mapping[str, Any]
) -> list[Tensor]:
    """A closed node whose outputs have the types of other tensors."""
    found = site.g.build(
        kind, *inputs, outputs=len(like), domain=NARROWCAST, name=site.g.name(kind.lower()), **attributes
    )
    made = list(found) if isinstance(found, tuple) else [found]
    for value, tensor in zip(made, like, strict=True):
        value.shape, value.dtype = ir.Shape(list(tensor.shape)), ir.DataType.from_numpy(tensor.dtype)
    return [Tensor(tensor.shape, tensor.dtype, value) for value, tensor in zip(made, like, strict=True)]


def _condition(results: Sequence[Tensor]) -> Tensor:
    if len(results) != 1:
        raise ModelFileError(f"its condition gives {len(results)} results")
    return results[0]


def _single(network: Network, condition: Tensor) -> ir.Value:
    """A condition as one truth value without axes."""
    if condition.dtype != _BOOL or any(dim != 1 for dim in condition.shape):
        raise ModelFileError(f"its condition is {condition.dtype} of shape {list(condition.shape)}")
    return network.emit.plain(network.emit.reshape(condition, ()))


def _types(tensors: Sequence[Tensor]) -> str:
    return ", ".join(f"{tensor.dtype} {list(tensor.shape)}" for tensor in tensors)


@reads("CALL_ONCE")
def call_once(site: Site) -> Sequence[Tensor]:
    """What variables hold before the first inference."""
    site.network.initialise(site.option("init_subgraph_index"))
    return []


@reads("VAR_HANDLE")
def var_handle(site: Site) -> Sequence[Tensor]:
    """A variable by its name."""
    site.network.handles[site.output().index] = key_of(site.operator)
    return []


@reads("READ_VARIABLE")
def read_variable(site: Site) -> Sequence[Tensor]:
    """What a variable holds by now."""
    found = site.network.variable(site.stored(0).index)
    if found.dtype != site.output().dtype:
        raise ModelFileError(f"it reads {site.output().type} from a variable of {found.dtype}")
    return site.read_outputs([found])


@reads("ASSIGN_VARIABLE")
def assign_variable(site: Site) -> Sequence[Tensor]:
    """What a variable holds from now on."""
    site.network.assign(site.stored(0).index, site.stored(1).index)
    return []
