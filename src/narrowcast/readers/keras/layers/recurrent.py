"""Recurrent layers, and the wrapper that runs one in both directions.

Keras orders a cell's gates i, f, c, o (LSTM) and z, r, h (GRU), ONNX i, o, f, c and z, r, h; Keras keeps matrices as
[in, gates * units], ONNX as [directions, gates * units, in].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from narrowcast.errors import ModelFileError
from narrowcast.model import Array
from narrowcast.readers.emit import Tensor
from narrowcast.readers.keras.activations import activation_name
from narrowcast.readers.keras.config import LayerConfig
from narrowcast.readers.keras.emit import Emitter, Weights
from narrowcast.readers.keras.layers import sequences
from narrowcast.readers.keras.layers.convolution import with_bias
from narrowcast.readers.keras.registry import Inputs, layer, unsupported


@dataclass(frozen=True, slots=True)
class Cell:
    """How a kind of cell is spelled in ONNX.

    Attributes:
        op: the operator.
        gates: Keras's gates in the order of ONNX.
        activations: the arguments that name the activation functions, in the order of ONNX.
        states: how many tensors of state there are.
    """

    op: str
    gates: tuple[int, ...]
    activations: tuple[str, ...]
    states: int


CELLS: Mapping[str, Cell] = {
    "LSTM": Cell("LSTM", (0, 3, 1, 2), ("recurrent_activation", "activation", "activation"), 2),
    "GRU": Cell("GRU", (0, 1, 2), ("recurrent_activation", "activation"), 1),
    "SimpleRNN": Cell("RNN", (0,), ("activation",), 1),
}

DEFAULTS: Mapping[str, str] = {"activation": "tanh", "recurrent_activation": "sigmoid"}

FUNCTIONS: Mapping[str, tuple[str, float | None, float | None]] = {
    "tanh": ("Tanh", None, None),
    "sigmoid": ("Sigmoid", None, None),
    "relu": ("Relu", None, None),
    "linear": ("Affine", 1.0, 0.0),
    "elu": ("Elu", 1.0, None),
    "leaky_relu": ("LeakyRelu", 0.2, None),
    "softsign": ("Softsign", None, None),
    "softplus": ("Softplus", None, None),
}
"""Keras's activation as ONNX's function within a cell, with its alpha and beta."""

HARD_SIGMOID_SLOPE: Mapping[int, float] = {2: 0.2, 3: 1 / 6}
"""By the generation of Keras; the offset is 0.5."""


def _slots(layer: LayerConfig) -> tuple[str, ...]:
    return with_bias(layer, "kernel", "recurrent_kernel")


def _cell_slots(layer: LayerConfig) -> tuple[str, ...]:
    return tuple(f"cell/{slot}" for slot in _slots(layer))


@layer("LSTM", "GRU", "SimpleRNN", weights=_cell_slots, masks="use", arguments=("initial_state",))
def recurrent(g: Emitter, layer: LayerConfig, weights: Weights, inputs: Inputs) -> list[Tensor]:
    """A recurrent layer: its output, then its states if it returns them."""
    cell_weights = {name.removeprefix("cell/"): array for name, array in weights.items()}
    return _run(g, layer, layer, cell_weights, inputs, backwards=layer.flag("go_backwards", False))


@layer("LSTMCell", "GRUCell", "SimpleRNNCell", weights=_slots)
def cell(_g: Emitter, layer: LayerConfig, _weights: Weights, _inputs: Inputs) -> list[Tensor]:
    """A cell computes nothing but within an RNN layer."""
    raise unsupported(f"a {layer.kind} is called by itself", "wrap it in an RNN layer")


@layer("RNN", masks="use", arguments=("initial_state",))
def wrapped_cell(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> list[Tensor]:
    """A cell of Keras's own kinds, run over a sequence."""
    inner = layer.inner.get("cell")
    if inner is None or inner.kind.removesuffix("Cell") not in CELLS:
        raise unsupported("only LSTMCell, GRUCell and SimpleRNNCell can be run", "use one of them, or stack layers")
    return _run(g, layer, inner, g.weights[inner.path], inputs, backwards=layer.flag("go_backwards", False))


@layer("Bidirectional", masks="use", arguments=("initial_state",))
def bidirectional(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> list[Tensor]:
    """One layer forwards, one backwards, their outputs merged in the order of time; then all states."""
    sides = (layer.inner["forward_layer"], layer.inner["backward_layer"])
    x, states = _sequence_and_states(inputs)
    half = len(states) // 2
    results: list[list[Tensor]] = []
    for backwards, side in enumerate(sides):
        if side.kind not in CELLS:
            raise unsupported(f"a bidirectional {side.kind} cannot be expressed", "use LSTM, GRU or SimpleRNN")
        own = states[half:] if backwards else states[:half]
        side_weights = {name.removeprefix("cell/"): array for name, array in g.weights[side.path].items()}
        g.scope = side.path
        results.append(_run(g, side, side, side_weights, Inputs.of(x, own), backwards=bool(backwards), aligned=True))
    g.scope = layer.path
    (forward, *forward_states), (backward, *backward_states) = results
    merged = _merge(g, layer.get("merge_mode", "concat"), forward, backward)
    merged[0].mask = forward.mask
    return [*merged, *forward_states, *backward_states]


def _merge(g: Emitter, mode: Any, forward: Tensor, backward: Tensor) -> list[Tensor]:
    match mode:
        case "concat":
            return [g.concat([forward, backward], -1)]
        case "sum":
            return [g.pointwise("Add", forward, backward)]
        case "mul":
            return [g.pointwise("Mul", forward, backward)]
        case "ave":
            return [g.pointwise("Mul", g.pointwise("Add", forward, backward), 0.5)]
        case None:
            return [forward, backward]
    raise ModelFileError(f"the merge mode {str(mode)[:40]!r} is unknown")


def _sequence_and_states(inputs: Inputs) -> tuple[Tensor, list[Tensor]]:
    """The sequence and the initial states, which Keras 2 passes as further inputs."""
    tensors = inputs.tensors
    if not tensors or tensors[0].rank != 3:
        raise ModelFileError("not called with a sequence of vectors")
    return tensors[0], tensors[1:] + Inputs.of(inputs.kwargs.get("initial_state")).tensors


def _run(
    g: Emitter,
    layer: LayerConfig,
    cell: LayerConfig,
    weights: Weights,
    inputs: Inputs,
    *,
    backwards: bool,
    aligned: bool = False,
) -> list[Tensor]:
    """Runs a cell over a sequence.

    Args:
        g: emits the nodes.
        layer: says what is returned.
        cell: says what is computed; the layer itself, unless it is a plain RNN.
        weights: kernel, recurrent_kernel and perhaps bias.
        inputs: the sequence [batch, time, features] and perhaps initial states [batch, units].
        backwards: whether the last step comes first.
        aligned: whether a backward output is handed out in the order of time; Keras's layers keep their own.
    """
    for option in ("stateful", "time_major"):
        if layer.flag(option, False):
            raise unsupported(f"{option}=True cannot be expressed", f"rebuild the layer with {option}=False")
    x, initial = _sequence_and_states(inputs)
    x, mask = g.floating(x), x.mask
    step = _step(g, cell, weights, x.dim(2))
    if initial and len(initial) != step.states:
        raise ModelFileError(f"called with {len(initial)} initial states, {step.states} were expected")
    returned = layer.flag("return_sequences", False)
    if mask is None:
        result, sequence, states = sequences.run(g, step, x, initial, backwards=backwards)
    else:
        zeros = returned if aligned else layer.flag("zero_output_for_mask", False)  # Bidirectional sets it so
        result, sequence, states = sequences.run_masked(g, step, x, mask, initial, backwards=backwards, zeros=zeros)
    if returned:
        batch, steps = x.shape[0], x.dim(1)
        result = g.transpose(g.reshape(sequence, (steps, batch, step.units)), (1, 0, 2))
        if backwards and not aligned:
            result = g.slice(result, 1, -1, -steps - 1, -1)
        result.mask = mask
    return [result, *states] if layer.flag("return_state", False) else [result]


def _step(g: Emitter, cell: LayerConfig, weights: Weights, features: int) -> sequences.Cell:
    """What a cell computes at each step, as ONNX has it."""
    kind, units = CELLS[cell.kind.removesuffix("Cell")], cell.integer("units")
    _check(weights, features, units * len(kind.gates), units)
    values = [g.constant(_gates(weights[name].T, kind)[np.newaxis], name) for name in ("kernel", "recurrent_kernel")]
    bias = g.constant(_bias(weights["bias"], kind)[np.newaxis], "bias") if "bias" in weights else None
    two_biases = "bias" not in weights or weights["bias"].ndim == 2  # the first Keras 2 did not write the argument
    reset_after = kind.op == "GRU" and cell.flag("reset_after", two_biases)
    attributes = {"hidden_size": units, "linear_before_reset": 1 if reset_after else None, **_functions(cell, kind)}
    return sequences.Cell(kind.op, (*values, bias, None), attributes, kind.states, units)


def _check(weights: Weights, features: int, width: int, units: int) -> None:
    wanted = {"kernel": (features, width), "recurrent_kernel": (units, width)}
    for name, shape in wanted.items():
        if weights[name].shape != shape:
            raise ModelFileError(f"its {name} has the shape {weights[name].shape}, {shape} was expected")
    if "bias" in weights and weights["bias"].shape not in ((width,), (2, width)):
        raise ModelFileError(f"its bias has the shape {weights['bias'].shape}, {(width,)} was expected")


def _gates(array: Array, kind: Cell) -> Array:
    """Rows [gates * units, ...] in ONNX's order of gates."""
    parts = np.split(array, len(kind.gates))
    return np.concatenate([parts[gate] for gate in kind.gates])


def _bias(bias: Array, kind: Cell) -> Array:
    """ONNX's pair of biases, for the input's and for the state's product, in one vector."""
    if bias.ndim == 1:
        bias = np.stack([bias, np.zeros_like(bias)])
    return np.concatenate([_gates(row, kind) for row in bias])


def _functions(cell: LayerConfig, kind: Cell) -> Mapping[str, Any]:
    """The attributes that name a cell's activation functions, none where they are ONNX's own."""
    rows: list[tuple[str, float | None, float | None]] = []
    for argument in kind.activations:
        name = activation_name(cell.get(argument, DEFAULTS[argument])) or "a layer"
        if name == "hard_sigmoid":
            rows.append(("HardSigmoid", HARD_SIGMOID_SLOPE[cell.generation], 0.5))
        elif name in FUNCTIONS:
            rows.append(FUNCTIONS[name])
        else:
            raise unsupported(f"ONNX's {kind.op} has no {argument} {name}", f"use one of {', '.join(FUNCTIONS)}")
    names = [name for name, _, _ in rows]
    if names == [FUNCTIONS[DEFAULTS[argument]][0] for argument in kind.activations]:
        return {}
    alphas = [alpha for _, alpha, _ in rows if alpha is not None]
    betas = [beta for _, _, beta in rows if beta is not None]
    return (
        {"activations": names}
        | ({"activation_alpha": alphas} if alphas else {})
        | ({"activation_beta": betas} if betas else {})
    )
