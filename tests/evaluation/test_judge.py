"""The judge: outputs of quantised graphs beside the float one's."""

from __future__ import annotations

import numpy as np

import narrowcast
from narrowcast import quantization, targets
from narrowcast.evaluation import judge as judging
from narrowcast.evaluation.judge import SPAN, Judge
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
