"""Scores masked by adding what stands for minus infinity."""

from __future__ import annotations

import numpy as np
import pytest

from narrowcast import runtimes
from narrowcast.passes.canonicalize import canonicalize
from narrowcast.passes.decompose import decompose
from narrowcast.quantization import quantize
from narrowcast.reference import Reference
from narrowcast.targets.litert import LITERT
from narrowcast.writers.formats import write
from tests.cases import OpCase

SHAPE = (2, 3, 6, 6)
UNSEEN = np.triu(np.ones((6, 6), np.float32), 1)


def constant_mask(build, scores, lowest):
    return build("Add", scores, build.constant(np.where(UNSEEN, np.float32(lowest), np.float32(0))))


def computed_mask(build, scores, lowest):
    row = build("Sub", build.constant(np.float32(1)), build.constant(1 - UNSEEN))
    flag = build("Clip", build("Add", build("Mul", scores, build.constant(np.float32(0))), row))
    return build("Add", scores, build("Mul", flag, build.constant(np.float32(lowest))))


@pytest.mark.parametrize(
    ("mask", "lowest"),
    [
        (constant_mask, -np.inf),
        (constant_mask, np.finfo(np.float32).min),
        (constant_mask, -1e9),
        (computed_mask, np.finfo(np.float32).min),
        (computed_mask, -1e9),
    ],
)
@pytest.mark.parametrize("scheme", ["int8", "int16x8"])
def test_masked_scores_keep_their_precision(mask, lowest, scheme, tmp_path):
    case = OpCase("mask", lambda b, x, y: b("MatMul", b("Softmax", mask(b, x, lowest), axis=3), y), (SHAPE, SHAPE))
    model, feeds = case.model(), [case.feed(seed) for seed in range(8)]
    canonicalize(model)
    decompose(model, "litert")
    wanted = Reference(model).run(feeds[0])
    quantised = quantize(model, scheme, LITERT, feeds=feeds)
    write(quantised, tmp_path / "m.tflite", io_layout="source")
    found = runtimes.open(tmp_path / "m.tflite", "litert").run(feeds[0])
    for name, array in wanted.items():
        noise = np.square(found[name] - array).mean() / np.square(array).mean()
        assert noise < 1e-3  # 30 dB
