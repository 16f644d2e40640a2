"""The workbench: what trials have in common is made once, and gives what it gives alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import narrowcast
from narrowcast import quantization
from narrowcast.api import workbench
from narrowcast.api.samples import open_samples
from narrowcast.api.workbench import Workbench
from narrowcast.evaluation.trials import Trial
from narrowcast.quantization import repairs
from narrowcast.tuning.steps import changed


@pytest.fixture
def bench(digits):
    """Opens a workbench on the committed example, that keeps some graphs."""
    model = narrowcast.load(next(digits.glob("*.keras")))
    data = open_samples(digits / "calibration.npz", model, {})
    return lambda keep=0: Workbench(model, data.subset, lambda stage, done, total: None, keep=keep)


TRIAL = Trial(Path("m.keras"), "tflite", "int8", {"samples": 16})


@pytest.fixture
def counted(monkeypatch):
    """Notes calibrations and repairs."""
    calls = []
    watched, repaired = workbench.watched, repairs.repaired

    def calibrating(*arguments, **options):
        calls.append("calibrate")
        return watched(*arguments, **options)

    def repairing(model, name, evidence):
        calls.append(name)
        return repaired(model, name, evidence)

    monkeypatch.setattr(workbench, "watched", calibrating)
    monkeypatch.setattr(workbench, "repaired", repairing)
    return calls


def test_overrides_are_served_by_the_ranges_without_them(bench, counted):
    shared = bench()
    made = [shared.quantized(changed(TRIAL, overrides=names)) for names in ({}, {"conv_1": "float32"})]
    assert counted == ["calibrate"]
    alone = bench().quantized(changed(TRIAL, overrides={"conv_1": "float32"}))
    assert stored(made[1]) == stored(alone)
    assert stored(made[0]) != stored(alone)


def test_observers_share_what_all_of_them_have_watched(bench, counted):
    shared = bench()
    made = [shared.quantized(changed(TRIAL, observer=name)) for name in ("auto", "percentile", "mse", "entropy")]
    assert counted == ["calibrate"] * 2
    assert stored(made[1]) == stored(bench().quantized(changed(TRIAL, observer="percentile")))


def test_overrides_that_need_more_ranges_get_them(bench, counted, monkeypatch):
    monkeypatch.setattr(quantization, "covers", lambda *_: False)
    shared = bench()
    shared.quantized(TRIAL)
    shared.quantized(changed(TRIAL, overrides={"conv_1": "float32"}))
    assert counted == ["calibrate"] * 2


def test_a_repair_goes_on_from_those_before_it(bench, counted):
    shared = bench(keep=4)
    shared.quantized(changed(TRIAL, repairs=["gptq"]))
    made = shared.quantized(changed(TRIAL, repairs=["gptq", "bias"]))
    assert counted == ["calibrate", "gptq", "bias"]
    assert stored(made) == stored(bench().quantized(changed(TRIAL, repairs=["gptq", "bias"])))
    assert made.provenance.options["repairs"] == ["gptq", "bias"]


def test_no_more_graphs_are_kept_than_asked_for(bench):
    shared = bench(keep=1)
    first = shared.quantized(TRIAL)
    assert shared.quantized(TRIAL) is first
    shared.quantized(changed(TRIAL, observer="mse"))
    assert shared.quantized(TRIAL) is not first


def stored(model):
    """All constants of a graph by name."""
    found = {name: value.const_value.numpy() for name, value in model.graph.initializers.items()}
    return {
        name: (array.dtype.name, array.shape, np.ascontiguousarray(array).tobytes()) for name, array in found.items()
    }
