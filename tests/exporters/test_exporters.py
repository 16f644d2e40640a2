"""Networks from both of PyTorch's exporters come down to the same graph, and compute what they did."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

import narrowcast
from narrowcast import runtimes
from tests.exporters.networks import EXPORTERS, NETWORKS, export


@dataclass(frozen=True)
class Expected:
    """What a network's file may hold.

    Attributes:
        operators: at most.
        transposes: exactly: one for each time that an attention splits or joins its heads or windows, or that
            channels are shuffled or gathered across the levels of a detector.
    """

    operators: int
    transposes: int = 0


EXPECTED = {
    "vit": Expected(135, 8),
    "bert": Expected(98, 8),
    "decoder": Expected(105, 8),
    "swin": Expected(242, 16),
    "unet": Expected(24),
    "efficientnet_b0": Expected(243),
    "mobilenet_v3_small": Expected(112),
    "shufflenet_v2": Expected(144, 16),
    "inception_v3": Expected(129),
    "densenet121": Expected(310),
    "resnet50": Expected(77),
    "detector": Expected(240, 2),
    "crnn": Expected(17),
}
INTEGER = {"vit": 20.0, "swin": 20.0, "bert": 20.0, "decoder": 20.0, "unet": 18.0, "mobilenet_v3_small": 10.0}
"""Signal-to-noise ratio in int8, dB, on the inputs that it was calibrated on; random weights have little to spare."""


def test_every_network_has_an_expectation():
    assert set(EXPECTED) == set(NETWORKS)


@pytest.mark.parametrize("name", NETWORKS)
def test_both_exports_become_one_network(name, tmp_path):
    counts = {}
    for exporter in EXPORTERS:
        model = narrowcast.load(export(name, exporter, tmp_path / f"{exporter}.onnx"))
        written = narrowcast.save(model, tmp_path / f"{exporter}.tflite", reference="original")
        assert written.parity.sqnr_db >= 60
        counts[exporter] = runtimes.open(written.path, "litert").operators()[0]
    first, second = counts.values()
    assert first == second
    assert sum(first.values()) <= EXPECTED[name].operators
    assert first["TRANSPOSE"] == EXPECTED[name].transposes


@pytest.mark.parametrize("name", INTEGER)
def test_quantised(name, tmp_path):
    path = export(name, "torchscript", tmp_path / "model.onnx")
    network, model = NETWORKS[name], narrowcast.load(path)
    feeds = [
        {key: tensor.numpy() for key, tensor in zip(network.inputs, network.feed(seed), strict=True)}
        for seed in range(8)
    ]
    quantised = narrowcast.quantize(model, "int8", data=feeds)
    written = narrowcast.save(quantised, tmp_path / "int8.tflite", data=feeds)
    assert written.parity.sqnr_db >= INTEGER[name]
    assert written.bytes < 0.5 * path.stat().st_size
