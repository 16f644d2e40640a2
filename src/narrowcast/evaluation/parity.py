"""Verification: the written file on its runtime beside the source on its own."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from narrowcast import runtimes
from narrowcast.dialect.build import constant_of
from narrowcast.errors import ModelFileError, UsageError
from narrowcast.evaluation.metrics import Noise, is_classifier
from narrowcast.evaluation.pixels import image_layout
from narrowcast.evaluation.ports import feed_for, outputs_as_source
from narrowcast.evaluation.results import OutputParity, Parity
from narrowcast.model import Array, Feed, Layout, Model, Preprocessing, TensorSpec, ir
from narrowcast.readers import formats as sources
from narrowcast.reference import Reference
from narrowcast.runtimes.protocol import Runner
from narrowcast.writers.formats import Written

__all__ = ["LIMITS", "SAMPLES", "Limits", "Source", "open_source", "random_feeds", "verify"]

SAMPLES = 4
THREADS = 2


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


@dataclass(frozen=True, slots=True)
class _Original:
    """The original file on its own runtime; its outputs go by the model's names."""

    runner: Runner
    outputs: Sequence[str]
    frozen: Feed

    @property
    def name(self) -> str:
        return f"{self.runner.name}, original file"

    def run(self, feed: Feed) -> dict[str, Array]:
        return dict(zip(self.outputs, self.runner.run({**feed, **self.frozen}).values(), strict=True))


@dataclass(frozen=True, slots=True)
class _Canonical:
    """The canonical graph on ONNX Runtime."""

    reference: Reference
    name: str

    def run(self, feed: Feed) -> dict[str, Array]:
        return self.reference.run(feed)


def open_source(
    model: Model, *, original: Literal["auto", "always", "never"] = "auto", threads: int = THREADS
) -> Source:
    """Opens what a written file is compared with; its name says what that is.

    Args:
        model: the float model that was read, canonicalised but not quantised.
        original: "always" runs the original file on its own runtime (ONNX Runtime, Keras) wherever that is installed,
            else the canonical graph on ONNX Runtime. "never" always runs the latter. "auto" is "always", but "never"
            for Keras files while Keras is not loaded: loading it takes longer (2 to 5 s) than a conversion.
        threads: for the runtime.

    Raises:
        ModelFileError: the runtime refuses the file.
    """
    path = model.provenance.path
    if path is not None and path.exists() and _runs_original(model.provenance.format, path, original):
        runner = runtimes.open(path, sources.named(model.provenance.format).runtime, threads)
        names = [spec.name for spec in model.outputs]
        if len(names) != len(runner.outputs):
            raise ModelFileError(
                f"{runner.name} sees {len(runner.outputs)} outputs, the model has {len(names)}", where=str(path)
            )
        return _Original(runner, names, model.provenance.frozen)
    import onnxruntime

    return _Canonical(Reference(model, threads=threads), f"ONNX Runtime {onnxruntime.__version__}, canonical graph")


def _runs_original(fmt: str, path: Path, original: str) -> bool:
    runtime = runtimes.find(sources.named(fmt).runtime) if fmt else None
    if original == "never" or not isinstance(runtime, runtimes.Runtime):
        return False
    if runtime.name != "keras":
        return True
    from narrowcast.runtimes import keras

    return keras.installed(path) and (original == "always" or keras.package(path) in sys.modules)


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

    Raises:
        ModelFileError: the runtime refuses the file, or its outputs are not the source's.
    """
    source = source or open_source(model)
    runner = runtimes.open(path, written.runtime, THREADS)
    noises = {port.name: Noise() for port in written.outputs}
    counted = 0
    try:
        for feed in islice(random_feeds(model, samples, seed) if feeds is None else feeds, samples):
            wanted = source.run(feed)
            found = outputs_as_source(written.outputs, runner.run(feed_for(written, feed)))
            for name, noise in noises.items():
                noise.update(_alike(wanted, found[name], name, path), found[name])
            counted += 1
    finally:
        runner.close()
    limits = LIMITS[scheme]
    shapes = {spec.name: spec.shape for spec in model.outputs}
    outputs = tuple(
        OutputParity(
            name,
            noise.largest,
            noise.decibels,
            noise.agreed / noise.samples if noise.samples and is_classifier(shapes[name]) else None,
        )
        for name, noise in noises.items()
    )
    return Parity(source.name, runner.name, counted, feeds is None, outputs, limits.required, limits.usual)


def _alike(wanted: dict[str, Array], found: Array, name: str, path: Path) -> Array:
    """The source's output in the shape of the file's, which may differ in axes of size 1 alone."""
    array = wanted.get(name)
    if array is None:
        raise ModelFileError(f"the file's output {name!r} is none of the source's", where=str(path))
    if [dim for dim in array.shape if dim != 1] != [dim for dim in found.shape if dim != 1]:
        raise ModelFileError(
            f"the output {name!r} has the shape {found.shape} where the source's is {array.shape}", where=str(path)
        )
    return array.reshape(found.shape)


LARGEST_SAMPLE = 2**30
"""No random input is larger, in bytes."""


def random_feeds(model: Model, count: int, seed: int = 0) -> Iterator[Feed]:
    """Plausible samples, the same for the same seed.

    Floats are preprocessed random pixels where the preprocessing is known, in [-1, 1] for other image-like inputs, and
    normal ones otherwise; integers stay below the length of the table that they index, or are 0 and 1.
    """
    random = np.random.default_rng(seed)
    lengths = _table_lengths(model)
    for _ in range(count):
        yield {spec.name: _random(random, spec, model.preprocessing, lengths.get(spec.name)) for spec in model.inputs}


def _random(
    random: np.random.Generator, spec: TensorSpec, preprocessing: Preprocessing | None, length: int | None
) -> Array:
    shape = tuple(1 if dim is None else dim for dim in spec.shape)
    if math.prod(shape) * spec.dtype.itemsize > LARGEST_SAMPLE:
        raise UsageError(
            f"a sample of the input {spec.name!r}, {'x'.join(map(str, shape))}, does not fit into memory beside others",
            hint="give it another shape, or leave the verification out",
        )
    if spec.dtype.kind == "f":
        layout = image_layout(spec.shape)
        if layout is None:
            return random.normal(size=shape).astype(spec.dtype)
        if preprocessing is None:
            return random.uniform(-1, 1, shape).astype(spec.dtype)
        axes = (-1, 1, 1) if layout is Layout.CHANNELS_FIRST else (-1,)
        mean, std = (np.reshape(values, axes) for values in (preprocessing.mean, preprocessing.std))
        pixels: Array = (random.uniform(0, 255, shape) - mean) / std
        return pixels.astype(spec.dtype)
    high = length or (256 if spec.dtype == np.uint8 else 2)
    return random.integers(0, high, shape).astype(spec.dtype)


def _table_lengths(model: Model) -> dict[str, int]:
    """For integer inputs that index a constant table (an embedding), the shortest table's length."""
    lengths: dict[str, int] = {}
    for value in model.graph.inputs:
        tables = [length for node, index in _uses(value) if (length := _table_length(node, index)) is not None]
        if tables:
            lengths[value.name or ""] = min(tables)
    return lengths


def _uses(value: ir.Value) -> Iterator[tuple[ir.Node, int]]:
    """The nodes that use a value, and at which input; also behind casts and reshapes."""
    for node, index in value.uses():
        if node.op_type in ("Cast", "Reshape") and index == 0:
            yield from _uses(node.outputs[0])
        yield node, index


def _table_length(node: ir.Node, index: int) -> int | None:
    if node.op_type != "Gather" or index != 1:
        return None
    table = constant_of(node.inputs[0])
    return None if table is None else int(table.shape[node.attributes.get_int("axis", 0)])
