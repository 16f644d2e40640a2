"""Convolutional classifiers for phones: EfficientNet-B0, MobileNetV3-small, ShuffleNetV2."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.exporters.classics import conv


class Excite(nn.Module):
    """Squeeze and excitation: channels are weighed by what all of the image says."""

    def __init__(self, width: int, squeezed: int, inner, gate) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            *(nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, squeezed, 1), inner(), nn.Conv2d(squeezed, width, 1), gate())
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x)


class Inverted(nn.Module):
    """Expansion, depthwise convolution, squeeze and excitation, projection."""

    def __init__(self, inputs, width, outputs, kernel, stride, act, excite: nn.Module | None) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *([conv(inputs, width, 1, act=act)] if width != inputs else []),
            conv(width, width, kernel, stride, groups=width, act=act),
            *([excite] if excite else []),
            conv(width, outputs, 1, act=None),
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.residual else self.body(x)


def efficientnet_b0(classes: int = 100) -> nn.Module:
    """https://arxiv.org/abs/1905.11946."""
    layers: list[nn.Module] = [conv(3, 32, 3, 2, act=nn.SiLU)]
    inputs = 32
    for expansion, outputs, count, first, kernel in (
        (1, 16, 1, 1, 3),
        (6, 24, 2, 2, 3),
        (6, 40, 2, 2, 5),
        (6, 80, 3, 2, 3),
        (6, 112, 3, 1, 5),
        (6, 192, 4, 2, 5),
        (6, 320, 1, 1, 3),
    ):
        for index in range(count):
            width, stride = expansion * inputs, first if index == 0 else 1
            excite = Excite(width, inputs // 4, nn.SiLU, nn.Sigmoid)
            layers.append(Inverted(inputs, width, outputs, kernel, stride, nn.SiLU, excite))
            inputs = outputs
    head = (conv(inputs, 1280, 1, act=nn.SiLU), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, classes))
    return nn.Sequential(*layers, *head)


def mobilenet_v3_small(classes: int = 100) -> nn.Module:
    """https://arxiv.org/abs/1905.02244, table 2."""
    layers: list[nn.Module] = [conv(3, 16, 3, 2, act=nn.Hardswish)]
    inputs = 16
    for kernel, width, outputs, excited, act, stride in (
        (3, 16, 16, True, nn.ReLU, 2),
        (3, 72, 24, False, nn.ReLU, 2),
        (3, 88, 24, False, nn.ReLU, 1),
        (5, 96, 40, True, nn.Hardswish, 2),
        (5, 240, 40, True, nn.Hardswish, 1),
        (5, 240, 40, True, nn.Hardswish, 1),
        (5, 120, 48, True, nn.Hardswish, 1),
        (5, 144, 48, True, nn.Hardswish, 1),
        (5, 288, 96, True, nn.Hardswish, 2),
        (5, 576, 96, True, nn.Hardswish, 1),
        (5, 576, 96, True, nn.Hardswish, 1),
    ):
        excite = Excite(width, max(8, (width // 4 + 4) // 8 * 8), nn.ReLU, nn.Hardsigmoid) if excited else None
        layers.append(Inverted(inputs, width, outputs, kernel, stride, act, excite))
        inputs = outputs
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(576, 1024), nn.Hardswish(), nn.Linear(1024, classes))
    return nn.Sequential(*layers, conv(inputs, 576, 1, act=nn.Hardswish), *head)


class Shuffle(nn.Module):
    """Half the channels pass, the others are worked on; then both are interleaved."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        width = outputs // 2
        self.stride = stride
        source = inputs if stride > 1 else width
        self.body = nn.Sequential(
            conv(source, width, 1), conv(width, width, 3, stride, groups=width, act=None), conv(width, width, 1)
        )
        self.short = nn.Sequential(conv(inputs, inputs, 3, 2, groups=inputs, act=None), conv(inputs, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        if self.stride > 1:
            y = torch.cat([self.short(x), self.body(x)], 1)
        else:
            passed, worked = x.chunk(2, 1)
            y = torch.cat([passed, self.body(worked)], 1)
        batch, channels, height, width = y.shape
        return y.view(batch, 2, channels // 2, height, width).transpose(1, 2).reshape(batch, channels, height, width)


def shufflenet_v2(classes: int = 100) -> nn.Module:
    """https://arxiv.org/abs/1807.11164, 1.0x."""
    layers: list[nn.Module] = [conv(3, 24, 3, 2), nn.MaxPool2d(3, 2, 1)]
    inputs = 24
    for outputs, count in ((116, 4), (232, 8), (464, 4)):
        for index in range(count):
            layers.append(Shuffle(inputs, outputs, 2 if index == 0 else 1))
            inputs = outputs
    return nn.Sequential(
        *layers, conv(inputs, 1024, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1024, classes)
    )
