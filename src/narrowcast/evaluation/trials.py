"""A trial: one file to be made and measured, as a value that can be kept, sent elsewhere, and repeated."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from narrowcast.errors import DataError, did_you_mean

__all__ = ["LARGEST_SEED", "OBSERVERS", "REPAIRS", "Settings", "Trial", "unusual"]

OBSERVERS = ("auto", "minmax", "activation", "moving_average", "percentile", "mse", "entropy")
REPAIRS = ("equalize", "gptq", "bias", "smooth")
"""The names of `quantization.repairs.REPAIRS`, which takes long to import."""

LARGEST_SEED = 2**63 - 1
LARGEST_JSON = 1 << 20
"""Characters; a trial takes a few hundred."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a trial may override, and what holds where it does not.

    Attributes:
        source_format: the source's format, where neither content nor suffix tells.
        batch: size of a symbolic first dimension; "dynamic" leaves it open.
        input_shapes: full shapes by input name.
        freeze: inputs made constant, and the number that fills them.
        shapes: sizes of the dimensions that are open after that.
        signature: the key of the graph that is meant, in files of several.
        edits: a file of edits, or what it holds.
        cut_inputs, cut_outputs: tensors that become inputs, and the outputs.
        substitute: operators to replace by others.
        opset: version of the operator set; the writer's own choice if None.
        inline_limit: bytes of weights in JSON beyond which they lie in a file beside it; never if None.
        io_layout: layout of image inputs and outputs: the target's own, or the source's.
        samples: how many samples to calibrate on, at most.
        held: how many are first set aside, as a search judged by them.
        weights: granularity of integer weights.
        weight_bits: 4 or 8, of integer weights; the scheme's own if None.
        block_size: how many weights of 4 bits along the inputs share a scale; the scheme's own if None.
        observer: how the range of an activation is chosen.
        io_type: type of inputs and outputs; the scheme's own if None.
        overrides: other schemes by pattern of the nodes' names; the last one that fits holds.
        repairs: names of repairs in the order in which they are made.
        global_scale: the largest magnitude of every activation, in the place of a calibration; for int8_pow2.
    """

    source_format: str | None = None
    batch: int | Literal["dynamic"] = 1
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    freeze: Mapping[str, float] = field(default_factory=dict)
    shapes: Sequence[tuple[int, ...]] = ()
    signature: str = ""
    edits: str | Mapping[str, Any] | None = None
    cut_inputs: Sequence[str] = ()
    cut_outputs: Sequence[str] = ()
    substitute: Mapping[str, str] = field(default_factory=dict)
    opset: int | None = None
    inline_limit: int | None = None
    io_layout: Literal["target", "source"] = "target"
    samples: int = 128
    held: int = 0
    weights: str = "per-channel"
    weight_bits: int | None = None
    block_size: int | None = None
    observer: str = "auto"
    io_type: str | None = None
    overrides: Mapping[str, str] = field(default_factory=dict)
    repairs: Sequence[str] = ()
    global_scale: float | None = None


_USUAL = Settings()


def _plain(value: Any) -> Any:
    """A number or an array of numpy as Python's; what JSON lacks as text."""
    plain = getattr(value, "tolist", None)
    return str(value) if plain is None else plain()


def unusual(given: Mapping[str, Any]) -> dict[str, Any]:
    """Those of some settings that are not at their defaults, as JSON has them; what is no setting is left out."""
    usual = _as_json({name: getattr(_USUAL, name) for name in Settings.__slots__})
    told = _as_json({name: value for name, value in given.items() if name in usual and value is not None})
    return {name: value for name, value in told.items() if value != usual[name]}


def _as_json(values: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(values, default=_plain))
    return found


@dataclass(frozen=True, slots=True)
class Trial:
    """One file to be made of a source.

    Attributes:
        source: the model.
        target: the name of a writable format.
        scheme: the quantisation scheme.
        overrides: fields of `Settings`, as JSON has them, that are not at their defaults.
        seed: chooses the samples.
    """

    source: Path
    target: str
    scheme: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0

    @property
    def settings(self) -> Settings:
        """The overrides over the defaults."""
        shapes = {name: tuple(shape) for name, shape in self.overrides.get("input_shapes", {}).items()}
        sizes = tuple(map(tuple, self.overrides.get("shapes", ())))
        return Settings(**{**self.overrides, "input_shapes": shapes, "shapes": sizes})

    def without(self, name: str) -> Trial:
        """The trial with a setting at its default."""
        return replace(self, overrides={key: value for key, value in self.overrides.items() if key != name})

    def to_data(self) -> dict[str, Any]:
        """The trial as JSON has it."""
        overrides = json.loads(json.dumps(dict(self.overrides)))
        return {
            "source": str(self.source),
            "target": self.target,
            "scheme": self.scheme,
            "overrides": overrides,
            "seed": self.seed,
        }

    def to_json(self) -> str:
        """The trial as a JSON object on one line."""
        return json.dumps(self.to_data())

    @classmethod
    def from_json(cls, text: str) -> Trial:
        """The trial that a JSON object says.

        Raises:
            DataError: it is no JSON object, or says something that no trial has.
        """
        try:
            data = json.loads(text) if len(text) <= LARGEST_JSON else None
        except (ValueError, RecursionError) as error:
            raise DataError(f"a trial is a JSON object: {error}") from error
        return cls.from_data(data)

    @classmethod
    def from_data(cls, data: object) -> Trial:
        """The trial that parsed JSON says.

        Raises:
            DataError: it says something that no trial has.
        """
        if not isinstance(data, dict):
            raise DataError("a trial is a JSON object")
        _refuse_unknown(data, _FIELDS)
        found = {name: _checked(name, data[name], _FIELDS) for name in data}
        if missing := [name for name in ("source", "target", "scheme") if name not in found]:
            raise DataError(f"a trial without {missing[0]!r}", hint=f"it has {', '.join(_FIELDS)}")
        overrides = found.get("overrides", {})
        _refuse_unknown(overrides, _OVERRIDES)
        checked = {name: _checked(name, overrides[name], _OVERRIDES) for name in overrides}
        return cls(Path(found["source"]), found["target"], found["scheme"], checked, found.get("seed", 0))


Check = tuple[Callable[[Any], bool], str]
"""What holds for a value, and that in words."""


def _whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _size(value: Any) -> bool:
    return _whole(value, 1, 2**31 - 1)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e308


def _shape(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(map(_size, value))


def _by_name(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(isinstance(key, str) and check(value[key]) for key in value)


def _one_of(*words: str) -> Check:
    return (lambda value: isinstance(value, str) and value in words), f"one of {', '.join(words)}"


def _or_none(check: Check) -> Check:
    return (lambda value: value is None or check[0](value)), f"{check[1]}, or null"


_TEXT: Check = (lambda value: isinstance(value, str) and bool(value) and "\0" not in value), "a text"
_COUNT: Check = (_size, "a whole number from 1 up")


def _texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(map(_TEXT[0], value))


_FIELDS: dict[str, Check] = {
    "source": _TEXT,
    "target": _TEXT,
    "scheme": _TEXT,
    "overrides": (lambda value: isinstance(value, dict), "an object"),
    "seed": (lambda value: _whole(value, 0, LARGEST_SEED), "a whole number from 0 up"),
}
_OVERRIDES: dict[str, Check] = {
    "source_format": _or_none(_TEXT),
    "batch": (lambda value: value == "dynamic" or _size(value), 'a whole number from 1 up, or "dynamic"'),
    "input_shapes": (_by_name(_shape), "lists of sizes by input name"),
    "freeze": (_by_name(_number), "numbers by input name"),
    "shapes": (lambda value: isinstance(value, list | tuple) and all(map(_shape, value)), "lists of sizes"),
    "signature": (lambda value: isinstance(value, str), "a text"),
    "edits": (lambda value: value is None or _TEXT[0](value) or isinstance(value, dict), "a text, an object, or null"),
    "cut_inputs": (_texts, "a list of texts"),
    "cut_outputs": (_texts, "a list of texts"),
    "substitute": (_by_name(_TEXT[0]), "operators by operator"),
    "opset": _or_none(_COUNT),
    "inline_limit": _or_none((lambda value: _whole(value, 0, LARGEST_SEED), "a whole number from 0 up")),
    "io_layout": _one_of("target", "source"),
    "samples": _COUNT,
    "held": (lambda value: _whole(value, 0, 2**31 - 1), "a whole number from 0 up"),
    "weights": _one_of("per-channel", "per-tensor"),
    "weight_bits": _or_none((lambda value: value in (4, 8) and _size(value), "4 or 8")),
    "block_size": _or_none(_COUNT),
    "observer": _one_of(*OBSERVERS),
    "io_type": _or_none(_one_of("int8", "uint8", "float32")),
    "overrides": (_by_name(_TEXT[0]), "names of schemes by pattern"),
    "repairs": (_texts, "a list of texts"),
    "global_scale": _or_none((lambda value: _number(value) and value > 0, "a positive number")),
}


def _checked(name: str, value: Any, checks: Mapping[str, Check]) -> Any:
    holds, wanted = checks[name]
    if not holds(value):
        raise DataError(f"a trial's {name} is {wanted}, not {_shown(value)}")
    return value


def _shown(value: Any) -> str:
    """A value as an error shows it: on one line, and not without end."""
    try:
        return json.dumps(value)[:80]
    except (RecursionError, TypeError, ValueError):
        return f"a {type(value).__name__}"


def _refuse_unknown(data: Mapping[str, Any], known: Mapping[str, Check]) -> None:
    for name in data:
        if name not in known:
            hint = did_you_mean(name, known) or f"known: {', '.join(known)}"
            raise DataError(f"a trial has no {name[:80]!r}", hint=hint)
