"""One lesson: part of a network learns until it does, on samples, what it is shown."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from narrowcast.training.checkpoints import Checkpoint, State
from narrowcast.training.network import Network
from narrowcast.training.pieces import Piece
from narrowcast.training.recipe import Recipe

__all__ = ["Lesson", "Values", "joined", "learn", "through"]

Values: TypeAlias = list[dict[str, Tensor]]
"""For each sample, tensors by name."""

REACH = {True: 0.5, False: 0.03}
"""Steps that a weight may go in a lesson of a piece, and of a network of several, where no learning rate is given.

Of 0.03, 0.1, 0.3 and 1 for tiny_resnet8 by one scale a tensor (26.5 dB), pieces learned most with 0.3 (31.1 dB), the
whole with 0.03 (30.3); with 0.3, all 53 layers of MobileNetV2 together lost 11 dB.
"""
BIAS_RATE = 128.0
"""Steps of a bias that are worth one of a weight: as many as the highest inputs have in units of their own."""
RELATIVE_RATE = 1 / 64
"""What a step of a weight is to its largest; so for what has no steps, per unit of its own size."""
STEP_RATE = 1 / 16
"""Of a scale, beside that: all that is rounded by it moves at once."""
BIAS_HIGH = 2**31 - 1
"""The highest integer of a bias, and of nothing else."""
WARM = 0.05
"""Part of all updates in which the rate rises to its height."""
LOOKS = 4
"""How often in a lesson is looked for the best."""
HELD_BACK = 8
"""One of so many samples chooses what is kept."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is to be learned.

    Attributes:
        number: of the lesson, in order.
        stage: what people are told.
        piece: who learns.
        names: the constants that learn.
        inputs: what the piece reads.
        targets: what it is to answer.
        labels: classes in the place of targets.
        epochs: how often each sample is seen.
        together: how many samples may be computed at once.
        alone: whether it is one piece: of several, or the only one.
    """

    number: int
    stage: str
    piece: Piece
    names: Sequence[str]
    inputs: Values
    targets: Values
    labels: Tensor | None
    epochs: int
    together: int
    alone: bool = False


def joined(values: Values, indices: Sequence[int], names: Sequence[str], device: torch.device) -> dict[str, Tensor]:
    """Some samples as a batch."""
    return {name: torch.cat([values[index][name] for index in indices]).to(device) for name in names}


def through(network: Network, values: Values, piece: Piece, together: int) -> Values:
    """What a piece makes of samples."""
    made: Values = []
    with torch.no_grad():
        for start in range(0, len(values), together):
            indices = range(start, min(start + together, len(values)))
            found = network.run(joined(values, indices, piece.inputs, network.device), piece.outputs)
            parts = {name: found[name].cpu().chunk(len(indices)) for name in piece.outputs}
            made += [{name: part[index].clone() for name, part in parts.items()} for index in range(len(indices))]
    return made


def learn(
    network: Network,
    lesson: Lesson,
    recipe: Recipe,
    checkpoint: Checkpoint,
    progress: Callable[[str, int, int | None], None],
) -> tuple[float, float]:
    """Lets the constants of a lesson learn by Adam (Kingma and Ba, https://arxiv.org/abs/1412.6980).

    Afterwards they are what was best on the samples held back, and those alone, never worse than before.

    Returns:
        The distance on these before and after.
    """
    groups = [group for name in lesson.names if (group := _group(network, name)) is not None]
    held = max(len(lesson.inputs) // HELD_BACK, 1)
    train = max(len(lesson.inputs) - held, 1)
    last = range(len(lesson.inputs) - held, len(lesson.inputs))
    compare = _Comparison(network, lesson)
    if not compare.power and lesson.labels is None:
        return 0.0, 0.0  # positions alone, of which nothing can be learned
    if not groups:
        return (compare.mean(last),) * 2
    optimizer = torch.optim.Adam(groups, lr=0.0, eps=1e-15)
    learning = [parameter for group in groups for parameter in group["params"]]
    each = -(-train // recipe.batch_size)
    updates, done = each * lesson.epochs, 0
    height = recipe.learning_rate or 2 * REACH[lesson.alone] / updates
    state = checkpoint.of(lesson.number)
    if state is None:
        first = best = compare.mean(last)
        kept = [parameter.detach().clone() for parameter in learning]
    else:
        checkpoint.check([*state.kept, *state.moments], [*learning, *(one for one in learning for _ in range(2))])
        first, best, kept, done = (
            state.first,
            state.best,
            [tensor.to(network.device) for tensor in state.kept],
            state.update,
        )
        _restore(optimizer, learning, state.moments, done)
    while done < updates:
        epoch, place = divmod(done, each)
        order = _order(train, recipe.seed, lesson.number, epoch)
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * height * _rate(done, updates)
        optimizer.zero_grad()
        compare.backward(order[place * recipe.batch_size : (place + 1) * recipe.batch_size])
        optimizer.step()
        done += 1
        progress(lesson.stage, done, updates)
        if done == updates or (done % each == 0 and (epoch + 1) % max(lesson.epochs // LOOKS, 1) == 0):
            now = compare.mean(last)
            if now < best:
                best, kept = now, [parameter.detach().clone() for parameter in learning]
        if checkpoint.due():
            checkpoint.keep(_state(lesson, done, (first, best), network, kept, optimizer, learning))
    with torch.no_grad():
        for parameter, tensor in zip(learning, kept, strict=True):
            parameter.copy_(tensor)
    return first, best


class _Comparison:
    """How far a piece is from what it is to answer, in units of the answers' power; or from the labels, as entropy."""

    def __init__(self, network: Network, lesson: Lesson) -> None:
        self.network, self.lesson = network, lesson
        self.power = {
            name: max(sum(float(target[name].square().mean()) for target in lesson.targets), 1e-30)
            / len(lesson.targets)
            for name in lesson.piece.outputs
            if lesson.targets[0][name].is_floating_point()
        }

    def of(self, indices: Sequence[int]) -> Tensor:
        """The mean over some samples, computed at once."""
        lesson, network = self.lesson, self.network
        given = joined(lesson.inputs, indices, lesson.piece.inputs, network.device)
        made = network.run(given, lesson.piece.outputs)
        found = {name: network.real(name, value) for name, value in made.items()}
        if lesson.labels is not None:
            scores = found[lesson.piece.outputs[0]].reshape(len(indices), -1)
            return functional.cross_entropy(scores, lesson.labels[list(indices)].to(network.device))
        wanted = joined(lesson.targets, indices, list(self.power), network.device)
        parts = [(found[name] - wanted[name]).square().mean() / power for name, power in self.power.items()]
        return torch.stack(parts).mean()

    def _parts(self, indices: Sequence[int]) -> Iterator[Sequence[int]]:
        for start in range(0, len(indices), self.lesson.together):
            yield indices[start : start + self.lesson.together]

    def mean(self, indices: Sequence[int]) -> float:
        """The mean over some samples."""
        with torch.no_grad():
            return sum(float(self.of(part)) * len(part) for part in self._parts(indices)) / len(indices)

    def backward(self, indices: Sequence[int]) -> None:
        """Adds the gradient of that to the parameters'."""
        for part in self._parts(indices):
            (self.of(part) * (len(part) / len(indices))).backward()  # type: ignore[no-untyped-call]


def _group(network: Network, name: str) -> dict[str, Any] | None:
    """A constant's parameter, with what its rate is to that of weights in steps; None where it does not learn."""
    place, parameter = network.places[name], network.parameter_of(name)
    if parameter is None or not parameter.requires_grad:
        return None
    if place.kind == "rounded":
        rate = BIAS_RATE if network.rounded_at(place.index).grid.high >= BIAS_HIGH else 1.0
    else:
        size = float(parameter.detach().square().mean().sqrt())
        rate = size * (RELATIVE_RATE if place.kind == "trained" else RELATIVE_RATE * STEP_RATE)
    return {"params": [parameter], "rate": rate}


def _rate(done: int, updates: int) -> float:
    return min((done + 1) / max(WARM * updates, 1.0), 1.0) * (0.5 + 0.5 * math.cos(math.pi * done / updates))


def _order(count: int, seed: int, lesson: int, epoch: int) -> list[int]:
    """The samples of an epoch, whatever came before it."""
    order: list[int] = np.random.default_rng((seed, lesson, epoch)).permutation(count).tolist()
    return order


def _state(
    lesson: Lesson,
    done: int,
    distances: tuple[float, float],
    network: Network,
    kept: list[Tensor],
    optimizer: torch.optim.Optimizer,
    learning: list[Tensor],
) -> State:
    moments = [optimizer.state[parameter][name] for parameter in learning for name in ("exp_avg", "exp_avg_sq")]
    everything = [parameter.detach() for parameter in network.parameters()]
    return State(lesson.number, done, *distances, everything, kept, moments)


def _restore(optimizer: torch.optim.Optimizer, learning: list[Tensor], moments: list[Tensor], done: int) -> None:
    for index, parameter in enumerate(learning):
        first, second = moments[2 * index : 2 * index + 2]
        optimizer.state[parameter] = {
            "step": torch.tensor(float(done)),
            "exp_avg": first.to(parameter.device),
            "exp_avg_sq": second.to(parameter.device),
        }
