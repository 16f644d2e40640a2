"""What a graph's operators can resolve on given data: the noise at its outputs that roundings inside account for.

No threshold in decibels fits a score behind a sigmoid that is nearly shut, right to the last digit of a number in
0..1 and wrong in the third digit of its own. So the graph is run with its roundings made anew: every computed float
is moved by about a unit in its last place, and by one of 1 where a function's values lie around 1; in front of weights
that are multiplied with activations quantised as they come, by up to half a step. What this makes at the outputs
is carried there by the graph itself.
"""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import Builder
from narrowcast.dialect.control import all_graphs
from narrowcast.dialect.recurrent import LAYERS, matrices_of
from narrowcast.model import NARROWCAST, Model, ir
from narrowcast.targets.spelling import becomes_float, dequantizer, is_weight

__all__ = ["THROW", "TIMES", "is_hybrid", "shaken"]

UNIT = 2.0**-22
"""Two units in the last place of a float32."""

TIMES = 16.0
"""Noise of at most so many times the power that roundings make is theirs: kernels add up in another order."""

THROW = "narrowcast/throw"
"""A further input of a graph with other roundings, a float scalar: which ones, by 1, 2, 3 ..."""

STEPS = 254
"""Steps in the range of an activation that is quantised as it comes."""

_MOVES = """
    Cast Clip Concat DequantizeLinear Expand Flatten Gather GatherElements GatherND Identity Max MaxPool Min Neg Pad
    QuantizeLinear Relu Reshape ScatterElements ScatterND Slice Split Squeeze Tile Transpose Unsqueeze Where
"""
"""Operators whose floats are some of those that they are given."""

_BOUNDED = """
    Cos Erf Gelu GroupNormalization HardSigmoid HardSwish InstanceNormalization LayerNormalization LogSoftmax
    LpNormalization LSTM GRU RNN Mish Sigmoid Sin Softmax Softplus Softsign Swish Tanh
"""
"""Operators that compute numbers around 1, however small the one that comes out."""

_EXACT = "ArgMax ArgMin Cast Ceil Equal Floor Greater GreaterOrEqual Less LessOrEqual Mod Round TopK"
"""Operators whose operands count to the last digit: they are left as they are."""

MOVES, BOUNDED, EXACT = (frozenset(names.split()) for names in (_MOVES, _BOUNDED, _EXACT))


def shaken(model: Model) -> Model:
    """A copy of a graph whose roundings fall differently, as its input `THROW` says."""
    copy = model.clone()
    for graph in list(all_graphs(copy.graph)):
        nodes, inputs = list(graph), [value for value in graph.inputs if not value.is_initializer()]
        draw = _Dice(graph, nodes[0] if graph is copy.graph and nodes else None)
        hybrid = [node for node in nodes if is_hybrid(node)]
        for node in hybrid:
            _coarsen(graph, node, draw)
        if hybrid:  # what floats resolve is nothing beside that
            continue
        if graph is copy.graph and nodes:
            for value in inputs:
                _shake(graph, value, None, nodes[0], draw)
        for node, following in zip(nodes, (*nodes[1:], None), strict=True):
            if node.op_type not in MOVES:
                for output in node.outputs:
                    _shake(graph, output, node, following, draw)
    return copy


class _Dice:
    """Random numbers in -1..1, the same for each shape; an open dimension has the same ones throughout.

    In a main graph they are sin(k n) of great random n, other ones for each k that its input `THROW` is fed.
    """

    def __init__(self, graph: ir.Graph, first: ir.Node | None) -> None:
        self._build, self._random = Builder(graph, anchor=first), np.random.default_rng(0)
        self._throw = None if first is None else self._build.input(THROW, ())
        self._thrown: dict[tuple[int, ...], ir.Value] = {}

    def __call__(self, like: ir.Value) -> ir.Value:
        """Numbers for a value's shape."""
        shape = tuple(dim if isinstance(dim, int) else 1 for dim in like.shape or ())
        if shape not in self._thrown:
            numbers = self._random.uniform(-1, 1, shape).astype(np.float32)
            noise = self._build.constant(numbers if self._throw is None else 1000 * numbers, "noise")
            if self._throw is not None:
                noise = self._build("Sin", self._build("Mul", noise, self._throw, shape=shape), shape=shape)
            self._thrown[shape] = noise
        return self._thrown[shape]


def _shake(graph: ir.Graph, value: ir.Value, node: ir.Node | None, following: ir.Node | None, draw: _Dice) -> None:
    """Moves a value by a unit in its last place, and by one of 1 where `node`, which computes it, is bounded."""
    if value.dtype is not ir.DataType.FLOAT or any(use.node.op_type in EXACT for use in value.uses()):
        return
    build = Builder(graph, anchor=following)
    uses = [(use.node, use.idx) for use in value.uses()]
    noise = build("Mul", draw(value), build.constant(np.array(UNIT, np.float32)), shape=value.shape)
    moved = build("Add", value, build("Mul", value, noise, shape=value.shape), shape=value.shape)
    if node is not None and node.op_type in BOUNDED:
        moved = build("Add", moved, noise, shape=value.shape)
    _replace(graph, value, moved, uses)


def is_hybrid(node: ir.Node) -> bool:
    """Whether float activations meet stored integers, for which kernels quantise them as they come."""
    recurrent = node.domain == NARROWCAST and node.op_type in LAYERS
    if not (recurrent or node.op_type in ("Conv", "Gemm", "MatMul")) or len(node.inputs) < 2:
        return False
    data, weights = node.inputs[0], node.inputs[matrices_of(node)[0] if recurrent else 1]
    stored = is_weight(weights) and dequantizer(weights) is not None and not becomes_float(weights)
    return data is not None and stored and dequantizer(data) is None


def _coarsen(graph: ir.Graph, node: ir.Node, draw: _Dice) -> None:
    """Rounds the activations of a hybrid node to steps of a symmetric range, which begin elsewhere, and moves each.

    Equal numbers are rounded alike, as by kernels: in a background of one colour such errors add up. But zero, which
    every kernel's steps hold, is. Each number is moved by up to half a step by itself, too, as one that lies between.
    """
    data = node.inputs[0]
    assert data is not None
    build = Builder(graph, anchor=node)
    reach = build("ReduceMax", build("Abs", data, shape=data.shape), keepdims=0, shape=())
    step = build("Mul", reach, build.constant(np.array(2 / STEPS, np.float32)), shape=())
    step = build("Max", step, build.constant(np.array(np.finfo(np.float32).tiny)), shape=())
    offset = build("Mul", draw(step), build.constant(np.array(0.5, np.float32)), shape=())
    steps = build("Add", build("Div", data, step, shape=data.shape), offset, shape=data.shape)
    rounded = build("Sub", build("Round", steps, shape=data.shape), offset, shape=data.shape)
    nonzero = build("Sign", build("Abs", data, shape=data.shape), shape=data.shape)
    alike = build("Mul", build("Mul", rounded, step, shape=data.shape), nonzero, shape=data.shape)
    half = build("Mul", step, build.constant(np.array(0.5, np.float32)), shape=())
    single = build("Mul", draw(data), half, shape=data.shape)
    node.replace_input_with(0, build("Add", alike, single, shape=data.shape))


def _replace(graph: ir.Graph, value: ir.Value, moved: ir.Value, uses: list[tuple[ir.Node, int]]) -> None:
    """Lets others read, and the graph give, what has been moved; an output keeps its name."""
    for node, index in uses:
        node.replace_input_with(index, moved)
    if value.is_graph_output() and not value.is_graph_input():
        name, value.name = value.name, f"{value.name}/exact"
        moved.name = name
        for index, output in enumerate(graph.outputs):
            if output is value:
                graph.outputs[index] = moved
