"""The networks by name, with what they are fed, and their export to ONNX by either of PyTorch's exporters."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from tests.exporters import classics, mobile, pictures, transformers
from tests.exporters.weights import settle

EXPORTERS = ("dynamo", "torchscript")


@dataclass(frozen=True)
class Network:
    """How to build a network, and its inputs.

    Attributes:
        build: makes it, with weights of any kind.
        inputs: shape by name; those of words are indices below 1000, those of a mask 0 or 1.
    """

    build: Callable[[], nn.Module]
    inputs: dict[str, tuple[int, ...]]

    def feed(self, seed: int = 0) -> tuple[Tensor, ...]:
        """Seeded inputs."""
        random = torch.Generator().manual_seed(seed)
        return tuple(_tensor(name, shape, random) for name, shape in self.inputs.items())


def _tensor(name: str, shape: tuple[int, ...], random: torch.Generator) -> Tensor:
    if name == "tokens":
        return torch.randint(1000, shape, generator=random)
    if name == "mask":
        return (torch.arange(shape[1]) < shape[1] - 7).to(torch.int64).expand(shape).contiguous()
    return torch.randn(shape, generator=random)


NETWORKS = {
    "vit": Network(transformers.ViT, {"image": (1, 3, 64, 64)}),
    "bert": Network(transformers.Bert, {"tokens": (1, 32), "mask": (1, 32)}),
    "decoder": Network(transformers.Decoder, {"tokens": (1, 32)}),
    "swin": Network(transformers.Swin, {"image": (1, 3, 64, 64)}),
    "unet": Network(pictures.UNet, {"image": (1, 3, 64, 64)}),
    "efficientnet_b0": Network(mobile.efficientnet_b0, {"image": (1, 3, 64, 64)}),
    "mobilenet_v3_small": Network(mobile.mobilenet_v3_small, {"image": (1, 3, 64, 64)}),
    "shufflenet_v2": Network(mobile.shufflenet_v2, {"image": (1, 3, 64, 64)}),
    "inception_v3": Network(classics.inception_v3, {"image": (1, 3, 96, 96)}),
    "densenet121": Network(classics.densenet121, {"image": (1, 3, 64, 64)}),
    "resnet50": Network(classics.resnet50, {"image": (1, 3, 64, 64)}),
    "detector": Network(pictures.Detector, {"image": (1, 3, 128, 128)}),
    "crnn": Network(pictures.CRNN, {"line": (1, 1, 32, 96)}),
}


def export(name: str, exporter: str, path: Path) -> Path:
    """Writes a network with seeded weights as ONNX."""
    torch.manual_seed(0)
    network = NETWORKS[name]
    inputs = network.feed()
    module = settle(network.build(), inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            inputs,
            str(path),
            input_names=list(network.inputs),
            dynamo=exporter == "dynamo",
            external_data=False,
            verbose=False,
        )
    return path
