"""The source of a file, opened to be run: on its own runtime, or as the graph that was read from it.

It takes feeds as the model's inputs are, and gives real numbers, whatever integers its outputs store.

What neither can run, as ONNX Runtime lacks a kernel, is left to ONNX's reference implementation, which has all of them,
but in Python: so it gets small networks alone.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from narrowcast import runtimes
from narrowcast._archives import is_within
from narrowcast.dialect.build import dims
from narrowcast.errors import BadInputError, DataError, ModelFileError, NarrowcastError, UnsupportedError
from narrowcast.evaluation.ports import feed_for, graph_ports, outputs_as_source
from narrowcast.evaluation.real import THREADS, RealGraph
from narrowcast.model import NARROWCAST, Array, Feed, Model, ir
from narrowcast.readers import formats as sources
from narrowcast.runtimes.protocol import Runner
from narrowcast.writers.formats import Written

__all__ = ["THREADS", "Source", "open_source", "run_or_replace"]

SMALL = 2**20
"""Bytes of a file, and elements of all its values, that ONNX's reference implementation is asked to compute."""


class Source(Protocol):
    """The source, opened to be run: its name says on what."""

    @property
    def name(self) -> str:
        """What it runs on."""

    def run(self, feed: Feed) -> dict[str, Array]:
        """Real outputs by name."""


@dataclass(frozen=True, slots=True)
class _Original:
    """The original file on its own runtime; its outputs go by the model's names."""

    runner: Runner
    ports: Written
    frozen: Feed

    @property
    def name(self) -> str:
        return f"{self.runner.name}, original file"

    def run(self, feed: Feed) -> dict[str, Array]:
        found = self.runner.run({**feed_for(self.ports, feed), **self.frozen})
        names = [port.name for port in self.ports.outputs]
        named = found if set(names) == set(found) else dict(zip(names, found.values(), strict=True))
        return outputs_as_source(self.ports.outputs, named)


@dataclass(frozen=True, slots=True)
class _Canonical:
    """The canonical graph on ONNX Runtime."""

    reference: RealGraph | Source
    name: str

    def run(self, feed: Feed) -> dict[str, Array]:
        return self.reference.run(feed)


@dataclass(frozen=True, slots=True)
class _Defined:
    """The original file in ONNX's reference implementation."""

    evaluator: Any
    outputs: Sequence[str]
    frozen: Feed
    name: str

    def run(self, feed: Feed) -> dict[str, Array]:
        try:
            found = self.evaluator.run(None, {**feed, **self.frozen})
        except Exception as error:  # whatever an operator written in Python raises
            raise DataError(f"ONNX's reference implementation cannot run it: {type(error).__name__}") from error
        return {name: np.asarray(array) for name, array in zip(self.outputs, found, strict=True)}


def _defined(model: Model, error: NarrowcastError) -> _Defined:
    """The reference implementation in the place of what could not be run.

    Raises:
        NarrowcastError: the error that there was, where the source is no small ONNX file without control flow, or was
            edited.
    """
    path = model.provenance.path
    values = [*model.graph.inputs, *(output for node in model.graph for output in node.outputs)]
    elements = sum(math.prod(shape) if (shape := dims(value)) is not None else SMALL for value in values)
    control = any(node.domain == NARROWCAST and node.op_type in ("If", "Loop") for node in model.graph)
    if model.provenance.format != "onnx" or path is None or not path.exists() or control or model.edited is not None:
        raise error
    if path.stat().st_size > SMALL or elements > SMALL:
        raise error
    from onnx import __version__
    from onnx.reference import ReferenceEvaluator

    try:
        evaluator = ReferenceEvaluator(str(path))
    except Exception:  # it lacks some operators, too
        raise error from None
    names = [spec.name for spec in model.outputs]
    return _Defined(evaluator, names, model.provenance.frozen, f"ONNX {__version__}'s reference, original file")


def open_source(
    model: Model, *, original: Literal["auto", "always", "never"] = "auto", threads: int = THREADS
) -> Source:
    """Opens what a written file is compared with; its name says what that is.

    Args:
        model: the float model that was read, canonicalised but not quantised.
        original: "always" runs the original file on its own runtime (ONNX Runtime, Keras) wherever that is installed,
            else the canonical graph on ONNX Runtime. "never" always runs the latter. "auto" is "always", but "never"
            for Keras files while Keras is not loaded: loading it takes longer (2 to 5 s) than a conversion. A network
            that was edited no file holds: then the edited graph, as it was read, stands for the source.
        threads: for the runtime.

    Raises:
        ModelFileError: the runtime refuses the file.
    """
    origin, path = model.provenance, model.provenance.path
    if model.edited is not None:
        return _edited(model, model.edited, threads)
    there = path is not None and (path.exists() or is_within(path))
    if path is not None and there and _runs_original(origin.format, path, original):
        runner = runtimes.open(path, sources.named(origin.format).runtime, threads, origin.signature)
        ports = graph_ports(model)
        if len(ports.outputs) != len(runner.outputs):
            raise ModelFileError(
                f"{runner.name} sees {len(runner.outputs)} outputs, the model has {len(ports.outputs)}", where=str(path)
            )
        return _Original(runner, ports, model.provenance.frozen)
    import onnxruntime

    try:
        reference = RealGraph(model, threads)
    except (BadInputError, UnsupportedError) as error:
        return _defined(model, error)
    return _Canonical(reference, f"ONNX Runtime {onnxruntime.__version__}, canonical graph")


def _edited(model: Model, graph: ir.Model, threads: int) -> _Canonical:
    """The edited graph, before it was brought to canonical form; that form where ONNX Runtime lacks an operator."""
    import onnxruntime

    name = f"ONNX Runtime {onnxruntime.__version__}, {'edited' if model.read is model else 'dequantised'} graph"
    try:
        return _Canonical(RealGraph(replace(model, ir=graph), threads), name)
    except (BadInputError, UnsupportedError):
        return _Canonical(RealGraph(model, threads), f"{name} in canonical form")


def _runs_original(fmt: str, path: Path, original: str) -> bool:
    runtime = runtimes.find(sources.named(fmt).runtime) if fmt else None
    if original == "never" or not isinstance(runtime, runtimes.Runtime):
        return False
    if runtime.name != "keras":
        return True
    from narrowcast.runtimes import keras

    return keras.installed(path) and (original == "always" or keras.package(path) in sys.modules)


def run_or_replace(source: Source, model: Model, feed: Feed) -> tuple[Source, dict[str, Array]]:
    """Runs a source; where its own runtime cannot run it, the graph that was read from it takes its place.

    Returns:
        What ran, and its outputs.

    Raises:
        DataError: neither runs on the feed.
    """
    try:
        return source, source.run(feed)
    except BadInputError as error:
        if isinstance(source, _Canonical):
            defined = _defined(model, error)
            return defined, defined.run(feed)
        if not isinstance(source, _Original):
            raise
        graph = open_source(model, original="never")
        try:
            found = graph.run(feed)
        except BadInputError as again:
            graph = _defined(model, again)
            found = graph.run(feed)
        return _Canonical(graph, f"{graph.name}, as the original cannot be run here: {error.what}"), found
