"""Weights in half precision, where that holds them and what their layers compute.

Runtimes on CPUs compute in float32 by such weights; GPUs and neural engines often in half precision, where a number
beyond 65,504 is infinite. That is seen on samples only, random ones would say nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import islice

import numpy as np

from narrowcast.dialect.build import Builder, tensor_of
from narrowcast.dialect.deferred import derive
from narrowcast.model import Array, Feeds, Model, ir
from narrowcast.quantization import weights
from narrowcast.quantization.notes import notes_on
from narrowcast.quantization.overrides import Choice
from narrowcast.reference import Reference

__all__ = ["float16_weights", "without_overflowing"]

LARGEST_HALF = float(np.finfo(np.float16).max)
PRECISE_HALF = 2.0**-8
"""From here on float16's absolute precision below its normal numbers, 2^-24, is 96 dB less: nothing is lost."""
LARGEST_NOISE = 1e-6
"""Of float16 beside the weights: 60 dB, 5 less than where all values are normal."""
SAMPLES = 16
"""That are looked at: what passes the bound does so by far."""


def without_overflowing(model: Model, choice: Choice, feeds: Feeds) -> tuple[Choice, list[str]]:
    """A choice by which layers whose outputs pass half precision's bound on some samples stay float32.

    Args:
        model: float.
        choice: made for it.
        feeds: samples, of which the first `SAMPLES` are taken.

    Returns:
        The choice, and notes that name these layers.
    """
    peaks = _peaks(model, feeds)
    beyond: dict[ir.Node, None] = {}
    for node in model.graph:
        if any(peaks.get(value.name or "", 0.0) > LARGEST_HALF for value in node.outputs):
            beyond[node] = None
    if not beyond:
        return choice, []
    kept = {node: replace(choice.default, weights="float32") for node in beyond}
    why = f"stay float32, as what they compute on the samples passes float16's {LARGEST_HALF:.0f}"
    return replace(choice, named={**kept, **choice.named}), notes_on({why: list(beyond)})


def _peaks(model: Model, feeds: Feeds) -> Mapping[str, float]:
    """The largest magnitude of every computed float, infinity left out, by name."""
    values = [value for node in model.graph for value in node.outputs if value.dtype is ir.DataType.FLOAT]
    names = [value.name for value in values if value.name]
    reference, peaks = Reference(model, names), dict.fromkeys(names, 0.0)
    for feed in islice(feeds, SAMPLES):
        for name, array in reference.run(feed).items():
            if name in peaks:
                finite = np.abs(array[np.isfinite(array)])
                peaks[name] = max(peaks[name], float(finite.max(initial=0.0)))
    return peaks


def float16_weights(model: Model, choice: Choice) -> list[str]:
    """Stores large float32 constants as float16, behind a Cast, for all nodes that shall have it.

    Returns:
        Notes on constants that do not fit.
    """
    graph = model.graph
    notes = []
    for value in list(graph.initializers.values()):
        tensor = tensor_of(value)
        if tensor is None or tensor.dtype is not ir.DataType.FLOAT or tensor.size < weights.SMALLEST:
            continue
        uses = [use for use in value.uses() if choice.of((use.node,)).weights == "float16"]
        if not uses:
            continue
        if why := _beyond_half(tensor.numpy()):
            notes.append(f"{value.name} stays float32: {why}")
            continue
        build = Builder(graph, anchor=graph[0])
        shape = tensor.shape.numpy()
        half = derive(lambda array: array.astype(np.float16), tensor, shape=shape, dtype=ir.DataType.FLOAT16)
        stored = build.initializer(half, f"{value.name}/float16")
        back = build("Cast", stored, to=ir.DataType.FLOAT.value, shape=shape, dtype=np.float32, name=value.name)
        for use in uses:
            use.node.replace_input_with(use.idx, back)
        if not value.uses() and not value.is_graph_output():
            del graph.initializers[value.name or ""]
    return notes


def _beyond_half(array: Array) -> str:
    """Why half precision cannot hold an array, "" where it can."""
    if float(array.min()) < -LARGEST_HALF or float(array.max()) > LARGEST_HALF:
        return f"it holds values beyond float16's {LARGEST_HALF:.0f}"
    if max(-float(array.min()), float(array.max())) >= PRECISE_HALF:
        return ""
    scaled = array.astype(np.float64)
    noise, signal = np.square(scaled - array.astype(np.float16)).sum(), np.square(scaled).sum()
    return "its values are below float16's precision" if noise > signal * LARGEST_NOISE else ""
