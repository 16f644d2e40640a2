"""LSTM, GRU and RNN, step by step, as ONNX defines them: [steps, batch, features], gates stacked in the weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from narrowcast.dialect.recurrent import STATES, Direction, directions_of
from narrowcast.errors import UnsupportedOpError, shown
from narrowcast.model import ir
from narrowcast.training.registry import prepares, translates

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "Relu": torch.relu,
    "Sigmoid": torch.sigmoid,
    "Softplus": functional.softplus,
    "Softsign": functional.softsign,
    "Tanh": torch.tanh,
}
Step = Callable[[Tensor, tuple[Tensor, ...]], tuple[Tensor, ...]]


def _functions(names: Sequence[str], usual: Sequence[str], directions: int) -> list[list[Callable[[Tensor], Tensor]]]:
    """The activations of each direction."""
    chosen = list(names) or list(usual) * directions
    for name in chosen:
        if name not in _ACTIVATIONS:
            raise UnsupportedOpError(f"training has no recurrent layers with {shown(name)}")
    count = len(usual)
    return [[_ACTIVATIONS[name] for name in chosen[index * count : (index + 1) * count]] for index in range(directions)]


def _swept(
    x: Tensor,
    lengths: Tensor | None,
    layout: int,
    direction: str,
    states: Sequence[Tensor | None],
    hidden: int,
    cell: Callable[[int], Step],
) -> tuple[Tensor, ...]:
    """All steps of all directions: outputs [steps, directions, batch, hidden], then the last states."""
    if lengths is not None:
        raise UnsupportedOpError("training has no recurrent layers with lengths of their own")
    if layout:
        raise UnsupportedOpError("training wants recurrent layers with the steps first")
    outputs, lasts = [], []
    ways = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}[direction]
    for index, backwards in enumerate(ways):
        start = [x.new_zeros(x.shape[1], hidden) if state is None else state[index] for state in states]
        now, made = tuple(state.expand(x.shape[1], hidden) for state in start), []
        step = cell(index)
        for part in reversed(x.unbind(0)) if backwards else x.unbind(0):
            now = step(part, now)
            made.append(now[0])
        outputs.append(torch.stack(made[::-1] if backwards else made))
        lasts.append(now)
    return torch.stack(outputs, 1), *(torch.stack(parts) for parts in zip(*lasts, strict=True))


def _limited(gate: Tensor, clip: float) -> Tensor:
    return gate.clamp(-clip, clip) if clip else gate


def _halves(bias: Tensor | None, weights: Tensor, index: int) -> tuple[Tensor, Tensor]:
    if bias is None:
        zero = weights.new_zeros(weights.shape[1])
        return zero, zero
    first, second = bias[index].chunk(2)
    return first, second


@translates("LSTM")
def lstm(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    lengths: Tensor | None = None,
    h: Tensor | None = None,
    c: Tensor | None = None,
    p: Tensor | None = None,
    *,
    activation_alpha: Sequence[float] = (),
    activation_beta: Sequence[float] = (),
    activations: Sequence[str] = (),
    clip: float = 0.0,
    direction: str = "forward",
    hidden_size: int,
    input_forget: int = 0,
    layout: int = 0,
) -> tuple[Tensor, ...]:
    """Gates in the order input, output, forget, cell."""
    if input_forget:
        raise UnsupportedOpError("training has no LSTM whose input and forget gates are one")
    functions = _functions(activations, ("Sigmoid", "Tanh", "Tanh"), len(w))

    def cell(index: int) -> Step:
        f, g, k = functions[index]
        before, inner = _halves(b, w, index)
        peep = p[index].chunk(3) if p is not None else (0.0, 0.0, 0.0)

        def step(part: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            hidden, memory = states
            gates = part @ w[index].T + hidden @ r[index].T + (before + inner)
            i, o, forget, new = gates.chunk(4, -1)
            i, forget = f(_limited(i + peep[0] * memory, clip)), f(_limited(forget + peep[2] * memory, clip))
            memory = forget * memory + i * g(_limited(new, clip))
            return f(_limited(o + peep[1] * memory, clip)) * k(memory), memory

        return step

    return _swept(x, lengths, layout, direction, (h, c), hidden_size, cell)


@translates("GRU")
def gru(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    lengths: Tensor | None = None,
    h: Tensor | None = None,
    *,
    activation_alpha: Sequence[float] = (),
    activation_beta: Sequence[float] = (),
    activations: Sequence[str] = (),
    clip: float = 0.0,
    direction: str = "forward",
    hidden_size: int,
    layout: int = 0,
    linear_before_reset: int = 0,
) -> tuple[Tensor, ...]:
    """Gates in the order update, reset, hidden."""
    functions = _functions(activations, ("Sigmoid", "Tanh"), len(w))

    def cell(index: int) -> Step:
        f, g = functions[index]
        (before, inner), size = _halves(b, w, index), hidden_size

        def step(part: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            (hidden,) = states
            given, weights = part @ w[index].T + before, r[index]
            both = given[..., : 2 * size] + hidden @ weights[: 2 * size].T + inner[: 2 * size]
            update, reset = f(_limited(both, clip)).chunk(2, -1)
            if linear_before_reset:
                memory = reset * (hidden @ weights[2 * size :].T + inner[2 * size :])
            else:
                memory = (reset * hidden) @ weights[2 * size :].T + inner[2 * size :]
            new = g(_limited(given[..., 2 * size :] + memory, clip))
            return ((1 - update) * new + update * hidden,)

        return step

    return _swept(x, lengths, layout, direction, (h,), hidden_size, cell)


@translates("RNN")
def rnn(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    lengths: Tensor | None = None,
    h: Tensor | None = None,
    *,
    activation_alpha: Sequence[float] = (),
    activation_beta: Sequence[float] = (),
    activations: Sequence[str] = (),
    clip: float = 0.0,
    direction: str = "forward",
    hidden_size: int,
    layout: int = 0,
) -> tuple[Tensor, ...]:
    """One gate."""
    functions = _functions(activations, ("Tanh",), len(w))

    def cell(index: int) -> Step:
        (f,) = functions[index]
        before, inner = _halves(b, w, index)

        def step(part: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return (f(_limited(part @ w[index].T + states[0] @ r[index].T + before + inner, clip)),)

        return step

    return _swept(x, lengths, layout, direction, (h,), hidden_size, cell)


@prepares("narrowcast::LSTM", "narrowcast::RNN")
def by_gates(node: ir.Node) -> Callable[..., tuple[Tensor, ...]]:
    """The dialect's own layers, a matrix for each gate, that have nothing beyond ONNX's."""
    kind, attributes = node.op_type, node.attributes
    count, hidden = STATES[kind], attributes.get_int("hidden_size", 0)
    activation = attributes.get_string("activation", "Tanh")

    def layer(x: Tensor, *rest: Tensor | None) -> tuple[Tensor, ...]:
        parts = directions_of(kind, (x, *rest))
        w, r = (torch.stack([torch.cat(_given(row)) for row in rows]) for rows in _matrices(parts))
        biases = torch.stack([torch.cat(_given(part.biases)) for part in parts])
        b = torch.cat([biases, torch.zeros_like(biases)], 1)
        states = [
            torch.stack(row) if len(row := _given([part.states[index] for part in parts])) == len(parts) else None
            for index in range(count)
        ]
        functions = (["Sigmoid", activation, activation] if kind == "LSTM" else [activation]) * len(parts)
        peepholes = [_given(part.peepholes) for part in parts]
        p = torch.stack([torch.cat(row) for row in peepholes]) if kind == "LSTM" and all(peepholes) else None
        options = {"activations": functions, "direction": attributes.get_string("direction", "forward")}
        run = lstm if kind == "LSTM" else rnn
        more = (p,) if kind == "LSTM" else ()
        y, *last = run(x, w, r, b, None, *states, *more, hidden_size=hidden, **options)  # type: ignore[arg-type]
        side_by_side = y.transpose(1, 2).reshape(*x.shape[:2], len(parts) * hidden)
        return (side_by_side, last[1]) if kind == "LSTM" else (side_by_side,)

    return layer


def _matrices(parts: Sequence[Direction[Tensor | None]]) -> list[list[Sequence[Tensor | None]]]:
    return [[part.weights for part in parts], [part.recurrent for part in parts]]


def _given(values: Sequence[Tensor | None]) -> list[Tensor]:
    return [value for value in values if value is not None]
