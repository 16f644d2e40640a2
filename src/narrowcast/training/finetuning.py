"""`finetune`: a quantised network learns to do what the float one does, or to find labels.

Knowledge distillation (Hinton et al., https://arxiv.org/abs/1503.02531) with the network as its own teacher: no labels
are needed. First each piece learns by itself (`pieces`), on what the pieces before it hand over, then all together.
What is best on samples that nothing learned from is kept, so that nothing is worse afterwards than it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from narrowcast.dialect.build import constant_of, dims
from narrowcast.errors import DataError, UnsupportedError, UsageError
from narrowcast.evaluation.metrics import is_classifier
from narrowcast.evaluation.ports import feed_for, graph_ports
from narrowcast.model import Array, Feed, Model
from narrowcast.quantization.scheme import add_note
from narrowcast.targets.spelling import dequantizer
from narrowcast.training.checkpoints import Checkpoint, fingerprint
from narrowcast.training.learning import Lesson, Values, learn, through
from narrowcast.training.network import Network, from_torch
from narrowcast.training.pieces import Piece, pieces_of, whole
from narrowcast.training.recipe import Recipe

__all__ = ["MOST_BYTES", "finetune"]

Progress = Callable[[str, int, int | None], None]

MOST_BYTES = 2**31
"""Of samples that are kept, and of what crosses a border between two pieces of a network."""
ALIKE = 0.02
"""How far a sample's output may be another in a batch than alone, in units of the largest: roundings may turn."""


def finetune(
    quantized: Model,
    floats: Model,
    feeds: Sequence[Feed],
    recipe: Recipe,
    *,
    labels: Sequence[int] | None = None,
    checkpoint: Path | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> Model:
    """A copy of a quantised model whose integers have learned.

    Args:
        quantized: with the names of `floats`; it is not changed.
        floats: what it was made from, adapted to the target: the teacher.
        feeds: samples for the float model. The last eighth chooses what is kept, and nothing learns from it.
        recipe: how it learns.
        labels: the class of each sample; None to learn from the float model alone.
        checkpoint: a folder in which the state is kept, and found again by the same call.
        progress: is told how many updates of a stage are done.

    Raises:
        UsageError: the recipe cannot be followed, or labels are given and the first output scores no classes.
        UnsupportedError: training has no function for an operator.
        DataError: the samples do not fit, or the checkpoint is damaged or another training's.
    """
    recipe.check()
    classes = _classes(floats, labels, len(feeds))
    student = Network(quantized, _weights_before(quantized, floats), learned_steps=recipe.learned_steps)
    if not student.rounded:
        raise UsageError(
            f"the scheme {quantized.scheme} rounds nothing that could learn", hint="one with integers: int8"
        )
    teacher = Network(floats)
    for network in (student, teacher):
        network.to(recipe.device)
    given = _tensors([feed_for(graph_ports(quantized), feed) for feed in feeds]), _tensors(feeds)
    together = recipe.batch_size if _treats_alike((student, teacher), given) else 1
    mark = fingerprint(quantized, recipe, len(feeds), labels)
    memory = Checkpoint.open(checkpoint, mark)
    if memory.state is not None:
        memory.check(memory.state.parameters, list(student.parameters()))
        with torch.no_grad():
            for parameter, tensor in zip(student.parameters(), memory.state.parameters, strict=True):
                parameter.copy_(tensor)
    progress("opening the network", 0, None)
    told = ""
    for lesson in _lessons(student, teacher, given, recipe, classes, together):
        if not memory.is_past(lesson.number):
            told = _told(lesson, *learn(student, lesson, recipe, memory, progress))
    made = from_torch(student)
    add_note(made, f"fine-tuned on {len(feeds)} samples{told}")
    return made


def _told(lesson: Lesson, before: float, after: float) -> str:
    """What was learned last, in words."""
    if lesson.labels is not None:
        return f": on those held back the cross-entropy went from {before:.3f} to {after:.3f}"
    levels = [-10 * math.log10(max(distance, 1e-12)) for distance in (before, after)]
    what = "a piece's answers" if lesson.stage.startswith("piece") else "the answers"
    return f": on those held back {what} went from {levels[0]:.1f} to {levels[1]:.1f} dB of the float network's"


def _lessons(
    student: Network,
    teacher: Network,
    given: tuple[Values, Values],
    recipe: Recipe,
    labels: Tensor | None,
    together: int,
) -> Iterator[Lesson]:
    """Each piece by itself, a constant in the first that has it; then the whole. What comes next follows the last."""
    everything = whole(teacher.model)
    pieces = pieces_of(teacher.model, student.model) if recipe.piece_epochs else []
    pieces = pieces if len(pieces) > 1 else []
    few = _how_many(teacher.model, pieces)
    own, seen = (values[:few] for values in given)
    taken: set[str] = set()
    for number, piece in enumerate(pieces):
        targets = through(teacher, seen, piece, together)
        names = [name for name in student.reached(piece.inputs, piece.outputs) if name not in taken]
        stage = f"piece {number + 1} of {len(pieces)}"
        yield Lesson(number, stage, piece, names, own, targets, None, recipe.piece_epochs, together, alone=True)
        taken.update(names)
        own, seen = through(student, own, piece, together), targets
    epochs = recipe.epochs if pieces else recipe.epochs + recipe.piece_epochs
    if epochs:
        own, seen = given
        targets = through(teacher, seen, everything, together)
        names = student.reached(everything.inputs, everything.outputs)
        alone = not pieces
        yield Lesson(len(pieces), "fine-tuning", everything, names, own, targets, labels, epochs, together, alone)


def _how_many(floats: Model, pieces: Sequence[Piece]) -> int:
    """From how many samples pieces can learn: what crosses a border is kept three times for each."""
    values = [*floats.graph.inputs, *(value for node in floats.graph for value in node.outputs)]
    sizes = {value.name: 4 * math.prod(dims(value) or (1,)) for value in values}
    widest = max((sum(sizes.get(name, 0) for name in piece.inputs) for piece in pieces), default=1)
    return max(MOST_BYTES // (3 * widest), 2)


def _tensors(feeds: Sequence[Feed]) -> Values:
    return [{name: torch.from_numpy(np.array(array)) for name, array in feed.items()} for feed in feeds]


def _classes(floats: Model, labels: Sequence[int] | None, count: int) -> Tensor | None:
    """Labels as a tensor, checked."""
    if labels is None:
        return None
    output = floats.outputs[0]
    if not is_classifier(output.shape):
        raise UsageError("labels are given, but the first output scores no classes", hint="learn without labels")
    found = np.asarray(labels)
    if found.shape != (count,) or found.dtype.kind not in "iu":
        raise DataError(f"there are {count} samples, and labels of shape {found.shape}")
    if found.min(initial=0) < 0 or found.max(initial=0) >= (output.shape[-1] or 0):
        raise DataError(f"a label is none of {output.shape[-1]} classes", hint="--label-offset is added to each")
    return torch.from_numpy(found.astype(np.int64))


def _weights_before(quantized: Model, floats: Model) -> Mapping[str, Array]:
    """What the integers of constants were rounded from, by their names: what the same node had in floats."""
    twins = {node.name: node for node in floats.graph}
    found: dict[str, Array] = {}
    for node in quantized.graph:
        twin = twins.get(node.name)
        for value, before in zip(node.inputs, twin.inputs if twin is not None else (), strict=False):
            array, stored = constant_of(before), dequantizer(value)
            if array is not None and stored is not None and stored.inputs[0] is not None:
                found[stored.inputs[0].name or ""] = array
    return found


def _treats_alike(networks: Sequence[Network], given: Sequence[Values]) -> bool:
    """Whether two samples at once are answered as each alone: operators that mix a batch, or fix its size, do not."""
    for network, values in zip(networks, given, strict=True):
        names = [spec.name for spec in network.model.outputs]
        piece = Piece(tuple(values[0]), tuple(names))
        pair = [values[0], values[-1]]
        alone = through(network, pair, piece, 1)
        try:
            both = through(network, pair, piece, 2)
        except UnsupportedError:
            return False
        for first, second in zip(alone, both, strict=True):
            for name in names:
                one, other = first[name].double(), second[name].double()
                if one.shape != other.shape or (one - other).abs().mean() > ALIKE * one.abs().max():
                    return False
    return True
