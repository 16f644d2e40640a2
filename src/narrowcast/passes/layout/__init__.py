"""Layout: channel-last storage for targets that want it, moving as few bytes as possible.

Every node gets a label, channels first or last, that its outputs are stored by. Where a consumer wants the other form
of a tensor, a transpose moves the tensor's bytes, once however many consumers want it. The labelling that moves the
fewest bytes is a minimum cut: operators are nodes, tensors are arcs, what an operator cannot take is an infinite arc.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from narrowcast.dialect.control import bodies_of
from narrowcast.dialect.ops import kind_of
from narrowcast.errors import UnsupportedOpError
from narrowcast.model import Model, ir
from narrowcast.passes.layout.apply import PhysicalGraph
from narrowcast.passes.layout.cut import INFINITE, minimum_cut
from narrowcast.passes.layout.forms import Form, identity
from narrowcast.passes.layout.rules import Plan, bytes_of, plan
from narrowcast.passes.layout.tags import ROUNDING, Tags, find_tags, neighbours, shape_of, stored_alike
from narrowcast.targets.groups import group
from narrowcast.targets.rules import Target
from narrowcast.targets.spelling import is_weight

__all__ = ["LaidOut", "lay_out"]

OPERATOR_COST = 256
"""What an additional operator costs beside the bytes that it moves, in bytes."""


@dataclass(frozen=True, slots=True)
class LaidOut:
    """A model in physical order.

    Attributes:
        model: its tensors are stored as the graph says.
        inputs, outputs: for each port `p` with `stored = source.transpose(p)`, or None where nothing moves.
        moved_bytes: what the transposes that had to be left in move in one inference.
        places: by the values of the source's graph those that hold them, and their permutation, where whole axes move.
    """

    model: Model
    inputs: tuple[tuple[int, ...] | None, ...]
    outputs: tuple[tuple[int, ...] | None, ...]
    moved_bytes: int
    places: Mapping[ir.Value, tuple[ir.Value, tuple[int, ...] | None]] = field(default_factory=dict)


def lay_out(model: Model, target: Target, io_layout: str = "target") -> LaidOut:
    """Stores every tensor of a prepared model in the order that moves the fewest bytes.

    Args:
        model: canonical, decomposed for the target; it is not changed.
        target: which operators work along the last axis only, and what it fuses.
        io_layout: "target" stores image inputs and outputs (rank 4 and 5) channels last; "source" keeps all.

    Raises:
        UnsupportedOpError: an operator that the dialect does not know.
    """
    graph = model.graph
    _refuse_unknown(graph)
    nodes = [node for node in graph if not _is_constant_node(node)]
    tags = find_tags(graph, target)
    plans = _plans(nodes, tags)
    inputs = [value for value in graph.inputs if not value.is_initializer()]
    ports = {value: _port_label(value, tags, io_layout) for value in (*inputs, *graph.outputs)}
    labels = _labels(nodes, inputs, list(graph.outputs), plans, tags, ports)

    physical = PhysicalGraph.new(graph)
    for value in inputs:
        physical.input(value, tags.forms(value)[labels[value]])
    for node in nodes:
        chosen = plans[node][labels[node]]
        assert chosen is not None
        physical.node(node, replace(chosen, attributes={**chosen.attributes, **_bodies(node, target)}))
    port_forms = [_port_form(value, tags, ports[value]) for value in graph.outputs]
    for value, form in zip(graph.outputs, port_forms, strict=True):
        physical.output(value, form)
    _remove_unused(physical.graph)
    laid = ir.Model(
        physical.graph,
        ir_version=model.ir.ir_version,
        producer_name=model.ir.producer_name,
        metadata_props=dict(model.ir.metadata_props),
    )
    moved = sum(bytes_of(node.outputs[0]) for node in physical.graph if node.op_type == "Transpose")
    return LaidOut(
        replace(model, ir=laid),
        tuple(_permutation(tags.forms(value)[labels[value]]) for value in inputs),
        tuple(_permutation(form) for form in port_forms),
        moved,
        {
            old: (new, _permutation(form))
            for old, forms in physical.stored.items()
            for form, new in [*forms.items()][:1]
            if form.is_plain
        },
    )


def _bodies(node: ir.Node, target: Target) -> dict[str, ir.Graph]:
    """The graphs inside a node, each laid out by itself; what goes in and out keeps the source's layout."""
    found = bodies_of(node).items()
    return {name: lay_out(Model(ir.Model(body, ir_version=10)), target, "source").model.graph for name, body in found}


def _permutation(form: Form) -> tuple[int, ...] | None:
    return None if form.is_identity else form.perm


def _refuse_unknown(graph: ir.Graph) -> None:
    unknown = sorted(
        {f"{node.domain + '::' if node.domain else ''}{node.op_type}" for node in graph if kind_of(node) is None}
    )
    if unknown:
        raise UnsupportedOpError(
            f"operators that narrowcast does not know: {', '.join(unknown)}",
            hint="replace them by standard ONNX operators before the export",
        )


def _is_constant_node(node: ir.Node) -> bool:
    return len(node.outputs) == 1 and is_weight(node.outputs[0])


def _plans(nodes: list[ir.Node], tags: Tags) -> dict[ir.Node, tuple[Plan | None, Plan | None]]:
    """Both plans of every node; where neither works, its outputs lose their tags, and it is asked again."""
    plans = {node: (plan(node, 0, tags), plan(node, 1, tags)) for node in nodes}
    stuck = [node for node, found in plans.items() if found == (None, None)]
    while stuck:
        touched: dict[ir.Node, None] = dict.fromkeys(stuck)
        for value in [same for node in stuck for output in node.outputs for same in stored_alike(output)]:
            tags.forget(value)
            touched.update(dict.fromkeys(neighbours(value)))
        plans.update({node: (plan(node, 0, tags), plan(node, 1, tags)) for node in touched if node in plans})
        again = [node for node in touched if plans.get(node) == (None, None)]
        if set(again) <= set(stuck):
            _refuse_stuck(again)
        stuck = again
    return plans


def _refuse_stuck(nodes: list[ir.Node]) -> None:
    for node in nodes:
        raise UnsupportedOpError(
            f"no layout works for this {node.op_type}: its tensors' ranks or arguments are out of the ordinary",
            where=node.name or "",
            hint="check that its inputs have static shapes and constant arguments",
        )


def _port_label(value: ir.Value, tags: Tags, io_layout: str) -> int:
    """The label whose form a graph input or output must have."""
    first, last = tags.forms(value)
    if io_layout == "target" and len(shape_of(value)) in (4, 5) and last.is_plain:
        return 1
    return 0 if first.is_identity else 1


def _port_form(value: ir.Value, tags: Tags, label: int) -> Form:
    return tags.forms(value)[label]


class _Problem:
    """The cut in the making: variables, arcs, forced labels."""

    def __init__(self) -> None:
        self.count = 0
        self.arcs: list[tuple[int, int, int]] = []
        self.zeros: list[int] = []
        self.ones: list[int] = []

    def variable(self) -> int:
        self.count += 1
        return self.count - 1

    def force(self, variable: int, label: int) -> None:
        (self.ones if label else self.zeros).append(variable)


def _labels(
    nodes: list[ir.Node],
    inputs: list[ir.Value],
    outputs: list[ir.Value],
    plans: dict[ir.Node, tuple[Plan | None, Plan | None]],
    tags: Tags,
    ports: dict[ir.Value, int],
) -> dict[ir.Node | ir.Value, int]:
    """Labels all nodes and graph inputs by the minimum cut."""
    problem = _Problem()
    source, sink = problem.variable(), problem.variable()
    problem.force(source, 0)
    problem.force(sink, 1)
    variables: dict[ir.Node | ir.Value, int] = {value: problem.variable() for value in inputs}
    for value in inputs:
        problem.force(variables[value], ports[value])
    for node in nodes:
        variable = variables[node] = problem.variable()
        first, last = plans[node]
        if first is None or last is None:
            problem.force(variable, 1 if first is None else 0)
        else:
            problem.arcs.append((variable, sink, first.cost))
            problem.arcs.append((source, variable, last.cost))
    owners: list[ir.Node | ir.Value] = [*inputs, *nodes]
    for owner in owners:
        for value in owner.outputs if isinstance(owner, ir.Node) else (owner,):
            _tensor(
                problem, value, variables[owner], variables, plans, tags, ports.get(value) if value in outputs else None
            )
    found = minimum_cut(problem.count, problem.arcs, problem.zeros, problem.ones)
    return {key: found[variable] for key, variable in variables.items()}


def _tensor(
    problem: _Problem,
    value: ir.Value,
    producer: int,
    variables: dict[ir.Node | ir.Value, int],
    plans: dict[ir.Node, tuple[Plan | None, Plan | None]],
    tags: Tags,
    port: int | None,
) -> None:
    """Prices the conversions of one tensor: each form that is wanted but not stored is made once."""
    forms = tags.forms(value)
    if forms[0] == forms[1]:
        return
    price = _price(value, forms, tags.target)
    last_wanted = problem.variable()  # 1: a channels-last copy is made
    first_wanted = problem.variable()  # 0: a channels-first copy is made
    problem.arcs.append((producer, last_wanted, price))
    problem.arcs.append((first_wanted, producer, price))
    if port is not None:
        problem.force(last_wanted if port else first_wanted, port)
    for node, index in _consumers(value):
        if node not in variables:
            continue
        variable = variables[node]
        if node.op_type in ROUNDING:
            problem.arcs.append((producer, variable, INFINITE))
            problem.arcs.append((variable, producer, INFINITE))
            continue
        wants = [_wants(found, index, forms) for found in plans[node]]
        for label, want in enumerate(wants):
            if want in (0, 1) and wants[1 - label] in (want, None):
                problem.force(last_wanted if want else first_wanted, want)
            elif want == label == 1:
                problem.arcs.append((last_wanted, variable, INFINITE))
            elif want == label == 0:
                problem.arcs.append((variable, first_wanted, INFINITE))
            elif want is not None:
                arc = (0, variable) if label else (variable, 1)
                problem.arcs.append((*arc, price))


_FOREIGN = 2


def _wants(found: Plan | None, index: int, forms: tuple[Form, Form]) -> int | None:
    """Which of a tensor's forms a plan reads: 0, 1, `_FOREIGN`, or None where the plan does not exist."""
    if found is None:
        return None
    need = found.needs[index] if index < len(found.needs) else None
    need = need or identity(len(forms[0].perm))
    return forms.index(need) if need in forms else _FOREIGN


def _price(value: ir.Value, forms: tuple[Form, Form], target: Target) -> int:
    """Bytes moved, an operator more, and another one where what the target fuses would be torn apart."""
    shape = shape_of(value)
    orders = [[axis for axis in form.perm if shape[axis] != 1] for form in forms]
    free = orders[0] == orders[1] and all(form.is_plain for form in forms)
    producer = value.producer()
    fused = producer is not None and group(producer, target).output is not value
    return OPERATOR_COST * (2 if fused else 1) + (0 if free else bytes_of(value))


def _consumers(value: ir.Value) -> Iterator[tuple[ir.Node, int]]:
    for use in value.uses():
        yield use.node, use.idx


def _remove_unused(graph: ir.Graph) -> None:
    """Drops nodes and initialisers that nothing reads."""
    for node in reversed(list(graph)):
        if not any(output.uses() or output.is_graph_output() for output in node.outputs):
            graph.remove(node, safe=True)
    for name in [
        name for name, value in graph.initializers.items() if not value.uses() and not value.is_graph_output()
    ]:
        del graph.initializers[name]
