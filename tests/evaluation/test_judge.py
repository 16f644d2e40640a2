"""The judge: outputs of quantised graphs beside the float one's."""

from __future__ import annotations

import numpy as np

import narrowcast
from narrowcast import quantization, targets
from narrowcast.dialect.build import Builder
from narrowcast.evaluation import judge as judging
from narrowcast.evaluation.judge import SPAN, Judge
from narrowcast.model import Model
from narrowcast.passes.prepare import adapt


def test_a_judge_ranks_as_the_outputs_do(digits, monkeypatch):
    floats = narrowcast.load(next(digits.glob("*.keras")))
    target = targets.find("litert")
    adapt(floats, target)
    random = np.random.default_rng(0)
    spec = floats.inputs[0]
    feeds = [{spec.name: random.uniform(0, 1, (1, *spec.shape[1:])).astype(np.float32)} for _ in range(12)]
    judge = Judge(floats, feeds)
    assert len(judge.seen) == 12
    made = [
        quantization.quantize(floats, "int8", target, feeds=feeds, weights=weights)
        for weights in ("per-tensor", "per-channel")
    ]
    coarse, fine = (judge.of(model) for model in made)
    wide = judge.of(quantization.quantize(floats, "int16x8", target, feeds=feeds))
    assert coarse.mean < fine.mean < wide.mean
    assert judge.of(floats).mean == SPAN[1]
    assert abs(judge.of(made[1], exact=False).mean - fine.mean) < 3
    monkeypatch.setattr(judging, "MOST_BYTES", 1)
    assert len(Judge(floats, feeds).seen) == 1


def test_what_has_no_integer_kernel_is_computed_as_it_is_spelled():
    build, random = Builder.new("pool"), np.random.default_rng(0)
    shape = {"kernel_shape": [1, 1], "strides": [1, 1], "dilations": [1, 1], "pads": [0, 0, 0, 0], "group": 1}
    weights = build.constant(random.normal(size=(4, 4, 1, 1)).astype(np.float32), "weights")
    y = build("Conv", build.input("x", (1, 4, 8, 8)), weights, shape=(1, 4, 8, 8), **shape)
    pooled = {"kernel_shape": [2, 2], "strides": [2, 2], "dilations": [1, 1], "pads": [0, 0, 0, 0]}
    y = build("AveragePool", y, shape=(1, 4, 4, 4), **pooled)
    floats = Model(build.finish([build("Conv", y, weights, shape=(1, 4, 4, 4), name="y", **shape)]))
    feeds = [{"x": random.normal(size=(1, 4, 8, 8)).astype(np.float32)} for _ in range(4)]
    quantized = quantization.quantize(floats, "int8", targets.find("litert"), feeds=feeds)
    judge = Judge(floats, feeds)
    assert judge.of(quantized, exact=False) == judge.of(quantized)
