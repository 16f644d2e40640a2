"""The planted fault stands first in the list, with its cause first."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import narrowcast
from narrowcast.cli.diff import command as diff
from narrowcast.cli.quantize import command as quantize
from narrowcast.evaluation.diagnosis.causes import CAUSES
from narrowcast.evaluation.trials import OBSERVERS, REPAIRS
from narrowcast.report.machine import to_json
from narrowcast.targets.spelling import Parameters
from tests.evaluation.diagnosis.planted import CHANNELS, SIDE, Network, photographs

SPREAD = np.logspace(0, 2.5, CHANNELS)
"""Factors of channels, 316 times apart."""


def weight_channels(net):
    """The channels of one convolution are 316 times apart, what follows makes up for it; one scale for its weights."""
    before = net.conv(net.input(), CHANNELS, "before", relu=True)
    weights = net.random.normal(size=(CHANNELS, CHANNELS, 1, 1)) / 4 / SPREAD[:, None, None, None]
    net.per_tensor.add("fault/w")
    fault = net.conv(before, CHANNELS, "fault", weights=weights)
    back = net.random.normal(size=(CHANNELS, CHANNELS, 1, 1)) / 4
    # the activations have the same spread, but 16 bits
    net.stored["fault"] = Parameters(2.0**-13, 0, "int16")
    net.stored["x"] = Parameters(2.0**-12, 0, "int16")
    return net.conv(fault, CHANNELS, "after", weights=back * SPREAD[None, :, None, None])


def weight_mean(net):
    """All weights lie 0.45 steps above the grid, all inputs are about 8: rounding takes as much from each output."""
    x = net.input()
    level = net.conv(x, CHANNELS, "before", bias=np.full(CHANNELS, 8.0))
    steps = net.random.integers(-40, 40, size=(CHANNELS, CHANNELS, 1, 1)) + 0.45
    steps[:, 0] = 127
    net.stored["before"] = Parameters(2.0**-11, 0, "int16")
    return net.conv(net.conv(level, CHANNELS, "fault", weights=steps / 127), CHANNELS, "after")


def weight_outliers(net):
    """One weight of each channel is 60 times as large as the others, for an input that is nearly silent."""
    quiet = np.ones(CHANNELS)
    quiet[3] = 0.01
    weights = net.random.normal(size=(CHANNELS, CHANNELS, 1, 1)) / 4
    before = net.conv(net.input(), CHANNELS, "before", weights=weights * quiet[:, None, None, None])
    weights = net.random.normal(size=(CHANNELS, CHANNELS, 1, 1)) / 4
    weights[:, 3] = 15
    net.stored["before"] = Parameters(2.0**-12, 0, "int16")
    return net.conv(net.conv(before, CHANNELS, "fault", weights=weights, relu=True), CHANNELS, "after")


def _spiked(net, x):
    """What a convolution gives, and 0.05 % of it far beyond the rest."""
    usual = net.conv(x, CHANNELS, "usual")
    rare = net.conv(x, CHANNELS, "rare", bias=np.full(CHANNELS, -3.3), relu=True)
    loud = net("Mul", rare, net.constant(60), name="loud", shape=rare.shape, dtype=np.float32)
    return usual, loud


def outliers(net):
    """A sum of usual values and of rare large ones."""
    made = net("Add", *_spiked(net, net.input()), name="sum", shape=(1, CHANNELS, SIDE, SIDE), dtype=np.float32)
    bounded = net("Clip", made, net.constant(-3), net.constant(3), name="fault", shape=made.shape, dtype=np.float32)
    return net.conv(bounded, CHANNELS, "after")


def negative_lobe(net):
    """The same before a SiLU."""
    made = net("Add", *_spiked(net, net.input()), name="sum", shape=(1, CHANNELS, SIDE, SIDE), dtype=np.float32)
    gate = net("Sigmoid", made, name="gate", shape=made.shape, dtype=np.float32)
    silu = net("Mul", made, gate, name="fault", shape=made.shape, dtype=np.float32)
    return net.conv(silu, CHANNELS, "after", size=3)


def power_spectrum(net):
    """The logarithm of a square."""
    before = net.conv(net.input(), CHANNELS, "before")
    power = net("Mul", before, before, name="fault", shape=before.shape, dtype=np.float32)
    floor = net("Add", power, net.constant(1e-6), name="floor", shape=before.shape, dtype=np.float32)
    net.floats |= {"x", "floor", "log"}
    net.stored["before"] = Parameters(2.0**-11, 0, "int16")
    return net.conv(net("Log", floor, name="log", shape=before.shape, dtype=np.float32), CHANNELS, "after")


def states(net):
    """A hidden state within 1 and a cell within 400 in one tensor."""
    x = net.input()
    hidden = net(
        "Tanh", net.conv(x, CHANNELS, "before"), name="hidden", shape=(1, CHANNELS, SIDE, SIDE), dtype=np.float32
    )
    cell = net.conv(x, CHANNELS, "cell", weights=net.random.normal(size=(CHANNELS, CHANNELS, 1, 1)) * 25)
    joined = net("Concat", hidden, cell, name="fault", axis=1, shape=(1, 2 * CHANNELS, SIDE, SIDE), dtype=np.float32)
    weights = net.random.normal(size=(CHANNELS, 2 * CHANNELS, 1, 1)) / 4
    weights[:, CHANNELS:] /= 400
    return net.conv(joined, CHANNELS, "after", weights=weights)


def boxes_and_scores(net):
    """Pixels and probabilities in one output."""
    x = net.input()
    boxes = net.conv(x, 4, "boxes", weights=net.random.normal(size=(4, CHANNELS, 1, 1)) * 40, bias=np.full(4, 160.0))
    score = net("Sigmoid", net.conv(x, 2, "logits"), name="scores", shape=(1, 2, SIDE, SIDE), dtype=np.float32)
    return net("Concat", boxes, score, name="fault", axis=1, shape=(1, 6, SIDE, SIDE), dtype=np.float32)


def fixed_step(net):
    """Probabilities of 1,024 places by steps of 1/256."""
    logits = net.conv(net.input(), CHANNELS, "before")
    shape = (1, CHANNELS, SIDE, SIDE)
    flat = net("Reshape", logits, net.build.constant(np.array([1, CHANNELS * SIDE * SIDE])), name="flat")
    likely = net("Softmax", flat, name="fault", axis=1)
    net.stored["fault"] = Parameters(2.0**-8, -128, "int8")
    net.stored["image"] = Parameters(2.0**-8, -128, "int8")
    image = net("Reshape", likely, net.build.constant(np.array(shape)), name="image", shape=shape, dtype=np.float32)
    return net.conv(image, CHANNELS, "after", weights=net.random.normal(size=(CHANNELS, CHANNELS, 1, 1)) * 100)


def calibration(net):
    """Calibrated on values a third as large."""
    net.ranges["fault"] = (0.0, 0.7)
    return net.conv(net.conv(net.input(), CHANNELS, "fault", relu=True), CHANNELS, "after")


def unused_range(net):
    """Calibrated on values forty times as large."""
    net.ranges["fault"] = (-150.0, 150.0)
    return net.conv(net.conv(net.input(), CHANNELS, "fault"), CHANNELS, "after")


def shared_by_others(net):
    """By the scale of another tensor, thirty times as large."""
    x = net.input()
    loud = net.conv(x, CHANNELS, "loud", weights=net.random.normal(size=(CHANNELS, CHANNELS, 1, 1)) * 8)
    quiet = net.conv(x, CHANNELS, "fault")
    net.shared.append(("loud", "fault"))
    one = net.conv(quiet, CHANNELS, "one", relu=True)
    other = net("Tanh", net.conv(loud, CHANNELS, "other"), name="small", shape=one.shape, dtype=np.float32)
    return net("Add", one, other, name="after", shape=one.shape, dtype=np.float32)


def activation_channels(net):
    """Channels of an activation are 316 times apart, what follows makes up for it."""
    weights = net.random.normal(size=(CHANNELS, CHANNELS, 1, 1)) / 4
    fault = net.conv(net.input(), CHANNELS, "fault", weights=weights / SPREAD[:, None, None, None])
    weights = net.random.normal(size=(CHANNELS, CHANNELS, 1, 1)) / 4
    net.stored["x"] = Parameters(2.0**-12, 0, "int16")
    return net.conv(fault, CHANNELS, "after", weights=weights * SPREAD[None, :, None, None])


FAULTS = {
    "weight channels": weight_channels,
    "weight mean": weight_mean,
    "weight outliers": weight_outliers,
    "outliers": outliers,
    "negative lobe": negative_lobe,
    "before a logarithm": power_spectrum,
    "shared scale": states,
    "joined outputs": boxes_and_scores,
    "fixed step": fixed_step,
    "calibration": calibration,
    "unused range": unused_range,
    "shared by others": shared_by_others,
    "activation channels": activation_channels,
}


@pytest.fixture(params=FAULTS)
def planted(request):
    """The cause, and what is found."""
    net = Network()
    floats = net.finish(FAULTS[request.param](net))
    feeds = photographs()
    return request.param, narrowcast.diff(floats, net.quantized(floats, feeds), data=feeds)


def test_the_planted_fault_stands_first(planted):
    name, found = planted
    worst = found.blocks[found.worst[0]]
    assert worst.name == "fault", [(found.blocks[at].name, found.blocks[at].share) for at in found.worst]
    assert worst.causes[0].name == name, worst.causes
    assert worst.share > 0.5
    assert json.loads(to_json(found))["schema"] == "narrowcast/diagnosis/1"


def test_what_is_advised_can_be_done(planted):
    options = {name for command in (quantize, diff) for parameter in command.params for name in parameter.opts}
    for block in planted[1].blocks:
        for cause in block.causes:
            assert set(re.findall(r"--[a-z][a-z-]*", cause.action)) <= options, cause.action
            assert set(re.findall(r"--repair (\w+)", cause.action)) <= set(REPAIRS)
            assert set(re.findall(r"--observer (\w+)", cause.action)) <= set(OBSERVERS)
            assert set(re.findall(r"--weights (\S+)\b", cause.action)) <= {"per-channel", "per-tensor"}


def test_every_cause_but_the_unspecific_is_planted():
    assert CAUSES.keys() - FAULTS.keys() == {"weight rounding", "rounding", "input"}
