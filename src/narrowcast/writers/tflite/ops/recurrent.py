"""Recurrent layers as TFLite's sequence operators, whose states are written before each inference.

Kernels: tflite/kernels/{uni,bi}directional_sequence_{lstm,rnn}.cc of google-ai-edge/LiteRT. They begin where their
states stand, in variable tensors that last from one inference to the next; so one UNPACK writes these before. For the
runtime that is an order like any, as they are outputs of the one and inputs of the other (`tflite/graph_info.cc`). What
reads them afterwards must read the layer's output as well.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from narrowcast.model import NARROWCAST
from narrowcast.passes.recurrent.sequence import Direction, directions_of
from narrowcast.writers.tflite.ops.conv import weights
from narrowcast.writers.tflite.site import Site, lowers
from narrowcast.writers.tflite.tables import Tensor

_FLOAT = np.dtype(np.float32)
_ABSENT = -1
_ACTIVATIONS = {"Relu": 1, "Tanh": 4}
"""As the schema's ActivationFunctionType counts them."""
_GATES, _PEEPHOLES = (0, 2, 3, 1), (0, 2, 1)
"""TFLite's gates are input, forget, cell, output, ONNX's input, output, forget, cell; the cell has no peephole."""
_OPTIONS = {"RNN": "SequenceRNNOptions", "LSTM": "UnidirectionalSequenceLSTMOptions"}
_BEHIND = {"RNN": 0, "LSTM": 4}, {"RNN": 3, "LSTM": 9}
"""How many inputs come behind the states that are left out here, by the number of directions: norms, a second input."""


@lowers("LSTM", "RNN", domain=NARROWCAST)
def recurrent(site: Site) -> None:
    """One operator; a backward layer has its inputs reversed before it, and its outputs behind."""
    kind, way = site.node.op_type, site.node.attributes.get_string("direction", "forward")
    parts = directions_of(kind, range(len(site.node.inputs)))
    states = _states(site, parts)
    activation = _ACTIVATIONS[site.node.attributes.get_string("activation", "Tanh")]
    named = {"timeMajor": True, "fusedActivationFunction": activation}
    source, output = site.input(0), site.output(0)
    absent = [_ABSENT] * _BEHIND[len(parts) - 1][kind]
    own = [_lstm(site, part) if kind == "LSTM" else _rnn(site, part) for part in parts]
    if way == "bidirectional":
        # LSTM has all states behind all weights, RNN each direction's behind its own
        inner = [*own[0], *own[1], *states] if kind == "LSTM" else [*own[0], states[0], *own[1], states[1]]
        inputs, options = [source, *inner, *absent], f"BidirectionalSequence{kind}Options"
        site.emit(f"BIDIRECTIONAL_SEQUENCE_{kind}", inputs, [output], options, mergeOutputs=True, **named)
    else:
        back = way == "reverse"
        first = _reversed(site, source, site.scratch(site.shape(), source)) if back else source
        found = site.scratch(site.output_shape(), output) if back else output
        site.emit(
            f"UNIDIRECTIONAL_SEQUENCE_{kind}", [first, *own[0], *states, *absent], [found], _OPTIONS[kind], **named
        )
        if back:
            _reversed(site, found, output)
    cells = site.node.outputs[1:]
    if any(value.uses() or value.is_graph_output() for value in cells):
        _cells(site, output, states[1::2])


def _lstm(site: Site, part: Direction[int]) -> list[int]:
    """Matrices, peepholes, biases, and no projection."""
    matrices = [weights(site, values[gate], None) for values in (part.weights, part.recurrent) for gate in _GATES]
    places = [part.peepholes[gate] for gate in _PEEPHOLES]
    peepholes = [weights(site, index, None) if site.has(index) else _ABSENT for index in places]
    return [*matrices, *peepholes, *(site.input(part.biases[gate]) for gate in _GATES), _ABSENT, _ABSENT]


def _rnn(site: Site, part: Direction[int]) -> list[int]:
    return [weights(site, part.weights[0], None), weights(site, part.recurrent[0], None), site.input(part.biases[0])]


def _states(site: Site, parts: Sequence[Direction[int]]) -> list[int]:
    """The variable tensors [batch, hidden], and the operator that writes what they begin with."""
    given = [index for part in parts for index in part.states]
    shape = (site.shape()[1], site.node.attributes.get_int("hidden_size", 0))
    size = (len(given), *shape)
    container, name = site.lowering.container, f"{site.node.outputs[0].name}/state"
    if site.has(given[0]):
        begin = site.temporary(size, _FLOAT)
        site.emit(
            "PACK", [site.input(index) for index in given], [begin], "PackOptions", valuesCount=len(given), axis=0
        )
    else:
        begin = site.lowering.constant(np.zeros(size, np.float32), "zeros")
    made = [container.tensor(Tensor(site.lowering.unique(name), shape, _FLOAT, variable=True)) for _ in given]
    site.emit("UNPACK", [begin], made, "UnpackOptions", num=len(made), axis=0)
    return made


def _reversed(site: Site, source: int, output: int) -> int:
    site.emit("REVERSE_V2", [source, site.ints([0])], [output], "ReverseV2Options")
    return output


def _cells(site: Site, output: int, states: Sequence[int]) -> None:
    """The last states of the cells [directions, batch, hidden], read together with the layer's output."""
    batch, hidden = site.shape()[1], site.node.attributes.get_int("hidden_size", 0)
    row, step = site.temporary((1, batch, hidden), _FLOAT), site.temporary((batch, hidden), _FLOAT)
    site.emit("SLICE", [output, site.ints([0, 0, 0]), site.ints([1, batch, hidden])], [row], "SliceOptions")
    site.emit("RESHAPE", [row, site.ints([batch, hidden])], [step], "ReshapeOptions", newShape=[batch, hidden])
    size = (len(states) + 1, batch, hidden)
    every = site.temporary(size, _FLOAT)
    site.emit("PACK", [step, *states], [every], "PackOptions", valuesCount=size[0], axis=0)
    rest = [len(states), batch, hidden]
    site.emit("SLICE", [every, site.ints([1, 0, 0]), site.ints(rest)], [site.output(1)], "SliceOptions")
