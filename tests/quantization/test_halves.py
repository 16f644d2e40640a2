"""Half precision: what it cannot hold stays float32, weights and whole layers, by name."""

from __future__ import annotations

import json

import numpy as np
import pytest

import narrowcast
from narrowcast.dialect.build import Builder
from narrowcast.model import Model
from narrowcast.passes.canonicalize import canonicalize
from narrowcast.quantization.scheme import NOTES
from narrowcast.readers.tflite.file import parse

RANDOM = np.random.default_rng(0)
DATA = RANDOM.normal(size=(20, 64)).astype(np.float32)


def made(factor):
    """Two dense layers; the first computes numbers around 8 times the factor."""
    build = Builder.new("network")
    value = build.input("x", (1, 64))
    for name, scale in (("first", factor), ("second", 1.0)):
        weights = build.constant((RANDOM.normal(size=(64, 64)) * scale).astype(np.float32), f"{name}_weights")
        value = build("Gemm", value, weights, transB=1, shape=(1, 64), name=name)
        value = build("Sigmoid", value, shape=(1, 64))
    model = Model(build.finish([value]))
    canonicalize(model)
    return model


@pytest.mark.parametrize(("factor", "data", "kept"), [(1e4, True, 1), (1e4, False, 0), (1.0, True, 0)])
def test_layers_that_pass_the_bound(factor, data, kept, tmp_path):
    """On samples only: without any, nobody knows."""
    small = narrowcast.quantize(made(factor), "float16", data=DATA if data else None)
    path = narrowcast.save(small, tmp_path / "m.tflite").path
    tensors = parse(path.read_bytes()).subgraphs[0].tensors
    weights = [tensor.type for tensor in tensors if tensor.content is not None and len(tensor.shape) == 2]
    assert sorted(weights) == ["FLOAT16"] * (2 - kept) + ["FLOAT32"] * kept
    notes = [note for note in json.loads(small.ir.metadata_props[NOTES]) if "passes float16's 65504" in note]
    assert [note.endswith("1 Gemm (first: first/Gemm)") for note in notes] == [True] * kept


def test_infinite_numbers_are_no_larger_than_half_precision_holds():
    """A mask of minus infinity is that in half precision too."""
    build = Builder.new("network")
    x = build.input("x", (1, 64))
    mask = build.constant(np.where(np.arange(64) < 32, 0, -np.inf).astype(np.float32), "mask")
    masked = build("Add", x, mask, shape=(1, 64), name="masked")
    model = Model(build.finish([build("Softmax", masked, axis=-1, shape=(1, 64))]))
    small = narrowcast.quantize(model, "float16", data=DATA)
    assert not [note for note in json.loads(small.ir.metadata_props[NOTES]) if "float16's" in note]


@pytest.mark.parametrize(
    ("scale", "reason"), [(1e-6, "below float16's precision"), (1e5, "beyond float16's 65504"), (1.0, "")]
)
def test_weights_that_it_does_not_hold(scale, reason):
    small = narrowcast.quantize(made(scale), "float16")
    notes = [note for note in json.loads(small.ir.metadata_props[NOTES]) if note.startswith("first_weights stays")]
    assert [reason in note for note in notes] == [True] * bool(reason)
