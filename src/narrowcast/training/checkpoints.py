"""The state of a training in a file: what an interrupt leaves, and the same call takes up."""

from __future__ import annotations

import hashlib
import json
import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from narrowcast._files import atomic_write
from narrowcast.errors import DataError, OutputError
from narrowcast.model import Model, ir

__all__ = ["Checkpoint", "State", "fingerprint"]

NAME = "narrowcast-training.pt"
EVERY = 20.0
"""Seconds between two states that are kept."""
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class State:
    """Where a training stands.

    Attributes:
        lesson: the number of what is being learned.
        update: how many updates of it are done.
        first: the distance on samples held back before all updates of the lesson.
        best: that of what was best so far.
        parameters: all of the network's.
        kept: what was best, of the parameters that learn.
        moments: of Adam, two for each of these.
    """

    lesson: int
    update: int
    first: float
    best: float
    parameters: list[Tensor]
    kept: list[Tensor]
    moments: list[Tensor]


_NAMES = {"format", "mark", *State.__slots__}
_HINT = "another folder, or none, begins anew"


def fingerprint(model: Model, *choices: object) -> Tensor:
    """Tells one training from another: its network, and what was chosen. uint8 [32]."""
    digest = hashlib.sha256(json.dumps([repr(choice) for choice in choices]).encode())
    digest.update(ir.to_proto(model.ir).SerializeToString(deterministic=True))
    return torch.frombuffer(bytearray(digest.digest()), dtype=torch.uint8)


@dataclass(slots=True)
class Checkpoint:
    """A file of a training's state, in a folder; without one nothing is kept.

    Attributes:
        folder: made where it is missing.
        mark: of `fingerprint`.
        state: as it was found.
    """

    folder: Path | None
    mark: Tensor
    state: State | None = None
    _saved: float = field(default_factory=time.monotonic)

    @classmethod
    def open(cls, folder: Path | None, mark: Tensor) -> Checkpoint:
        """Looks for a state.

        Raises:
            DataError: it is damaged, or another training's.
            OutputError: the folder cannot be made.
        """
        if folder is None:
            return cls(None, mark)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot be made: {error.strerror}", where=str(folder)) from error
        path = folder / NAME
        return cls(folder, mark, _read(path, mark) if path.exists() else None)

    def check(self, found: Sequence[Tensor], wanted: Sequence[Tensor]) -> None:
        """Whether tensors of the state can stand for others.

        Raises:
            DataError: they are of other shapes or types, or hold what is no number.
        """
        if len(found) != len(wanted) or not all(map(_can_be, found, wanted)):
            assert self.folder is not None
            raise _damaged(self.folder / NAME)

    def of(self, lesson: int) -> State | None:
        """The state found, if it is this lesson's."""
        return self.state if self.state is not None and self.state.lesson == lesson else None

    def is_past(self, lesson: int) -> bool:
        """Whether a lesson was learned before that state."""
        return self.state is not None and self.state.lesson > lesson

    def due(self) -> bool:
        """Whether it is time to keep a state."""
        return self.folder is not None and time.monotonic() - self._saved >= EVERY

    def keep(self, state: State) -> None:
        """Writes a state in the place of the one before."""
        if self.folder is None:
            return
        content: dict[str, Any] = {"format": _FORMAT, "mark": self.mark}
        content |= {name: getattr(state, name) for name in State.__slots__}
        with atomic_write(self.folder / NAME) as file:
            torch.save(content, file)
        self._saved = time.monotonic()


def _read(path: Path, mark: Tensor) -> State:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)  # tensors and numbers, never code
    except Exception as error:  # whatever a damaged file makes torch raise
        raise _damaged(path) from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT or set(content) != _NAMES:
        raise DataError("the file is no checkpoint of narrowcast", where=str(path), hint=_HINT)
    if not isinstance(content["mark"], Tensor) or not torch.equal(content["mark"], mark):
        raise DataError("the checkpoint is of another network, data or recipe", where=str(path), hint=_HINT)
    counts = [content[name] for name in ("lesson", "update")]
    distances = [content[name] for name in ("first", "best")]
    lists = [content[name] for name in ("parameters", "kept", "moments")]
    if (
        any(type(count) is not int or count < 0 for count in counts)
        or any(type(distance) is not float or math.isnan(distance) for distance in distances)
        or not all(isinstance(tensors, list) for tensors in lists)
    ):
        raise _damaged(path)
    return State(**{name: content[name] for name in State.__slots__})


def _damaged(path: Path) -> DataError:
    return DataError("the checkpoint is damaged", where=str(path), hint=_HINT)


def _can_be(found: object, wanted: Tensor) -> bool:
    """Whether a tensor of a file has the shape and type of another, and holds numbers only."""
    if not isinstance(found, Tensor) or found.layout != wanted.layout or found.device.type != "cpu":
        return False
    return found.shape == wanted.shape and found.dtype == wanted.dtype and bool(torch.isfinite(found).all())
