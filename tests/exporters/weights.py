"""Seeded weights with the spreads of trained ones, so that a signal-to-noise ratio means something."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def settle(network: nn.Module, inputs: Sequence[Tensor]) -> nn.Module:
    """Draws all weights, and lets batch normalisations see two batches; returns the network ready for inference."""
    with torch.no_grad():
        for module in network.modules():
            _draw(module)
        network.train()
        for _ in range(2):
            network(*[_batch(tensor) for tensor in inputs])
    return network.eval()


def _draw(module: nn.Module) -> None:
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.normal_(module.bias, std=0.1)
    elif isinstance(module, nn.Linear):
        nn.init.xavier_normal_(module.weight)
        if module.bias is not None:
            nn.init.normal_(module.bias, std=0.1)
    elif isinstance(module, (nn.BatchNorm2d, nn.LayerNorm)):
        nn.init.uniform_(module.weight, 0.5, 1.5)
        nn.init.normal_(module.bias, std=0.2)
    if isinstance(module, nn.BatchNorm2d):
        module.momentum = 0.5


def _batch(tensor: Tensor) -> Tensor:
    """Four samples like one: images are drawn anew, tokens and masks repeated."""
    shape = (4, *tensor.shape[1:])
    return torch.randn(shape) if tensor.is_floating_point() else tensor.expand(shape)
