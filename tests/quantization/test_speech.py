"""Networks that listen, in 8 bits beside their float selves on a minute of speech: halves to calibrate and to test."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import narrowcast
from narrowcast import runtimes
from narrowcast.model import Feed, Model
from narrowcast.reference import Reference

SAMPLES = 64
"""Of each half."""
NETWORKS = {
    "audio/dtln_1.onnx": {},
    "audio/dtln_2.onnx": {},
    "audio/silero_vad_2021_micro_transformer.onnx": {"input_shapes": {"input": (1, 4000)}},
    "silero_vad_op18_ifless.onnx": {
        "freeze": {"sr": 16000.0},
        "input_shapes": {"input": (1, 576), "state": (2, 1, 128)},
    },
    "kws/kwt1_float.tflite": {},
}
"""By file, how it is loaded."""
LEAST = {
    ("audio/dtln_1.onnx", "int8"): (43, 60),
    ("audio/dtln_2.onnx", "int8"): (30, 60),
    ("audio/silero_vad_2021_micro_transformer.onnx", "int8"): (29,),
    ("audio/silero_vad_2021_micro_transformer.onnx", "int16x8"): (29,),
    ("silero_vad_op18_ifless.onnx", "int8"): (38, 36),
    ("kws/kwt1_float.tflite", "int8"): (17,),
    ("kws/kwt1_float.tflite", "int16x8"): (29,),
}
"""dB of each output of the written file, about 1 below what it has; without `logarithms`, 8, 7, 7, 1 and 3."""
AGREE = {"audio/silero_vad_2021_micro_transformer.onnx": 0.98, "kws/kwt1_float.tflite": 0.9}
"""The share of windows whose first guess is the float network's."""


def speech(zoo: Path) -> np.ndarray:
    with wave.open(str(zoo / "data/audio/speech_60s_16k.wav")) as sound:
        return np.frombuffer(sound.readframes(sound.getnframes()), np.int16).astype(np.float32) / 32768


def frames(model: Model, zoo: Path) -> Iterator[np.ndarray]:
    """What the network is given for sound: windows of it, the magnitudes of their spectra for DTLN's first stage."""
    sound, shape = speech(zoo), model.inputs[0].shape
    width = 512 if shape[-1] == 257 else shape[-1]
    hop = {257: 128, 512: 128, 576: 512}.get(shape[-1], len(sound) // (2 * SAMPLES + 20))
    for start in range(0, len(sound) - width + 1, hop):
        window = sound[start : start + width]
        yield (np.abs(np.fft.rfft(window)) if shape[-1] == 257 else window).astype(np.float32).reshape(shape)


def halves(model: Model, zoo: Path) -> tuple[list[Feed], list[Feed]]:
    """Samples of either half; a state is the one that the float network has there."""
    network, (heard, *states) = Reference(model), model.inputs
    state = {spec.name: np.zeros(spec.shape, np.float32) for spec in states}
    feeds = []
    for frame in frames(model, zoo):
        feeds.append({heard.name: frame, **state})
        if states:
            state = {states[0].name: network.run(feeds[-1])[model.outputs[-1].name]}
    middle = len(feeds) // 2
    step = max(middle // SAMPLES, 1)
    return feeds[:middle:step][:SAMPLES], feeds[middle::step][:SAMPLES]


@pytest.mark.parametrize(("name", "scheme"), LEAST)
def test_speech_is_heard_in_integers(name, scheme, zoo, tmp_path):
    model = narrowcast.load(zoo / "models" / name, **NETWORKS[name])
    calibration, test = halves(model, zoo)
    quantised = narrowcast.quantize(model, scheme, data=calibration, observer="minmax")
    runner = runtimes.open(narrowcast.save(quantised, tmp_path / "m.tflite", data=test[:4]).path, "litert")
    network = Reference(model)
    want, got = [network.run(feed) for feed in test], [runner.run(feed) for feed in test]
    for spec, least in zip(model.outputs, LEAST[name, scheme], strict=True):
        one, other = (np.stack([found[spec.name] for found in run]) for run in (want, got))
        noise = np.square(one - other).sum()
        assert 10 * np.log10(np.square(one).sum() / noise) > least
        same = one.reshape(len(one), -1).argmax(1) == other.reshape(len(one), -1).argmax(1)
        assert same.mean() >= AGREE.get(name, 0.0)
