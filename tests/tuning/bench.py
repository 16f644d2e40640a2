"""A laboratory without networks: figures of trials by a table, and a network of blocks that gain by what they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from narrowcast.errors import UnsupportedError
from narrowcast.evaluation.trials import Trial
from narrowcast.tuning.records import Figures
from narrowcast.tuning.regions import Block

START = Trial(Path("m.onnx"), "tflite", "int8", {"held": 8})


@dataclass
class Bench:
    """What each setting is worth, in dB; blocks gain what `blocks_gain` says where they are in float."""

    worth: dict[str, float] = field(default_factory=dict)
    blocks_gain: dict[str, float] = field(default_factory=dict)
    broken: tuple[str, ...] = ()
    measured: list[Trial] = field(default_factory=list)
    looked: list[Trial] = field(default_factory=list)
    shares: dict[str, float] = field(default_factory=dict)

    def _decibels(self, trial):
        settings = trial.settings
        words = [settings.observer, *settings.repairs]
        if broken := [word for word in words if word in self.broken]:
            raise UnsupportedError(f"{broken[0]} cannot be made")
        floats = [name for name, scheme in settings.overrides.items() if scheme == "float32"]
        won = [gain for name, gain in self.blocks_gain.items() if any(fnmatchcase(name, pattern) for pattern in floats)]
        return 10 + sum(self.worth.get(word, 0.0) for word in words) + sum(won)

    def measure(self, trial):
        self.measured.append(trial)
        found = self._decibels(trial)
        return Figures({"y": found}, found, None, 1000)

    def look(self, trial):
        self.looked.append(trial)
        return self._decibels(trial)

    def noise(self, trial):
        return self.shares

    def blocks(self, trial):
        return [Block((name,), 10) for name in self.blocks_gain]
