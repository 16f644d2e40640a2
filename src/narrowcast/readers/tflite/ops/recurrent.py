"""Recurrent operators: `narrowcast::LSTM` and `narrowcast::RNN`, which say all that TFLite's do.

Inputs are as in tflite/kernels/{uni,bi}directional_sequence_{lstm,rnn}.cc, lstm.cc and basic_rnn.cc of
google-ai-edge/LiteRT. States are variable tensors. They last from one inference to the next, unless the graph itself
writes them before; what reads one after the operator reads the last state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from narrowcast.dialect.recurrent import Steps
from narrowcast.errors import ModelFileError, UnsupportedOpError
from narrowcast.model import NARROWCAST, Array, ir
from narrowcast.readers.emit import Tensor
from narrowcast.readers.tflite.emit import static, storage_of
from narrowcast.readers.tflite.file import Quantization
from narrowcast.readers.tflite.file import Tensor as Stored
from narrowcast.readers.tflite.registry import Site, reads

_ACTIVATIONS = {
    "NONE": "Identity", "RELU": "Relu", "RELU_N1_TO_1": "Clip(-1,1)", "RELU6": "Clip(0,6)", "TANH": "Tanh",
}  # fmt: skip
_GATES, _PEEPHOLES = (0, 3, 1, 2), (0, 2, 1)
"""ONNX's gates are input, output, forget, cell, TFLite's input, forget, cell, output; the cell has no peephole."""


@dataclass(frozen=True, slots=True)
class _Direction:
    """One direction of a layer.

    Attributes:
        inputs: weights and all else but the states, in the order of `narrowcast::LSTM` or `narrowcast::RNN`.
        states: the indices of the operator's inputs that are states.
        hidden: the number of cells.
        outputs: the size of the hidden state.
        beyond: of LSTM, norms and projection.
    """

    inputs: Sequence[ir.Value | None]
    states: Sequence[int]
    hidden: int
    outputs: int
    beyond: Sequence[ir.Value | None] = ()


@reads("UNIDIRECTIONAL_SEQUENCE_LSTM")
def sequence_lstm(site: Site) -> Tensor:
    """LSTM from the first step to the last."""
    x = site.input(0)
    steps = _steps(site)
    return _layer(site, "LSTM", x, [_lstm(site, x, 1, (18, 19), norms=20, steps=steps)], steps=steps)


@reads("BIDIRECTIONAL_SEQUENCE_LSTM")
def both_lstm(site: Site) -> Sequence[Tensor]:
    """LSTM in both directions."""
    if any(map(site.has, range(39, 48))):
        raise UnsupportedOpError("it has a second input")
    x = site.input(0)
    return _both(site, "LSTM", x, [_lstm(site, x, 1, (35, 36)), _lstm(site, x, 18, (37, 38))])


@reads("UNIDIRECTIONAL_SEQUENCE_RNN")
def sequence_rnn(site: Site) -> Tensor:
    """RNN from the first step to the last."""
    x = site.input(0)
    return _layer(site, "RNN", x, [_rnn(site, x, 1)])


@reads("BIDIRECTIONAL_SEQUENCE_RNN")
def both_rnn(site: Site) -> Sequence[Tensor]:
    """RNN in both directions."""
    if any(map(site.has, range(9, 12))):
        raise UnsupportedOpError("it has a second input")
    x = site.input(0)
    return _both(site, "RNN", x, [_rnn(site, x, 1), _rnn(site, x, 5)])


@reads("RNN")
def rnn(site: Site) -> Tensor:
    """One step of RNN."""
    x = _one_step(site)
    return _last_step(site, _layer(site, "RNN", x, [_rnn(site, x, 1)], layout=1))


@reads("LSTM")
def lstm(site: Site) -> Sequence[Tensor]:
    """One step of LSTM, with the inputs of a sequence's; or of the older form, whose matrices are in one."""
    x = _one_step(site)
    if site.word("kernel_type", "FULL") == "FULL":
        return [_last_step(site, _layer(site, "LSTM", x, [_lstm(site, x, 1, (18, 19), norms=20)], layout=1))]
    parts = [_basic(site, x)]
    y, cells = _nodes(site, "LSTM", x, parts, layout=1, activation="Tanh", cells=True)
    _note_states(site, parts, y, cells, 1)
    return [_last_step(site, y), *(site.g.reshape(cell, cell.shape[1:]) for cell in cells)]


@reads("SVDF")
def svdf(site: Site) -> Tensor:
    """Filters by their singular values, with a memory of the inferences before."""
    x, g = site.input(0), site.g
    (filters, features), (_, memory) = site.stored(1).shape, site.stored(2).shape
    rank, state = site.option("rank"), site.stored(4)
    if x.shape[1:] != (features,) or rank < 1 or filters % rank or memory < 1:
        raise ModelFileError(f"{filters} filters of rank {rank} do not fit an input of shape {x.shape}")
    units, batch = filters // rank, static(x.shape)[0]
    if state.shape != (batch, filters * memory):
        raise ModelFileError(f"its state has the shape {state.shape}, not {(batch, filters * memory)}")
    if not state.variable or site.network.is_made(state.index) or site.network.within:
        raise UnsupportedOpError("its memory does not last from one inference to the next")
    if site.network.is_read_after(state.index, site.operator.index):
        raise UnsupportedOpError("its memory is read by another operator")
    found = storage_of(state)
    step = None if found is None else float(found.scale[0])
    word = site.word("fused_activation_function", "NONE")
    if word not in _ACTIVATIONS:
        raise UnsupportedOpError(f"it has the activation {word}")
    made = g.build(
        "SVDF",
        g.plain(x),
        _weights(site, 1, (filters, features)),
        _weights(site, 2, (filters, memory)),
        _memory_bias(site, units, step),
        domain=NARROWCAST,
        name=g.name("svdf"),
        shape=(batch, units),
        dtype=np.float32,
        rank=rank,
        activation=_ACTIVATIONS[word],
        asymmetric=int(site.option("asymmetric_quantize_inputs", default=False)) or None,
        state_scale=step,
    )
    return Tensor((batch, units), np.dtype(np.float32), made)


def _memory_bias(site: Site, units: int, step: float | None) -> ir.Value | None:
    """The bias of SVDF, whose integers have the scale of the products with its memory."""
    if not site.has(3):
        return None
    stored, times = site.stored(3), site.storage(2)
    if step is None or times is None or stored.dtype != np.int32:
        return _weights(site, 3, (units,))
    if stored.shape != (units,):
        raise ModelFileError(f"its bias has the shape {stored.shape}, not {(units,)}")
    found = Quantization(times.scale * np.float32(step), np.zeros(times.scale.size, np.int64), 0)
    return site.g.weights(site.numbers(3), found, 0, stored.name or "bias")


def _one_step(site: Site) -> Tensor:
    x = site.input(0)
    if x.rank != 2:
        raise ModelFileError(f"its input has the shape {x.shape}")
    return site.g.reshape(x, (x.shape[0], 1, x.shape[1]))


def _last_step(site: Site, y: Tensor) -> Tensor:
    return site.g.reshape(y, (y.shape[0], y.shape[2]))


def _lstm(
    site: Site,
    x: Tensor,
    first: int,
    states: Sequence[int],
    *,
    norms: int | None = None,
    steps: Steps | None = None,
) -> _Direction:
    """The parts of LSTM from an input on: matrices, peepholes, biases, projection; norms are elsewhere."""
    features, hidden = x.dim(2), site.stored(first + 1).shape[0]
    projected = site.has(first + 15)
    outputs = site.stored(first + 15).shape[0] if projected else hidden
    coupled = not site.has(first)
    gates = [None if coupled and gate == 0 else gate for gate in _GATES]

    def each(start: int, shape: tuple[int, ...], order: Sequence[int | None] = gates) -> list[ir.Value | None]:
        return [None if gate is None else _weights(site, start + gate, shape) for gate in order]

    def optional(start: int, order: Sequence[int | None]) -> list[ir.Value | None]:
        given = [gate is not None and site.has(start + gate) for gate in order]
        return each(start, (hidden,), [gate if has else None for gate, has in zip(order, given, strict=True)])

    has_norms = norms is not None and any(map(site.has, range(norms, norms + 4)))
    diagonal = bool(site.option("diagonal_recurrent_tensors", default=False))
    recurrent = each(first + 4, (hidden, outputs)) if not diagonal else _diagonal(site, first + 4, gates, hidden)
    biases = [None if gate is None else _bias(site, first + 11 + gate, first + gate, hidden) for gate in gates]
    peepholes = optional(first + 8, [None if coupled and gate == 0 else gate for gate in _PEEPHOLES])
    beyond: list[ir.Value | None] = [None] * 4
    if has_norms and norms is not None:
        beyond = each(norms, (hidden,))
        biases = [
            _bias(site, first + 11 + gate, norms + gate, hidden, 2.0**-10) if gate is not None else None
            for gate in gates
        ]
    projection = _weights(site, first + 15, (outputs, hidden)) if projected else None
    step = None if steps is None else steps.hidden[0]
    bias = _bias(site, first + 16, first + 15, outputs, step) if site.has(first + 16) else None
    inputs = [*each(first, (hidden, features)), *recurrent, *biases, *peepholes]
    return _Direction(inputs, states, hidden, outputs, [*beyond, projection, bias])


def _diagonal(site: Site, first: int, gates: Sequence[int | None], hidden: int) -> list[ir.Value | None]:
    """Matrices that are stored as their diagonals."""
    found: list[ir.Value | None] = []
    for gate in gates:
        array = None if gate is None else site.numbers(first + gate)
        if array is not None and (array.shape != (hidden,) or array.dtype.kind != "f"):
            raise ModelFileError(f"its input {first} is no diagonal of {hidden} real numbers")
        found.append(None if array is None else site.g.constant(np.diag(array), "recurrent"))
    return found


def _rnn(site: Site, x: Tensor, first: int) -> _Direction:
    hidden = site.stored(first).shape[0]
    shapes = ((hidden, x.dim(2)), (hidden, hidden), (hidden,))
    inputs = [_weights(site, first + place, shape) for place, shape in enumerate(shapes)]
    return _Direction(inputs, (first + 3,), hidden, hidden)


def _basic(site: Site, x: Tensor) -> _Direction:
    """Input, cell, forget and output gate below one another, columns for the inputs before those for the state."""
    matrix, bias = site.numbers(2), site.numbers(3)
    features, hidden = x.dim(2), matrix.shape[0] // 4
    if matrix.shape != (4 * hidden, features + hidden) or bias.shape != (4 * hidden,) or matrix.dtype.kind != "f":
        raise UnsupportedOpError(f"its weights are {matrix.dtype} of shape {matrix.shape}")
    order = (0, 3, 2, 1)

    def each(array: Array, name: str) -> list[ir.Value]:
        parts = np.split(array, 4)
        return [site.g.constant(np.ascontiguousarray(parts[gate]), name) for gate in order]

    inputs = [*each(matrix[:, :features], "weights"), *each(matrix[:, features:], "recurrent"), *each(bias, "bias")]
    return _Direction([*inputs, None, None, None], (1, 4), hidden, hidden, [None] * 6)


def _weights(site: Site, index: int, shape: tuple[int, ...]) -> ir.Value:
    """An input that has a shape, as real numbers."""
    found = site.input(index)
    if found.shape != shape:
        raise ModelFileError(f"its input {index} has the shape {found.shape}, and {shape} fits the others")
    return site.g.plain(found)


def _bias(site: Site, index: int, weights: int, size: int, step: float | None = None) -> ir.Value:
    """A bias, zeros where it is left out: real numbers, or integers by the scale of weights and inputs, or a step."""
    if not site.has(index):
        return site.g.constant(np.zeros(size, np.float32), "bias")
    stored, source, factors = site.stored(index), site.storage(0), site.storage(weights)
    if stored.shape != (size,):
        raise ModelFileError(f"its input {index} has the shape {stored.shape}, and {(size,)} fits the others")
    if stored.dtype != np.int32 or source is None or factors is None:
        return site.g.plain(site.input(index))
    scale = factors.scale * (source.scale if step is None else np.float32(step))
    found = Quantization(scale, np.zeros(scale.size, np.int64), 0)
    return site.g.weights(site.numbers(index), found, 0, stored.name or "bias")


def _steps(site: Site) -> Steps | None:
    """The scales of what is inside a layer of integers; None for one of real numbers."""
    if site.storage(0) is None:
        return None
    tensors, inner = site.network.graph.tensors, site.operator.intermediates
    if site.stored(0).dtype != np.int8 or len(inner) != 5 or min(inner) < 0:
        raise UnsupportedOpError(f"it computes in {site.stored(0).type} with {len(inner)} intermediate results")

    def step(tensor: Stored) -> tuple[float, int]:
        found = storage_of(tensor)
        if found is None or found.scale.size != 1:
            raise ModelFileError(f"tensor {tensor.name!r} has no scale")
        return float(found.scale[0]), int(found.zero_point[0])

    normed = any(map(site.has, range(20, 24)))
    gates = [step(tensors[inner[gate]]) for gate in _GATES] if normed else []
    return Steps(step(site.stored(19)), step(tensors[inner[4]]), step(site.stored(18)), tuple(gates))


def _both(site: Site, kind: str, x: Tensor, parts: Sequence[_Direction]) -> Sequence[Tensor]:
    """Both directions: side by side, or as two outputs."""
    y = _layer(site, kind, x, parts)
    if site.option("merge_outputs", default=False):
        return [y]
    ends = np.cumsum([part.outputs for part in parts]).tolist()
    return [site.g.slice(y, 2, end - part.outputs, end) for end, part in zip(ends, parts, strict=True)]


def _layer(
    site: Site,
    kind: str,
    x: Tensor,
    parts: Sequence[_Direction],
    *,
    layout: int | None = None,
    steps: Steps | None = None,
) -> Tensor:
    """One node, and its states as those who read them later see them; it gives the cells only where something does."""
    read = [site.network.is_read_after(site.stored(part.states[-1]).index, site.operator.index) for part in parts]
    layout = layout if layout is not None else 0 if site.option("time_major", default=False) else 1
    word = site.word("fused_activation_function", "NONE")
    activation = _ACTIVATIONS.get(word)
    if activation is None or (kind == "LSTM" and activation == "Identity"):  # the kernel gives what it has left over
        raise UnsupportedOpError(f"its cells have the activation {word}")
    cells = kind == "LSTM" and any(read)
    y, found = _nodes(site, kind, x, parts, layout=layout, activation=activation, cells=cells, steps=steps)
    _note_states(site, parts, y, found, layout)
    return y


def _nodes(
    site: Site,
    kind: str,
    x: Tensor,
    parts: Sequence[_Direction],
    *,
    layout: int,
    activation: str,
    cells: bool,
    steps: Steps | None = None,
) -> tuple[Tensor, list[Tensor]]:
    """The node's output, and its last cells [directions, batch, hidden] if they are wanted."""
    g, hidden = site.g, parts[0].hidden
    if x.rank != 3 or any(part.hidden != hidden for part in parts):
        raise UnsupportedOpError(
            f"its directions have {[part.hidden for part in parts]} cells, its input {x.rank} axes"
        )
    batch = static(x.shape)[1 - layout]
    states, stateful = _states(site, parts, batch)
    values = []
    for part, begin in zip(parts, states, strict=True):
        values += [*part.inputs, *begin, *part.beyond]
    size = sum(part.outputs for part in parts)
    made = g.build(
        kind,
        g.plain(x),
        *values,
        outputs=1 + cells,
        domain=NARROWCAST,
        name=g.name(kind.lower()),
        shape=(*x.shape[:2], size),
        dtype=np.float32,
        direction="forward" if len(parts) == 1 else "bidirectional",
        hidden_size=hidden,
        layout=layout or None,
        activation=activation,
        cell_clip=float(site.option("cell_clip", 0.0)) or None,
        proj_clip=float(site.option("proj_clip", 0.0)) or None,
        stateful=int(stateful) or None,
        asymmetric=int(site.option("asymmetric_quantize_inputs", default=False)) or None,
        **(steps.attributes if steps is not None else {}),
    )
    if not cells:
        return Tensor((*x.shape[:2], size), np.dtype(np.float32), made), []
    y, last = made
    last.shape, last.dtype = ir.Shape((len(parts), batch, hidden)), ir.DataType.FLOAT
    found = Tensor((len(parts), batch, hidden), np.dtype(np.float32), last)
    return Tensor((*x.shape[:2], size), np.dtype(np.float32), y), [found]


def _states(site: Site, parts: Sequence[_Direction], batch: int) -> tuple[list[list[ir.Value | None]], bool]:
    """What the states begin with, None for what the inference before has left; and whether that is so."""
    found: list[list[ir.Value | None]] = []
    for part in parts:
        found.append([])
        for index, size in zip(part.states, (part.outputs, part.hidden), strict=False):
            stored = site.stored(index)
            if stored.shape != (batch, size):
                raise ModelFileError(f"its state {stored.name!r} has the shape {stored.shape}, not {(batch, size)}")
            lasts = stored.variable and not site.network.is_made(stored.index)
            found[-1].append(None if lasts else _weights(site, index, (batch, size)))
    lasting = {value is None for values in found for value in values}
    if True in lasting and site.network.within:
        raise UnsupportedOpError("its states last from one round of a loop to the next, or where a branch is taken")
    if len(lasting) > 1:
        raise UnsupportedOpError("some of its states last from one inference to the next, and others are given")
    return found, lasting.pop()


def _note_states(site: Site, parts: Sequence[_Direction], y: Tensor, cells: Sequence[Tensor], layout: int) -> None:
    """Gives the last states to what reads the variables later."""
    g, end = site.g, 0
    for number, part in enumerate(parts):
        end += part.outputs
        hidden, *cell = (site.stored(index).index for index in part.states)
        if site.network.is_read_after(hidden, site.operator.index):
            last = 0 if number else y.dim(layout) - 1
            own = g.slice(g.slice(y, layout, last, last + 1), 2, end - part.outputs, end)
            site.network.remake(hidden, g.reshape(own, (y.shape[1 - layout], part.outputs)))
        if cell and site.network.is_read_after(cell[0], site.operator.index):
            own = g.slice(cells[0], 0, number, number + 1)
            site.network.remake(cell[0], g.reshape(own, own.shape[1:]))
