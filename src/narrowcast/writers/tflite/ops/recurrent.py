"""Recurrent layers as TFLite's sequence operators, whose states are written before each inference.

Kernels: tflite/kernels/{uni,bi}directional_sequence_{lstm,rnn}.cc of google-ai-edge/LiteRT. They begin where their
states stand, in variable tensors that last from one inference to the next; so one UNPACK writes these before. For the
runtime that is an order like any, as they are outputs of the one and inputs of the other (`tflite/graph_info.cc`). What
reads them afterwards must read the layer's output as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from narrowcast.dialect.recurrent import Direction, directions_of, steps_of
from narrowcast.model import NARROWCAST
from narrowcast.writers.tflite.ops.conv import weights
from narrowcast.writers.tflite.site import Site, lowers
from narrowcast.writers.tflite.tables import Quantization, Tensor, options

_FLOAT = np.dtype(np.float32)
_ABSENT = -1
_ACTIVATIONS = {"Identity": 0, "Relu": 1, "Clip(-1,1)": 2, "Clip(0,6)": 3, "Tanh": 4}
"""As the schema's ActivationFunctionType counts them."""
_GATES, _PEEPHOLES = (0, 2, 3, 1), (0, 2, 1)
"""TFLite's gates are input, forget, cell, output, ONNX's input, output, forget, cell; the cell has no peephole."""
_OPTIONS = {"RNN": "SequenceRNNOptions", "LSTM": "UnidirectionalSequenceLSTMOptions"}
_SECOND = {"RNN": 3, "LSTM": 9}
"""How many inputs of an operator of two directions are for a second input, which is left out here."""
_Kind: TypeAlias = "tuple[np.dtype[Any], tuple[float, int] | None]"
"""A type, and the scale and zero point of integers."""


@lowers("LSTM", "RNN", domain=NARROWCAST)
def recurrent(site: Site) -> None:
    """One operator; a backward layer has its inputs reversed before it, and its outputs behind."""
    node = site.node
    kind, way = node.op_type, node.attributes.get_string("direction", "forward")
    parts = directions_of(kind, range(len(node.inputs)))
    first = node.attributes.get_int("layout", 0) != 0
    named: dict[str, Any] = {"timeMajor": not first}
    named["fusedActivationFunction"] = _ACTIVATIONS[node.attributes.get_string("activation", "Tanh")]
    named["asymmetricQuantizeInputs"] = node.attributes.get_int("asymmetric", 0) != 0
    if kind == "LSTM":
        named["cellClip"] = node.attributes.get_float("cell_clip", 0.0)
        named["projClip"] = node.attributes.get_float("proj_clip", 0.0)
    source, output = site.input(0), site.output(0)
    states = _states(site, parts)
    own = [_lstm(site, part) if kind == "LSTM" else _rnn(site, part) for part in parts]
    if way == "bidirectional":
        # LSTM has all states behind all weights, RNN each direction's behind its own
        inner = [*own[0], *own[1], *states] if kind == "LSTM" else [*own[0], states[0], *own[1], states[1]]
        inputs, title = [source, *inner, *[_ABSENT] * _SECOND[kind]], f"BidirectionalSequence{kind}Options"
        site.emit(f"BIDIRECTIONAL_SEQUENCE_{kind}", inputs, [output], title, mergeOutputs=True, **named)
    else:
        back, axis = way == "reverse", 1 if first else 0
        given = _reversed(site, source, site.scratch(site.shape(), source), axis) if back else source
        found = site.scratch(site.output_shape(), output) if back else output
        inputs = [given, *own[0], *states, *_norms(site, parts[0])]
        inner = _intermediates(site)
        how = options(_OPTIONS[kind], **named)
        site.lowering.container.operator(f"UNIDIRECTIONAL_SEQUENCE_{kind}", inputs, [found], how, inner)
        if back:
            _reversed(site, found, output, axis)
    cells = node.outputs[1:]
    if any(value.uses() or value.is_graph_output() for value in cells):
        _cells(site, output, states[1::2])


@lowers("SVDF", domain=NARROWCAST)
def svdf(site: Site) -> None:
    """SVDF, whose memory lasts."""
    attributes, filters, memory = site.node.attributes, *site.shape(2)
    kind: _Kind = (
        (np.dtype(np.int16), (attributes.get_float("state_scale", 0.0), 0)) if site.integer else (_FLOAT, None)
    )
    state = _scaled(site, "state", (site.shape()[0], filters * memory), *kind, variable=True)
    inputs = [site.input(0), _matrix(site, 1), _matrix(site, 2), _vector(site, 3), state]
    named = {
        "rank": attributes.get_int("rank", 1),
        "fusedActivationFunction": _ACTIVATIONS[attributes.get_string("activation", "Identity")],
        "asymmetricQuantizeInputs": attributes.get_int("asymmetric", 0) != 0,
    }
    site.emit("SVDF", inputs, [site.output()], "SVDFOptions", **named)


def _lstm(site: Site, part: Direction[int]) -> list[int]:
    """Matrices, peepholes, biases, and a projection."""
    matrices = [_matrix(site, values[gate]) for values in (part.weights, part.recurrent) for gate in _GATES]
    peepholes = [_matrix(site, part.peepholes[gate]) for gate in _PEEPHOLES]
    biases = [_vector(site, part.biases[gate]) for gate in _GATES]
    projection, bias = part.projection
    return [*matrices, *peepholes, *biases, _matrix(site, projection), _vector(site, bias)]


def _rnn(site: Site, part: Direction[int]) -> list[int]:
    return [_matrix(site, part.weights[0]), _matrix(site, part.recurrent[0]), _vector(site, part.biases[0])]


def _norms(site: Site, part: Direction[int]) -> list[int]:
    """LSTM's four, each of which may be left out."""
    return [_vector(site, part.norms[gate]) for gate in _GATES] if part.norms else []


def _matrix(site: Site, index: int) -> int:
    return weights(site, index, None) if site.has(index) else _ABSENT


def _vector(site: Site, index: int) -> int:
    """A bias or a norm."""
    if not site.has(index):
        return _ABSENT
    return site.lowering.quantized_weights(site.value(index)) if site.integer else site.input(index)


def _intermediates(site: Site) -> list[int]:
    """Of a layer in integers: the scales of its gates, which only those with norms have, and of what they let out."""
    steps = steps_of(site.node)
    if steps is None or not site.integer:
        return []
    rows: list[_Kind] = (
        [(_FLOAT, None)] * 4 if not steps.gates else [(np.dtype(np.int16), steps.gates[gate]) for gate in _GATES]
    )
    return [_scaled(site, "intermediate", (0,), *row) for row in (*rows, (np.dtype(np.int8), steps.hidden))]


def _scaled(
    site: Site,
    name: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    step: tuple[float, int] | None,
    variable: bool = False,
) -> int:
    """A tensor by its scale and zero point."""
    found = None if step is None else Quantization(np.array([step[0]], np.float32), np.array([step[1]], np.int64))
    unique = site.lowering.unique(f"{site.node.outputs[0].name}/{name}")
    return site.lowering.container.tensor(Tensor(unique, shape, dtype, 0, found, variable))


def _states(site: Site, parts: Sequence[Direction[int]]) -> list[int]:
    """The variable tensors [batch, size], and the operators that write what they begin with, unless they last."""
    hidden, batch = site.node.attributes.get_int("hidden_size", 0), _size(site)[0]
    sizes = [
        (batch, site.shape(part.recurrent[-1])[1] if index == 0 else hidden)
        for part in parts
        for index in range(len(part.states))
    ]
    steps = steps_of(site.node)
    kinds: list[_Kind] = [(_FLOAT, None)] * len(sizes)
    if steps is not None and site.integer:
        kinds = [(np.dtype(np.int8), steps.state), (np.dtype(np.int16), steps.cell)]
    made = [_scaled(site, "state", size, *kind, variable=True) for size, kind in zip(sizes, kinds, strict=True)]
    if site.node.attributes.get_int("stateful", 0):
        return made
    given = dict(zip(made, [index for part in parts for index in part.states], strict=True))
    for size in dict.fromkeys(sizes):
        alike = [tensor for tensor, own in zip(made, sizes, strict=True) if own == size]
        begin = _begin(site, [given[tensor] for tensor in alike], size)
        site.emit("UNPACK", [begin], alike, "UnpackOptions", num=len(alike), axis=0)
    return made


def _begin(site: Site, given: Sequence[int], size: tuple[int, int]) -> int:
    """What states of one size begin with [states, batch, size]."""
    shape = (len(given), *size)
    if not site.has(given[0]):
        return site.lowering.constant(np.zeros(shape, np.float32), "zeros")
    begin = site.temporary(shape, _FLOAT)
    inputs = [site.input(index) for index in given]
    site.emit("PACK", inputs, [begin], "PackOptions", valuesCount=len(given), axis=0)
    return begin


def _size(site: Site) -> tuple[int, int]:
    """Batch and steps."""
    one, other = site.shape()[:2]
    return (one, other) if site.node.attributes.get_int("layout", 0) else (other, one)


def _reversed(site: Site, source: int, output: int, axis: int) -> int:
    site.emit("REVERSE_V2", [source, site.ints([axis])], [output], "ReverseV2Options")
    return output


def _cells(site: Site, output: int, states: Sequence[int]) -> None:
    """The last states of the cells [directions, batch, hidden], read together with the layer's output."""
    batch, hidden = _size(site)[0], site.node.attributes.get_int("hidden_size", 0)
    one = [batch, 1, hidden] if site.node.attributes.get_int("layout", 0) else [1, batch, hidden]
    row, step = site.temporary(one, _FLOAT), site.temporary((batch, hidden), _FLOAT)
    site.emit("SLICE", [output, site.ints([0, 0, 0]), site.ints(one)], [row], "SliceOptions")
    site.emit("RESHAPE", [row, site.ints([batch, hidden])], [step], "ReshapeOptions", newShape=[batch, hidden])
    size = (len(states) + 1, batch, hidden)
    every = site.temporary(size, _FLOAT)
    site.emit("PACK", [step, *states], [every], "PackOptions", valuesCount=size[0], axis=0)
    rest = [len(states), batch, hidden]
    site.emit("SLICE", [every, site.ints([1, 0, 0]), site.ints(rest)], [site.output(1)], "SliceOptions")
