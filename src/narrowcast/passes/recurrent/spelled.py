"""`narrowcast::LSTM` and `narrowcast::RNN` in other operators: ONNX's own where that says all, else a loop over steps.

The equations are LSTM's with peepholes (Gers 2002), a recurrent projection (Sak et al.,
https://arxiv.org/abs/1402.1128), coupled gates (Greff et al., https://arxiv.org/abs/1503.04069), and gates that are
normalised one by one (Ba et al., https://arxiv.org/abs/1607.06450).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from narrowcast.dialect.build import Builder, constant_of, dims, input_of
from narrowcast.dialect.control import all_graphs
from narrowcast.dialect.recurrent import GATE, LAYERS, STATES, Direction, directions_of, steps_of
from narrowcast.model import NARROWCAST, Array, Model, ir
from narrowcast.passes.formula import Formula
from narrowcast.passes.rewrite import Rewriter, RuleSet, need, operands, static_shape

__all__ = ["as_filters", "as_loop", "as_onnx", "has_known_weights", "is_beyond_onnx", "opened_beyond"]

TINY = 1e-8
"""What norms add to a variance: of normalised gates there is no other definition than the kernels'."""
BOUNDS = {"Clip(-1,1)": (-1.0, 1.0), "Clip(0,6)": (0.0, 6.0)}
"""Of activations that clip."""
_INPUT, _OUTPUT, _FORGET, _CELL = range(4)
"""Gates in ONNX's order."""


def is_beyond_onnx(node: ir.Node) -> bool:
    """Whether a layer has what ONNX's operator of that name has not."""
    attributes, parts = node.attributes, directions_of(node.op_type, node.inputs)
    return (
        attributes.get_int("layout", 0) != 0
        or attributes.get_float("cell_clip", 0.0) != 0
        or steps_of(node) is not None
        or attributes.get_string("activation", "Tanh") not in ("Tanh", "Relu")
        or any(value is not None for part in parts for value in part.beyond)
        or any(part.weights[0] is None for part in parts)
    )


def has_known_weights(node: ir.Node) -> bool:
    """Whether all weights of a layer are constants as they are."""
    parts = directions_of(node.op_type, node.inputs)
    given = [
        v for part in parts for values in (part.weights, part.recurrent, part.biases, part.peepholes) for v in values
    ]
    return all(value is None or constant_of(value) is not None for value in given)


def opened_beyond(model: ir.Model) -> ir.Model:
    """A copy without layers that are beyond ONNX's operators; the graph itself where it has none."""

    def found(graph: ir.Graph) -> list[ir.Node]:
        own = (node for node in graph if node.domain == NARROWCAST and node.op_type in LAYERS)
        return [node for node in own if node.op_type == "SVDF" or is_beyond_onnx(node)]

    if not any(map(found, all_graphs(model.graph))):
        return model
    copy = model.clone()
    for graph in list(all_graphs(copy.graph)):
        rewriter = Rewriter(Model(ir.Model(graph, ir_version=copy.ir_version)), RuleSet())
        for node in found(graph):
            (as_filters if node.op_type == "SVDF" else as_loop)(node, rewriter)
    return copy


def as_onnx(node: ir.Node, rewriter: Rewriter) -> None:
    """Puts ONNX's operator in the place of a layer that is not beyond it; states begin with zeros.

    Raises:
        Skip: weights are computed, or the sizes are open.
    """
    f, kind = Formula(node, rewriter), node.op_type
    parts, hidden = directions_of(kind, node.inputs), node.attributes.get_int("hidden_size", 0)
    steps, batch, _ = static_shape(node.inputs[0])

    def stacked(rows: Sequence[Sequence[ir.Value | None]], name: str) -> ir.Value | None:
        if rows[0] and rows[0][0] is None:
            return None
        arrays = [np.concatenate([need(constant_of(value)) for value in row]) for row in rows]
        return rewriter.constant(np.stack(arrays), name)

    zeros = np.zeros((len(parts), len(parts[0].biases) * hidden), np.float32)
    bias = need(stacked([part.biases for part in parts], "bias"))
    states = [[part.states[index] for part in parts] for index in range(STATES[kind])]
    begin = [
        f.concat([f.reshape(need(value), (1, batch, hidden)) for value in given], 0) if given[0] is not None else None
        for given in states
    ]
    activation = node.attributes.get_string("activation", "Tanh")
    functions = (["Sigmoid", activation, activation] if kind == "LSTM" else [activation]) * len(parts)
    made = rewriter.ops(
        kind,
        node.inputs[0],
        stacked([part.weights for part in parts], "weights"),
        stacked([part.recurrent for part in parts], "recurrent"),
        rewriter.constant(np.concatenate([need(constant_of(bias)), zeros], 1), "biases"),
        None,
        *begin,
        *([stacked([part.peepholes for part in parts], "peepholes")] if kind == "LSTM" else []),
        outputs=1 + STATES[kind],
        direction=node.attributes.get_string("direction", "forward"),
        hidden_size=hidden,
        activations=functions,
    )
    shapes = ((steps, len(parts), batch, hidden), *[(len(parts), batch, hidden)] * STATES[kind])
    for value, shape in zip(made, shapes, strict=True):
        value.shape, value.dtype = ir.Shape(shape), ir.DataType.FLOAT
    y = f.reshape(f.transpose(made[0], (0, 2, 1, 3)), (steps, batch, len(parts) * hidden))
    _replace(node, rewriter, y, made[2] if kind == "LSTM" else None)


def as_loop(node: ir.Node, rewriter: Rewriter) -> None:
    """Puts loops in the place of a layer, one for each direction; states that it does not have begin with zeros.

    Raises:
        Skip: the sizes are open.
    """
    f, first = Formula(node, rewriter), node.attributes.get_int("layout", 0) != 0
    source, axis = need(node.inputs[0]), 1 if first else 0
    steps = static_shape(source)[axis]
    way = node.attributes.get_string("direction", "forward")
    rows, cells = [], []
    for number, part in enumerate(directions_of(node.op_type, node.inputs)):
        back = way == "reverse" or number == 1
        states, row = _Loop(f, node, part).run(f.slice(source, axis, steps - 1, -1, -1) if back else source, axis)
        rows.append(f.slice(row, 0, steps - 1, -1, -1) if back else row)
        cells.append(f.reshape(states[-1], (1, *static_shape(states[-1]))))
    y = f.concat(rows, 2)
    _replace(node, rewriter, _exchanged(f, y) if first else y, f.concat(cells, 0))


def _exchanged(f: Formula, value: ir.Value) -> ir.Value:
    """Batch and steps exchanged; where either is one, no element moves."""
    one, other, size = static_shape(value)
    return f.reshape(value, (other, one, size)) if 1 in (one, other) else f.transpose(value, (1, 0, 2))


def as_filters(node: ir.Node, rewriter: Rewriter) -> None:
    """Puts its products in the place of SVDF, whose memory holds zeros but for what is new.

    Raises:
        Skip: the sizes are open.
    """
    f, (source, features, times) = Formula(node, rewriter), operands(node, 3)
    batch, (filters, memory) = static_shape(source)[0], static_shape(times)
    rank, bias, scale = (
        node.attributes.get_int("rank", 1),
        input_of(node, 3),
        node.attributes.get_float("state_scale", 0.0),
    )
    new = f.product(source, _turned(f, features))
    if scale:
        new = f("Mul", f("Clip", f("Round", f("Div", new, scale)), -(2.0**15), 2.0**15 - 1), scale)
    last = f.reshape(f.slice(times, 1, memory - 1, memory), (1, filters))
    y = f.reduce("ReduceSum", f.reshape(f("Mul", new, last), (batch, filters // rank, rank)), [2], keep=False)
    y = y if bias is None else f("Add", y, bias)
    activation = "Identity" if scale else node.attributes.get_string("activation", "Identity")
    bounds = BOUNDS.get(activation, ())
    _replace(node, rewriter, y if activation == "Identity" else f("Clip" if bounds else activation, y, *bounds))


def _turned(f: Formula, value: ir.Value) -> ir.Value:
    """A matrix with its axes exchanged."""
    array = constant_of(value)
    if array is None:
        return f.transpose(value, (1, 0))
    return f.constant(np.ascontiguousarray(array.T), np.float32, value.name or "weights")


def _replace(node: ir.Node, rewriter: Rewriter, *values: ir.Value | None) -> None:
    for old, new in zip(tuple(node.outputs), values, strict=False):
        if new is not None and (old.uses() or old.is_graph_output()):
            rewriter.replace(old, new)
    rewriter.discard(node)


class _Loop:
    """One direction of a layer: what the inputs add to the gates of all steps, and the body of the loop over them."""

    def __init__(self, f: Formula, node: ir.Node, part: Direction[ir.Value | None]) -> None:
        self.f, self.node, self.part = f, node, part
        self.build = Builder.new(f"{node.name}/step")
        self.inner = Rewriter(Model(ir.Model(self.build.graph, ir_version=10)), RuleSet())
        self.gates = [gate for gate, value in enumerate(part.weights) if value is not None]
        self.steps = steps_of(node)
        self.captured: dict[ir.Value, ir.Value] = {}

    def run(self, source: ir.Value, axis: int) -> tuple[Sequence[ir.Value], ir.Value]:
        """The last states [batch, size], and the rows [steps, batch, outputs], of inputs with the steps on an axis."""
        f, part = self.f, self.part
        steps, batch = static_shape(source)[axis], static_shape(source)[1 - axis]
        share = f.product(source, self._columns(part.weights))
        if not self._normed:
            share = f("Add", share, self._stacked(part.biases))
        sizes = (static_shape(need(part.recurrent[_OUTPUT % len(part.recurrent)]))[1], self._hidden)[: len(part.states)]
        begin = [
            value if value is not None else f.constant(np.zeros((batch, size)), np.float32, "zeros")
            for value, size in zip(part.states, sizes, strict=True)
        ]
        recurrent = self._columns(part.recurrent)
        step, going = self._formal("step", (), np.int64), self._formal("going", (), np.bool_)
        states = [self._formal("state", (batch, size)) for size in sizes]
        gates = self._op("Gather", self._inside(share), step, shape=(batch, static_shape(share)[2]), axis=axis)
        looked = self._op("MatMul", states[0], self._inside(recurrent), shape=(batch, static_shape(recurrent)[1]))
        fresh = self._step(self._sum(gates, looked), states)
        self.build.graph.outputs.extend([going, *fresh, self._op("Identity", fresh[0])])
        made = f.rewriter.ops(
            "Loop",
            *(f.constant(steps, np.int64, "trips"), None, *begin, *self.captured),
            outputs=len(begin) + 1,
            domain=NARROWCAST,
            body=self.build.graph,
            states=len(begin),
        )
        for value, shape in zip(made, [*map(static_shape, begin), (steps, batch, sizes[0])], strict=True):
            value.shape, value.dtype = ir.Shape(shape), ir.DataType.FLOAT
        return made[:-1], made[-1]

    @property
    def _hidden(self) -> int:
        return self.node.attributes.get_int("hidden_size", 0)

    @property
    def _normed(self) -> bool:
        return any(value is not None for value in self.part.norms)

    def _sum(self, *shares: ir.Value) -> dict[int, ir.Value]:
        """Each gate before its function, by its number: its products, rounded where they are integers."""
        parts = [self._split(share) for share in shares]
        if self.steps is not None:
            rounding = dict(enumerate(self.steps.gates or [GATE] * 4))
            parts = [{gate: self._rounded(z[gate], *rounding[gate], 16) for gate in z} for z in parts]
        return {gate: self._op("Add", *(part[gate] for part in parts)) for gate in self.gates}

    def _rounded(self, value: ir.Value, scale: float, zero_point: int, bits: int) -> ir.Value:
        """What integers can hold of it."""
        low, high = -(2 ** (bits - 1)) - zero_point, 2 ** (bits - 1) - 1 - zero_point
        steps = self._op("Round", self._op("Div", value, scale))
        return self._op("Mul", self._op("Clip", steps, low, high), scale)

    def _step(self, z: dict[int, ir.Value], states: Sequence[ir.Value]) -> list[ir.Value]:
        """The next states: the hidden one, and LSTM's cell."""
        attributes, steps = self.node.attributes, self.steps
        activate = self._activation(attributes.get_string("activation", "Tanh"))
        if self.node.op_type == "RNN":
            return [activate(z[0])]
        before = states[1]
        forget = self._gate(z, _FORGET, before)
        enter = self._gate(z, _INPUT, before) if _INPUT in z else self._op("Sub", 1.0, forget)
        kept, new = self._op("Mul", forget, before), self._op("Mul", enter, activate(self._normalised(z, _CELL)))
        cell = self._op("Add", kept, new)
        cell = cell if steps is None else self._rounded(cell, *steps.cell, 16)
        cell = self._clipped(cell, attributes.get_float("cell_clip", 0.0))
        hidden = self._op("Mul", self._gate(z, _OUTPUT, cell), activate(cell))
        hidden = hidden if steps is None else self._rounded(hidden, *steps.hidden, 8)
        matrix, bias = (*self.part.projection, None, None)[:2]
        if matrix is None:
            return [hidden, cell]
        columns = self._inside(_turned(self.f, matrix))
        hidden = self._op("MatMul", hidden, columns, shape=(*static_shape(hidden)[:1], static_shape(columns)[1]))
        hidden = hidden if bias is None else self._op("Add", hidden, self._inside(bias))
        hidden = hidden if steps is None else self._rounded(hidden, *steps.state, 8)
        return [self._clipped(hidden, attributes.get_float("proj_clip", 0.0)), cell]

    def _split(self, gates: ir.Value) -> dict[int, ir.Value]:
        """Each gate [batch, hidden] before its function, by its number."""
        batch, count = static_shape(gates)[0], len(self.gates)
        if count == 1:
            return {self.gates[0]: gates}
        sizes = self.inner.constant(np.full(count, self._hidden, np.int64), "sizes")
        made = self.inner.ops("Split", gates, sizes, outputs=count, axis=1)
        for value in made:
            value.shape, value.dtype = ir.Shape((batch, self._hidden)), ir.DataType.FLOAT
        return dict(zip(self.gates, made, strict=True))

    def _gate(self, z: dict[int, ir.Value], gate: int, cell: ir.Value) -> ir.Value:
        """A gate that is open by a number between 0 and 1, with its look at the cell."""
        peephole = self.part.peepholes[gate]
        if peephole is not None:
            looked = self._op("Mul", cell, self._inside(peephole))
            z = {**z, gate: self._op("Add", z[gate], looked)}
        return self._op("Sigmoid", self._normalised(z, gate))

    def _normalised(self, z: dict[int, ir.Value], gate: int) -> ir.Value:
        value, norm = z[gate], (*self.part.norms, *[None] * 4)[gate]
        if not self._normed:
            return value
        axes, size = self.inner.constant(np.array([1]), "axes"), (static_shape(value)[0], 1)
        centred = self._op("Sub", value, self._op("ReduceMean", value, axes, shape=size, keepdims=1))
        square = self._op("Mul", centred, centred)
        variance = self._op("ReduceMean", square, axes, shape=size, keepdims=1)
        normal = self._op("Div", centred, self._op("Sqrt", self._op("Add", variance, TINY)))
        scaled = self._op("Mul", normal, self._inside(need(norm)))
        return self._op("Add", scaled, self._inside(need(self.part.biases[gate])))

    def _activation(self, name: str) -> Callable[[ir.Value], ir.Value]:
        bounds = BOUNDS.get(name)
        if bounds is not None:
            return lambda value: self._op("Clip", value, *bounds)
        return (lambda value: value) if name == "Identity" else lambda value: self._op(name, value)

    def _clipped(self, value: ir.Value, bound: float) -> ir.Value:
        return self._op("Clip", value, -bound, bound) if bound else value

    def _op(self, op_type: str, *inputs: ir.Value | float, shape: Sequence[int] = (), **attributes: Any) -> ir.Value:
        """A node of the body; numbers become constants, and operands broadcast where no shape is given."""
        values = [
            item if isinstance(item, ir.Value) else self.inner.constant(np.float32(item), "number") for item in inputs
        ]
        shapes = [dims(value) or () for value in values]
        size = shape or np.broadcast_shapes(*shapes)
        return self.inner.op(op_type, *values, shape=size, dtype=np.float32, **attributes)

    def _formal(self, name: str, shape: Sequence[int], dtype: object = np.float32) -> ir.Value:
        return self.build.input(self.build.unique(name), shape, dtype)

    def _inside(self, value: ir.Value) -> ir.Value:
        """What a value of the graph around is called in the body; constants move in."""
        array = constant_of(value)
        if array is not None:
            return self.inner.constant(array, value.name or "constant")
        if value not in self.captured:
            self.captured[value] = self._formal(value.name or "captured", static_shape(value))
        return self.captured[value]

    def _stacked(self, values: Sequence[ir.Value | None]) -> ir.Value:
        """What the gates have, one after the other."""
        found = [need(values[gate]) for gate in self.gates]
        arrays: list[Array] = [array for value in found if (array := constant_of(value)) is not None]
        if len(arrays) == len(found):
            return self.f.constant(np.concatenate(arrays), np.float32, found[0].name or "weights")
        return self.f.concat(found, 0)

    def _columns(self, values: Sequence[ir.Value | None]) -> ir.Value:
        """The matrices of the gates side by side, to be multiplied from the right."""
        return _turned(self.f, self._stacked(values))
