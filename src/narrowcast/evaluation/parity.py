"""Verification: the written file on its runtime beside the source on its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from narrowcast import runtimes
from narrowcast.dialect.build import constant_of
from narrowcast.evaluation.metrics import Noise, is_classifier
from narrowcast.evaluation.ports import feed_for, outputs_as_source
from narrowcast.evaluation.results import OutputParity, Parity
from narrowcast.model import Array, Feed, Model, Preprocessing
from narrowcast.reference import Reference
from narrowcast.runtimes.protocol import Runner
from narrowcast.writers.formats import Written

__all__ = ["LIMITS", "Limits", "Source", "open_source", "random_feeds", "verify"]

SAMPLES = 4
SILENCE = 1e-6
"""Outputs whose root mean square is below this count as silent: their error is measured against it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """SQNR in dB that a scheme must reach (None: it only reports), and below which a warning is due."""

    required: float | None
    usual: float | None


LIMITS: dict[str, Limits] = {
    "float32": Limits(60.0, None),
    "float16": Limits(40.0, None),
    "dynamic_range": Limits(None, 20.0),
    "int8": Limits(None, 15.0),
    "full_int8": Limits(None, 15.0),
    "int16x8": Limits(None, 20.0),
}


class Source(Protocol):
    """The source, opened to be run: its name says on what."""

    @property
    def name(self) -> str:
        """What it runs on."""

    def run(self, feed: Feed) -> dict[str, Array]:
        """Outputs by name."""


@dataclass(slots=True)
class _Original:
    """The original file on its own runtime; its outputs go by the model's names."""

    runner: Runner
    outputs: Sequence[str]

    @property
    def name(self) -> str:
        return f"{self.runner.name}, original file"

    def run(self, feed: Feed) -> dict[str, Array]:
        found = self.runner.run(feed)
        return dict(zip(self.outputs, found.values(), strict=True))


@dataclass(slots=True)
class _Canonical:
    """The canonical graph on ONNX Runtime."""

    reference: Reference
    name: str

    def run(self, feed: Feed) -> dict[str, Array]:
        return self.reference.run(feed)


def open_source(model: Model, *, original: Literal["auto", "never"] = "auto", threads: int = 2) -> Source:
    """Opens what a written file is compared with.

    Args:
        model: the float model that was read, canonicalised but not quantised.
        original: "auto" runs the original file on its own runtime (ONNX Runtime, Keras) where that is installed, else the
            canonical graph on ONNX Runtime; "never" always the latter.
        threads: for the runtime.
    """
    path = model.provenance.path
    if original == "auto" and path is not None and path.exists() and _own_runtime(model, path):
        runner = runtimes.open(path, threads)
        return _Original(runner, [spec.name for spec in model.outputs])
    import onnxruntime

    return _Canonical(Reference(model, threads=threads), f"ONNX Runtime {onnxruntime.__version__}, canonical graph")


def _own_runtime(model: Model, path: Path) -> bool:
    if model.provenance.format == "onnx":
        return True
    if model.provenance.format == "keras":
        from narrowcast.runtimes import keras

        return keras.installed(path)
    return False


def verify(
    model: Model,
    path: Path,
    written: Written,
    *,
    scheme: str,
    feeds: Iterable[Feed] | None = None,
    samples: int = SAMPLES,
    seed: int = 0,
    source: Source | None = None,
) -> Parity:
    """Compares a written file with its source.

    Args:
        model: the float model as read.
        path: the file.
        written: what its writer said of it.
        scheme: which limits hold.
        feeds: samples in the source's layout; random ones where none are given.
        samples: how many at most.
        seed: of random samples.
        source: of `open_source`, to open it once for several files.
    """
    source = source or open_source(model)
    runner = runtimes.open(path, threads=2)
    noises = {port.name: Noise() for port in written.outputs}
    counted = 0
    for feed in islice(random_feeds(model, samples, seed) if feeds is None else feeds, samples):
        wanted = source.run(feed)
        found = outputs_as_source(written.outputs, runner.run(feed_for(written, feed)))
        for name, noise in noises.items():
            noise.update(wanted[name].reshape(found[name].shape), found[name])
        counted += 1
    runner.close()
    limits = LIMITS[scheme]
    shapes = {spec.name: spec.shape for spec in model.outputs}
    outputs = tuple(_output(name, noise, shapes[name]) for name, noise in noises.items())
    return Parity(source.name, runner.name, counted, feeds is None, outputs, limits.required, limits.usual)


def _output(name: str, noise: Noise, shape: tuple[int | None, ...]) -> OutputParity:
    size = float(np.prod([dim or 1 for dim in shape])) * max(noise.samples, 1)
    decibels = noise.decibels
    if noise.signal <= SILENCE**2 * size and noise.noise <= SILENCE**2 * size:
        decibels = float("inf")
    agreement = noise.agreed / noise.samples if noise.samples and is_classifier(shape) else None
    return OutputParity(name, noise.largest, decibels, agreement)


def random_feeds(model: Model, count: int, seed: int = 0) -> Iterable[Feed]:
    """Plausible samples: floats as preprocessed pixels are, or normal ones; integers small enough for an embedding."""
    random = np.random.default_rng(seed)
    limits = _index_limits(model)
    for _ in range(count):
        feed: dict[str, Array] = {}
        for spec in model.inputs:
            shape = tuple(dim or 1 for dim in spec.shape)
            if spec.dtype.kind == "f":
                feed[spec.name] = _floats(random, shape, model.preprocessing).astype(spec.dtype)
            elif spec.dtype.kind == "b":
                feed[spec.name] = random.integers(0, 2, shape).astype(bool)
            else:
                high = 256 if spec.dtype == np.uint8 else limits.get(spec.name, 2)
                feed[spec.name] = random.integers(0, high, shape).astype(spec.dtype)
        yield feed


def _floats(random: np.random.Generator, shape: tuple[int, ...], preprocessing: Preprocessing | None) -> Array:
    if preprocessing is None or len(shape) != 4:
        return random.normal(size=shape)
    pixels = random.uniform(0, 255, shape)
    return (pixels - float(np.mean(preprocessing.mean))) / float(np.mean(preprocessing.std))


def _index_limits(model: Model) -> dict[str, int]:
    """For integer inputs that index a constant table, the table's length."""
    limits: dict[str, int] = {}
    for value in model.graph.inputs:
        for use in value.uses():
            table = constant_of(use.node.inputs[0]) if use.node.op_type == "Gather" and use.idx == 1 else None
            if table is not None:
                limits[value.name or ""] = int(table.shape[use.node.attributes.get_int("axis", 0)])
    return limits
